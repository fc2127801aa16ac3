import pandas as pd
import pytest

from daam_bench.cache.identity import CacheIdentity, digest_of_samples, hash_files
from daam_bench.errors import CacheError

FRAME = pd.DataFrame(
    {
        "sample_id": ["a", "b"],
        "label": [0, 1],
        "group": ["x", "y"],
        "split": ["", ""],
        "content_sha256": ["1", "2"],
    }
)
BASE = {
    "schema_version": 1,
    "dataset": "d",
    "encoder": {"weights": "w"},
    "stored_dtype": "float32",
    "samples": "s",
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema_version", 2),
        ("dataset", "e"),
        ("encoder", {"weights": "v"}),
        ("stored_dtype", "float16"),
        ("samples", "t"),
    ],
)
def test_every_field_changes_the_digest_and_is_named(field, value):
    one, other = CacheIdentity(**BASE), CacheIdentity(**(BASE | {field: value}))
    assert one.digest != other.digest
    (difference,) = one.differences(other)
    assert difference.startswith(field)


@pytest.mark.parametrize("column", FRAME.columns)
def test_every_column_and_the_order_of_samples_count(column):
    changed = FRAME.copy()
    changed[column] = changed[column].iloc[::-1].to_list() if column not in {"split"} else ["train", ""]
    assert digest_of_samples(changed) != digest_of_samples(FRAME)
    assert digest_of_samples(FRAME.iloc[::-1]) != digest_of_samples(FRAME)


def test_other_columns_do_not_count():
    assert digest_of_samples(FRAME.assign(note="x")) == digest_of_samples(FRAME)


def test_hash_files_follows_content_and_name(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"1")
    first = hash_files(tmp_path, "*.bin")
    (tmp_path / "other.txt").write_bytes(b"x")
    assert hash_files(tmp_path, "*.bin") == first
    (tmp_path / "a.bin").write_bytes(b"2")
    assert hash_files(tmp_path, "*.bin") != first
    with pytest.raises(CacheError, match=r"\*\.pt"):
        hash_files(tmp_path, "*.pt")
