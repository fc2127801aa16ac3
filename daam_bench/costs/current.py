"""Whether a cache is the one that the configuration asks for now."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from daam_bench.cache.identity import digest_of_samples, files_of_model, hash_model
from daam_bench.cache.manifest import MANIFEST, store_of
from daam_bench.cache.places import is_remote
from daam_bench.cache.store import CacheLayout
from daam_bench.config import Config
from daam_bench.costs.samples import listed_samples
from daam_bench.plan import Plan
from daam_bench.specs import extraction_spec

Facts = Mapping[str, Any]

# Weights of local folders are hashed up to this size, in bytes: a plan must not take minutes.
_HASHED = 4e9


def difference(config: Config, plan: Plan, place: tuple[str, str], results: Path, facts: Facts) -> str:
    """Return why the cache of a manifest is not the one that a configuration asks for; empty if it is.

    Args:
        config: what is asked for.
        plan: its jobs.
        place: dataset and encoder.
        results: folder of results.
        facts: of the manifest.
    """
    return next((reason for reason in _reasons(config, plan, place, results, facts) if reason), "")


def _reasons(
    config: Config, plan: Plan, place: tuple[str, str], results: Path, facts: Facts
) -> Iterator[str]:
    """Yield what each check says, the quick ones first; an empty text is no objection."""
    if "spec" not in facts:
        yield "its manifest does not say what it was made by"
        return
    wanted = extraction_spec(config, plan, *place)
    yield first_change(_that_counts(facts["spec"]), _that_counts(wanted))
    store = store_of(results / "embeddings" / Path(*place) / MANIFEST, dict(facts))
    if not is_remote(store) and not store.exists():
        yield "its store is gone"
    listed, why = listed_samples(place[0], plan.datasets[place[0]], results)
    yield why
    if listed is not None and _digest(listed, facts) != facts["identity"]["samples"]:
        yield "it has other samples than those that are listed"
    yield _other_weights(Path(plan.encoders[place[1]].model), facts)


def _that_counts(spec: Facts) -> dict[str, Any]:
    """Return the settings of an extraction that make another cache, or one at another place."""
    cache = {name: spec["cache"].get(name) for name in ("dtype", "format", "url")}
    encoder = {name: value for name, value in spec["encoder"].items() if name != "device_map"}
    return {"encoder": encoder, "cache": cache, "protocol": {"short_clips": spec.get("short_clips")}}


def _digest(listed: pd.DataFrame, facts: Facts) -> str:
    _, layers, features = facts["shape"]
    layout = CacheLayout(
        samples=len(listed),
        layers=layers,
        features=features,
        dtype=facts["dtype"],
        rows_per_chunk=1,
        sample_ids=listed["sample_id"].tolist(),
        labels=listed["label"].tolist(),
        splits=listed["split"].tolist(),
        groups=listed["group"].tolist(),
        contents=listed["content_key"].tolist(),
    )
    return digest_of_samples(layout)


def _other_weights(model: Path, facts: Facts) -> str:
    files = files_of_model(model)
    quick = files and sum(file.stat().st_size for file in files) < _HASHED
    if quick and hash_model(model) != facts["identity"]["encoder"]["weights"]:
        return f"the weights in {model} are others now"
    return ""


def first_change(there: Facts, wanted: Facts, where: str = "") -> str:
    """Return the first setting that differs, with both values; empty if none does."""
    for name in dict.fromkeys([*wanted, *there]):
        old, new = there.get(name), wanted.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            if found := first_change(old, new, f"{where}{name}."):
                return found
        elif old != new:
            return f"{where}{name} was {old}, now {new}"
    return ""
