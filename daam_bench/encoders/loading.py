"""Open models and processors; nothing that is opened can execute code."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pickle import UnpicklingError
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as hub_logging
from transformers.utils.peft_utils import find_adapter_config_file

from daam_bench.config import EncoderConfig
from daam_bench.encoders.hidden_states import LayerPooler
from daam_bench.encoders.shapes import DEPTHS
from daam_bench.errors import EncoderError

_MOST_LAYERS = 1000  # as many as the deepest published transformer, DeepNet (arXiv 2203.00555), has
# What transformers ends in where files are missing, or do not say what it takes for granted.
_REFUSALS = (
    *(OSError, ValueError, ImportError, RuntimeError, KeyError, UnpicklingError),
    *(AttributeError, TypeError, StrictDataclassError),
)


def open_pretrained(opener: Callable[..., Any], config: EncoderConfig, **options: Any) -> Any:
    """Call a `from_pretrained` on the configured folder or commit.

    Raises:
        EncoderError: if transformers cannot open it.
    """
    hub_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return opener(config.model, revision=config.revision or "main", trust_remote_code=False, **options)
    except _REFUSALS as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EncoderError(
            f"transformers cannot open it ({first})",
            where=config.model,
            expected=f"a folder or hub id with a {config.modality} model in Hugging Face format",
        ) from None


def open_model(config: EncoderConfig) -> torch.nn.Module:
    """Return the frozen model in evaluation mode on its device; of an encoder-decoder, the encoder.

    Weights that its files lack are NaN, not random: `LayerPooler.calibrate` refuses a model that uses one.
    Heads and mask tokens that no hidden state depends on may be missing.

    Raises:
        EncoderError: if it cannot be opened, is an adapter of another model, or asks for code of the hub,
            for layers without end or for an attention that changes.
    """
    if _is_adapter(config):
        raise EncoderError(
            "it is an adapter, and not its commit or files alone say what it computes",
            where=config.model,
            remedy="Merge it into its base model (peft's merge_and_unload) and save the whole.",
        )
    _refuse_strange(config)
    options = {"dtype": getattr(torch, config.dtype), "device_map": config.device_map}
    model, found = open_pretrained(AutoModel.from_pretrained, config, output_loading_info=True, **options)
    weights = model.state_dict()
    for name in found["missing_keys"]:
        if name in weights and weights[name].is_floating_point():
            weights[name].fill_(torch.nan)
    # An encoder that was saved alone (T5's) is opened with a decoder of no weights.
    if model.config.is_encoder_decoder or (hasattr(model, "encoder") and hasattr(model, "decoder")):
        model = model.get_encoder()
    if config.device_map is None:
        model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    for module in model.modules():
        # Keys and values of all layers, for texts that are written on: twice the hidden states.
        if getattr(getattr(module, "config", None), "use_cache", False):
            module.config.use_cache = False
    frozen: torch.nn.Module = model.eval().requires_grad_(False)
    return frozen


def _is_adapter(config: EncoderConfig) -> bool:
    try:
        return find_adapter_config_file(config.model, revision=config.revision or "main") is not None
    except OSError:  # no such model: opening it says so
        return False


def _refuse_strange(config: EncoderConfig) -> None:
    """Refuse what a stranger's configuration may ask for before a weight is read.

    An attention that is a repository of the hub: transformers would fetch and execute it. More layers than
    any model has: transformers would make them all, without end. An attention that depends on the texts that
    came before (BigBird's, which the first short text changes for good).
    """
    for settings in _settings(open_pretrained(AutoConfig.from_pretrained, config)):
        if "/" in (attention := str(settings._attn_implementation)):
            raise EncoderError(
                "its configuration names code that would be fetched and executed",
                where=config.model,
                found=f"attn_implementation: {attention}",
                remedy="Remove attn_implementation from a copy of its config.json, if you trust the rest.",
            )
        if getattr(settings, "attention_type", None) == "block_sparse":
            raise EncoderError(
                "its attention depends on the texts that came before",
                where=config.model,
                found="attention_type: block_sparse",
                remedy="Set attention_type to original_full in the config.json of a local copy.",
            )
        for name in DEPTHS:
            if isinstance(depth := getattr(settings, name, None), int) and depth > _MOST_LAYERS:
                raise EncoderError(
                    "its configuration declares more layers than a model has",
                    where=config.model,
                    expected=f"{name} of at most {_MOST_LAYERS}",
                    found=depth,
                )


def _settings(settings: Any) -> Iterator[Any]:
    """Yield the configuration of a model, and of each model within it."""
    yield settings
    for name in settings.sub_configs:
        if (part := getattr(settings, name, None)) is not None:  # some models leave a part out
            yield from _settings(part)


def make_pooler(model: Any) -> LayerPooler:
    """Return the pooler of a model, whose depth its configuration tells.

    Raises:
        EncoderError: if the configuration does not tell.
    """
    depth = next(
        (
            value
            for name in ("encoder_layers", "num_hidden_layers")
            if isinstance(value := getattr(model.config, name, None), int)
        ),
        None,
    )
    if depth is None:
        raise EncoderError(
            "its configuration does not say how many layers it has",
            where=type(model).__name__,
            expected="num_hidden_layers",
            remedy="Models of several towers or resolutions are not served; name the tower's own model.",
        )
    return LayerPooler(model, depth)


def digest_of_settings(settings: dict[str, Any]) -> str:
    """Return the sha256 of a processor's settings, whatever version of transformers wrote them."""
    kept = {
        key: value
        for key, value in settings.items()
        if key not in {"transformers_version", "processor_class"}
    }
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()
