"""The configuration: one typed model of `config.yaml` and its overlays, unknown keys refused.

What to compute lives here; threads, memory and folders do not. Imports neither torch nor transformers.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from daam_bench.errors import ConfigError, unknown_name

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=64)]
# YAML reads a label such as 1 as a number.
AsText = Annotated[str, BeforeValidator(str)]
ShortClips = Literal["masked", "zero_padded"]
Modality = Literal["text", "speech", "vision"]
# A branch or tag moves; a commit does not.
REVISION = r"^[0-9a-f]{40}$"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FoldRule(_Section):
    """How samples are dealt to folds; fold i validates on part i and trains on the rest."""

    rule: Literal["leave_one_group_out", "split_column", "stratified", "stratified_by_group"] = Field(
        "leave_one_group_out",
        description="leave_one_group_out: one fold per group; split_column: the dataset's own train and "
        "validation splits; stratified: k folds with equal class shares, samples of equal content together; "
        "stratified_by_group: the same with whole groups",
    )
    count: int = Field(5, ge=2, description="number of folds of the stratified rules")
    seed: int = Field(0, ge=0, description="seed of the stratified rules")


class Columns(_Section):
    """Which columns of a table, or of a Hugging Face dataset, hold what."""

    content: str | list[str] | None = Field(
        None,
        description="the text (several columns are joined by a space), or the image or audio, or the path of "
        "its file; by default text, image or audio, after the modality",
    )
    label: str = "label"
    group: str | None = Field(None, description="session, speaker, source; by default none")
    split: str | None = Field(None, description="split of a table; by default none")
    sample_id: str | None = Field(None, description="unique name of a sample; by default its row number")


class DatasetConfig(_Section):
    """A dataset by name: its kind says how it is read, its path where it lies.

    The keys from `modality` to `group_pattern` are read by the kinds that declare nothing of their own
    (table, class_folders, huggingface); any other kind refuses them.
    """

    kind: Name = Field(description="how the files are laid out; `daam-bench datasets` lists the kinds")
    path: str = Field(description="folder or file, relative to where snakemake runs, or a hub id")
    revision: str | None = Field(
        None, pattern=REVISION, description="commit of a hub id; with it, path is looked up on the hub"
    )
    modality: Modality | None = None
    subset: str | None = Field(None, description="huggingface: name of the dataset's configuration")
    columns: Columns | None = None
    labels: dict[AsText, str] | None = Field(
        None,
        description="class name by label as the files have it; several labels may share a class, samples of "
        "labels that are not listed are left out. By default every label is a class, in sorted order",
    )
    splits: dict[str, Literal["train", "validation"]] | None = Field(
        None, description="what the splits of the files are used for; splits that are not listed are left out"
    )
    group_pattern: str | None = Field(
        None,
        description="class_folders: regular expression on a file's path below its class; its first bracket "
        "is the group",
    )
    clip_seconds: float | None = Field(
        None,
        gt=0,
        description="speech: cut recordings into clips of this length, the remainder is a clip of its own",
    )
    accept_leakage: bool = Field(
        False, description="go on although samples of equal content, or of one group, are in two splits"
    )
    folds: FoldRule = FoldRule()
    samples_per_group: int | None = Field(
        None, ge=1, description="keep only this many samples of each group, drawn with class shares kept"
    )
    sampling_seed: int = Field(0, ge=0, description="seed of that draw")


class EncoderConfig(_Section):
    """A frozen pre-trained transformer and how its hidden states are pooled."""

    modality: Modality
    model: str = Field(description="folder in Hugging Face format, or a hub id")
    revision: str | None = Field(
        None, pattern=REVISION, description="commit of a hub id; a hub id without it is refused"
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="precision of the forward pass"
    )
    max_length: int | None = Field(None, ge=1, description="text: longest input in tokens; longer is cut")
    tokens: Literal["all", "patches"] = Field(
        "all",
        description="vision: mean over all tokens, the class token included, or over patches only (D12)",
    )
    device_map: Literal["auto"] | None = Field(
        None, description="auto: spread a model over all GPUs that is too large for one"
    )


class CacheConfig(_Section):
    """How embeddings are stored."""

    format: Literal["zarr", "hdf5"] = "zarr"
    dtype: Literal["float32", "float16"] = Field("float32", description="precision of the stored embeddings")
    chunk_mebibytes: float = Field(16.0, gt=0, le=1024, description="size of one chunk, the unit of writing")
    on_bad_sample: Literal["quarantine", "stop"] = Field(
        "quarantine",
        description="a sample that cannot be read or encoded: leave it out and report it, or stop",
    )


# method.md section 5; one row per protocol, one column per switch.
PROTOCOLS: dict[str, dict[str, Any]] = {
    "corrected": {
        "density_exponent": "2c",
        "scaled_variance": "positive",
        "mixture_normalisation": "exact",
        "attention_axis": "layers",
        "grouped_queries": "separate",
        "optimizer": "adam",
        "weight_decay": 0.1,
        "schedule": "constant",
        "select": "inner",
        "gqdaam_heads": 8,
        "encoder_lora_targets": "query_key",
        "encoder_lora_scale": "alpha_over_r",
        "encoder_lora_classifier": "trained",
        "short_clips": "masked",
        "encoder_lora_budget": "as_others",
    },
    "paper": {
        "density_exponent": "2c2",
        "scaled_variance": "free",
        "mixture_normalisation": "clamped",
        "attention_axis": "layers",
        "grouped_queries": "separate",
        "optimizer": "adam",
        "weight_decay": 0.1,
        "schedule": "constant",
        "select": "last",
        "gqdaam_heads": 8,
        "encoder_lora_targets": "query_key",
        "encoder_lora_scale": "alpha_over_r",
        "encoder_lora_classifier": "trained",
        "short_clips": "masked",
        "encoder_lora_budget": "as_others",
    },
    "released": {
        "density_exponent": "2c",
        "scaled_variance": "free",
        "mixture_normalisation": "clamped",
        "attention_axis": "batch",
        "grouped_queries": "summed",
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "schedule": "plateau",
        "select": "best_validation",
        "gqdaam_heads": 8,
        "encoder_lora_targets": "query_value",
        "encoder_lora_scale": "alpha",
        "encoder_lora_classifier": "as_released",
        "short_clips": "zero_padded",
        "encoder_lora_budget": "released",
    },
}


class Protocol(_Section):
    """Where the paper and its released scripts disagree; `name` sets all switches, each can be set alone.

    D1 to D11 are the rows of method.md section 5. `scaled_variance` and `mixture_normalisation` have no row
    there: in them our own reading differs from the one that the paper and the released scripts share. D4's
    learning rates depend on the dataset and are set as `training.learning_rate`.
    """

    name: Literal["corrected", "paper", "released"] = "corrected"
    density_exponent: Literal["2c", "2c2"] = Field(
        description="D1: DA = exp(-z^2 / (2 c)) (Algorithm 1) or exp(-z^2 / (2 c^2)) (the paper's text)"
    )
    scaled_variance: Literal["positive", "free"] = Field(
        description="free: c may turn negative in training, as published, and exp(-z^2 / (2 c)) then grows "
        "above 1; positive: such a c acts as 1e-12, so that DA stays a density (no effect with 2c2)"
    )
    mixture_normalisation: Literal["exact", "clamped"] = Field(
        description="clamped: the mixture divides by at least 1e-8, as published, and fades where all its "
        "Gaussians are far away; exact: its density always sums to one over the layers of a head"
    )
    attention_axis: Literal["layers", "batch"] = Field(
        description="D2: what self-attention attends over; batch: samples of a batch attend to each other, "
        "in training and in validation"
    )
    grouped_queries: Literal["separate", "summed"] = Field(
        description="D3: every query head its own attention, or query heads of a group summed before the "
        "softmax with the scale applied twice"
    )
    optimizer: Literal["adam", "adamw"] = Field(
        description="D4: Adam adds the weight decay to the gradient, AdamW takes it off the weights; the "
        "published learning rates are, paper: 1e-4, and 5e-5 with Llama-2; released: 1e-4 on IEMOCAP, 1e-5 "
        "on CIFAR-100, 5e-5 on AG News"
    )
    weight_decay: float = Field(ge=0, description="D4: weight decay of the optimiser")
    schedule: Literal["constant", "plateau"] = Field(
        description="D5: plateau: learning rate / 10 after more than 10 epochs in a row without a better "
        "accuracy (by a ten-thousandth of the best) on the samples that `select` looks at, the validation "
        "samples unless it is inner; the paper states no schedule"
    )
    select: Literal["inner", "last", "best_validation"] = Field(
        description="D6: the epoch that is reported: best on a part of the training split, the last, or best "
        "on the validation samples themselves (optimistic); the paper states none"
    )
    gqdaam_heads: Literal[8, 1] = Field(
        description="D7: heads of the density attention inside GQDAAM. 8: as many as DAAMv1, so 8 where they "
        "can share the layers; 1: as the released CIFAR-100 script alone has it"
    )
    encoder_lora_targets: Literal["query_key", "query_value"] = Field(
        description="D8: projections of the encoder that encoder LoRA adapts"
    )
    encoder_lora_scale: Literal["alpha_over_r", "alpha"] = Field(
        description="D8: factor of encoder LoRA's update B A"
    )
    encoder_lora_classifier: Literal["trained", "as_released"] = Field(
        description="D9: trained: encoder LoRA and LoRA+ train the classifier (and WavLM's projector) beside "
        "A and B; as_released: the classifier stays at its random initialisation in LoRA+, and in LoRA on "
        "Llama-2; WavLM's projector stays so in both"
    )
    short_clips: ShortClips = Field(
        description="D10: a speech clip shorter than 5 s. masked: padding enters no mean (the paper does not "
        "say); zero_padded: zeros up to 5 s enter the mean, and the waveform is not normalised"
    )
    encoder_lora_budget: Literal["as_others", "released"] = Field(
        description="D11: as_others: the experiment's epochs, batch size, learning rate, length; released: "
        "AG News 1 epoch at 1e-6 on 128 tokens; batch sizes 1 / 4 / 16, read as speech / text / vision"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        if isinstance(data, str):
            data = {"name": data}
        if not isinstance(data, dict):
            return data
        name = data.get("name", "corrected")
        if name not in PROTOCOLS:
            raise ValueError(f"unknown protocol {name!r}, expected one of {', '.join(PROTOCOLS)}")
        return PROTOCOLS[name] | {"name": name} | data


class TrainingConfig(_Section):
    """How one replica (variant x fold x seed) is trained (paper section 4)."""

    epochs: int = Field(35, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(1e-4, gt=0)
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    focal_gamma: float = Field(2.5, ge=0)
    focal_alpha: float = Field(0.25, gt=0)
    precision: Literal["float32", "bfloat16"] = Field(
        "bfloat16", description="bfloat16: automatic mixed precision; float32: full precision throughout"
    )
    decoder_channels: int = Field(512, ge=1, description="channels between the decoder's two convolutions")
    density_heads: int | None = Field(
        None,
        ge=1,
        description="heads of density attention over the layers, except DAAMv2's one; by default 8 where it "
        "can, else the largest divisor up to 8 of the number of layers that leaves two layers a head",
    )
    inner_fraction: float = Field(
        0.1, gt=0, lt=1, description="part of the training split that chooses the epoch when select: inner"
    )
    lora_plus_ratio: float = Field(2.828, gt=0, description="LoRA+: learning rate of B / learning rate of A")


class Experiment(_Section):
    """One dataset through one encoder, with the variants and seeds to train."""

    dataset: Name
    encoder: Name
    variants: list[str] | Literal["all"] = "all"
    seeds: list[int] = Field([0, 1, 2], min_length=1)
    training: dict[str, Any] = Field(
        default_factory=dict, description="training settings of this experiment alone"
    )


class Config(_Section):
    """Everything that is computed."""

    title: str = "daam_bench"
    notes: list[str] = Field(default_factory=list, description="said at the head of the report")
    datasets: dict[Name, DatasetConfig]
    encoders: dict[Name, EncoderConfig]
    experiments: list[Experiment] = Field(min_length=1)
    cache: CacheConfig = CacheConfig()
    protocol: Protocol = Field(default_factory=lambda: Protocol.model_validate("corrected"))
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _no_experiment_twice(self) -> Self:
        pairs = [(e.dataset, e.encoder) for e in self.experiments]
        for pair in pairs:
            if pairs.count(pair) > 1:
                raise ValueError(f"experiments: dataset {pair[0]!r} with encoder {pair[1]!r} is listed twice")
        return self


def parse_config(data: object, where: str = "config.yaml") -> Config:
    """Return the typed configuration of plain data.

    Raises:
        ConfigError: naming each key that is unknown, missing or out of range, and the nearest valid key.
    """
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise _explain(error, where) from None


def load_config(path: str | Path) -> Config:
    """Read and check one configuration file.

    Raises:
        ConfigError: if the file is missing, is not YAML, or does not fit the model.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", where=path) from None
    try:
        return parse_config(yaml.safe_load(text), str(path))
    except yaml.YAMLError as error:
        raise ConfigError(f"is not valid YAML ({error})", where=path) from None


def training_of(config: Config, experiment: Experiment) -> TrainingConfig:
    """Return the training settings of an experiment: its own over the common ones."""
    merged = config.training.model_dump() | experiment.training
    try:
        return TrainingConfig.model_validate(merged)
    except ValidationError as error:
        place = f"experiments ({experiment.dataset} x {experiment.encoder}).training"
        raise _explain(error, place, TrainingConfig) from None


def _explain(error: ValidationError, where: str, model: type[BaseModel] = Config) -> ConfigError:
    problems = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"]) or "top level"
        if item["type"] == "extra_forbidden":
            siblings = _keys_at(model, item["loc"][:-1])
            problems.append(str(unknown_name("key", str(item["loc"][-1]), siblings, place)))
        else:
            found = "" if item["type"] == "missing" else f" (found {str(item['input'])[:80]!r})"
            problems.append(f"{place}: {item['msg']}{found}")
    return ConfigError("is not valid:\n  " + "\n  ".join(problems), where=where)


def _keys_at(model: Any, path: tuple[int | str, ...]) -> list[str]:
    """Return the field names that are valid at a place of the configuration."""
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[str(part)].annotation
        else:  # a mapping or list: go on with what it holds
            model = get_args(model)[-1]
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
