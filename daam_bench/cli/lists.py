"""What there is: variants, kinds of datasets, numbers of parameters, the configuration's schema."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from daam_bench.cli.output import AsJson, Format, OutputFormat, print_rows


class ProtocolName(StrEnum):
    """Readings of the paper, method.md section 5."""

    CORRECTED = "corrected"
    PAPER = "paper"
    RELEASED = "released"


def variants(output: Format = OutputFormat.TABLE, as_json: AsJson = False) -> None:
    """List the attention variants."""
    from daam_bench.heads.presets import VARIANTS

    rows = [
        {"variant": v.name, "title": v.title, "description": v.description, "source": v.source}
        for v in VARIANTS.values()
    ]
    print_rows(rows, as_json or output is OutputFormat.JSON)


def datasets(output: Format = OutputFormat.TABLE, as_json: AsJson = False) -> None:
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
    print_rows(rows, as_json or output is OutputFormat.JSON)


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
    as_json: AsJson = False,
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
    print_rows(rows, as_json or output is OutputFormat.JSON)


def schema(output: Annotated[Path | None, typer.Option(help="file to write instead")] = None) -> None:
    """Print the JSON schema of the configuration, for editors that check YAML."""
    from daam_bench.config import Config

    text = json.dumps(Config.model_json_schema(), indent=1)
    if output is None:
        typer.echo(text)
    else:
        output.write_text(text + "\n", encoding="utf-8")


def unlock() -> None:
    """Clear the lock that a killed snakemake left in this folder; refuse while one is running."""
    from daam_bench.locks import clear_stale_lock

    clear_stale_lock(Path.cwd())
