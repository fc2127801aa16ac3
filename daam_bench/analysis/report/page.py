"""The page as a whole."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from daam_bench.analysis.names import curve_stem
from daam_bench.analysis.report.grid import Section, anchored, frame_grid, table_section
from daam_bench.analysis.report.links import Links
from daam_bench.analysis.report.pictures import Picture, curve_of, pictures_of
from daam_bench.analysis.report.rates import rate_frame
from daam_bench.analysis.report.sources import distinct, settings_of, source_of
from daam_bench.analysis.report.summary import summarise
from daam_bench.analysis.tables import Results, find_table
from daam_bench.analysis.tables.write import tables_of
from daam_bench.records import FINISHED, write_atomically
from daam_bench.studies.names import Pick

_SECTIONS = ("scores", "paper", "importance", "parameters", "studies", "cost", "runs")


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
    results = Results(folders, studies)
    read = {path: json.loads(path.read_bytes()) for path in manifests}
    places = {(m["identity"]["dataset"], m["identity"]["encoder"]["name"]): path for path, m in read.items()}
    links = Links(results, out, places)
    frames = {name: find_table(name).values(results) for name in tables_of(results)}
    environment = Environment(
        loader=PackageLoader("daam_bench.analysis.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        title=title,
        notes=notes,
        summary=summarise(frames, results.records, list(read.values()), links),
        sections=_sections(frames, links),
        curves=_curves(results, figures),
        study_records=[links.to(folder / FINISHED) for folder in studies],
        pictures={
            f"{dataset} x {encoder}": pictures_of(dataset, encoder, figures, results.records)
            for dataset, encoder in dict.fromkeys((r.dataset, r.encoder) for r in results.records)
        },
        **_provenance(links, list(read.values())),
    )
    write_atomically(out, page.encode())


def _sections(frames: Mapping[str, pd.DataFrame], links: Links) -> dict[str, list[Section]]:
    """Return the tables that have rows, by section of the page."""
    found: dict[str, list[Section]] = {name: [] for name in _SECTIONS}
    for name, frame in frames.items():
        table = find_table(name)
        if len(frame):
            section = table_section(table, frame, links)
            if table.section == "runs":
                section = replace(section, grid=anchored(section.grid))
            found[table.section].append(section)
    return found


def _curves(results: Results, figures: Path) -> list[Picture]:
    """Return the curves of the layer ablations of these studies."""
    picks = {
        (*run.place, Pick.parse(run.study.subject).block): None
        for run in results.derived
        if run.study and run.study.kind == "layers"
    }
    files = [figures / f"{curve_stem(*pick)}.png" for pick in picks]
    return [curve_of(file) for file in files if file.exists()]


def _provenance(links: Links, manifests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the page says of cost, data, settings and versions."""
    records = links.results.records
    return {
        "measured_energy": any(r.energy_joules is not None for r in records),
        "rates": frame_grid(rate_frame(manifests), links.manifest),
        "sources": [source_of(manifest, links) for manifest in manifests],
        "provenance": {
            "Protocol of the ordinary runs": settings_of(records, "protocol"),
            "Training": settings_of(records, "training"),
            "Environment": [("", facts) for facts in distinct(r.environment for r in records)],
        },
    }
