"""`daam-bench run`: one cell without Snakemake."""

from pathlib import Path
from typing import Annotated

import typer

from daam_bench.cli.output import BASE, RESULTS, AsJson, Base, Overlays, Results, print_json


def run(
    dataset: Annotated[str | None, typer.Argument(help="name in the configuration")] = None,
    encoder: Annotated[str | None, typer.Argument(help="name in the configuration")] = None,
    variant: Annotated[
        str | None, typer.Argument(help="a variant, an encoder variant, majority or best_single_layer")
    ] = None,
    fold: Annotated[int | None, typer.Option(min=0, help="only this fold")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="only this seed; repeat it for several")] = None,
    record: Annotated[
        Path | None, typer.Option(help="repeat the replica of this record, from what it says of itself")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="with --record: folder of its cache")] = None,
    output: Annotated[Path, typer.Option(help="folder for samples, cache and records")] = Path(
        "results/cells"
    ),
    configfile: Overlays = None,
    base: Base = BASE,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Train one cell without Snakemake: dataset, encoder, variant, all its folds and seeds or some.

    The workflow's cache is used if it is the one that the configuration asks for, else one is made below the
    output folder. The records are those that the workflow would write: training takes one thread, as there.
    """
    from daam_bench.errors import ConfigError
    from daam_bench.steps import progress_bar

    cell = (dataset, encoder, variant)
    if (record is None) == (None in cell):
        raise ConfigError(
            "name a cell or a record",
            where="daam-bench run",
            expected="DATASET ENCODER VARIANT, or --record FILE",
        )
    with progress_bar("per second") as progress:
        if record is not None:
            from daam_bench.provenance.repeat import cache_of_record, repeat_record

            place = cache or cache_of_record(record)
            found = [repeat_record(record, place, output / "runs", progress)]
        else:
            from daam_bench.config.merge import load_merged
            from daam_bench.direct import run_cell
            from daam_bench.plan import make_plan

            config = load_merged(base, configfile or [])
            named = (str(dataset), str(encoder), str(variant))
            found = run_cell(config, make_plan(config), named, fold, seed, results, output, progress)
    if as_json:
        print_json([item.model_dump(mode="json") for item in found])
        return
    for item in found:
        path = output / "runs" / item.dataset / item.encoder / item.variant / f"{item.stem}.json"
        typer.echo(f"{path}: {item.metric} {100 * item.score:.2f} % ({item.fold_name}, seed {item.seed})")
