"""How far one image is from another: PSNR, SSIM, MSE and MAE, each with its protocol.

The field's protocol, which published figures follow: compare luma (Y of BT.601, as
MATLAB's ``rgb2ycbcr``) of images rounded to uint8, with a border of ``scale`` pixels
cut off each side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.raster.resize import bicubic

PROTOCOL = (
    "Y of BT.601 (MATLAB rgb2ycbcr), images rounded to uint8, border of `scale` pixels "
    "cropped, LR by MATLAB's bicubic; SSIM with an 11x11 Gaussian window, sigma 1.5; "
    "grey pictures compared as RGB"
)

PROTOCOL_AT_X1 = PROTOCOL.replace(", LR by MATLAB's bicubic", "")
"""The same where pictures are restored at their size."""


@dataclass(frozen=True)
class Scores:
    """The four measures of one image, or their means over a set (0 to 255 scale)."""

    psnr: float
    """Decibels; infinite for identical images."""
    ssim: float
    """At most 1, for identical images."""
    mse: float
    """Mean squared difference, in squared grey levels."""
    mae: float
    """Mean absolute difference, in grey levels."""


def studio_luma(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Y of BT.601 in the studio range, 16 to 235, unrounded, of uint8 RGB (height x width x 3).

    Source: ITU-R BT.601; the coefficients are those of MATLAB's ``rgb2ycbcr``.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected uint8 RGB, got {image.dtype} of shape {image.shape}")
    weights = np.array([65.481, 128.553, 24.966]) / 255.0
    result: NDArray[np.float64] = image.astype(np.float64) @ weights + 16.0
    return result


def mse(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Mean squared difference of two arrays of one shape."""
    _check_same_shape(a, b)
    return float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))


def mae(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Mean absolute difference of two arrays of one shape."""
    _check_same_shape(a, b)
    return float(np.mean(np.abs(a.astype(np.float64) - b.astype(np.float64))))


def psnr(a: NDArray[Any], b: NDArray[Any], *, peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB, ``10 log10(peak^2 / mse)``; inf if equal."""
    return psnr_from_mse(mse(a, b), peak=peak)


def psnr_from_mse(mse: float, *, peak: float = 255.0) -> float:
    """PSNR in dB of a mean squared difference; inf for zero."""
    return float("inf") if mse == 0 else float(10 * np.log10(peak**2 / mse))


def ssim(a: NDArray[Any], b: NDArray[Any], *, peak: float = 255.0) -> float:
    """Structural similarity of two single-channel images (height x width).

    Source: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error
    visibility to structural similarity", IEEE Trans. Image Processing 13 (2004), eq. 13,
    with its constants: 11x11 Gaussian window, sigma 1.5, K1 = 0.01, K2 = 0.03. The mean
    is taken where the window lies wholly inside the image.

    Raises ``ValueError`` if the shapes differ or a side is shorter than 11 pixels.
    """
    _check_same_shape(a, b)
    if a.ndim != 2 or min(a.shape) < 11:
        raise ValueError(f"SSIM needs one channel of at least 11x11 pixels, got {a.shape}")
    x = a.astype(np.float64)
    y = b.astype(np.float64)
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mean_x, mean_y = _gaussian_mean(x), _gaussian_mean(y)
    var_x = _gaussian_mean(x * x) - mean_x**2
    var_y = _gaussian_mean(y * y) - mean_y**2
    covariance = _gaussian_mean(x * y) - mean_x * mean_y
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )
    return float(similarity.mean())


def score(
    estimate: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    *,
    border: int,
    as_grey: bool = False,
) -> Scores:
    """All four measures of ``estimate`` against ``reference`` by the field's protocol.

    Both are uint8 RGB (height x width x 3) of one size; ``border`` pixels are cut off
    each side, by custom as many as the scale. ``as_grey`` stretches luma's 219 levels to
    the 255 of a grey picture first. Raises ``ValueError`` if the sizes do not fit.
    """
    _check_same_shape(estimate, reference)
    height, width = reference.shape[:2]
    if border < 0 or min(height, width) <= 2 * border:
        raise ValueError(f"a border of {border} leaves nothing of {width}x{height} pixels")
    inner = np.s_[border : height - border, border : width - border]
    x, y = studio_luma(estimate[inner]), studio_luma(reference[inner])
    if as_grey:
        x, y = ((each - 16) * (255 / 219) for each in (x, y))
    difference = mse(x, y)
    return Scores(psnr_from_mse(difference), ssim(x, y), difference, mae(x, y))


def lr_consistency(estimate: NDArray[np.uint8], lr: NDArray[np.uint8]) -> float:
    """How well an enlarged picture agrees with the one it was made from: PSNR in dB.

    ``estimate`` is shrunk to the size of ``lr`` by MATLAB's bicubic and rounded; then luma
    is compared, with the outermost pixel of each side cut off, which answers to the border
    of ``scale`` pixels that ``score`` cuts off. Both are uint8 RGB (height x width x 3).
    It needs no ground truth, and is infinite where nothing of the input was lost.

    Source: Lugmayr, Danelljan, Van Gool and Timofte, "SRFlow: learning the
    super-resolution space with normalizing flow", ECCV 2020 (there "LR-PSNR", of RGB).

    Raises ``ValueError`` if the estimate is not a whole number of times as large, or
    ``lr`` has less than 3 pixels a side.
    """
    height, width = lr.shape[:2]
    scale = estimate.shape[0] // height
    if scale < 1 or estimate.shape[:2] != (height * scale, width * scale):
        raise ValueError(f"{estimate.shape} is no whole number of times as large as {lr.shape}")
    if min(height, width) < 3:
        raise ValueError(f"a border of 1 leaves nothing of {width}x{height} pixels")
    shrunk = bicubic(estimate, size=(height, width))
    inner = np.s_[1:-1, 1:-1]
    return psnr(studio_luma(shrunk[inner]), studio_luma(lr[inner]))


def _check_same_shape(a: NDArray[Any], b: NDArray[Any]) -> None:
    if a.shape != b.shape:
        raise ValueError(f"images differ in shape: {a.shape} and {b.shape}")


def _gaussian_mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean over an 11x11 Gaussian window, where it lies wholly inside."""
    kernel = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    height, width = image.shape
    rows = sum(k * image[i : height - 10 + i] for i, k in enumerate(kernel))
    result: NDArray[np.float64] = sum(k * rows[:, i : width - 10 + i] for i, k in enumerate(kernel))
    return result
