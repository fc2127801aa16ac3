"""`daam-bench cache ...`: look into an embedding cache, prove it, mend it, take parts of it elsewhere."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from daam_bench.cli.output import AsJson, Format, OutputFormat, print_json, print_rows

cache_app = typer.Typer(help="Look into an embedding cache, prove it, mend it.", no_args_is_help=True)


class CacheFormat(StrEnum):
    """Formats of a cache on disk."""

    ZARR = "zarr"
    HDF5 = "hdf5"


def _place(text: str) -> Path:
    """Return a path or, of a URL, what stands for one."""
    from daam_bench.cache.places import place

    return place(text)


CachePath = Annotated[
    Path,
    typer.Argument(parser=_place, metavar="PATH", help="a store, its manifest, or the folder or URL of them"),
]


@cache_app.command("info")
def cache_info(
    path: CachePath,
    rows: Annotated[int, typer.Option(min=0, help="number of samples to show")] = 5,
    output: Format = OutputFormat.TABLE,
    as_json: AsJson = False,
) -> None:
    """Show what is in a cache, from what, how big, how fast made, statistics of each layer, some rows."""
    from daam_bench.cache.inspect import describe_cache

    description = describe_cache(path, rows) | _extraction_of(path)
    if as_json or output is OutputFormat.JSON:
        typer.echo(json.dumps(description, indent=1))
        return
    for key, value in description.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            typer.echo(f"\n{key.replace('_', ' ')}")
            print_rows(value)
        elif isinstance(value, dict):
            typer.echo(f"{key.replace('_', ' ')}: " + ", ".join(f"{k} {v}" for k, v in value.items()))
        else:
            typer.echo(f"{key.replace('_', ' ')}: {value}")


def _extraction_of(path: Path) -> dict[str, object]:
    """Return what the extraction measured; nothing of a store that lies apart from its manifest."""
    from daam_bench.cache.manifest import find_manifest, read_manifest
    from daam_bench.errors import CacheError

    try:
        return {"extraction": read_manifest(find_manifest(path))["measurements"]}
    except CacheError:
        return {}


@cache_app.command("verify")
def cache_verify(path: CachePath, output: Format = OutputFormat.TABLE, as_json: AsJson = False) -> None:
    """Prove every chunk of a cache by its checksums, and its labels and counts; exit code 5 if any is bad."""
    from daam_bench.cache.verify import verify_cache
    from daam_bench.errors import CacheError

    found = verify_cache(path)
    if as_json or output is OutputFormat.JSON:
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
def cache_repair(path: CachePath, as_json: AsJson = False) -> None:
    """Extract again what is missing or damaged in a cache, and only that."""
    from daam_bench.cache.reader import open_cache
    from daam_bench.cache.repair import repair_cache
    from daam_bench.steps import progress_bar

    with progress_bar("samples/s") as progress:
        computed = repair_cache(path, progress)
    if as_json:
        cache = open_cache(path)
        count = cache.layout.samples
        print_json({"path": cache.path, "samples_extracted_again": computed, "of_samples": count})
    else:
        typer.echo(f"{path}: {computed} samples extracted again")


@cache_app.command("prune")
def cache_prune(
    path: CachePath,
    yes: Annotated[bool, typer.Option("--yes", help="remove them; without it they are only shown")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the stores that a cache's manifest does not name, older ones; with --yes remove them.

    An extraction takes from them the rows that did not change.
    """
    from daam_bench.cache.prune import prune_cache

    found = prune_cache(path, yes)
    if as_json:
        facts = [{"path": other.path, "bytes": other.size, "in_use": other.in_use} for other in found]
        print_json([fact | {"removed": yes and not fact["in_use"]} for fact in facts])
        return
    if not found:
        typer.echo("no other stores are here")
    for other in found:
        done = "in use, left alone" if other.in_use else "removed" if yes else "would be removed (--yes)"
        typer.echo(f"{other.path}: {other.size / 2**20:.1f} MiB, {done}")


@cache_app.command("convert")
def cache_convert(
    path: CachePath,
    target: Annotated[
        Path, typer.Argument(parser=_place, metavar="FOLDER", help="folder or URL for the copy")
    ],
    kind: Annotated[CacheFormat, typer.Option("--to", help="format of the copy")],
    as_json: AsJson = False,
) -> None:
    """Copy a cache into the other format; values, labels and identity stay."""
    from daam_bench.cache.conversion import convert_cache
    from daam_bench.cache.manifest import find_manifest

    store = convert_cache(path, target, kind.value)
    if as_json:
        print_json({"path": store, "manifest": find_manifest(target)})
    else:
        typer.echo(str(store))


@cache_app.command("plot")
def cache_plot(
    path: CachePath,
    output: Annotated[Path, typer.Option(help="picture to write: .png, .pdf or .svg")] = Path("cache.png"),
    layer: Annotated[
        int | None, typer.Option(min=1, help="layer whose samples are drawn; the middle")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw norms and spread of every layer, and the samples of one layer by class (two components)."""
    from daam_bench.cache.plot import plot_cache

    picture = plot_cache(path, output, layer)
    if as_json:
        print_json({"path": picture})
    else:
        typer.echo(str(picture))


@cache_app.command("export")
def cache_export(
    path: CachePath,
    target: Annotated[Path, typer.Argument(help="file: .parquet, .npz, or .csv for the metadata alone")],
    layers: Annotated[str | None, typer.Option(help="layers to take, for example 1,4-6; all")] = None,
    as_json: AsJson = False,
) -> None:
    """Write metadata and chosen layers of a cache to one file, in bounded memory."""
    from daam_bench.cache.export import export_cache

    count = export_cache(path, target, None if layers is None else _numbers(layers))
    if as_json:
        print_json({"path": target, "samples": count})
    else:
        typer.echo(f"{target}: {count} samples")


def _numbers(text: str) -> list[int]:
    """Return the numbers of a list such as 1,4-6."""
    from daam_bench.errors import ConfigError

    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or not (last or first).isdigit():
            raise ConfigError("no list of layers", where="--layers", expected="for example 1,4-6", found=text)
        numbers += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(numbers))
