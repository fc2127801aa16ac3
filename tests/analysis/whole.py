"""Folders of results with something in every table."""

from analysis.conftest import (
    ENTROPIES,
    change_record,
    make_record,
    with_,
    write_density,
    write_predictions,
    write_runs,
)

from daam_bench.analysis.tables import Results, write_study_tables, write_tables
from daam_bench.config import Protocol
from daam_bench.records import EpochRecord, read_record, write_finished, write_record

PLACE = {"dataset": "emotions", "encoder": "wavlm-large"}
FACTS = PLACE | {
    "dataset_kind": "iemocap",
    "encoder_model": "microsoft/wavlm-large",
    "cache_shape": (100, 24, 1024),
    "modality": "speech",
}
RUNS = "runs/emotions/wavlm-large"
RANGES = {"mean_offset": (-0.1, 0.2), "scaled_variance": (1.9, 2.1)}
SCORES = {"mha": [[0.5, 0.7], [0.6, 0.8]], "daam_v1": [[0.6, 0.6], [0.7, 0.6]], "mixture": [[0.9, 0.8]] * 2}
PROTOCOLS = {"released": Protocol.model_validate("released"), "adamw": with_(optimizer="adamw")}
STUDIES = {
    "protocol-released/mha": ([[0.6, 0.8], [0.8, 1.0]], {"protocol": PROTOCOLS["released"]}),
    "protocol-released/daam_v1": ([[0.5, 0.8], [0.7, 0.9]], {"protocol": PROTOCOLS["released"]}),
    "switch-optimizer-adamw/mha": ([[0.4, 0.6], [0.6, 0.8]], {"protocol": PROTOCOLS["adamw"]}),
    "switch-optimizer-adamw/daam_v1": ([[0.9, 0.9], [0.8, 0.8]], {"protocol": PROTOCOLS["adamw"]}),
    "switch-weight_decay-0.1/mha": ([[0.9, 0.8], [0.8, 0.8]], {"protocol": with_(weight_decay=0.1)}),
    "layers-top-1/daam_v1": ([[0.6, 0.8], [0.5, 0.7]], {"layers": [1]}),
    "layers-bottom-1/daam_v1": ([[0.3, 0.3], [0.4, 0.4]], {"layers": [2]}),
    "layers-random-1-1/daam_v1": ([[0.4, 0.4], [0.4, 0.4]], {"layers": [3]}),
    "layers-random-1-2/daam_v1": ([[0.6, 0.6], [0.2, 0.2]], {"layers": [4]}),
    "layers-top_block-3/daam_v1": ([[0.7, 0.8], [0.5, 0.7]], {"layers": [1, 2, 3]}),
    "layers-bottom_block-3/daam_v1": ([[0.3, 0.2], [0.4, 0.4]], {"layers": [2, 3, 4]}),
}


def epochs(score):
    """Return two epochs, the second of which scores as the run does."""
    shared = {"learning_rate": 0.1, "train_loss": 1.0, "inner_score": 0.5}
    return [EpochRecord(epoch=e, validation_score=s, **shared) for e, s in ((1, score / 2), (2, score))]


def fill(root):
    """Write ordinary and derived runs of one cache of the paper's, and one variant on a single fold."""
    for variant, scores in SCORES.items():
        folder = root / RUNS / variant
        write_runs(folder, variant, scores, **FACTS)
        for path in folder.glob("fold*.json"):
            record = read_record(path)
            entropies = ENTROPIES["softmax" if variant == "mha" else "gaussian"]
            ranges = (
                {} if variant == "mha" else RANGES | ({"spread": (0.5, 2.0)} if variant == "mixture" else {})
            )
            changes = {"entropies": entropies, "parameter_ranges": ranges, "epochs": epochs(record.score)}
            change_record(folder, type(record).model_validate(record.model_dump() | changes))
            if variant == "daam_v1":
                write_density(folder, record)
    for variant, shift in (("majority", 0.0), ("best_single_layer", 0.1)):
        facts = FACTS | {"kind": "baseline", "note": "layer 3"}
        write_runs(root / RUNS / variant, variant, [[0.2 + shift], [0.3 + shift]], **facts)
    for place, (scores, changes) in STUDIES.items():
        study, variant = place.split("/")
        write_runs(
            root / "studies/emotions/wavlm-large" / study / variant, variant, scores, **FACTS | changes
        )
    single = root / "runs/one/tiny/mha"
    records = [make_record("mha", 0, seed, score, dataset="one") for seed, score in ((3, 0.5), (5, 0.7))]
    for record in records:
        write_record(single, record)
        write_predictions(single, record)
    write_finished(single, records)


def results_in(root):
    found = {
        kind: sorted(path.parent for path in (root / kind).rglob("finished.json"))
        for kind in ("runs", "studies")
    }
    return Results(found["runs"], found["studies"])


def fill_with_tables(root):
    """Write what `fill` does and every table of it; return the folder."""
    fill(root)
    results = results_in(root)
    write_tables(results.folders, root / "tables")
    write_study_tables(results.folders, results.studies, root / "tables")
    return root
