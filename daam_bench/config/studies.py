"""Studies: runs derived from the experiments, over the same caches and folds."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from daam_bench.config.section import MOST, Name, Section, Seeds

Size = Annotated[int, Field(ge=1, le=MOST)]


class _Study(Section):
    """What every study may say about the experiments that it starts from."""

    dataset: Name | None = Field(None, description="with `encoder`: the experiment; by default every one")
    encoder: Name | None = None
    seeds: Seeds | None = Field(None, description="some of the experiment's seeds; by default all of them")


class ProtocolStudy(_Study):
    """Variants under whole protocols; the configuration's own protocol is read from the ordinary runs."""

    kind: Literal["protocols"] = "protocols"
    variants: list[str] | Literal["all"] = "all"
    protocols: list[Literal["corrected", "paper", "released"]] = Field(
        ["corrected", "paper", "released"], min_length=1
    )


class SwitchStudy(_Study):
    """The configuration's protocol with one switch changed at a time, on the variants that it touches."""

    kind: Literal["switches"] = "switches"
    variants: list[str] | Literal["all"] = "all"
    switches: list[str] | Literal["all"] = Field("all", description="fields of `protocol`")


class LayerAblationStudy(_Study):
    """Variants retrained on the layers of highest, of lowest Importance Factor, and on random ones."""

    kind: Literal["layer_ablation"] = "layer_ablation"
    variants: list[str] = Field(["daam_v1"], min_length=1, description="variants that have a density")
    sizes: list[Size] = Field([1, 3], min_length=1, description="numbers of layers k that are kept")
    random_draws: int = Field(1, ge=0, le=1000, description="random choices of k layers, drawn for each fold")
    blocks: bool = Field(
        False, description="keep k neighbouring layers, as the paper's 19-21; by default any k layers"
    )

    @field_validator("sizes")
    @classmethod
    def _ascending(cls, sizes: list[int]) -> list[int]:
        return sorted(set(sizes))


Study = Annotated[ProtocolStudy | SwitchStudy | LayerAblationStudy, Field(discriminator="kind")]
