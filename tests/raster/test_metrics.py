from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from upres.raster.metrics import (
    lr_consistency,
    mae,
    mse,
    psnr,
    psnr_from_mse,
    score,
    ssim,
    studio_luma,
)
from upres.raster.resize import bicubic


def plain(colour: tuple[int, int, int], height: int = 24, width: int = 20) -> NDArray[np.uint8]:
    return np.full((height, width, 3), colour, np.uint8)


def grey(value: int) -> NDArray[np.float64]:
    return np.full((16, 18), float(value))


@pytest.fixture
def pair() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture with structure and a noisy copy of it, single-channel."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:57, :71]
    image = 128 + 90 * np.sin(x / 4) * np.cos(y / 7)
    noisy = image + rng.normal(0, 12, image.shape)
    return image.astype(np.uint8), noisy.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        # MATLAB's rgb2ycbcr, unrounded.
        ((255, 255, 255), 235.0),
        ((0, 0, 0), 16.0),
        ((255, 0, 0), 81.481),
        ((0, 255, 0), 144.553),
        ((0, 0, 255), 40.966),
    ],
)
def test_luma_is_matlabs(colour: tuple[int, int, int], expected: float) -> None:
    result = studio_luma(plain(colour))
    assert result.shape == (24, 20)
    np.testing.assert_allclose(result, expected, atol=1e-9)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)],
)
def test_luma_refuses_what_is_no_8_bit_rgb(image: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="expected uint8 RGB"):
        studio_luma(image)


def test_by_hand() -> None:
    a, b = np.array([[0.0, 10.0]]), np.array([[3.0, 6.0]])
    assert mse(a, b) == pytest.approx((9 + 16) / 2)
    assert mae(a, b) == pytest.approx((3 + 4) / 2)
    # 255 is ten times 25.5: 20 dB.
    assert psnr(grey(100), grey(100) + 25.5) == pytest.approx(20.0)
    assert psnr(np.zeros(4), np.full(4, 0.1), peak=1.0) == pytest.approx(20.0)
    assert psnr_from_mse(255.0**2) == pytest.approx(0.0)


def test_unsigned_differences_do_not_wrap() -> None:
    a, b = np.array([[0]], np.uint8), np.array([[255]], np.uint8)
    assert mse(a, b) == 255**2
    assert mae(a, b) == 255


