"""How fast the encoders were."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


def rate_frame(manifests: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row a cache: samples, seconds and rates of its extraction, as far as it was measured."""
    rows = []
    for manifest in manifests:
        measured, identity = manifest["measurements"], manifest["identity"]
        unit = measured.get("unit")
        rows.append(
            {
                "Dataset": identity["dataset"],
                "Encoder": identity["encoder"]["name"],
                "Samples": f"{manifest['shape'][0]:,}",
                "Computed": _known(measured, "computed_samples", ",.0f"),
                "Reused": _known(measured, "reused_samples", ",.0f"),
                "Seconds": _known(measured, "seconds", ",.1f"),
                "Samples/s": _known(measured, "samples_per_second", ",.1f"),
                "Units/s": f"{measured['units_per_second']:,.4g} {unit}/s" if unit else "",
            }
        )
    return pd.DataFrame(rows)


def _known(measured: Mapping[str, Any], name: str, style: str) -> str:
    return format(measured[name], style) if name in measured else ""
