import pytest

from daam_bench.cache.identity import CacheIdentity, digest_of_samples, hash_model
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


def test_hash_of_a_model_follows_content_and_name_of_what_determines_its_numbers(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"1")
    (tmp_path / "config.json").write_text('{"a": 1, "b": {"c": 2, "d": 3}, "transformers_version": "4"}')
    first = hash_model(tmp_path)
    (tmp_path / "training_args.bin").write_bytes(b"x")
    (tmp_path / "config.json").write_text('{"transformers_version": "5", "b": {"d": 3, "c": 2},\n "a": 1}')
    assert hash_model(tmp_path) == first
    (tmp_path / "config.json").write_text('{"a": 1, "b": {"c": 2, "d": 4}}')
    second = hash_model(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"2")
    third = hash_model(tmp_path)
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "model.safetensors")
    assert len({first, second, third, hash_model(tmp_path)}) == 4
    with pytest.raises(CacheError, match=r"no files to identify.*safetensors"):
        hash_model(tmp_path / "elsewhere")
