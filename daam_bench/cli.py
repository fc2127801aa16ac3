"""The command line. Libraries are imported inside the commands, so that `--help` is quick."""

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from daam_bench.errors import DaamBenchError

app = typer.Typer(
    help="Benchmark of small attention modules on cached hidden states of frozen transformers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
cache_app = typer.Typer(help="Look into an embedding cache, prove it, mend it.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")


def _place(text: str) -> Path:
    """Return a path or, of a URL, what stands for one."""
    from daam_bench.cache.places import place

    return place(text)


class OutputFormat(StrEnum):
    """How a command prints its result."""

    TABLE = "table"
    JSON = "json"


class ProtocolName(StrEnum):
    """Readings of the paper, method.md section 5."""

    CORRECTED = "corrected"
    PAPER = "paper"
    RELEASED = "released"


class CacheFormat(StrEnum):
    """Formats of a cache on disk."""

    ZARR = "zarr"
    HDF5 = "hdf5"


CachePath = Annotated[
    Path,
    typer.Argument(parser=_place, metavar="PATH", help="a store, its manifest, or the folder or URL of them"),
]
Format = Annotated[OutputFormat, typer.Option("--format", help="how to print")]


@app.command()
def variants(output: Format = OutputFormat.TABLE) -> None:
    """List the attention variants."""
    from daam_bench.heads.presets import VARIANTS

    rows = [
        {"variant": v.name, "title": v.title, "description": v.description, "source": v.source}
        for v in VARIANTS.values()
    ]
    _print_rows(rows, output)


@app.command()
def datasets(output: Format = OutputFormat.TABLE) -> None:
    """List the kinds of datasets that can be read."""
    from daam_bench.datasets.registry import KINDS

    rows = [
        {
            "kind": kind.name,
            "modality": kind.modality or "as declared",
            "classes": len(kind.classes),
            "groups": len(kind.groups),
            "samples": sum(kind.counts.values()) or sum(sum(c.values()) for c in kind.class_counts.values()),
            "licence": kind.licence,
            "title": kind.title,
            "source": kind.source,
        }
        for kind in KINDS.values()
    ]
    _print_rows(rows, output)


@app.command()
def parameters(
    layers: Annotated[int, typer.Option(min=1, help="number of layers N")],
    features: Annotated[int, typer.Option(min=1, help="number of features d of a layer")],
    classes: Annotated[int, typer.Option(min=2, help="number of classes")],
    protocol: Annotated[
        ProtocolName, typer.Option(help="GQA and GQDAAM are larger with separate query heads (D3)")
    ] = ProtocolName.RELEASED,
    decoder_channels: Annotated[int, typer.Option(min=1, help="channels between the convolutions")] = 512,
    density_heads: Annotated[int | None, typer.Option(min=1, help="heads of density attention")] = None,
    output: Format = OutputFormat.TABLE,
) -> None:
    """Count the trainable parameters of every variant: attention, with convolutions, with classifier.

    The default counts the modules of the released scripts, as the published figures do.
    """
    from daam_bench.config import Protocol
    from daam_bench.heads import parameter_counts
    from daam_bench.heads.presets import VARIANTS

    switches = Protocol.model_validate(protocol.value)
    rows = []
    for name in VARIANTS:
        counts = parameter_counts(
            name,
            layers,
            features,
            classes,
            switches,
            decoder_channels=decoder_channels,
            density_heads=density_heads,
        )
        rows.append(
            {
                "variant": name,
                "attention": counts.attention,
                "with_decoder": counts.with_decoder,
                "with_classifier": counts.with_classifier,
            }
        )
    _print_rows(rows, output)


@cache_app.command("info")
def cache_info(
    path: CachePath,
    rows: Annotated[int, typer.Option(min=0, help="number of samples to show")] = 5,
    output: Format = OutputFormat.TABLE,
) -> None:
    """Show what is in a cache, from what, how big, statistics of each layer and a few rows."""
    from daam_bench.cache.inspect import describe_cache

    description = describe_cache(path, rows)
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(description, indent=1))
        return
    for key, value in description.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            typer.echo(f"\n{key.replace('_', ' ')}")
            _print_rows(value, output)
        elif isinstance(value, dict):
            typer.echo(f"{key.replace('_', ' ')}: " + ", ".join(f"{k} {v}" for k, v in value.items()))
        else:
            typer.echo(f"{key.replace('_', ' ')}: {value}")


@cache_app.command("verify")
def cache_verify(path: CachePath, output: Format = OutputFormat.TABLE) -> None:
    """Prove every chunk of a cache by its checksums, and its labels and counts; exit code 5 if any is bad."""
    from daam_bench.cache.verify import verify_cache
    from daam_bench.errors import CacheError

    found = verify_cache(path)
    if output is OutputFormat.JSON:
        report = {"ok": found.ok, "bad_chunks": found.bad_chunks, "problems": found.problems}
        typer.echo(json.dumps(report, indent=1))
    else:
        for index, reason in found.bad_chunks.items():
            typer.echo(f"chunk {index}: {reason}")
        for problem in found.problems:
            typer.echo(problem)
    if not found.ok:
        count = len(found.bad_chunks) + len(found.problems)
        remedy = f"`daam-bench cache repair {path}` extracts only what is bad."
        raise CacheError("the cache is damaged", where=path, found=f"{count} problems", remedy=remedy)
    typer.echo(f"{path}: whole", err=True)


@cache_app.command("repair")
def cache_repair(path: CachePath) -> None:
    """Extract again what is missing or damaged in a cache, and only that."""
    from daam_bench.cache.repair import repair_cache
    from daam_bench.steps import progress_bar

    with progress_bar("samples/s") as progress:
        computed = repair_cache(path, progress)
    typer.echo(f"{path}: {computed} samples extracted again")


@cache_app.command("convert")
def cache_convert(
    path: CachePath,
    target: Annotated[
        Path, typer.Argument(parser=_place, metavar="FOLDER", help="folder or URL for the copy")
    ],
    kind: Annotated[CacheFormat, typer.Option("--to", help="format of the copy")],
) -> None:
    """Copy a cache into the other format; values, labels and identity stay."""
    from daam_bench.cache.conversion import convert_cache

    typer.echo(str(convert_cache(path, target, kind.value)))


@app.command()
def schema(output: Annotated[Path | None, typer.Option(help="file to write instead")] = None) -> None:
    """Print the JSON schema of the configuration, for editors that check YAML."""
    from daam_bench.config import Config

    text = json.dumps(Config.model_json_schema(), indent=1)
    if output is None:
        typer.echo(text)
    else:
        output.write_text(text + "\n", encoding="utf-8")


@app.command()
def unlock() -> None:
    """Clear the lock that a killed snakemake left in this folder; refuse while one is running."""
    from daam_bench.locks import clear_stale_lock

    clear_stale_lock(Path.cwd())


def _print_rows(rows: Sequence[Mapping[str, object]], output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(rows, indent=1))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for name in rows[0]:
        numeric = isinstance(rows[0][name], int | float)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*[_cell(value) for value in row.values()])
    # A pipe has no width: leave lines whole.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def main() -> None:
    """Run the command line; a user's mistake ends in one message and an exit code of its kind."""
    from daam_bench.steps import step_app

    app.add_typer(step_app, name="step")
    try:
        app()
    except DaamBenchError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
