"""Runs on some layers beside those on all, and which of them a row of a table is made of."""

import pandas as pd

from daam_bench.analysis.aggregate import CACHE
from daam_bench.analysis.studies.frames import derived_of, ordinary_of, run_frame, same_runs, study_frame
from daam_bench.analysis.tables.base import Keys, Results, Run
from daam_bench.studies.names import Pick

IMPORTANCE = {"top": "high", "bottom": "low", "random": "random", "all": "all"}
KEYS = [*CACHE, "variant", "blocks", "layers_kept", "side"]


def ablation_frame(results: Results) -> pd.DataFrame:
    """Return one row a replica: the ablated ones, then those on all layers (side `all`, `layers_kept` 0)."""
    changed = study_frame(results, "layers")
    picks = [Pick.parse(name) for name in changed["subject"]]
    changed = changed.assign(
        side=[p.side for p in picks],
        blocks=[p.block for p in picks],
        layers_kept=[p.size for p in picks],
        draw=[p.draw for p in picks],
    )
    every = run_frame(results)
    # The ordinary run stands beside single layers and beside blocks.
    whole = [
        same_runs(every, part).assign(side="all", blocks=block, layers_kept=0, draw=0)
        for block, part in changed.groupby("blocks", sort=False)
    ]
    return pd.concat([changed, *whole], ignore_index=True)


def kept(frame: pd.DataFrame) -> list[str]:
    """Return for each row how many layers are kept: `3`, `block of 3` or `all`."""
    rows = zip(frame["layers_kept"], frame["blocks"], strict=True)
    return ["all" if not k else f"block of {k}" if block and k > 1 else str(k) for k, block in rows]


def ablated(keys: Keys, results: Results, side: str) -> list[Run]:
    """Return the runs on the layers of one side.

    Args:
        keys: of a row: dataset, encoder, variant, blocks, layers_kept and, if it is of one, draw.
        results: ordinary and derived runs.
        side: top, bottom, random or all.
    """
    found = [(run, Pick.parse(study.subject)) for run, study in derived_of(keys, results, "layers")]
    here = [(run, pick) for run, pick in found if str(pick.block) == keys["blocks"]]
    if side == "all":
        return ordinary_of([run for run, _ in here], results)
    draw = keys.get("draw")
    return [
        run
        for run, pick in here
        if (pick.side, str(pick.size)) == (side, keys["layers_kept"]) and draw in (None, str(pick.draw))
    ]
