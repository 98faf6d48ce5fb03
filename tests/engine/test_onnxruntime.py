from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from engine.contract import BackendTests, noise, write_model
from upres.card import Model, ModelCard
from upres.engine.backends import default_backend
from upres.engine.onnx_graphs import prepared
from upres.engine.onnxruntime import CPU, OnnxRuntime, gpu_provider
from upres.engine.openvino import OpenVINO
from upres.engine.wrappers import compile_window
from upres.errors import DeviceError, ModelError
from upres.models import INT8, open_model, shipped_models


class TestOnnxRuntime(BackendTests):
    source = "from upres.engine.onnxruntime import CPU, OnnxRuntime; backend = OnnxRuntime(CPU)"

    @pytest.fixture
    def backend(self) -> OnnxRuntime:
        return OnnxRuntime(CPU)


@pytest.mark.parametrize("name", ["fast", "balanced", "photo"])
def test_shipped_models_give_what_openvino_gives(name: str) -> None:
    window = noise(1, 3, 24, 31)
    for scale in shipped_models()[name]:
        exact, other, int8, other_int8 = (
            compile_window(backend, open_model(variant, scale=scale), 24, 31)(window)
            for variant in (name, name + INT8)
            for backend in (OpenVINO(), OnnxRuntime(CPU))
        )
        np.testing.assert_allclose(other, exact, rtol=0, atol=2e-6)
        # Where float32 rounds differently, a value may be quantised to the one beside it, and what
        # follows from it, too. But neither is further from what was quantised.
        errors = [np.square(result - exact).mean() for result in (int8, other_int8)]
        assert 0.9 < errors[1] / errors[0] < 1.1


def test_int8_is_for_processors() -> None:
    backend = OnnxRuntime("CUDAExecutionProvider")
    int8, fp32 = (open_model(name, scale=2).card for name in ("fast-int8", "fast"))
    variants = [Model(Path(f"{card.precision}.onnx"), card) for card in (fp32, int8)]
    assert backend.choose(variants).model == replace(variants[0], compute="fp16")
    assert [backend.best_compute(card) for card in (int8, fp32)] == ["fp32", "fp16"]
    unknown = replace(fp32, network="unknown")
    assert backend.best_compute(unknown) == "fp32"


def test_int8_in_half_precision_is_refused() -> None:
    model = replace(open_model("fast-int8", scale=2), compute="fp16")
    with pytest.raises(ModelError, match=r"fast-int8-x2.onnx: is int8.* take the model in fp32"):
        OnnxRuntime(CPU).open(model)


def test_all_but_the_picture_is_in_half_precision() -> None:
    model = onnx.load_from_string(prepared(open_model("fast", scale=2).path, "fp16"))
    onnx.checker.check_model(model, full_check=True)
    kinds = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    by_type: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        by_type.setdefault(node.op_type, []).append(node)
    half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    for op_type in ("Conv", "Relu"):
        assert {kinds[node.output[0]] for node in by_type[op_type]} == {half}
    # Into the network and out of it; nothing goes there and back.
    assert len(by_type["Cast"]) == 2
    (copied,) = by_type["Gather"]
    assert copied.input[0] == model.graph.input[0].name
    assert kinds[copied.output[0]] == full
    assert [kinds[node.output[0]] for node in by_type["Add"]] == [half] * 8 + [full]


def test_in_float32_the_picture_is_copied_too_and_goes_through_no_convolution() -> None:
    path = open_model("fast", scale=2).path
    convolutions = [
        [node for node in graph.node if node.op_type == "Conv"]
        for graph in (onnx.load(path).graph, onnx.load_from_string(prepared(path, "fp32")).graph)
    ]
    assert len(convolutions[1]) == len(convolutions[0]) - 1


@pytest.mark.parametrize("strides", [[1, 1], [2, 2]])
def test_only_convolutions_that_copy_are_taken_for_such(strides: list[int], tmp_path: Path) -> None:
    weights = np.array([[0, 1, 0], [1, 0, 0], [1, 0, 0]], np.float32)[:, :, None, None]
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], strides=strides)]
    path = write_model(tmp_path / "m.onnx", nodes, {"w": weights}, card=ModelCard("m", 1, 0))
    (node,) = onnx.load_from_string(prepared(path, "fp32")).graph.node
    if strides == [2, 2]:
        assert node.op_type == "Conv"
        return
    assert node.op_type == "Gather"
    window = noise(1, 3, 9, 8)
    got = OnnxRuntime(CPU).open(open_model(path)).compile(9, 8)(window)
    np.testing.assert_array_equal(got, window[:, [1, 0, 0]])


def test_operations_that_stay_in_float32_have_float16_around_them(tmp_path: Path) -> None:
    """A factor for ``Resize`` has to be in float32; ``Erf`` is none of those in half."""
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["a"]),
        helper.make_node("Erf", ["a"], ["b"]),
        helper.make_node("Resize", ["b", "", "by"], ["c"], mode="nearest"),
        helper.make_node("Constant", [], ["k"], value_float=0.25),
        helper.make_node("Sub", ["c", "k"], ["y"]),
    ]
    constants = {"two": np.array(2, np.float32), "by": np.array([1, 1, 2, 2], np.float32)}
    path = write_model(tmp_path / "m.onnx", nodes, constants, card=ModelCard("m", 2, 0))
    exact, near = (
        OnnxRuntime(CPU).open(replace(open_model(path), compute=compute)).compile(8, 9)
        for compute in ("fp32", "fp16")
    )
    window = noise(1, 3, 8, 9)
    np.testing.assert_allclose(near(window), exact(window), rtol=0, atol=2**-9)


def test_weights_that_float16_does_not_have_are_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "large"], ["a"]),
        helper.make_node("Div", ["a", "large"], ["y"]),
    ]
    large = {"large": np.array(1e6, np.float32)}
    path = write_model(tmp_path / "m.onnx", nodes, large, card=ModelCard("m", 1, 0))
    OnnxRuntime(CPU).open(open_model(path))
    with pytest.raises(ModelError, match=r"m\.onnx: its weights are too large for fp16"):
        OnnxRuntime(CPU).open(replace(open_model(path), compute="fp16"))


def test_a_window_that_fails_says_how_to_do_without_the_gpu(model_file: Path) -> None:
    """As where the GPU's memory is too small: here, a window of another shape."""
    engine = OnnxRuntime(CPU).open(open_model(model_file)).compile(20, 20)
    engine._device = "gpu"
    with pytest.raises(ModelError, match=r"random-x2\.onnx: .* on 19x20 pixels") as caught:
        engine(noise(1, 3, 20, 19))
    (remedy,) = caught.value.remedies
    assert (remedy.option, remedy.value) == ("device", "cpu")


def needs_no_gpu() -> None:
    with contextlib.suppress(DeviceError):
        pytest.skip(f"there is a GPU here: {gpu_provider()}")


def test_a_provider_that_is_not_there_is_refused(model_file: Path) -> None:
    needs_no_gpu()
    with pytest.raises(DeviceError, match=r"cannot use its CUDAExecutionProvider here"):
        OnnxRuntime("CUDAExecutionProvider").open(open_model(model_file))


def test_devices() -> None:
    needs_no_gpu()
    assert isinstance(default_backend(), OpenVINO)
    assert default_backend("cpu").device == "cpu"
    with pytest.raises(DeviceError, match=r"finds no GPU .*device='cpu' computes on") as caught:
        default_backend("gpu")
    assert "\n" not in str(caught.value)
    wrong: Any = "tpu"
    with pytest.raises(DeviceError, match="no device is called 'tpu': there are auto, cpu, gpu"):
        default_backend(wrong)
