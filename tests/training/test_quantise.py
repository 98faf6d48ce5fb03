from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from typer.testing import CliRunner

from upres.card import Compute, write_card
from upres.cli.main import app
from upres.engine.machine import this_processor
from upres.engine.openvino import OpenVINO
from upres.engine.wrappers import compile_window
from upres.errors import InputError, ModelError, OutputError, TrainingError, UsageError
from upres.models import read_model
from upres.training.export import load_network, save_weights
from upres.training.networks import Plain
from upres.training.quantise import to_int8
from upres.training.variants import to_half

# Elsewhere sums of two products may overflow, so that results differ.
native = pytest.mark.skipif(not this_processor().int8, reason="needs a processor with VNNI or AMX")


def windows(count: int) -> NDArray[np.float32]:
    random = np.random.default_rng(2)
    return random.random((count, 1, 3, 40, 30), np.float32)


def convolutions(path: Path) -> dict[str, onnx.NodeProto]:
    """The nodes that read each convolution's weights, by the name of the weights."""
    graph = onnx.load(path).graph
    makers = {output: node for node in graph.node for output in node.output}
    found = {}
    for node in graph.node:
        if node.op_type == "Conv":
            weights = node.input[1]
            if weights in makers:  # dequantised
                weights = makers[weights].input[0].removesuffix("_quantized")
            found[weights] = node
    return found


def test_inner_convolutions_are_int8_and_the_outermost_float32(
    quantised: tuple[Path, float],
) -> None:
    graph = onnx.load(quantised[0]).graph
    types = {w.name.removesuffix("_quantized"): w.data_type for w in graph.initializer}
    inner = {f"body.{block}.conv{k}.weight" for block in (0, 1) for k in (1, 2)}
    outer = {"head.weight", "tail.weight", "repeat"}
    assert set(convolutions(quantised[0])) == inner | outer
    assert {types[name] for name in inner} == {onnx.TensorProto.INT8}
    assert {types[name] for name in outer} == {onnx.TensorProto.FLOAT}


def test_weights_are_rounded_by_a_scale_for_each_output_channel(
    quantised: tuple[Path, float], random_network: Plain
) -> None:
    arrays = {w.name: numpy_helper.to_array(w) for w in onnx.load(quantised[0]).graph.initializer}
    weights = random_network.body[0].conv1.weight.detach().numpy()  # type: ignore[union-attr, operator]
    steps = np.abs(weights).max(axis=(1, 2, 3)) / 127
    name = "body.0.conv1.weight"
    np.testing.assert_allclose(arrays[f"{name}_scale"], steps, rtol=0.01)
    given = arrays[f"{name}_quantized"] * arrays[f"{name}_scale"][:, None, None, None]
    assert np.all(np.abs(given - weights) <= 0.51 * steps[:, None, None, None])


def test_sums_of_features_are_not_quantised(quantised: tuple[Path, float]) -> None:
    graph = onnx.load(quantised[0]).graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    sums = [node for node in graph.node if node.op_type == "Add"]
    assert len(sums) == 3
    assert {makers[tensor] for node in sums for tensor in node.input} == {"Conv", "Add"}


@native
@pytest.mark.parametrize(("compute", "most"), [("fp32", 1e-4), ("bf16", 1e-3)])
def test_the_engine_gives_what_onnx_says(
    quantised: tuple[Path, float], compute: Compute, most: float
) -> None:
    if not OpenVINO().can_compute(compute):
        pytest.skip("needs a processor that computes in bfloat16")
    # Whatever this processor would take for what int8 leaves.
    model = dataclasses.replace(read_model(quantised[0]), compute=compute)
    engine = compile_window(OpenVINO(), model, 40, 30)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    reference = onnxruntime.InferenceSession(
        quantised[0], options, providers=["CPUExecutionProvider"]
    )
    for window in windows(2):
        expected = reference.run(None, {"input": window})[0]
        # Where float32 rounds differently, a value may be quantised to the one beside it.
        assert np.abs(engine(window) - expected).mean() < most


@native
def test_the_difference_is_the_engines_from_float32(
    quantised: tuple[Path, float], model_file: Path
) -> None:
    path, told = quantised
    exact, rounded = (compile_window(OpenVINO(), read_model(p), 40, 30) for p in (model_file, path))
    errors = [np.mean((exact(w) - rounded(w)) ** 2) for w in windows(4)]
    assert 0.2 * told < np.sqrt(np.mean(errors)) < 5 * told  # of other pictures
    assert 1e-5 < told < 0.01


def test_the_card_says_int8_and_nothing_of_scores(
    quantised: tuple[Path, float], model_file: Path
) -> None:
    before, after = read_model(model_file).card, read_model(quantised[0]).card
    assert after == dataclasses.replace(before, name="random-int8", precision="int8")


