"""The hub's functions are replaced: nothing leaves this machine."""

import json
import threading
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from daam_bench.checks import hub, inputs
from daam_bench.checks.hub import HubNeed, hub_needs
from daam_bench.checks.inputs import check_disk, check_paths
from daam_bench.checks.weights import opened_files, weight_files
from daam_bench.config import parse_config
from daam_bench.plan import make_plan

REVISION = "0123456789abcdef0123456789abcdef01234567"
MODEL = "owner/model"


def refusal(kind, status):
    request = httpx2.Request("GET", "https://huggingface.co/api")
    return kind("refused", response=httpx2.Response(status, request=request))


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Return a plan with a model of the hub; the hub's caches are empty folders, nobody is logged in."""
    monkeypatch.chdir(tmp_path)
    for name, folder in (("HF_HUB_CACHE", "hub"), ("HF_HOME", "home")):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", str(tmp_path / folder))
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    Path("t.csv").write_text("text,label\nx,a\ny,b\n")
    return plan_of({"modality": "text", "model": MODEL, "revision": REVISION})


def plan_of(encoder, dataset=None):
    table = {"kind": "table", "modality": "text", "path": "t.csv"}
    return make_plan(
        parse_config(
            {
                "datasets": {"d": dataset or table},
                "encoders": {"e": encoder},
                "experiments": [{"dataset": "d", "encoder": "e"}],
            }
        )
    )


def answers(monkeypatch, access=None, files=None):
    """Make the hub answer: with an error, or with the sizes of the files of a repository."""

    def auth_check(*_, **__):
        if access is not None:
            raise access

    def info(*_, **__):
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=n, size=s) for n, s in files.items()])

    monkeypatch.setattr("huggingface_hub.auth_check", auth_check)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", info)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", info)


def snapshot(tmp_path):
    """Return the folder of the model in the hub's cache, with its settings and no weights."""
    folder = tmp_path / "hub/models--owner--model/snapshots" / REVISION
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def test_a_config_alone_is_no_model(plan, tmp_path, monkeypatch):
    snapshot(tmp_path)
    answers(monkeypatch, files={"config.json": 2, "model.safetensors": 3 * 10**9, "model.onnx": 10**10})
    (need,) = hub_needs(plan)
    assert need.finding.level == "ok"
    assert "the first run downloads 3.00 GB, access is granted" in need.finding.found
    assert need.takes == 3 * 10**9  # what is here already, and what is never opened, is not counted


def test_a_whole_model_is_not_asked_for(plan, tmp_path, monkeypatch):
    (snapshot(tmp_path) / "model.safetensors").write_text("w")
    answers(monkeypatch, access=AssertionError("asked"))
    (need,) = hub_needs(plan)
    assert (need.finding.level, need.takes) == ("ok", 0)
    assert "in the hub's cache" in need.finding.found


def test_a_missing_shard_is_seen(plan, tmp_path, monkeypatch):
    folder = snapshot(tmp_path)
    shards = {f"layer{i}": f"model-{i}-of-3.safetensors" for i in (1, 2, 3)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    (folder / "model-2-of-3.safetensors").write_text("w")
    sizes = dict.fromkeys(shards.values(), 5) | {"model.safetensors.index.json": 1, "config.json": 1}
    answers(monkeypatch, files=sizes)
    (need,) = hub_needs(plan)
    assert "1 of 3 files of weights are here" in need.finding.found
    assert need.takes == 10


@pytest.mark.parametrize(
    ("error", "token", "words"),
    [
        (refusal(GatedRepoError, 403), None, "is gated and no token is set"),
        (refusal(GatedRepoError, 403), "hf_x", "your token's account may not read it"),
        (refusal(RepositoryNotFoundError, 404), "hf_x", "has no such model"),
        (refusal(HfHubHTTPError, 401), "hf_x", "the hub refuses"),
    ],
)
def test_a_refusal_fails_whoever_has_a_token(plan, monkeypatch, error, token, words):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: token)
    answers(monkeypatch, access=error)
    (need,) = hub_needs(plan)
    assert need.finding.level == "fail" and words in need.finding.found
    assert need.finding.remedy and need.takes is None


