import pytest

from daam_bench.cache.identity import CacheIdentity, digest_of_samples, hash_files
from daam_bench.cache.store import CacheLayout
from daam_bench.errors import CacheError

COLUMNS = {
    "sample_ids": ["a", "b"],
    "labels": [0, 1],
    "groups": ["x", "y"],
    "splits": ["", "train"],
    "contents": ["1", "2"],
}


def layout(**columns):
    return CacheLayout(2, 3, 5, "float32", 2, **(COLUMNS | columns))


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


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_counts(column):
    assert digest_of_samples(layout(**{column: COLUMNS[column][::-1]})) != digest_of_samples(layout())


def test_the_order_of_samples_counts():
    turned = layout(**{name: values[::-1] for name, values in COLUMNS.items()})
    assert digest_of_samples(turned) != digest_of_samples(layout())


def test_attributes_and_chunks_do_not_count():
    same = CacheLayout(2, 3, 5, "float32", 1, **COLUMNS, attributes={"licence": "other"})
    assert digest_of_samples(same) == digest_of_samples(layout())


def test_hash_files_follows_content_and_name(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"1")
    first = hash_files(tmp_path, "*.bin")
    (tmp_path / "other.txt").write_bytes(b"x")
    assert hash_files(tmp_path, "*.bin") == first
    (tmp_path / "a.bin").write_bytes(b"2")
    assert hash_files(tmp_path, "*.bin") != first
    with pytest.raises(CacheError, match=r"\*\.pt"):
        hash_files(tmp_path, "*.pt")