def test_weights_are_exported_on_the_way(tmp_path: Path, model_file: Path, images: Path) -> None:
    network, card = load_network(model_file)
    save_weights(network, card, tmp_path / "mine-x2.safetensors")
    path, _, _ = to_int8(tmp_path / "mine-x2.safetensors", images, scale=2)
    assert path == tmp_path / "mine-int8-x2.onnx"
    assert read_model(path).card.precision == "int8"


def test_what_cannot_be_quantised(
    quantised: tuple[Path, float], model_file: Path, images: Path, tmp_path: Path
) -> None:
    target = tmp_path / "new.onnx"
    with pytest.raises(ModelError, match="is int8 already: give the fp32 model"):
        to_int8(quantised[0], images, target)
    with pytest.raises(ModelError, match="enlarges 2 times, not 3 times"):
        to_int8(model_file, images, target, scale=3)
    with pytest.raises(UsageError, match=r"name ends in \.onnx"):
        to_int8(model_file, images, tmp_path / "new.bin")
    with pytest.raises(OutputError, match="exists already: force=True replaces it"):
        to_int8(model_file, images, quantised[0])
    small = tmp_path / "small"
    small.mkdir()
    (small / "c.png").write_bytes((images / "c.png").read_bytes())
    with pytest.raises(InputError, match="no picture in it has 128 pixels a side"):
        to_int8(model_file, small, target)
    with pytest.raises(InputError, match="no such"):
        to_int8(model_file, tmp_path / "none", target)
    with pytest.raises(TrainingError, match="its weights are int8: give the fp32 model"):
        load_network(quantised[0])
    assert os.listdir(tmp_path) == ["small"]


def test_a_result_too_far_from_float32_is_not_written(
    model_file: Path,
    images: Path,
    scaled: Callable[[Path, float, Path], Path],
    tmp_path: Path,
) -> None:
    large = scaled(model_file, 10, tmp_path / "large.onnx")
    with pytest.raises(TrainingError, match=r"in int8 it would differ by .* was not written"):
        to_int8(large, images, tmp_path / "new.onnx")
    assert os.listdir(tmp_path) == ["large.onnx"]


def test_a_model_of_float16_weights_is_quantised_like_any(
    tmp_path: Path, model_file: Path, images: Path, quantised: tuple[Path, float]
) -> None:
    halved, _, _ = to_half(model_file, tmp_path / "half.onnx")
    path, card, difference = to_int8(halved, images, tmp_path / "int8.onnx")
    assert card.precision == "int8"
    assert difference == pytest.approx(quantised[1], rel=0.2)
    assert set(convolutions(path)) == set(convolutions(quantised[0]))


def test_pictures_are_shown_to_a_model_in_its_own_range_of_values(
    tmp_path: Path, model_file: Path, images: Path, quantised: tuple[Path, float]
) -> None:
    # The same network, for values up to 255: between its first and last layer nothing changes.
    graph = onnx.load(model_file)
    factors = {"head.weight": 1 / 255, "tail.weight": 255, "tail.bias": 255}
    for tensor in graph.graph.initializer:
        if tensor.name in factors:
            array = numpy_helper.to_array(tensor) * np.float32(factors.pop(tensor.name))
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    assert not factors
    write_card(graph, dataclasses.replace(read_model(model_file).card, value_range=(0, 255)))
    onnx.save(graph, tmp_path / "255.onnx")
    _, _, difference = to_int8(tmp_path / "255.onnx", images, tmp_path / "int8.onnx")
    assert difference == pytest.approx(quantised[1], rel=0.02)


def test_pictures_are_shown_in_a_size_that_the_model_takes(
    tmp_path: Path, model_file: Path, images: Path
) -> None:
    graph = onnx.load(model_file)
    write_card(graph, dataclasses.replace(read_model(model_file).card, multiple_of=6))
    onnx.save(graph, tmp_path / "6.onnx")
    # 66 is the first that is not smaller than 64; these pictures have 130.
    with pytest.raises(InputError, match="no picture in it has 132 pixels a side"):
        to_int8(tmp_path / "6.onnx", images, tmp_path / "int8.onnx")


def test_the_command_quantises(model_file: Path, images: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.onnx"
    command = ["export", str(model_file), "--int8", "--images", str(images), "-o", str(target)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0
    assert result.output.startswith(f"wrote {target}: plain, x2, int8, 0.")
    assert "grey levels from fp32" in result.output
    with pytest.raises(UsageError, match="--int8 and --images go together"):
        CliRunner().invoke(app, ["export", str(model_file), "--int8"], catch_exceptions=False)
