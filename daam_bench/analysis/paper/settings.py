"""On what the paper's numbers were made: how a run of ours is found to be the same experiment."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath

from daam_bench.adapters.presets import KIND
from daam_bench.config import PROTOCOLS, Protocol, published_rate
from daam_bench.records import RunRecord

DECODER_CHANNELS = 512
EPOCHS = 35


@dataclass(frozen=True)
class Setting:
    """A dataset and an encoder of the paper (its section 4; method.md sections 1 and 2).

    Attributes:
        dataset, encoder: names in the printed data.
        kind: dataset kind that reads it.
        models: patterns that the last part of a hub id or folder must match one of, in lower case.
        shape: (layers, features) of the encoder.
        samples: size of the dataset; None where the paper does not print how many clips it has.
        units: what F1 or R1 counts: folds or seeds.
        training: batch size, learning rate and loss.
        released_tuning: what the released script of encoder LoRA has instead (D11).
    """

    dataset: str
    encoder: str
    kind: str
    models: tuple[str, ...]
    shape: tuple[int, int]
    samples: int | None
    units: str
    training: dict[str, object]
    released_tuning: dict[str, object]

    def is_of(self, record: RunRecord) -> bool:
        """Say whether a record is of this dataset and encoder, whatever they are called."""
        model = PurePosixPath(record.encoder_model).name.lower()
        return (
            record.dataset_kind == self.kind
            and record.cache_shape is not None
            and tuple(record.cache_shape[1:]) == self.shape
            and any(fnmatch(model, pattern) for pattern in self.models)
        )


def _rates(kind: str, model: str) -> float | tuple[float, ...]:
    """Return the published learning rate (D4); two where the paper and its scripts have different ones."""
    rates = tuple(dict.fromkeys(published_rate(name, kind, model) for name in ("paper", "released")))
    return rates if len(rates) > 1 else rates[0]


SETTINGS = (
    Setting(
        dataset="iemocap",
        encoder="wavlm-large",
        kind="iemocap",
        models=("wavlm-large",),
        shape=(24, 1024),
        samples=None,
        units="folds",
        training={"batch_size": 8, "learning_rate": _rates("iemocap", "wavlm-large"), "loss": "focal"},
        released_tuning={"batch_size": 1},
    ),
    Setting(
        dataset="ag_news",
        encoder="llama2-13b",
        kind="ag_news",
        models=("llama-2-13b", "llama-2-13b-hf"),
        shape=(40, 5120),
        samples=127_600,
        units="seeds",
        training={
            "batch_size": 32,
            "learning_rate": _rates("ag_news", "llama-2-13b"),
            "loss": "cross_entropy",
        },
        released_tuning={"epochs": 1, "batch_size": 4, "learning_rate": 1e-6},
    ),
    Setting(
        dataset="cifar100",
        encoder="beit-large",
        kind="cifar100",
        models=("beit-large*",),
        shape=(24, 1024),
        samples=60_000,
        units="seeds",
        training={
            "batch_size": 32,
            "learning_rate": _rates("cifar100", "beit-large"),
            "loss": "cross_entropy",
        },
        released_tuning={"batch_size": 16},
    ),
)


def departures(setting: Setting, records: Sequence[RunRecord]) -> list[str]:
    """Return in which settings runs on the paper's dataset and encoder differ from the paper's; mostly none.

    Both readings of method.md section 5, `paper` and `released`, count as the paper's.
    """
    record = records[0]
    found = _of_protocol(record)
    wanted: dict[str, object] = {"epochs": EPOCHS} | setting.training
    if record.kind != KIND:
        wanted |= {"decoder_channels": DECODER_CHANNELS}
    elif record.protocol.get("encoder_lora_budget") == "released":
        wanted |= setting.released_tuning
    for name, value in wanted.items():
        allowed = value if isinstance(value, tuple) else (value,)
        if (ours := record.training.get(name)) not in allowed:
            found.append(f"{name.replace('_', ' ')} {ours} instead of {' or '.join(map(str, allowed))}")
    if setting.samples is not None and record.cache_shape and record.cache_shape[0] != setting.samples:
        found.append(f"{record.cache_shape[0]:,} of {setting.samples:,} samples")
    return found


def _of_protocol(record: RunRecord) -> list[str]:
    """Return the switches that are set neither as the paper says nor as the released scripts do."""
    name = record.protocol.get("name")
    if name not in ("paper", "released"):
        return [f"protocol {name}"]
    in_force = Protocol.model_validate(name).for_dataset(record.dataset_kind).model_dump()
    return [
        f"{switch.replace('_', ' ')} {record.protocol[switch]} instead of {in_force[switch]}"
        for switch, value in PROTOCOLS[name].items()
        if switch in record.protocol and record.protocol[switch] not in (value, in_force[switch])
    ]
