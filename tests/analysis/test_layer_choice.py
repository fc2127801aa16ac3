import io

import numpy as np
import pytest
from analysis.conftest import make_record
from hypothesis import given
from hypothesis import strategies as st

from daam_bench.analysis.layer_choice import choose_layers, layer_importance, pick_layers
from daam_bench.records import write_atomically, write_finished, write_record
from daam_bench.studies.names import Pick

IMPORTANCE = np.array([0.1, 0.9, 0.2, 0.3, 0.8, 0.7, 0.0])


def test_importance_of_a_layer_is_the_mean_of_its_map_by_hand():
    # Smallest 1, largest 5: (1, 3), (5, 3) become (0, 0.5), (1, 0.5).
    assert layer_importance(np.array([[1.0, 3.0], [5.0, 3.0]])).tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("pick", "layers"),
    [
        (Pick("top", 1), [2]),
        (Pick("bottom", 1), [7]),
        (Pick("top", 3), [2, 5, 6]),
        (Pick("bottom", 2), [1, 7]),
        # Sums of neighbours: 1.0, 1.1, 0.5, 1.1, 1.5, 0.7.
        (Pick("top", 2, block=True), [5, 6]),
        (Pick("bottom", 2, block=True), [3, 4]),
    ],
    ids=lambda value: value.name if isinstance(value, Pick) else "",
)
def test_layers_by_hand(pick, layers):
    assert pick_layers(IMPORTANCE, pick, 0) == layers


def test_of_equal_layers_the_first_is_taken():
    assert pick_layers(np.full(5, 0.1), Pick("top", 2), 0) == [1, 2]
    assert pick_layers(np.full(7, 0.1), Pick("bottom", 3, block=True), 0) == [1, 2, 3]


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 9), st.booleans())
def test_random_layers_are_so_many_different_ones_and_repeat(size, draw, fold, block):
    pick = Pick("random", size, block, draw)
    layers = pick_layers(IMPORTANCE, pick, fold)
    assert layers == pick_layers(IMPORTANCE, pick, fold)
    assert len(set(layers)) == size
    assert layers == sorted(layers)
    assert set(layers) <= set(range(1, 8))
    if block:
        assert layers[-1] - layers[0] == size - 1


def test_random_layers_differ_by_fold_and_draw():
    drawn = {tuple(pick_layers(IMPORTANCE, Pick("random", 3, draw=d), f)) for d in (1, 2) for f in range(5)}
    assert len(drawn) > 5


@pytest.mark.parametrize("pick", ["top-7", "bottom-9", "top_block-7", "bottom_block-9", "random-8-1"])
def test_all_layers_are_kept_where_there_are_not_more(pick):
    assert pick_layers(IMPORTANCE, Pick.parse(pick), 0) == [1, 2, 3, 4, 5, 6, 7]


def test_layers_are_chosen_by_fold_from_the_training_samples_of_the_asked_seeds(tmp_path, caplog):
    # Fold f's training density is highest at layer f + 1; validation and the third seed say layer 5.
    records = [make_record("daam_v1", fold, seed, 0.5) for fold in (0, 1) for seed in (0, 1, 2)]
    for record in records:
        peak, misleading = np.ones((5, 3)), np.ones((5, 3))
        misleading[4] = 99
        peak[record.fold] = 2 + record.seed
        buffer = io.BytesIO()
        np.savez(buffer, density=misleading, training_density=misleading if record.seed == 2 else peak)
        write_atomically(tmp_path / f"{record.stem}.density.npz", buffer.getvalue())
        write_record(tmp_path, record)
    write_finished(tmp_path, records)
    found = choose_layers(tmp_path, ["top-1", "bottom-4"], [0, 1])
    assert caplog.messages == []
    assert found["choices"] == {
        "top-1": {"0": [1], "1": [2]},
        "bottom-4": {"0": [2, 3, 4, 5], "1": [1, 3, 4, 5]},
    }
    assert found["importance"]["1"] == [0, 1, 0, 0, 0]
    assert (found["variant"], found["seeds"]) == ("daam_v1", [0, 1])
    whole = choose_layers(tmp_path, ["top-1", "random-6-1"], [0, 1])["choices"]["random-6-1"]
    assert whole == {"0": [1, 2, 3, 4, 5], "1": [1, 2, 3, 4, 5]}
    assert caplog.messages == ["random-6-1 leaves no layer out: the encoder has 5"]
