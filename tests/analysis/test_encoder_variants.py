"""Encoder LoRA in the tables: under its own name, never mixed up with cached LoRA."""

import pytest
from analysis.conftest import make_record, write_predictions

from daam_bench.adapters.presets import ENCODER_VARIANTS, KIND
from daam_bench.analysis.aggregate import title_of
from daam_bench.analysis.figures import plot_accuracy
from daam_bench.analysis.tables import find_table, make_tables
from daam_bench.heads.presets import VARIANTS
from daam_bench.records import write_finished, write_record


@pytest.fixture
def both(folders):
    """Return the usual folders with cached and encoder LoRA beside them."""
    made = [*folders]
    for variant, shift, kind in (("lora_r4", 0.0, "attention"), ("encoder_lora_r4", 0.1, KIND)):
        folder = folders[0].parent / variant
        records = [
            make_record(variant, fold, seed, 0.5 + 0.1 * fold + shift, kind=kind)
            for fold in (0, 1)
            for seed in (0, 1)
        ]
        for record in records:
            write_record(folder, record)
            write_predictions(folder, record)
        write_finished(folder, records)
        made.append(folder)
    return made


def test_names_are_never_those_of_cached_variants():
    assert not ENCODER_VARIANTS.keys() & VARIANTS.keys()
    titles = [title_of(name) for name in (*VARIANTS, *ENCODER_VARIANTS)]
    assert len(set(titles)) == len(titles)
    assert title_of("encoder_lora_r4") == "Encoder LoRA, r = 4"
    assert title_of("encoder_lora_plus_r8") == "Encoder LoRA+, r = 8"
    for name, variant in VARIANTS.items():
        assert ("cached" in variant.title) == name.startswith("lora")


def test_both_kinds_have_their_own_rows_in_the_tables(both):
    tables = make_tables(both)
    summary = tables["accuracy_summary"].set_index("variant")
    assert summary.loc["encoder_lora_r4", "mean_percent"] == pytest.approx(65)
    assert summary.loc["lora_r4", "mean_percent"] == pytest.approx(55)
    assert summary.loc["encoder_lora_r4", "kind"] == KIND
    readable = find_table("accuracy_summary").readable(tables["accuracy_summary"]).plain()
    assert {"Encoder LoRA, r = 4", "LoRA r=4 (cached)"} <= set(readable["Variant"])
    assert "encoder_lora_r4" in set(tables["parameter_counts"]["variant"])


def test_it_is_compared_pairwise_with_the_cached_variants(both):
    comparisons = make_tables(both)["comparisons"]
    pairs = {frozenset(pair) for pair in zip(comparisons["variant"], comparisons["against"], strict=True)}
    assert frozenset({"encoder_lora_r4", "lora_r4"}) in pairs
    row = comparisons[(comparisons["variant"] == "lora_r4") & (comparisons["against"] == "encoder_lora_r4")]
    assert row["difference_percent"].item() == pytest.approx(-10)


def test_it_is_drawn_among_the_trained_variants(both):
    figure = plot_accuracy(make_tables(both)["accuracy_summary"], "toy")
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert "Encoder LoRA, r = 4" in shown
    assert "Majority class" not in shown
