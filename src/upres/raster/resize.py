"""Antialiased bicubic resizing as MATLAB's ``imresize`` does it.

The field makes its low-resolution images with this filter, and published figures
depend on it: other bicubic filters (OpenCV, PyTorch, and Pillow in its treatment of
borders and rounding) give different images and incomparable PSNR.

Borders are symmetric, as in MATLAB's documentation. The customary LR files of Set5 and
Set14 come from a release that repeats the outermost pixel instead: they are reproduced
exactly but for the two outermost pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Keys' family of cubics has one free parameter; MATLAB takes -0.5, OpenCV -0.75.
CUBIC_A = -0.5


def cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -0.5, support [-2, 2].

    Source: R. Keys, "Cubic convolution interpolation for digital image processing",
    IEEE Trans. ASSP 29 (1981), eq. 15.
    """
    x = np.abs(x)
    near = (CUBIC_A + 2) * x**3 - (CUBIC_A + 3) * x**2 + 1
    far = CUBIC_A * (x**3 - 5 * x**2 + 8 * x - 4)
    result: NDArray[np.float64] = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
    return result


def bicubic_taps(
    in_length: int, out_length: int, scale: float | None = None
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Weights and source indices that resize one axis.

    Returns two arrays of shape ``(out_length, taps)``: output sample ``i`` is
    ``sum_k weights[i, k] * source[indices[i, k]]``. Rows of weights sum to one. Borders
    are extended symmetrically. ``scale`` is the factor of the axis where it is not
    ``out_length / in_length`` (an output length that was rounded up); below one, the
    kernel is widened by ``1 / scale`` so that it low-passes (antialiasing).
    """
    if in_length < 1 or out_length < 1:
        raise ValueError(f"lengths must be at least 1, got {in_length} and {out_length}")
    if scale is None:
        scale = out_length / in_length
    stretch = min(scale, 1.0)
    width = 4.0 / stretch
    # Pixel centres lie at half-integers: the output's first centre, mapped to the input.
    centre = (np.arange(out_length) + 0.5) / scale - 0.5
    # A window one wider on each side than the kernel, as MATLAB takes it; the surplus
    # taps have weight zero and are dropped below.
    left = np.floor(centre - width / 2).astype(np.intp)
    taps = left[:, None] + np.arange(int(np.ceil(width)) + 2)
    weights = cubic(stretch * (centre[:, None] - taps))
    weights /= weights.sum(axis=1, keepdims=True)
    period = np.mod(taps, 2 * in_length)
    indices = np.where(period < in_length, period, 2 * in_length - 1 - period)
    used = np.any(weights != 0, axis=0)
    return weights[:, used], indices[:, used]


def bicubic(
    image: NDArray[Any],
    *,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
) -> NDArray[Any]:
    """Resize ``image`` (height x width, or height x width x channels) bicubically.

    Give either ``scale`` (the new size is rounded up, as MATLAB does) or ``size`` as
    (height, width). The result has the image's dtype. Integer images are rounded and
    clipped after each of the two passes, as MATLAB does for uint8; floating-point ones
    are not, so bicubic overshoot stays.

    MATLAB computes in double, as this does for more than 8 bits and for float64. For uint8
    and int8 float32 takes half of the time, and one value in thousands, which lies next to
    a half, is then rounded the other way.

    Raises ``ValueError`` if the image has not two or three axes, is empty, is of truth
    values, of integers of more than 32 bits or of none of integers and floats, or if not
    exactly one of ``scale`` and ``size`` is given.
    """
    if image.dtype.kind not in "uif" or (image.dtype.kind in "ui" and image.dtype.itemsize > 4):
        raise ValueError(
            f"expected an image of integers of at most 32 bits or of floats, got {image.dtype}"
        )
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(f"expected an image of two or three axes, got shape {image.shape}")
    if (scale is None) == (size is None):
        raise ValueError("give either scale or size")
    height, width = image.shape[:2]
    if scale is not None:
        factors = (scale, scale)
        size = (int(np.ceil(height * scale)), int(np.ceil(width * scale)))
    else:
        assert size is not None
        factors = (size[0] / height, size[1] / width)
    # MATLAB resizes the axis with the smaller factor first, and rows first in a tie;
    # with rounding in between the order shows.
    result = image
    for axis in sorted((0, 1), key=lambda axis: factors[axis]):
        result = _resize_axis(result, axis, size[axis], factors[axis])
    return result


def apply_taps(
    image: NDArray[np.float32],
    axis: int,
    weights: NDArray[np.float64],
    indices: NDArray[np.intp],
) -> NDArray[np.float32]:
    """Resize one axis of channels x height x width, by weights and indices of ``bicubic_taps``.

    They may be some of its rows, with indices that count from a window's start: so a
    picture can be resized piece by piece, to the same result. Not clipped.
    """
    shape = list(image.shape)
    shape[axis] = len(weights)
    result = np.empty(shape, np.float32)
    # Few samples at a time lie close together in the source: as small dense matrices they
    # are multiplied far faster than they are gathered tap by tap.
    for start in range(0, len(weights), 64):
        some = indices[start : start + 64]
        low, high = int(some.min()), int(some.max()) + 1
        matrix = np.zeros((len(some), high - low), np.float32)
        # Added, as one source sample may be met twice where a border is mirrored.
        np.add.at(matrix, (np.arange(len(some))[:, None], some - low), weights[start : start + 64])
        if axis == 1:
            result[:, start : start + 64] = matrix @ image[:, low:high]
        else:
            result[:, :, start : start + 64] = image[:, :, low:high] @ matrix.T
    return result


def _resize_axis(image: NDArray[Any], axis: int, out_length: int, scale: float) -> NDArray[Any]:
    # Doubles, and integers that float32 has too few digits for.
    exact = image.dtype == np.float64 or (image.dtype.kind in "ui" and image.dtype.itemsize > 1)
    work = np.float64 if exact else np.float32
    source: NDArray[Any] = np.moveaxis(image, axis, 0).astype(work, copy=False)
    taps, indices = bicubic_taps(image.shape[axis], out_length, scale)
    weights: NDArray[Any] = taps.astype(work).reshape(*taps.shape, *(1,) * (image.ndim - 1))
    result = weights[:, 0] * source[indices[:, 0]]
    for tap in range(1, indices.shape[1]):
        result += weights[:, tap] * source[indices[:, tap]]
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        # MATLAB rounds halves away from zero, NumPy's rint to even.
        result = np.copysign(np.floor(np.abs(result) + 0.5), result)
        result = np.clip(result, limits.min, limits.max)
    resized: NDArray[Any] = np.moveaxis(result, 0, axis).astype(image.dtype, copy=False)
    return resized
