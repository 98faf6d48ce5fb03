"""Networks of one channel, from a recipe to pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import CONFIGS

from upres.card import ModelCard
from upres.engine.onnxruntime import CPU, OnnxRuntime
from upres.enlarging.api import enlarge
from upres.errors import RecipeError, TrainingError
from upres.models import open_model, read_model
from upres.training.config import load_recipe
from upres.training.export import export_onnx, load_network, save_weights
from upres.training.loop import train
from upres.training.networks import (
    NetworkConfig,
    PlainConfig,
    build,
)
from upres.training.networks.parts import luma_of
from upres.training.quantise import to_int8
from upres.training.variants import to_half


def test_a_recipe_of_one_channel_trains_and_enlarges(data: Path, tmp_path: Path) -> None:
    overrides = ["channels=1", "optimiser.steps=60", 'loss={"luma"=1.0}']
    recipe = load_recipe(data / "recipe.toml", overrides)
    path = train(recipe, data=data, run=tmp_path / "run")
    card = read_model(path).card
    assert card.channels == 1
    network, _ = load_network(path.with_suffix(".safetensors"))
    again, _ = load_network(path)
    weights = again.state_dict()
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, weights[name]), name
    assert network.state_dict()["head.weight"].shape[1] == 1
    grey = np.random.default_rng(0).random((19, 23), np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(grey)[None, None]).clamp(0, 1)[0, 0].numpy()
    np.testing.assert_allclose(enlarge(grey, model=path, value_range=(0, 1)), expected, atol=1e-5)
    assert enlarge(grey[:, :, None].repeat(3, 2), model=path).shape == (38, 46, 3)


def test_validation_is_of_luma(data: Path, tmp_path: Path) -> None:
    # At its start, plain repeats pixels: of luma as of RGB, so that the scores are those of both.
    scores = []
    for channels in (1, 3):
        given = [f"channels={channels}", "optimiser.steps=1", "optimiser.learning_rate=1e-12"]
        run = tmp_path / str(channels)
        train(load_recipe(data / "recipe.toml", given), data=data, run=run)
        scores.append(float((run / "log.csv").read_text().splitlines()[-1].split(",")[4]))
    assert scores[0] == pytest.approx(scores[1], abs=0.02)  # by rounding to 8 bits


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_every_network_has_one_channel_if_asked(config: NetworkConfig, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = build(config, 2, channels=1).eval()
    structure = vars(config) | {}
    name = structure.pop("name")
    card = ModelCard(
        "grey",
        2,
        network.halo,
        network=name,
        network_parameters=structure,
        channels=1,
        multiple_of=network.multiple_of,
    )
    path = tmp_path / "grey.onnx"
    assert export_onnx(network, card, path) < 1e-4
    save_weights(network, card, tmp_path / "grey.safetensors")
    assert load_network(tmp_path / "grey.safetensors")[0].channels == 1
    # By the other engine, too.
    window = np.random.default_rng(4).random((1, 1, 16, 24), np.float32)
    got = OnnxRuntime(CPU).open(open_model(path)).compile(16, 24)(window)
    with torch.no_grad():
        expected = network(torch.from_numpy(window)).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_variants_of_a_model_of_one_channel(tmp_path: Path, images: Path) -> None:
    torch.manual_seed(1)
    config = PlainConfig(features=8, blocks=2)
    network = build(config, 2, channels=1).eval()
    structure: dict[str, int | float | bool] = {"features": 8, "blocks": 2}
    card = ModelCard("grey", 2, 6, network="plain", network_parameters=structure, channels=1)
    source = tmp_path / "grey-x2.onnx"
    export_onnx(network, card, source)
    for path in (
        to_int8(source, images)[0],
        to_half(source, tmp_path / "half.onnx")[0],
    ):
        assert read_model(path).card.channels == 1
        got = enlarge(np.full((9, 8), 0.5, np.float32), model=path)
        assert got.shape == (18, 16)


def test_luma_is_bt601() -> None:
    x = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])[:, :, None, None]
    assert luma_of(x).flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])


def test_channels_must_agree(data: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="channels"):
        load_recipe(data / "recipe.toml", ["channels=2"])
    recipe = load_recipe(data / "recipe.toml", ["optimiser.steps=1"])
    colour = train(recipe, data=data, run=tmp_path / "colour").with_suffix(".safetensors")
    grey = replace(recipe, channels=1)
    with pytest.raises(TrainingError, match=r"it has 3 channels, and the recipe asks for 1"):
        train(replace(grey, start_from=[str(colour)]), data=data, run=tmp_path / "a")
    taught = load_recipe(data / "recipe.toml", ["channels=1", f'teacher.model="{colour}"'])
    with pytest.raises(TrainingError, match="of 3 channels cannot teach one of 1"):
        train(taught, data=data, run=tmp_path / "b")