def test_agrees_with_scikit_image(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    peers = pytest.importorskip("skimage.metrics")
    a, b = pair
    assert mse(a, b) == pytest.approx(peers.mean_squared_error(a, b))
    assert psnr(a, b) == pytest.approx(peers.peak_signal_noise_ratio(a, b, data_range=255))
    assert mae(a, b) == pytest.approx(np.abs(a.astype(int) - b).mean())


def test_ssim_agrees_with_scikit_image(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    peers = pytest.importorskip("skimage.metrics")
    a, b = (image.astype(np.float64) for image in pair)
    _, everywhere = peers.structural_similarity(
        a,
        b,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        full=True,
    )
    inside = everywhere[5:-5, 5:-5].mean()
    assert 0.1 < inside < 0.95
    assert ssim(a, b) == pytest.approx(inside, abs=1e-9)


def test_ssim_of_plain_pictures_by_hand() -> None:
    # Without variance only the luminance term is left: (2ab + C1) / (a^2 + b^2 + C1).
    c1 = (0.01 * 255) ** 2
    expected = (2 * 50 * 100 + c1) / (50**2 + 100**2 + c1)
    assert ssim(grey(50), grey(100)) == pytest.approx(expected)
    assert ssim(grey(100), grey(50)) == pytest.approx(expected)


def test_identical_pictures() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    result = score(image, image.copy(), border=2)
    assert (result.psnr, result.mse, result.mae) == (math.inf, 0.0, 0.0)
    assert result.ssim == pytest.approx(1.0)


def test_score_compares_luma() -> None:
    result = score(plain((255, 0, 0)), plain((0, 0, 0)), border=3)
    assert result.mae == pytest.approx(65.481)
    assert result.mse == pytest.approx(65.481**2)
    assert result.psnr == pytest.approx(20 * math.log10(255 / 65.481))
    c1 = (0.01 * 255) ** 2
    expected = (2 * 81.481 * 16 + c1) / (81.481**2 + 16**2 + c1)
    assert result.ssim == pytest.approx(expected)


def test_score_as_grey_compares_grey_levels() -> None:
    result = score(plain((110, 110, 110)), plain((100, 100, 100)), border=2, as_grey=True)
    assert result.mae == pytest.approx(10)
    assert result.psnr == pytest.approx(20 * math.log10(25.5))
    c1 = (0.01 * 255) ** 2
    assert result.ssim == pytest.approx((2 * 110 * 100 + c1) / (110**2 + 100**2 + c1))


def test_score_cuts_exactly_the_border() -> None:
    reference = plain((90, 90, 90))
    frame = plain((200, 10, 30))
    frame[3:-3, 3:-3] = 90
    assert score(frame, reference, border=3).mse == 0
    assert score(frame, reference, border=2).mse > 0
    corner = reference.copy()
    corner[3, -4] = 100
    assert score(corner, reference, border=3).mse > 0


@pytest.mark.parametrize("measure", [mse, mae, psnr, ssim])
def test_refuses_two_shapes(measure: Callable[..., float]) -> None:
    # These two would broadcast.
    with pytest.raises(ValueError, match="differ in shape"):
        measure(np.zeros((16, 16)), np.zeros((16, 1)))


def test_score_refuses_two_shapes() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        score(plain((0, 0, 0)), plain((0, 0, 0), height=25), border=2)


@pytest.mark.parametrize("border", [-1, 10, 11])
def test_score_refuses_a_border_that_leaves_nothing(border: int) -> None:
    with pytest.raises(ValueError, match="border"):
        score(plain((0, 0, 0)), plain((0, 0, 0)), border=border)


@pytest.mark.parametrize("shape", [(10, 40), (40, 10), (16, 16, 3)])
def test_ssim_refuses_small_or_coloured(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 11x11"):
        ssim(np.zeros(shape), np.zeros(shape))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_truth_is_consistent_with_what_was_made_from_it(scale: int) -> None:
    hr = np.random.default_rng(1).integers(0, 256, (8 * scale, 9 * scale, 3), np.uint8)
    lr = bicubic(hr, scale=1 / scale)
    assert lr_consistency(hr, lr) == math.inf
    assert lr_consistency(lr.repeat(scale, 0).repeat(scale, 1), lr) < 45


def test_consistency_compares_luma_at_low_resolution() -> None:
    # 10 grey levels count 219 / 255 each in luma, and a plain picture stays plain.
    estimate = plain((110, 110, 110), height=24, width=18)
    lr = plain((100, 100, 100), height=8, width=6)
    assert lr_consistency(estimate, lr) == pytest.approx(20 * math.log10(25.5 * 255 / 219))


def test_consistency_leaves_out_the_outermost_pixel() -> None:
    estimate = plain((90, 90, 90), height=24, width=20)
    lr = plain((200, 10, 30), height=12, width=10)
    lr[1:-1, 1:-1] = 90
    assert lr_consistency(estimate, lr) == math.inf
    lr[1, -2] = 100
    assert lr_consistency(estimate, lr) < math.inf


@pytest.mark.parametrize(
    ("size", "message"),
    [((24, 19), "whole number"), ((7, 24), "whole number"), ((2, 2), "leaves nothing")],
)
def test_consistency_refuses_sizes(size: tuple[int, int], message: str) -> None:
    lr = plain((0, 0, 0), height=12, width=10)
    if size == (2, 2):
        lr = lr[:2, :2]
        size = (4, 4)
    with pytest.raises(ValueError, match=message):
        lr_consistency(plain((0, 0, 0), *size), lr)
