from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import upres
from upres.errors import InputError, ModelError
from upres.inference import enlarge_rows, from_float, to_float
from upres.model import load_model
from upres.training.networks import Plain

Picture = NDArray[np.uint8]


def by_torch(network: Plain, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        output = network(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None])
    return output[0].clamp(0, 1).permute(1, 2, 0).numpy()


def by_rows(
    model: upres.Model, picture: NDArray[np.float32], **options: int
) -> NDArray[np.float32]:
    height, width, _ = picture.shape
    blocks = (picture[top : top + 5] for top in range(0, height, 5))
    return np.concatenate(
        list(enlarge_rows(blocks, height=height, width=width, model=model, **options))
    )


# The network's halo is 6: windows of 20 x 20 keep 8 x 8.
@pytest.mark.parametrize("window_pixels", [20 * 20, 17 * 31, 40 * 40])
@pytest.mark.parametrize(
    "size", [(45, 61), (64, 64), (13, 90), (100, 3), (21, 21), (1, 1), (1, 50)]
)
def test_tiled_equals_whole(
    model_file: Path, random_network: Plain, size: tuple[int, int], window_pixels: int
) -> None:
    model = load_model(model_file)
    picture = np.random.default_rng(3).random((*size, 3), np.float32)
    tiled = by_rows(model, picture, window_pixels=window_pixels)
    whole = by_rows(model, picture)
    assert tiled.shape == (2 * size[0], 2 * size[1], 3)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=2e-6)
    np.testing.assert_allclose(tiled, by_torch(random_network, picture), rtol=0, atol=2e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tiled_equals_whole_with_the_shipped_models(scale: int) -> None:
    model = load_model(scale=scale)
    picture = np.random.default_rng(5).random((83, 70, 3), np.float32)
    tiled = by_rows(model, picture, window_pixels=45 * 45)
    np.testing.assert_allclose(tiled, by_rows(model, picture), rtol=0, atol=2e-6)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_tiled_equals_whole_with_grey_and_alpha(model_file: Path, channels: int) -> None:
    model = load_model(model_file)
    random = np.random.default_rng(4)
    picture = random.random((45, 61, channels), np.float32)
    if channels > 1:
        picture[:, :, -1] *= random.random((45, 61)) > 0.6
    tiled = by_rows(model, picture, window_pixels=35 * 35)
    np.testing.assert_allclose(tiled, by_rows(model, picture), rtol=0, atol=2e-6)


def test_a_halo_too_small_would_show(model_file: Path) -> None:
    model = load_model(model_file)
    narrow = upres.Model(model.path, upres.ModelCard(name="n", scale=2, halo=4), model.graph)
    picture = np.random.default_rng(3).random((45, 61, 3), np.float32)
    tiled = by_rows(narrow, picture, window_pixels=400)
    assert np.abs(tiled - by_rows(model, picture)).max() > 1e-4


def test_a_model_that_needs_multiples_gets_them(model_file: Path) -> None:
    model = load_model(model_file)
    card = upres.ModelCard(name="n", scale=2, halo=model.card.halo, multiple_of=4)
    strict = upres.Model(model.path, card, model.graph)
    picture = np.random.default_rng(3).random((45, 61, 3), np.float32)
    tiled = by_rows(strict, picture, window_pixels=30 * 30)
    assert tiled.shape == (90, 122, 3)
    # Away from the padded border, padding makes no difference.
    inner = np.s_[: 2 * (45 - card.halo), : 2 * (61 - card.halo)]
    np.testing.assert_allclose(tiled[inner], by_rows(model, picture)[inner], rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_axes_channels_and_dtype_come_out_as_they_went_in(
    model_file: Path, picture: Picture, dtype: type, channels: int | None
) -> None:
    image = from_float(to_float(picture), np.dtype(dtype))
    image = image[:, :, 0] if channels is None else np.resize(image, (45, 61, channels))
    result = upres.enlarge(image, model=model_file)
    assert result.dtype == image.dtype
    assert result.shape == (90, 122, *image.shape[2:])


def test_16_bit_is_not_cut_to_8_on_the_way() -> None:
    ramp = np.linspace(20000, 22000, 64 * 64).astype(np.uint16).reshape(64, 64)
    result = upres.enlarge(ramp, scale=2)
    assert len(np.unique(result // 257)) < 20
    assert len(np.unique(result)) > 1000


def test_colour_under_transparency_does_not_bleed() -> None:
    image = np.zeros((32, 32, 4), np.uint8)
    image[:, :, :3] = (0, 255, 0)  # what lies under the transparent part
    image[:, :16] = (200, 60, 60, 255)
    result = upres.enlarge(image, scale=2)
    assert result[:, :24, 3].min() >= 250
    assert result[:, 40:, 3].max() <= 5
    visible = result[:, :, 3] > 64
    assert np.abs(result[visible][:, :3].astype(int) - (200, 60, 60)).max() <= 12


def test_opaque_alpha_stays_opaque_and_changes_no_colour(picture: Picture) -> None:
    opaque = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    result = upres.enlarge(opaque, scale=2)
    assert (result[:, :, 3] == 255).all()
    np.testing.assert_array_equal(result[:, :, :3], upres.enlarge(picture, scale=2))


def test_grey_equals_grey_as_rgb_but_for_its_mean(picture: Picture) -> None:
    grey = picture[:, :, 0]
    result = upres.enlarge(grey, scale=2)
    as_rgb = upres.enlarge(np.repeat(grey[:, :, None], 3, axis=2), scale=2)
    assert np.abs(result - as_rgb.astype(np.float64).mean(axis=2)).max() <= 1


def test_progress_ends_at_one(model_file: Path, picture: Picture) -> None:
    parts: list[float] = []
    upres.enlarge(picture, model=model_file, progress=parts.append)
    assert parts[-1] == 1
    assert parts == sorted(parts)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), r"got shape \(4, 4, 5\)"),
        (np.zeros((0, 4, 3), np.uint8), r"got shape \(0, 4, 3\)"),
        (np.zeros(4, np.uint8), r"got shape \(4,\)"),
        (np.zeros((4, 4), np.int32), "got int32"),
        (np.full((4, 4), 2.0), "got 2 to 2"),
        (np.full((4, 4), np.nan), "got nan to nan"),
    ],
)
def test_arrays_that_are_no_pictures(image: NDArray[np.generic], message: str) -> None:
    with pytest.raises(InputError, match=message):
        upres.enlarge(image, scale=2)


def test_scale_that_the_model_has_not(model_file: Path, picture: Picture) -> None:
    with pytest.raises(ModelError, match="enlarges 2 times, not 3 times"):
        upres.enlarge(picture, scale=3, model=model_file)
    with pytest.raises(ModelError, match="enlarges 2 times, not 4 times"):
        upres.enlarge(picture, scale=4, model=load_model(model_file))
    with pytest.raises(ModelError, match="'fast' has no scale 5: it has 2, 3, 4"):
        upres.enlarge(picture, scale=5)
