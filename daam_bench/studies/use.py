"""What a variant has a use for: settings and switches that cannot change its numbers are none of its own."""

from collections.abc import Mapping
from typing import Any

from daam_bench.adapters.presets import ENCODER_VARIANTS, EncoderVariant
from daam_bench.config import TrainingConfig
from daam_bench.heads.presets import RESERVED, VARIANTS, Variant
from daam_bench.records import RunRecord
from daam_bench.studies.switches import SWITCHES

# Baselines choose on a part of the training split; of the protocol they read how short clips are pooled.
BASELINE_SETTINGS, BASELINE_SWITCHES = ("inner_fraction", "metric"), ("short_clips",)
_FOLDS_OF_A_COUNT = ("stratified", "stratified_by_group")


def unused_settings(entry: Variant | EncoderVariant, loss: str) -> set[str]:
    """Return the fields of `training` that a variant has no use for under a loss."""
    unused = set() if loss == "focal" else {"focal_gamma", "focal_alpha"}
    if isinstance(entry, EncoderVariant):
        unused |= {"decoder_channels", "density_heads", "shuffle_mebibytes"}
    else:
        unused |= {"decoder_channels"} if entry.decoder == "linear" else set()
        unused |= {"density_heads"} if not entry.has_density or "heads" in entry.options else set()
    return unused | (set() if entry.lora_plus else {"lora_plus_ratio"})


def unused_switches(variant: str, training: TrainingConfig) -> set[str]:
    """Return the fields of `protocol` that cannot touch a variant that is trained by these settings."""
    return {field for field, switch in SWITCHES.items() if not switch.touches(variant, training)}


def in_use(record: RunRecord, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record says of `training`, `protocol` and `folds`, as far as its variant uses it.

    Args:
        record: whose variant it is; to a user's own module everything may be of use.
        facts: these three where they are there, and others, which stay.
    """
    variant = record.variant
    training, protocol = dict(facts.get("training") or {}), dict(facts.get("protocol") or {})
    folds = dict(facts.get("folds") or {})
    if record.modality not in ("speech", ""):  # empty in older records
        protocol.pop("short_clips", None)
    if variant in RESERVED:
        training = {name: training[name] for name in BASELINE_SETTINGS if name in training}
        protocol = {name: protocol[name] for name in BASELINE_SWITCHES if name in protocol}
    elif entry := ENCODER_VARIANTS.get(variant) or VARIANTS.get(variant):
        unused = unused_settings(entry, str(training.get("loss")))
        epochs = training.get("epochs")
        if isinstance(epochs, int):
            protocol_unused = unused_switches(variant, TrainingConfig(epochs=epochs))
            protocol = {name: value for name, value in protocol.items() if name not in protocol_unused}
        training = {name: value for name, value in training.items() if name not in unused}
    if folds.get("rule") not in _FOLDS_OF_A_COUNT:
        folds = {name: value for name, value in folds.items() if name not in ("count", "seed")}
    found = {"training": training, "protocol": protocol, "folds": folds}
    return {name: found.get(name, value) for name, value in facts.items()}
