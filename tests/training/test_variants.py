from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import upres
from upres.card import SetScore, write_card
from upres.cli.main import app
from upres.engine.complexity import multiply_adds
from upres.engine.openvino import OpenVINO
from upres.engine.wrappers import compile_window
from upres.enlarging.windows import enlarge_windows
from upres.errors import ModelError, OutputError, TrainingError, UsageError
from upres.models import read_model
from upres.raster.info import RasterInfo, bands_of
from upres.training.export import load_network, save_weights
from upres.training.networks import Network, Plain
from upres.training.variants import to_half, to_self_ensemble

# Weights in float16


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Path:
    path, card, _ = to_half(model_file, tmp_path_factory.mktemp("half") / "random-x2.onnx")
    assert read_model(path).card == card
    return path


def test_weights_in_float16_are_rounded_and_take_half_the_room(
    halved: Path, model_file: Path
) -> None:
    before, after = (load_network(path)[0].state_dict() for path in (model_file, halved))
    for name, weight in before.items():
        expected = weight.half().float() if weight.ndim > 1 else weight
        assert torch.equal(after[name], expected), name
    for tensor in onnx.load(halved).graph.initializer:
        assert (tensor.data_type == onnx.TensorProto.FLOAT16) == (len(tensor.dims) > 1)
    weights = sum(2 * weight.numel() for weight in before.values() if weight.ndim > 1)
    assert model_file.stat().st_size - halved.stat().st_size > 0.8 * weights


def test_weights_in_float16_are_computed_with_in_float32(halved: Path) -> None:
    network, _ = load_network(halved)
    random = np.random.default_rng(2)
    for x in random.random((3, 1, 3, 40, 30), np.float32):
        with torch.no_grad():
            expected = network(torch.from_numpy(x)).numpy()
        got = compile_window(OpenVINO(), read_model(halved), 40, 30)(x)
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_of_other_weights_scores_do_not_count(
    tmp_path: Path, model_file: Path, halved: Path
) -> None:
    score = SetScore("Set5", 5, 30.0, 0.9)
    graph = onnx.load(model_file)
    write_card(
        graph, dataclasses.replace(read_model(model_file).card, scores=(score,), protocol="any")
    )
    onnx.save(graph, tmp_path / "scored.onnx")
    _, card, _ = to_half(tmp_path / "scored.onnx", force=True)
    assert card == read_model(halved).card
    # Once rounded, they stay as they are.
    _, _, difference = to_half(tmp_path / "scored.onnx", force=True)
    assert difference == 0


def test_what_cannot_be_stored_in_float16(
    quantised: tuple[Path, float],
    model_file: Path,
    scaled: Callable[[Path, float, Path], Path],
    tmp_path: Path,
) -> None:
    target = tmp_path / "new.onnx"
    with pytest.raises(ModelError, match="is int8 already"):
        to_half(quantised[0], target)
    with pytest.raises(OutputError, match="exists already: force=True replaces it"):
        to_half(model_file)
    for factor in (10, 1e6):  # too far from before, and large enough to become infinite
        large = scaled(model_file, factor, tmp_path / "large.onnx")
        with pytest.raises(TrainingError, match=r"large.onnx: with .* the model was not written"):
            to_half(large, target)
    assert os.listdir(tmp_path) == ["large.onnx"]


def test_the_command_stores_in_float16(model_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.onnx"
    result = CliRunner().invoke(app, ["export", str(model_file), "--half", "-o", str(target)])
    assert result.exit_code == 0
    assert result.output.startswith(f"wrote {target}: plain, x2, weights in float16, 0.")
    both = ["export", str(model_file), "--half", "--int8", "--images", str(tmp_path)]
    with pytest.raises(UsageError, match="give one of --int8 and --half"):
        CliRunner().invoke(app, both, catch_exceptions=False)


# Self-ensembled


@pytest.fixture(scope="module")
def ensembled(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Path:
    target = tmp_path_factory.mktemp("ensembled") / "better-x2.onnx"
    path, card = to_self_ensemble(model_file, target)
    assert (path, card) == (target, read_model(target).card)
    return path


@pytest.mark.parametrize("shape", [(24, 24), (17, 31)])
def test_a_self_ensembled_model_is_the_mean_over_eight_ways_to_turn_its_input(
    ensembled: Path,
    random_network: Plain,
    shape: tuple[int, int],
    eight_ways: Callable[[Network, Tensor], Tensor],
) -> None:
    x = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected = eight_ways(random_network, x).numpy()
        # Else this test sees nothing.
        assert np.abs(random_network(x).numpy() - expected).max() > 0.01
    given = x.numpy().copy()
    got = compile_window(OpenVINO(), read_model(ensembled), *shape)(given)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert np.array_equal(given, x.numpy())


def test_a_self_ensembled_model_in_windows_gives_what_it_gives_of_the_whole(
    ensembled: Path,
) -> None:
    picture = np.random.default_rng(5).random((60, 47, 3), np.float32)
    model = read_model(ensembled)
    whole = upres.enlarge(picture, model=model, value_range=(0, 1))
    parts = np.zeros_like(whole)
    info = RasterInfo(*picture.shape[:2], bands_of(("red", "green", "blue")), picture.dtype)
    count = 0
    for top, left, part in enlarge_windows(
        [picture], info, model, OpenVINO(), window_pixels=32 * 32
    ):
        parts[top : top + part.shape[0], left : left + part.shape[1]] = part
        count += 1
    assert count > 1
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_a_self_ensembled_model_is_the_same_in_all_else(ensembled: Path, model_file: Path) -> None:
    before, after = read_model(model_file), read_model(ensembled)
    expected = dataclasses.replace(before.card, name="better", self_ensemble=True)
    assert after.card == expected
    assert multiply_adds(after) == 8 * (multiply_adds(before) or 0)
    for one, other in zip(
        *(load_network(path)[0].parameters() for path in (model_file, ensembled)), strict=True
    ):
        assert torch.equal(one, other)


def test_what_is_called_how(model_file: Path, random_network: Plain, tmp_path: Path) -> None:
    weights = tmp_path / "tiny.safetensors"
    save_weights(random_network, read_model(model_file).card, weights)
    path, card = to_self_ensemble(weights)
    assert path == tmp_path / "tiny-ensemble.onnx"
    assert (card.name, card.self_ensemble) == ("tiny-ensemble", True)
    (tmp_path / "tiny-x2.onnx").write_bytes(model_file.read_bytes())
    path, card = to_self_ensemble(tmp_path / "tiny-x2.onnx")
    assert path == tmp_path / "tiny-ensemble-x2.onnx"
    assert card.name == "tiny-ensemble"


def test_what_cannot_be_self_ensembled(ensembled: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"better-x2.onnx: is self-ensembled already"):
        to_self_ensemble(ensembled, tmp_path / "new.onnx")
    with pytest.raises(OutputError, match="exists already: force=True replaces it"):
        to_self_ensemble(ensembled, ensembled)
    with pytest.raises(ModelError, match="enlarges 2 times, not 3 times"):
        to_self_ensemble(ensembled, tmp_path / "new.onnx", scale=3)
    assert os.listdir(tmp_path) == []


def test_the_command_self_ensembles(model_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.onnx"
    command = ["export", str(model_file), "--self-ensemble", "-o", str(target)]
    result = CliRunner().invoke(app, command)
    assert result.output == f"wrote {target}: plain, x2, self-ensembled\n"
    with pytest.raises(UsageError, match="give --self-ensemble alone"):
        CliRunner().invoke(app, [*command, "--half"], catch_exceptions=False)
