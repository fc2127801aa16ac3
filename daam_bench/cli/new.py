"""`daam-bench new ...`: first versions of a user's own dataset and attention module."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daam_bench.cli.output import AsJson, print_json

if TYPE_CHECKING:
    from daam_bench.scaffold.dataset import DatasetDraft

new_app = typer.Typer(
    help="Write a dataset's YAML, or an attention module with its test.", no_args_is_help=True
)


class Kind(StrEnum):
    """Layouts of files that a dataset can be declared for."""

    TABLE = "table"
    CLASS_FOLDERS = "class_folders"
    HUGGINGFACE = "huggingface"


class Medium(StrEnum):
    """Modalities."""

    TEXT = "text"
    SPEECH = "speech"
    VISION = "vision"


@new_app.command("dataset")
def new_dataset(
    name: Annotated[str, typer.Argument(help="its name in configurations and tables")],
    path: Annotated[str, typer.Argument(help="file, folder, or hub id with --revision")],
    kind: Annotated[Kind | None, typer.Option(help="by default what the files look like")] = None,
    modality: Annotated[Medium | None, typer.Option(help="by default what the files look like")] = None,
    content: Annotated[
        list[str] | None, typer.Option(help="column of texts, several times to join them, or of files")
    ] = None,
    label: Annotated[str | None, typer.Option(help="column of labels")] = None,
    group: Annotated[str | None, typer.Option(help="column of groups (speaker, session, source)")] = None,
    no_group: Annotated[
        bool, typer.Option("--no-group", help="samples have no groups, whatever columns are called")
    ] = False,
    split: Annotated[str | None, typer.Option(help="column of splits")] = None,
    score_on: Annotated[str | None, typer.Option(help="split that scores; test, else validation")] = None,
    encoding: Annotated[str | None, typer.Option(help="of a CSV or TSV file; UTF-8, else cp1252")] = None,
    label_pattern: Annotated[
        str | None, typer.Option(help="files in no class folders: expression whose bracket is the label")
    ] = None,
    group_pattern: Annotated[
        str | None, typer.Option(help="class folders: expression whose bracket is the group")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="commit of a hub id")] = None,
    model: Annotated[
        str | None, typer.Option(help="encoder: folder, or hub id with --model-revision; a small one")
    ] = None,
    model_revision: Annotated[str | None, typer.Option(help="commit of the encoder's hub id")] = None,
    output: Annotated[Path | None, typer.Option(help="file to write; config/NAME.yaml")] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the file")] = False,
    as_json: AsJson = False,
) -> None:
    """Look at files, write the overlay that makes them a row of every table, and check it by listing them."""
    from dataclasses import asdict

    from daam_bench.errors import ConfigError
    from daam_bench.records import write_atomically
    from daam_bench.scaffold.dataset import draft_dataset
    from daam_bench.scaffold.overlay import as_yaml, declare_model

    if no_group and (group or group_pattern):
        raise ConfigError(
            "groups are asked for and refused",
            where="--no-group",
            found=f"--group {group}" if group else f"--group-pattern {group_pattern}",
            remedy="Leave one of them out.",
        )
    target = output or Path("config") / f"{name}.yaml"
    if target.exists() and not force:
        raise ConfigError(
            "already there", where=target, remedy="--force replaces it, --output names another."
        )
    said = {
        "modality": None if modality is None else modality.value,
        "revision": revision,
        "encoding": encoding,
        "label_pattern": label_pattern,
        "group_pattern": group_pattern,
    }
    columns = {"content": _one_or_more(content), "label": label, "group": group, "split": split}
    draft = draft_dataset(
        name,
        path,
        None if kind is None else kind.value,
        {key: value for key, value in said.items() if value is not None},
        {key: value for key, value in columns.items() if value is not None},
        None if model is None else declare_model(model, model_revision),
        score_on,
        grouped=not no_group,
    )
    text = as_yaml(draft.overlay, draft.choices, target)
    write_atomically(target, text.encode())
    if as_json:
        print_json(asdict(draft) | {"file": str(target)})
        return
    typer.echo(text)
    _print_counts(draft)
    typer.echo(f"{draft.samples} samples, written to {target}. Run: snakemake --configfile {target}")


def _one_or_more(names: list[str] | None) -> str | list[str] | None:
    return names[0] if names and len(names) == 1 else names or None


def _print_counts(draft: "DatasetDraft") -> None:
    for what, counts in (("classes", draft.classes), ("groups", draft.groups), ("splits", draft.splits)):
        if counts:
            shown = ", ".join(f"{key} {count}" for key, count in list(counts.items())[:12])
            typer.echo(f"{len(counts)} {what}: {shown}{', ...' if len(counts) > 12 else ''}")
    for note in draft.notes:
        typer.echo(f"note: {note}")


@new_app.command("variant")
def new_variant(
    name: Annotated[str, typer.Argument(help="lower-case name of the module")],
    folder: Annotated[Path, typer.Option(help="where to write")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="replace files that are there")] = False,
    as_json: AsJson = False,
) -> None:
    """Write an attention module that trains as it is, its test, and the overlay that names it."""
    from daam_bench.scaffold.variant import write_variant

    written = write_variant(name, folder, force)
    if as_json:
        print_json({"files": [str(path) for path in written]})
        return
    module, test, overlay = written
    typer.echo(f"{module}: the module\n{test}: python -m pytest {test}")
    typer.echo(f"{overlay}: snakemake --configfile {overlay}")
