"""Our weights in a compact network, as spandrel itself loads and runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from upres.card import ModelCard
from upres.cli.main import app
from upres.engine.openvino import OpenVINO
from upres.engine.wrappers import compile_window
from upres.errors import ModelError, OutputError, TrainingError, UsageError
from upres.models import open_model, shipped_models
from upres.training.compact import to_compact
from upres.training.export import export_onnx, save_weights
from upres.training.networks import Edsr, Plain

PLAIN = [
    (name, scale)
    for name in ("fast", "balanced", "photo")
    for scale in sorted(shipped_models()[name])
]


def noise(height: int, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(5).random((1, 3, height, width), np.float32)


@pytest.mark.parametrize(("name", "scale"), PLAIN)
def test_spandrel_runs_the_shipped_models(
    spandrel: Any, tmp_path: Path, name: str, scale: int
) -> None:
    model = open_model(name, scale=scale)
    path, card, _ = to_compact(model.path, tmp_path / "compact.safetensors")
    assert card == model.card
    found = spandrel.ModelLoader("cpu").load_from_file(path)
    assert found.architecture.name == "RealESRGAN Compact"
    assert (found.scale, found.input_channels, found.output_channels) == (scale, 3, 3)
    given = noise(33, 41)
    with torch.no_grad():
        got = found.eval()(torch.from_numpy(given)).numpy()  # clipped, as spandrel does
    expected = compile_window(OpenVINO(), model, 33, 41)(given).clip(0, 1)
    # In 8-bit levels, a hundredth of one.
    assert 255 * np.abs(got - expected).max() < 0.01


@pytest.mark.parametrize(
    ("features", "blocks", "closing", "branches"),
    [(8, 3, True, False), (8, 1, True, True), (4, 2, False, True), (4, 1, False, False)],
)
def test_every_plain_network(
    spandrel: Any, tmp_path: Path, features: int, blocks: int, closing: bool, branches: bool
) -> None:
    torch.manual_seed(3)
    network = Plain(scale=3, features=features, blocks=blocks, closing=closing, branches=branches)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    structure: dict[str, int | float | bool] = {
        "features": features,
        "blocks": blocks,
        "closing": closing,
        "branches": branches,
    }
    card = ModelCard("mine", 3, network.halo, network="plain", network_parameters=structure)
    source = tmp_path / "mine.safetensors"
    save_weights(network, card, source)
    path, _, _ = to_compact(source, tmp_path / "compact.safetensors", scale=3)
    found = spandrel.ModelLoader("cpu").load_from_file(path).model.eval()
    x = torch.from_numpy(noise(12, 17))
    with torch.no_grad():
        torch.testing.assert_close(found(x), network.eval()(x), atol=1e-4, rtol=1e-4)


def test_what_cannot_be_one_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "compact.safetensors"

    def refusal(source: Path, **options: Any) -> str:
        with pytest.raises(ModelError) as caught:
            to_compact(source, target, **options)
        assert not target.exists()
        return str(caught.value)

    assert refusal(open_model("fast-int8").path).endswith("is int8: take fast")
    assert refusal(open_model("best", scale=2).path).endswith("runs once: take balanced")
    assert "enlarges 4 times, not 3" in refusal(open_model("fast", scale=4).path, scale=3)
    edsr = Edsr(scale=2, features=4, blocks=1)
    structure: dict[str, int | float | bool] = {"features": 4, "blocks": 1}
    card = ModelCard("other", 2, edsr.halo, network="edsr", network_parameters=structure)
    export_onnx(edsr.eval(), card, tmp_path / "other.onnx")
    assert refusal(tmp_path / "other.onnx").endswith("take fast, balanced or photo")


def test_names_and_files_in_the_way(tmp_path: Path) -> None:
    source, target = open_model("fast", scale=2).path, tmp_path / "compact.safetensors"
    with pytest.raises(UsageError, match=r"compact\.pth: a compact network's name ends in"):
        to_compact(source, target.with_suffix(".pth"))
    target.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already: force=True replaces it"):
        to_compact(source, target)
    assert target.read_bytes() == b"mine"
    to_compact(source, target, force=True)
    with pytest.raises(TrainingError, match="has no card of upres"):
        to_compact(target, tmp_path / "again.safetensors")


def test_the_command_writes_one_and_refuses_in_one_line(tmp_path: Path) -> None:
    target = tmp_path / "fast-x4.safetensors"
    command = ["export", "fast", "--scale", "4", "--compact", str(target)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0
    assert result.output.startswith(f"wrote {target}: RealESRGAN Compact, x4, at most 0.000")
    result = CliRunner().invoke(app, [*command, "--half"])
    assert isinstance(result.exception, UsageError)
    assert "give --compact alone" in str(result.exception)