def test_without_a_network_it_is_asked_once_and_warns(plan, tmp_path, monkeypatch):
    asked = []

    def auth_check(repository, **_):
        asked.append(repository)
        raise httpx2.ConnectError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.auth_check", auth_check)
    dataset = {"kind": "ag_news", "path": "owner/data", "revision": REVISION}
    needs = list(hub_needs(plan_of({"modality": "text", "model": MODEL, "revision": REVISION}, dataset)))
    assert [need.finding.level for need in needs] == ["warn", "warn"]
    assert all("no network (Name or service not known)" in need.finding.found for need in needs)
    assert asked == ["owner/data"]


def test_a_hub_that_never_answers_holds_nobody_up(plan, monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(hub, "_PATIENCE", 0.01)
    monkeypatch.setattr("huggingface_hub.auth_check", lambda *_, **__: never.wait())
    try:
        (need,) = hub_needs(plan)
    finally:
        never.set()
    assert need.finding.level == "warn" and "no answer in 0.01 s" in need.finding.found


def test_a_hub_that_is_switched_off_is_not_asked(plan, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    answers(monkeypatch, access=AssertionError("asked"))
    (need,) = hub_needs(plan)
    assert need.finding.level == "fail" and "HF_HUB_OFFLINE is set" in need.finding.found


def test_a_prepared_dataset_is_here_and_another_takes_its_size_twice(plan, tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    both = plan_of(
        {"modality": "text", "model": "model"},
        {"kind": "ag_news", "path": "owner/data", "revision": REVISION},
    )
    answers(monkeypatch, files={"train.parquet": 700, "README.md": 7})
    (need,) = hub_needs(both)
    assert need.takes == 2 * 707
    prepared = tmp_path / "home/datasets/owner___data/default/0.0.0" / REVISION
    prepared.mkdir(parents=True)
    (prepared / "dataset_info.json").write_text("{}")
    (need,) = hub_needs(both)
    assert (need.finding.level, need.takes) == ("ok", 0)


def test_a_local_model_without_weights_fails(plan, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    local = plan_of({"modality": "text", "model": "mine"})

    def found():
        return {f.check: (f.level, f.found) for f in check_paths(local, [])}["encoders.e"]

    assert found() == ("fail", "mine lacks config.json")
    (folder / "config.json").write_text("{}")
    assert found() == ("fail", "mine lacks model.safetensors")
    (folder / "pytorch_model.bin").write_text("w")
    assert found() == ("ok", "mine")


def cost(gigabytes, cached_already):
    return SimpleNamespace(dataset="d", encoder="e", gigabytes=gigabytes, cached=cached_already)


def test_downloads_count_as_space(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(inputs.shutil, "disk_usage", lambda _: usage(0, 0, 20 * 10**9))
    needs = [HubNeed(None, MODEL, 26 * 10**9)]
    (found,) = check_disk([cost(1.0, True)], needs, tmp_path / "results")
    assert found.level == "fail" and "HF_HOME" in found.remedy
    assert "about 26.00 GB needed (0.00 for caches, 26.00 for downloads)" in found.found
    (found,) = check_disk([cost(10.0, False)], [HubNeed(None, MODEL, None)], tmp_path / "results")
    assert found.level == "warn"
    assert "about 12.00 GB needed, not counting the download of owner/model" in found.found
    (found,) = check_disk([cost(10.0, True)], [HubNeed(None, MODEL, 0)], tmp_path / "results")
    assert found.level == "ok" and "about 0.00 GB needed" in found.found


def test_a_damaged_index_names_no_weights(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text("[]")
    here, missing = weight_files(lambda name: p if (p := tmp_path / name).is_file() else None)
    assert here == [] and "damaged" in missing[0]


def test_safetensors_go_before_other_weights():
    sizes = {"model-1-of-2.safetensors": 3, "model-2-of-2.safetensors": 5, "model.safetensors.index.json": 1}
    others = {"pytorch_model-1-of-1.bin": 7, "pytorch_model.bin.index.json": 1, "a/config.json": 1, "x.md": 1}
    assert set(opened_files(sizes | others)) == {*sizes, "pytorch_model.bin.index.json"}
    assert opened_files({"pytorch_model.bin": 9, "flax_model.msgpack": 9}) == {"pytorch_model.bin": 9}
