"""Training that was cut goes on from its checkpoint, and ends as if it had not been."""

import os
import signal

import pytest
from shared import exit_code
from training.test_together import assert_equal, replica, source, train

from daam_bench.training.checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint
from daam_bench.training.together import train_together


class Cut(Exception):
    """The end of a job by force."""


def train_for_an_epoch(stem, started, kind):
    """Go on from the checkpoint of a replica, if there is one, and be cut when one epoch more is kept."""
    load_checkpoint(stem, "key", started)
    before = started.trained_epochs

    def cut():
        save_checkpoint(stem, "key", started)
        raise Cut

    with pytest.raises(Cut):
        train_together([started], source(kind), cut)
    assert started.trained_epochs == before + 1


@pytest.mark.parametrize("kind", ["resident", "streaming"])
@pytest.mark.parametrize("variant", ["daam_v1", "mha_bn", "mixture_selected"])
def test_a_run_that_was_cut_ends_as_if_it_was_not(tmp_path, kind, variant):
    (whole,), _ = train(kind, replica(variant, epochs=4, schedule="plateau"))
    for _ in range(4):
        train_for_an_epoch(tmp_path / "fold0_seed0", replica(variant, epochs=4, schedule="plateau"), kind)
    ended = replica(variant, epochs=4, schedule="plateau")
    assert load_checkpoint(tmp_path / "fold0_seed0", "key", ended)
    (found,), _ = train(kind, ended)
    assert_equal(found, whole)


@pytest.mark.parametrize(("first", "then"), [("streaming", "resident"), ("resident", "streaming")])
@pytest.mark.parametrize("switches", [{"select": "inner"}, {"select": "last"}])
def test_a_run_that_was_cut_may_find_other_memory(tmp_path, first, then, switches):
    # Whether values stay in memory depends on what is free: an epoch of a stream may wait for its score.
    (whole,), _ = train(first, replica(epochs=5, **switches))
    for kind in (first, then, first):
        train_for_an_epoch(tmp_path / "fold0_seed0", replica(epochs=5, **switches), kind)
    ended = replica(epochs=5, **switches)
    assert load_checkpoint(tmp_path / "fold0_seed0", "key", ended)
    (found,), _ = train(then, ended)
    assert_equal(found, whole)


@pytest.mark.parametrize("damage", ["other key", "tensors", "facts", "a name", "gone"])
def test_a_checkpoint_that_is_not_whole_is_not_used(tmp_path, damage):
    stem = tmp_path / "fold0_seed0"
    made = replica()
    train("resident", made)
    save_checkpoint(stem, "key", made)
    (tensors,) = tmp_path.glob("*.checkpoint")
    if damage == "tensors":
        data = bytearray(tensors.read_bytes())
        data[-3] ^= 1
        tensors.write_bytes(data)
    elif damage == "facts":
        facts = tmp_path / "fold0_seed0.checkpoint.json"
        facts.write_bytes(facts.read_bytes()[:-20])
    elif damage == "a name":
        facts = tmp_path / "fold0_seed0.checkpoint.json"
        facts.write_bytes(facts.read_bytes().replace(b"best_rank", b"best_rink"))
    elif damage == "gone":
        tensors.unlink()
    assert not load_checkpoint(stem, "other" if damage == "other key" else "key", replica())
    remove_checkpoint(stem)
    assert not list(tmp_path.iterdir())


def test_replicas_of_which_some_are_ahead_end_alike(tmp_path):
    alone = [train("streaming", replica(seed=seed, epochs=4))[0][0] for seed in (0, 1)]
    ahead, behind = replica(seed=0, epochs=4), replica(seed=1, epochs=4)
    cut = iter([None, RuntimeError])

    def after():
        save_checkpoint(tmp_path / "a", "key", ahead)
        if next(cut) is not None:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        train_together([ahead], source("streaming"), after)
    fresh = replica(seed=0, epochs=4)
    assert load_checkpoint(tmp_path / "a", "key", fresh)
    assert fresh.trained_epochs == 2
    found, _ = train("streaming", fresh, behind)
    for left, right in zip(found, alone, strict=True):
        assert_equal(left, right)


def train_until_an_epoch_ends(folder):
    """Go on with two epochs, and die after the next one; write what they were once there is none left."""
    made, stem = replica(epochs=2), folder / "fold0_seed0"
    load_checkpoint(stem, "key", made)
    before = made.trained_epochs

    def after():
        save_checkpoint(stem, "key", made)
        os.kill(os.getpid(), signal.SIGKILL)

    train_together([made], source("resident"), after)
    (folder / "losses").write_text(f"{before} {[e.train_loss for e in made.epochs]}")


def test_a_killed_job_goes_on_after_its_last_epoch(tmp_path):
    codes = [exit_code(train_until_an_epoch_ends, tmp_path) for _ in range(3)]
    assert codes == [-signal.SIGKILL] * 2 + [0]
    (whole,), _ = train("resident", replica(epochs=2))
    assert (tmp_path / "losses").read_text() == f"2 {[e.train_loss for e in whole.epochs]}"
