"""Model files as other runtimes take them: ONNX Runtime alone runs them here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_networks import CONFIGS
from typer.testing import CliRunner

from upres.card import ModelCard
from upres.cli.main import app
from upres.engine.openvino import OpenVINO
from upres.engine.wrappers import compile_window
from upres.errors import ModelError, OutputError
from upres.models import open_model, read_model
from upres.training.export import export_onnx
from upres.training.networks import (
    NetworkConfig,
    build,
)
from upres.training.portable import lower_opset, unroll_self_ensemble
from upres.training.variants import to_portable


def elsewhere(path: Path, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What ONNX Runtime makes of a batch, knowing nothing of cards."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"input": batch})
    return result  # type: ignore[no-any-return]


def pictures(count: int, height: int, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(8).random((count, 3, height, width), np.float32)


def opset(path: Path) -> int:
    (imported,) = onnx.load(path).opset_import
    return int(imported.version)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_what_is_exported_takes_any_batch_and_size(config: NetworkConfig, tmp_path: Path) -> None:
    torch.manual_seed(6)
    network = build(config, 2).eval()
    card = ModelCard("any", 2, network.halo, multiple_of=network.multiple_of)
    path = tmp_path / "any.onnx"
    export_onnx(network, card, path)
    for shape in ((1, 16, 24), (3, 32, 20)):
        batch = pictures(*shape)
        with torch.no_grad():
            expected = network(torch.from_numpy(batch)).numpy()
        np.testing.assert_allclose(elsewhere(path, batch), expected, atol=1e-4)
    assert opset(path) == 11
    assert onnx.load(path).ir_version == 6


@pytest.mark.parametrize(
    ("name", "scale", "lowest"),
    [("fast", 4, 11), ("photo", 2, 11), ("best", 2, 11), ("fast-int8", 2, 13)],
)
def test_shipped_models_elsewhere_are_what_they_are_here(
    tmp_path: Path, name: str, scale: int, lowest: int
) -> None:
    model = open_model(name, scale=scale)
    path, card = to_portable(model.path, tmp_path / "other.onnx")
    batch = pictures(2, 24, 37)
    engine = compile_window(OpenVINO(), model, 24, 37)
    expected = np.concatenate([engine(one[None]) for one in batch])
    got = elsewhere(path, batch)
    # Where a value in int8 lies between two steps, engines round it to either.
    tolerance = 1e-4 if lowest == 11 else 0.02
    np.testing.assert_allclose(got, expected, atol=tolerance)
    assert np.sqrt(np.mean((got - expected) ** 2)) < (1e-5 if lowest == 11 else 2e-3)
    assert opset(path) == lowest
    assert read_model(path).card == card
    assert (card.name, card.scores) == (model.card.name, model.card.scores)


def test_upres_runs_an_ensemble_in_a_graph_as_before(tmp_path: Path) -> None:
    model = open_model("best", scale=2)
    path, card = to_portable(model.path, tmp_path / "best.onnx")
    assert not card.self_ensemble
    window = pictures(1, 30, 21)
    before, after = (
        compile_window(OpenVINO(), each, 30, 21)(window) for each in (model, read_model(path))
    )
    np.testing.assert_allclose(after, before, atol=1e-5)
    # The weights are in it once.
    assert path.stat().st_size < 1.1 * model.path.stat().st_size


def test_an_operation_that_is_not_known_keeps_its_set() -> None:
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 8, 8])
        for name in "xy"
    )
    graph = onnx.helper.make_graph([onnx.helper.make_node("Gelu", ["x"], ["y"])], "g", [x], [y])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    before = model.SerializeToString()
    lower_opset(model)
    assert model.SerializeToString() == before
    # And so does one with an attribute that is newer than the set.
    graph.node[0].op_type = "Cast"
    graph.node[0].attribute.extend(
        [onnx.helper.make_attribute("to", 1), onnx.helper.make_attribute("saturate", 1)]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    lower_opset(model)
    assert model.opset_import[0].version == 20


def test_a_graph_with_branches_is_not_repeated() -> None:
    inner = onnx.helper.make_graph([], "inner", [], [])
    node = onnx.helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    x, y = (onnx.helper.make_tensor_value_info(name, 1, [1, 3, 8, 8]) for name in "xy")
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "outer", [x], [y]))
    with pytest.raises(ValueError, match="branches or loops"):
        unroll_self_ensemble(model)


def test_what_is_refused(tmp_path: Path, model_file: Path) -> None:
    target = tmp_path / "x.onnx"
    with pytest.raises(ModelError, match=r"enlarges 2 times, not 4"):
        to_portable(model_file, target, scale=4)
    target.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        to_portable(model_file, target)
    assert target.read_bytes() == b"mine"


def test_the_command_writes_best_for_other_runtimes(tmp_path: Path) -> None:
    target = tmp_path / "x.onnx"
    command = ["export", "best", "--scale", "2", "--output", str(target)]
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.output) == (0, f"wrote {target}: plain, eight times, x2\n")
    names = [value.name for value in onnx.load(target).graph.input]
    assert names == ["input"]
