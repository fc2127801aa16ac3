"""The page as a whole."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from daam_bench.analysis.marks import caption_with_note
from daam_bench.analysis.report.cost import cost_frame, rate_frame
from daam_bench.analysis.report.grid import Links, Section, every_run, linked_grid, plain_grid, relative
from daam_bench.analysis.report.pictures import curve_of, pictures_of
from daam_bench.analysis.report.sources import choice_frame, distinct, source_of
from daam_bench.analysis.report.summary import summarise
from daam_bench.analysis.studies.write import CAPTIONS, READABLE, study_tables
from daam_bench.analysis.tables import Results, find_table, make_tables
from daam_bench.records import FINISHED, write_atomically

# Section of the page -> its tables, in order.
SCORES = ("accuracy_summary", "accuracy_per_fold", "comparisons", "mixture")
PAPER = ("paper_comparison",)
IMPORTANCE = ("importance_stability", "entropy")
PARAMETERS = ("parameter_counts", "parameter_ranges")


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
        out: the HTML file; its links to records are relative to its folder.
        title: heading.
        notes: what a reader must know first, such as what is smaller than in the paper.
        studies: folders of derived runs (protocols, switches, layers).

    Raises:
        RecordError: if a record or its predictions are missing or damaged.
    """
    results = Results(folders)
    read = [json.loads(path.read_bytes()) for path in manifests]
    environment = Environment(
        loader=PackageLoader("daam_bench.analysis.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    facts = _tables(results, Links(results, out)) | _provenance(results, read)
    facts["pictures"] = {
        f"{dataset} x {encoder}": pictures_of(dataset, encoder, figures, results.records)
        for dataset, encoder in dict.fromkeys((r.dataset, r.encoder) for r in results.records)
    }
    facts["summary"] = summarise(facts.pop("frames"), results.replicas, read)
    page = environment.get_template("report.html.j2").render(
        title=title, notes=notes, **facts, **_studies(folders, studies, figures, out)
    )
    write_atomically(out, page.encode())


def _tables(results: Results, links: Links) -> dict[str, Any]:
    """Return the tables of the page, by section."""
    frames = make_tables(results.folders)
    choices = Section(
        "What the baselines chose",
        "On the training samples of each fold.",
        plain_grid(choice_frame(results.records)),
    )
    return {
        "frames": frames,
        "scores": [*_sections(SCORES, frames, links), choices],
        "paper": _sections(PAPER, frames, links),
        "importance": _sections(IMPORTANCE, frames, links),
        "parameters": _sections(PARAMETERS, frames, links),
        "runs": every_run(links),
    }


def _sections(names: Sequence[str], frames: Mapping[str, pd.DataFrame], links: Links) -> list[Section]:
    found = []
    for name in names:
        table = find_table(name)
        if len(frames[name]):
            caption = caption_with_note(table.caption, table.shown(frames[name], links.results))
            found.append(Section(table.title, caption, linked_grid(table, frames[name], links)))
    return found


def _studies(folders: Sequence[Path], studies: Sequence[Path], figures: Path, out: Path) -> dict[str, Any]:
    """Return the tables, pictures and records of derived runs."""
    return {
        "studies": [
            Section(name.replace("_", " ").capitalize(), CAPTIONS[name], plain_grid(READABLE[name](frame)))
            for name, frame in study_tables(folders, studies).items()
            if len(frame)
        ],
        "curves": [curve_of(file) for file in sorted(figures.glob("*_ablation_*.png")) if studies],
        "study_records": [relative(folder / FINISHED, out.parent) for folder in studies],
    }


def _provenance(results: Results, manifests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    records = results.records
    return {
        "cost": plain_grid(cost_frame(records)),
        "rates": plain_grid(rate_frame(manifests)),
        "sources": [source_of(manifest) for manifest in manifests],
        "provenance": {
            "Protocol": distinct(r.protocol for r in records if r.protocol),
            "Training": distinct(r.training for r in records if r.training),
            "Environment": distinct(r.environment for r in records),
        },
    }
