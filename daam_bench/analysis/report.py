"""One HTML page with everything, readable from disk without a network."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from daam_bench.analysis.aggregate import CACHE, read_all, replica_frame, title_of
from daam_bench.analysis.names import TABLES, figure_stems
from daam_bench.analysis.studies.write import CAPTIONS as STUDY_CAPTIONS
from daam_bench.analysis.studies.write import READABLE, study_tables
from daam_bench.analysis.tables import CAPTIONS, make_tables, readable
from daam_bench.records import RunRecord, write_atomically


def write_report(
    folders: Sequence[Path],
    figures: Path,
    manifests: Sequence[Path],
    out: Path,
    title: str,
    notes: Sequence[str],
    studies: Sequence[Path] = (),
) -> None:
    """Write the report of the records of variant folders.

    Args:
        folders: variant folders; their finished records enter.
        figures: folder of the pictures that `figures.write_figures` made of the same records.
        manifests: manifests of the caches.
        out: the HTML file.
        title: heading.
        notes: what a reader must know first, such as what is smaller than in the paper.
        studies: folders of derived runs.

    Raises:
        RecordError: if a record is missing or damaged.
    """
    records = read_all(folders)
    frames = make_tables(folders)
    replicas = replica_frame(records)
    environment = Environment(
        loader=PackageLoader("daam_bench.analysis", "."), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("report.html.j2").render(
        title=title,
        notes=notes,
        summary=_summary(frames["accuracy_summary"]),
        captions=CAPTIONS,
        tables={name: _html(readable(name, frames[name])) for name in TABLES},
        caches=[_cache(dataset, encoder, figures, records) for dataset, encoder in _caches(records)],
        studies=[
            {"caption": STUDY_CAPTIONS[name], "table": _html(READABLE[name](frame))}
            for name, frame in study_tables(folders, studies).items()
        ],
        curves=[_picture(file, _curve(file)) for file in sorted(figures.glob("*_ablation_*.png")) if studies],
        cost=_html(_cost(replicas)),
        choices=_html(_choices(records)),
        sources=[_source(json.loads(path.read_bytes())) for path in manifests],
        protocols=_distinct(r.protocol for r in records if r.protocol),
        trainings=_distinct(r.training for r in records if r.training),
        environments=_distinct(r.environment for r in records),
        records=[str(folder) for folder in [*folders, *studies]],
    )
    write_atomically(out, page.encode())


def _summary(summary: pd.DataFrame) -> list[str]:
    """Return one sentence a cache: the best mean, and how many variants beat the baselines."""
    sentences = []
    for (dataset, encoder), part in summary.groupby(CACHE, sort=False):
        trained = part[part["kind"] == "attention"]
        best = trained.sort_values("mean_percent", kind="stable").iloc[-1]
        above = {
            baseline: int((trained[f"gain_over_{baseline}_low"] > 0).sum())
            for baseline in ("majority", "best_single_layer")
        }
        sentences.append(
            f"{dataset} x {encoder}: highest mean accuracy {best['mean_percent']:.1f} % ({best['title']}). "
            f"Of {len(trained)} variants, {above['majority']} are above the majority class and "
            f"{above['best_single_layer']} above logistic regression on the best single layer, each with the "
            "whole 95 % interval of the paired gain. "
            + _best(part.loc[part["significantly_best"], "title"].tolist(), len(trained))
        )
    return sentences


def _best(titles: list[str], trained: int) -> str:
    """Say which variants are significantly best."""
    if titles:
        return f"Significantly better than all others: {', '.join(titles)}."
    return f"No group of the {trained} variants is significantly better than all others."


def _caches(records: Sequence[RunRecord]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((record.dataset, record.encoder) for record in records))


def _cache(dataset: str, encoder: str, figures: Path, records: Sequence[RunRecord]) -> dict[str, Any]:
    """Return the pictures of a cache as data addresses, with what they show."""
    variants = dict.fromkeys(r.variant for r in records if (r.dataset, r.encoder) == (dataset, encoder))
    stems = {stem: variant for variant in variants for stem in figure_stems(dataset, encoder, [variant])}
    pictures = []
    for stem, variant in stems.items():
        file = figures / f"{stem}.png"
        if not file.exists():
            continue
        if stem.startswith("accuracy"):
            text = f"Accuracy of every variant on {dataset} x {encoder}."
        elif stem.startswith("importance"):
            text = (
                f"Importance Factor of {title_of(variant)}: density averaged over validation samples, folds "
            )
            text += "and seeds, scaled to 0..1 over the whole map."
        else:
            text = (
                f"Share of each layer in the density of {title_of(variant)}; whiskers: population standard "
            )
            text += "deviation over folds and seeds."
        pictures.append(_picture(file, text))
    return {"name": f"{dataset} x {encoder}", "pictures": pictures}


def _picture(file: Path, text: str) -> dict[str, str]:
    """Return a picture as a data address, with what it shows."""
    return {"data": f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}", "text": text}


def _curve(file: Path) -> str:
    kind, _, place = file.stem.partition("_ablation_")
    return (
        f"Accuracy over the number of layers kept ({kind}s), {place}: highest and lowest importance, random "
        "and all layers; 95 % bootstrap interval over folds and seeds."
    )


def _cost(replicas: pd.DataFrame) -> pd.DataFrame:
    grouped = replicas.groupby([*CACHE, "variant"], sort=False)[["wall_seconds", "cpu_seconds"]]
    frame = grouped.agg(["count", "sum"]).reset_index()
    return pd.DataFrame(
        {
            "Dataset": frame["dataset"],
            "Encoder": frame["encoder"],
            "Variant": frame["variant"].map(title_of),
            "Replicas": frame["wall_seconds", "count"],
            "Wall time (s)": frame["wall_seconds", "sum"].map("{:.1f}".format),
            "CPU time (s)": frame["cpu_seconds", "sum"].map("{:.1f}".format),
        }
    )


def _choices(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Return what the baselines chose on their training samples, fold by fold."""
    rows = [
        {
            "Dataset": r.dataset,
            "Encoder": r.encoder,
            "Baseline": title_of(r.variant),
            "Fold": r.fold_name,
            "Chosen": r.note,
            "Score (%)": f"{100 * r.score:.1f}",
        }
        for r in records
        if r.kind == "baseline"
    ]
    return pd.DataFrame(rows)


def _source(manifest: dict[str, Any]) -> dict[str, Any]:
    identity, attributes = manifest["identity"], manifest["attributes"]
    samples, layers, features = manifest["shape"]
    facts = {
        "data": f"{attributes['dataset_title']} ({attributes['licence']}; {attributes['source']})",
        "shape": f"{samples} samples x {layers} layers x {features} features, {manifest['dtype']}",
        "pooling": attributes["pooling"],
        "weights sha256 or revision": identity["encoder"]["weights"],
        "identity": manifest["digest"],
        "largest batched-against-single difference": f"{manifest['measurements']['batching_difference']:.1e} "
        "of a layer's root mean square",
        "quarantined samples": len(manifest["quarantined"]),
    }
    return {
        "name": f"{identity['dataset']} x {identity['encoder']['name']}",
        "facts": facts,
        "quarantined": manifest["quarantined"],
    }


def _distinct(values: Any) -> list[dict[str, Any]]:
    """Return mappings without repetition, in order."""
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())


def _html(frame: pd.DataFrame) -> str:
    return frame.to_html(index=False, escape=True, border=0)
