import numpy as np
import pandas as pd
import pytest
import soundfile

from daam_bench.config import parse_config
from daam_bench.costs.samples import listed_samples
from daam_bench.costs.sizes import dataset_size
from daam_bench.datasets.listing import choose_samples, list_samples


def config_of(**dataset):
    return parse_config(
        {
            "datasets": {"d": dataset},
            "encoders": {"e": {"modality": dataset["modality"], "model": "m"}},
            "experiments": [{"dataset": "d", "encoder": "e"}],
        }
    ).datasets["d"]


def write_list(results, config):
    (results / "samples").mkdir(exist_ok=True)
    list_samples("d", config).to_parquet(results / "samples/d.parquet", index=False)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({3: "t3,b"}, False),  # another label
        ({3: "other,a"}, False),  # another text
        ({12: "t12,b"}, False),  # one more
    ],
)
def test_a_list_of_other_samples_is_not_taken(tmp_path, change, same):
    rows = {i: f"t{i},{'ab'[i % 2]}" for i in range(12)} | {3: "t3,a"}
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["text,label", *rows.values()]))
    config = config_of(kind="table", modality="text", path=str(table))
    write_list(tmp_path, config)
    table.write_text("\n".join(["text,label", *(rows | change).values()]))
    listed, why = listed_samples("d", config, tmp_path)
    assert (listed is not None) == same == (why == "")
    assert dataset_size("d", config, tmp_path).samples == len(rows | change)


def test_a_list_cannot_be_compared_without_the_data(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("text,label\nx,a\ny,b\n")
    config = config_of(kind="table", modality="text", path=str(table))
    assert listed_samples("d", config, tmp_path) == (None, "its samples are not listed")
    write_list(tmp_path, config)
    table.unlink()
    listed, why = listed_samples("d", config, tmp_path)
    assert listed is None and "without the data" in why


def test_clips_are_counted_in_a_list_of_the_same_clips(tmp_path):
    for name, seconds in (("a/1.wav", 2.5), ("a/2.wav", 1.0), ("b/3.wav", 1.5)):
        file = tmp_path / "sounds" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, np.zeros(int(8000 * seconds)), 8000)
    settings = {"kind": "class_folders", "modality": "speech", "path": str(tmp_path / "sounds")}
    config = config_of(**settings, clip_seconds=1)
    size = dataset_size("d", config, tmp_path)
    assert (size.samples, size.classes) == (None, 2) and "counted when the dataset is listed" in size.source
    write_list(tmp_path, config)
    assert dataset_size("d", config, tmp_path).samples == 3 + 1 + 2
    assert dataset_size("d", config_of(**settings, clip_seconds=2), tmp_path).samples is None
    (tmp_path / "sounds/a/2.wav").unlink()
    assert dataset_size("d", config, tmp_path).samples is None


def test_chosen_samples_are_those_that_are_listed(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\n" + "".join(f"t{i},{'ab'[i % 2]}\n" for i in range(30)))
    config = config_of(kind="table", modality="text", path=str(tmp_path / "t.csv"), samples_per_group=8)
    listed = list_samples("d", config)
    chosen = choose_samples("d", config)
    pd.testing.assert_frame_equal(listed.drop(columns="content_key"), chosen)
    assert listed.attrs == chosen.attrs and len(listed) == 8
