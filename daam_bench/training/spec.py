"""What one training job computes."""

from pydantic import BaseModel, ConfigDict, Field

from daam_bench.config import FoldRule, Protocol, TrainingConfig, VariantConfig
from daam_bench.config.section import Seed
from daam_bench.errors import ConfigError
from daam_bench.heads.own import fingerprint_of_file, own_variant
from daam_bench.heads.presets import Variant, find_variant
from daam_bench.records import Name


class JobSpec(BaseModel):
    """What every job of replicas says: one variant, on the samples of one cache, over its folds and seeds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: Name
    encoder: Name
    variant: Name
    seeds: list[Seed]
    folds: FoldRule
    training: TrainingConfig
    protocol: Protocol


class TrainingSpec(JobSpec):
    """What one training job computes; equal specs and equal caches give equal results."""

    layers: dict[int, list[int]] | None = Field(
        None, description="by fold: numbers, from 1, of the layers to train on; by default all of them"
    )
    own: VariantConfig | None = Field(None, description="of a user's own module")
    own_sha256: str | None = Field(None, description="of its file, so that an edit trains anew")

    def entry(self) -> Variant:
        """Return the table entry of the variant.

        Raises:
            ConfigError: if an own module's file is missing, or is not the one that was planned with.
        """
        if self.own is None:
            return find_variant(self.variant)
        entry = own_variant(self.variant, self.own)
        if (found := fingerprint_of_file(self.own.file)) != self.own_sha256:
            raise ConfigError(
                "the file changed since the run was planned",
                where=self.own.file,
                expected=f"sha256 {self.own_sha256}",
                found=found,
                remedy="Start the run again.",
            )
        return entry
