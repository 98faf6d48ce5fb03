"""What pixels mean: their types, what is transparent, and what has no colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.errors import InputError

Float32Array = NDArray[np.float32]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""What red, green and blue count in luma (BT.601)."""

FILL_RADIUS = 4
"""How far, in input pixels, visible colour is continued under what is transparent."""

NEUTRAL_RADIUS = 2
"""How far around it, in input pixels, colour lets a pixel of the result have colour."""

RANGE_RADIUS = 1
"""How far around it, in input pixels, an ink's samples bound those of the result."""

NEUTRAL_RANGE = 4 / 255
"""Difference between the channels above which a network's colour is taken as it is."""


_ROUNDING = 1e-6

_CACHED_BYTES = 2**20
"""What fits into a processor core's own cache."""


def to_float(image: NDArray[Any]) -> Float32Array:
    """uint8, uint16 or floating-point samples as float32 in [0, 1].

    Raises ``InputError`` for another dtype, or floating-point values outside [0, 1].
    """
    if image.dtype.newbyteorder("=") in (np.uint8, np.uint16):
        return to_unit(image, 0, np.iinfo(image.dtype).max)
    if not np.issubdtype(image.dtype, np.floating):
        raise InputError(f"expected uint8, uint16 or floating-point samples, got {image.dtype}")
    if not (image.min() >= 0 and image.max() <= 1):  # so that NaN fails, too
        raise InputError(
            f"floating-point samples must lie in [0, 1], got {image.min():g} to {image.max():g}"
        )
    return image.astype(np.float32, copy=False)


def from_float(image: Float32Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    """float32 samples in [0, 1] as ``dtype``: uint8 and uint16 rounded to the nearest."""
    if np.issubdtype(dtype, np.floating):
        return image.astype(dtype, copy=False)
    return from_unit(image, 0, np.iinfo(dtype).max, dtype)


def to_unit(samples: NDArray[Any], low: float, high: float) -> Float32Array:
    """Samples from ``low`` to ``high`` as float32 in [0, 1]."""
    scaled = samples.astype(np.float32)
    if low:
        scaled -= np.float32(low)
    scaled /= np.float32(high - low)
    return scaled


def from_unit(values: Float32Array, low: float, high: float, dtype: np.dtype[Any]) -> NDArray[Any]:
    """float32 in [0, 1] as samples of ``dtype`` from ``low`` to ``high``, integers rounded."""
    result: NDArray[Any] = np.empty_like(values, dtype)
    # In double where a sample may have more digits than float32 has.
    own = np.float64 if dtype.itemsize == 4 else np.float32
    # In blocks that stay in the processor's cache.
    rows = max(1, _CACHED_BYTES // max(1, values[:1].size * np.dtype(own).itemsize))
    for top in range(0, len(values), rows):
        scaled: NDArray[Any] = values[top : top + rows].astype(own)
        scaled *= high - low
        if low:
            scaled += low
        if np.issubdtype(dtype, np.integer):
            scaled += 0.5
            if low < 0:  # else what follows rounds down, too
                np.floor(scaled, out=scaled)
        result[top : top + rows] = scaled
    return result


def copy_planes(place: NDArray[Any], block: NDArray[Any]) -> None:
    """``place[...] = block``, height x width x channels, where the block's channels are planes.

    Windows are such. All channels at once, numpy would copy in runs as short as a pixel, which
    takes it four times as long.
    """
    for channel in range(block.shape[2]):
        place[:, :, channel] = block[:, :, channel]


def luma(planes: Float32Array) -> Float32Array:
    """Luma (BT.601), height x width, of RGB as 3 x height x width.

    Not a product of matrices: NumPy's library for those keeps its threads spinning afterwards,
    in case there is another, on the cores that the engine wants. Measured, ``fast`` x2 in int8
    took 90 ms instead of 46 for its next window.
    """
    total: Float32Array = planes[0] * LUMA[0]
    for plane, share in zip(planes[1:], LUMA[1:], strict=True):
        total += plane * share
    return total


def keep_neutral(output: Float32Array, colour: Float32Array) -> Float32Array:
    """Take from an enlarged RGB window the colour that a network gave to what had none.

    Where the input, ``NEUTRAL_RADIUS`` around, is neutral, the result is, too; where it is
    faintly coloured, the result's colour is in part its own, pixels repeated. That is less the
    more colour there is, and nothing from ``NEUTRAL_RANGE`` on. Luma (BT.601) stays as it was.
    ``output`` itself is changed.
    """
    red, green, blue = colour
    saturation = np.maximum(np.maximum(red, green), blue)
    saturation -= np.minimum(np.minimum(red, green), blue)
    if saturation.min() >= NEUTRAL_RANGE:
        return output
    weight = np.minimum(_largest_around(saturation, NEUTRAL_RADIUS) / np.float32(NEUTRAL_RANGE), 1)
    if weight.min() == 1:
        return output
    scale = output.shape[1] // colour.shape[1]
    own = colour - luma(colour)
    own *= 1 - weight
    # In blocks that stay in the processor's cache, and only where there is something to do.
    rows = max(1, _CACHED_BYTES // (output[0, 0].nbytes * scale * 5))
    for top in range(0, len(weight), rows):
        part = weight[top : top + rows]
        if part.min() == 1:
            continue
        block = output[:, top * scale : (top + rows) * scale]
        grey = luma(block)
        block -= grey
        block *= part.repeat(scale, 0).repeat(scale, 1)
        block += grey
        tint = own[:, top : top + rows]
        # Of grey pictures there is none; what rounding leaves is far below a level.
        if np.abs(tint).max() > _ROUNDING:
            block += tint.repeat(scale, 1).repeat(scale, 2)
    return output


def keep_in_range(output: Float32Array, plane: Float32Array) -> Float32Array:
    """An enlarged plane, no sample beyond what the plane holds ``RANGE_RADIUS`` around it.

    For inks: of a plate that is almost empty, a network's ripples below zero are cut off,
    and those above would darken the whole.
    """
    scale = output.shape[0] // plane.shape[0]
    highest = _largest_around(plane, RANGE_RADIUS).repeat(scale, 0).repeat(scale, 1)
    lowest = -_largest_around(-plane, RANGE_RADIUS).repeat(scale, 0).repeat(scale, 1)
    return np.clip(output, lowest, highest)


def _largest_around(plane: Float32Array, radius: int) -> Float32Array:
    for _ in range(2):  # along one axis and then the other
        around = plane.T.copy()
        for distance in range(1, radius + 1):
            np.maximum(around[distance:], plane.T[:-distance], out=around[distance:])
            np.maximum(around[:-distance], plane.T[distance:], out=around[:-distance])
        plane = around
    return plane


def fill_transparent(window: Float32Array) -> Float32Array:
    """The colour channels, with visible neighbours' colour where alpha is zero.

    What a file stores there is arbitrary, often black, and would bleed into the edge. The
    fill is the mean of the pixels at most ``FILL_RADIUS`` away, weighted by their alpha.
    """
    colour, alpha = window[:, :, :-1], window[:, :, -1:]
    weighted = np.concatenate([colour * alpha, alpha], axis=2)
    for axis in (0, 1):
        margin = [(FILL_RADIUS, FILL_RADIUS) if axis == i else (0, 0) for i in range(3)]
        padded = np.pad(weighted, margin)
        weighted = np.lib.stride_tricks.sliding_window_view(padded, 2 * FILL_RADIUS + 1, axis)
        weighted = weighted.sum(axis=-1)
    fill = weighted[:, :, :-1] / np.maximum(weighted[:, :, -1:], 1e-6)
    return np.where(alpha > 0, colour, fill)
