import pytest

from daam_bench.config import DatasetConfig
from daam_bench.datasets import vader
from daam_bench.datasets.listing import list_samples
from daam_bench.datasets.vader import read_vader
from daam_bench.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """Return a small tree in the true layout: tab-separated, latin-1, no line end after the last line."""
    for i, name in enumerate(vader._FILES.values()):
        lines = [f"{i}_1\t-1.5\tcaf\xe9 is bad", f"{i}_2\t1.0\tso so", f"{i}_3\t1.2\tgood\tand tabbed"]
        (tmp_path / name).write_bytes("\n".join(lines).encode("latin-1"))
    return tmp_path


def test_ratings_become_classes_at_the_published_thresholds(folder):
    frame = read_vader(DatasetConfig(kind="vader", path=str(folder)))
    assert frame["label"].tolist() == [0, 1, 2] * 4
    assert frame["sample_id"].tolist()[:2] == ["amazon/0_1", "amazon/0_2"]
    assert frame["text"].tolist()[:3] == ["caf\xe9 is bad", "so so", "good\tand tabbed"]
    assert sorted(set(frame["group"])) == ["amazon", "movies", "news", "tweets"]


def test_other_counts_than_published_are_refused(folder):
    with pytest.raises(DataError, match=r"expected .*3708.*found .*3"):
        list_samples("mine", DatasetConfig(kind="vader", path=str(folder)))


def test_missing_file_is_named_with_the_remedy(folder):
    (folder / "tweets_GroundTruth.txt").unlink()
    with pytest.raises(DataError, match=r"tweets_GroundTruth.txt.*snakemake assets"):
        read_vader(DatasetConfig(kind="vader", path=str(folder)))


def test_broken_line_is_refused(folder):
    (folder / "tweets_GroundTruth.txt").write_text("1\tnot a number\ttext\n")
    with pytest.raises(DataError, match="id, rating, text"):
        read_vader(DatasetConfig(kind="vader", path=str(folder)))


def test_real_data_draw_keeps_class_shares_and_order(real_resources):
    settings = {"kind": "vader", "path": str(real_resources / "vader")}
    whole = list_samples("vader", DatasetConfig(**settings))
    drawn = list_samples("vader", DatasetConfig(**settings, samples_per_group=200))
    assert len(whole) == 23703
    assert drawn["group"].value_counts().to_dict() == dict.fromkeys(vader._FILES, 200)
    positions = whole.reset_index().set_index("sample_id").loc[drawn["sample_id"], "index"]
    assert positions.is_monotonic_increasing
    shares = [f.groupby("group")["label"].value_counts(normalize=True) for f in (whole, drawn)]
    assert (shares[0] - shares[1]).abs().max() < 0.01
