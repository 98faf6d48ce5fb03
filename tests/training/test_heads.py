"""Heads: their loss, their sight, and one that is trained and calibrated for a tiny network."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch
from small_networks import CONFIGS
from torch import Tensor, nn

import upres
from upres.engine.openvino import OpenVINO
from upres.engine.wrappers import compile_window
from upres.errors import InputError, TrainingError
from upres.head import head_card_of, head_path
from upres.models import read_model
from upres.training.calibrating import HeadRequest, calibrate
from upres.training.conformal import FACTORS
from upres.training.grain import with_grain
from upres.training.heads import Head, WithFeatures, degraded, pinball
from upres.training.networks import Network, Plain, PlainConfig, build
from upres.training.quantise import to_int8
from upres.training.variants import to_self_ensemble

Ways = Callable[[Network, Tensor], Tensor]


def test_the_loss_is_least_at_the_quantile() -> None:
    errors = torch.from_numpy(np.random.default_rng(1).exponential(5, 20_000)).round()
    tried = torch.linspace(1, 40, 400)
    losses = torch.stack([pinball(errors, width.expand(20_000)) for width in tried])
    best = float(tried[losses.argmin()])
    assert float((errors + 0.5 <= best).float().mean()) == pytest.approx(0.9, abs=0.01)


def test_a_head_gives_half_widths_above_nothing_and_sees_one_pixel_around() -> None:
    torch.manual_seed(0)
    head = Head(8, 3)
    nn.init.normal_(head.last.weight)
    features = torch.randn(1, 8, 9, 9, requires_grad=True)
    widths = head(features)
    assert widths.shape == (1, 1, 27, 27)
    assert (widths > 0).all()
    widths[0, 0, 12:15, 12:15].sum().backward()
    assert features.grad is not None
    seen = features.grad[0].abs().sum(0) > 0
    rows, columns = np.where(seen.numpy())
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 5, 3, 5)


def test_features_are_the_last_layer_s_input(random_network: Plain) -> None:
    runs = WithFeatures(random_network)
    x = torch.rand(1, 3, 12, 10)
    result, features = runs(x)
    torch.testing.assert_close(result, random_network(x))
    residual = nn.functional.pixel_shuffle(random_network.tail(features), 2)
    again = residual + nn.functional.interpolate(x, scale_factor=2, mode="nearest")
    torch.testing.assert_close(again, result, atol=1e-5, rtol=1e-5)


def test_a_self_ensemble_is_the_mean_over_all_ways_with_the_features_of_one(
    random_network: Plain, eight_ways: Ways
) -> None:
    x = torch.rand(1, 3, 12, 10)
    result, features = WithFeatures(random_network, self_ensemble=True)(x)
    torch.testing.assert_close(result, eight_ways(random_network, x))
    torch.testing.assert_close(features, WithFeatures(random_network)(x)[1])


def test_the_half_widths_of_a_self_ensemble_are_the_mean_over_all_ways(
    model_file: Path,
    pictures: Path,
    tmp_path: Path,
    eight_ways: Callable[[Network, Tensor], Tensor],
) -> None:
    path, card = to_self_ensemble(model_file, tmp_path / "eight-x2.onnx")
    assert card.self_ensemble
    ((file, _),) = calibrate(HeadRequest(path, (pictures,), pictures, steps=20))
    assert file == head_path(path)
    picture = torch.rand(1, 3, 20, 14)
    both = dataclasses.replace(read_model(path), head=file)
    one = dataclasses.replace(read_model(model_file), head=file)

    def run(x: Tensor) -> Tensor:
        engine = compile_window(OpenVINO(threads=1), one, *x.shape[2:])
        return torch.from_numpy(engine(x.numpy()))

    expected = eight_ways(run, picture)  # type: ignore[arg-type]
    made = compile_window(OpenVINO(threads=1), both, 20, 14)(picture.numpy())
    assert made.shape == (1, 4, 40, 28)
    np.testing.assert_allclose(made, expected.numpy(), atol=1e-5)


def test_networks_of_other_kinds_are_refused() -> None:
    other = next(config for config in CONFIGS if config.name == "edsr")
    with pytest.raises(TrainingError, match="last layer is one convolution"):
        WithFeatures(build(other, 2))
    with pytest.raises(TrainingError, match="for RGB"):
        WithFeatures(build(PlainConfig(features=8, blocks=1), 2, channels=1))


def test_grain_is_noise_of_no_bias_and_the_truth_has_it_too() -> None:
    flat = np.full((128, 128, 3), 120, np.uint8)
    strengths = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        noisy = with_grain(flat, random).astype(float)
        assert abs(noisy.mean() - 120) < 0.2
        strengths.append(noisy.std())
    assert max(strengths) > 4
    assert min(strengths) < 1.5
    low, high = degraded(flat, 2, "jpeg", np.random.default_rng(3), grey=True)
    assert (low.shape, high.shape) == ((64, 64, 3), (128, 128, 3))
    assert (high == high[:, :, :1]).all()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 pictures: smooth on the left, noise on the right, which no network can know."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(200):
        random = np.random.default_rng(number)
        image = random.integers(60, 190, 3) + np.zeros((128, 128, 3))
        image[:, 64:] += random.normal(0, 25, (128, 64, 1))
        image = image.clip(0, 255).astype(np.uint8)
        pyvips.Image.new_from_array(image).write_to_file(str(folder / f"{number:03}.png"))
    return folder


def test_a_head_is_trained_calibrated_and_used(
    model_file: Path, pictures: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(model_file, tmp_path / "tiny-x2.onnx"))
    to_int8(path, pictures)
    request = HeadRequest(path, (pictures,), pictures, steps=60, licence="made up")
    made = calibrate(request)
    assert [file.name for file, _ in made] == ["tiny-x2.head.onnx", "tiny-int8-x2.head.onnx"]
    image = np.asarray(pyvips.Image.new_from_file(str(pictures / "007.png")).numpy())
    for (file, described), name in zip(made, ("tiny", "tiny-int8"), strict=True):
        model = read_model(tmp_path / f"{name}-x2.onnx")
        assert head_card_of(model) == described
        assert (described.pictures, described.data, described.model) == (
            200,
            "made up",
            model.card.name,
        )
        assert described.coverage == pytest.approx(0.9, abs=0.01)
        assert described.least_coverage <= described.coverage
        assert file.stat().st_size < 60_000
        result, widths = upres.enlarge(image[::2, ::2], model=model, errors="force")
        assert (np.abs(result.astype(int) - image) <= widths[:, :, None]).mean() > 0.7


def test_a_factor_is_rounded_up(model_file: Path, pictures: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(model_file, tmp_path / "tiny-x2.onnx"))
    told: list[str] = []
    ((_, described),) = calibrate(
        HeadRequest(path, (pictures,), pictures, steps=5), tell=told.append
    )
    # Of those that are tried, the one from which it was rounded is the next below.
    below = FACTORS[described.factor >= FACTORS].max()
    assert 0 <= described.factor - below < 1e-4
    assert f"{below:.3f}" in told[-1]


def test_too_few_pictures_are_refused(model_file: Path, pictures: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    (few / "a.png").write_bytes((pictures / "000.png").read_bytes())
    with pytest.raises(InputError, match="1 pictures are too few"):
        calibrate(HeadRequest(model_file, (pictures,), few))
