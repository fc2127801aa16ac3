"""Where the numbers come from: data, caches, settings, versions."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from daam_bench.analysis.aggregate import title_of
from daam_bench.analysis.report.links import Links
from daam_bench.records import RunRecord
from daam_bench.studies.use import in_use


@dataclass(frozen=True)
class Source:
    """A cache: name, address of its manifest, facts, and the samples without a result with their reasons."""

    name: str
    address: str
    facts: dict[str, Any]
    quarantined: dict[str, str]


def source_of(manifest: Mapping[str, Any], links: Links) -> Source:
    """Return what the page says of one cache."""
    identity, attributes = manifest["identity"], manifest["attributes"]
    samples, layers, features = manifest["shape"]
    difference = manifest["measurements"].get("batching_difference")
    facts = {
        "data": f"{attributes['dataset_title']} ({attributes['licence']}; {attributes['source']})",
        "modality": attributes.get("modality", "not recorded"),
        "shape": f"{samples} samples x {layers} layers x {features} features, {manifest['dtype']}",
        "pooling": attributes["pooling"],
        "encoder": attributes.get("encoder_model", identity["encoder"]["name"]),
        "weights sha256 or revision": identity["encoder"]["weights"],
        "identity": manifest["digest"],
        "largest batched-against-single difference": "not measured"
        if difference is None
        else f"{difference:.1e} of a layer's root mean square",
        "samples without a result": len(manifest["quarantined"]),
    }
    cache = identity["dataset"], identity["encoder"]["name"]
    return Source(" x ".join(cache), links.manifest(*cache), facts, manifest["quarantined"])


def settings_of(records: Iterable[RunRecord], part: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return what records say of `training` or `protocol` behind the titles of those that have it so.

    Of training as far as a variant uses it; of a protocol every switch, as it is common to all.
    """
    found: dict[str, tuple[Mapping[str, Any], list[str]]] = {}
    for record in records:
        facts = in_use(record, {part: getattr(record, part)})[part]
        _, titles = found.setdefault(json.dumps(facts, sort_keys=True), (facts, []))
        titles.append(title_of(record.variant))
    return [(", ".join(dict.fromkeys(titles)), facts) for facts, titles in found.values() if facts]


def distinct(values: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return mappings without repetition, in order."""
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())
