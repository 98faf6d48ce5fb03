"""Samples as numbers from 0 to 1 and back, by the ranges of their bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.raster.info import REPEATED_ROLES, Band

Float32Array = NDArray[np.float32]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""The weights of red, green and blue in luma (BT.601)."""

CACHED_BYTES = 2**20
"""Bytes that fit into a processor core's own cache."""


def rounding(dtype: np.dtype[Any]) -> float:
    """How far beyond [0, 1] samples of floating point may lie by rounding alone.

    A filter in float32 leaves a few of its last digits; half of a 16-bit level is more than those.
    """
    return 4 * float(np.finfo(dtype).eps) if dtype == np.float16 else 0.5 / 65535


def to_unit(samples: NDArray[Any], low: float, high: float) -> Float32Array:
    """Samples from ``low`` to ``high`` as float32 in [0, 1]; 0 where these are the same."""
    # In double where a sample may have more digits than float32 has.
    wide = samples.dtype.itemsize > 2 and samples.dtype != np.float32
    scaled: NDArray[Any] = samples.astype(np.float64 if wide else np.float32)
    if low:
        scaled -= scaled.dtype.type(low)
    if high - low not in (0, 1):
        scaled /= scaled.dtype.type(high - low)
    return scaled.astype(np.float32, copy=False)


def from_unit(
    values: Float32Array,
    low: float,
    high: float,
    dtype: np.dtype[Any],
    *,
    bounded: bool = True,
) -> NDArray[Any]:
    """float32 in [0, 1] as samples of ``dtype`` from ``low`` to ``high``, integers rounded.

    Values that are not ``bounded`` may lie beyond [0, 1], and become samples of the type's range.
    """
    result: NDArray[Any] = np.empty_like(values, dtype)
    # In double where a sample may have more digits than float32 has.
    own = np.float64 if dtype.itemsize >= 4 else np.float32
    # In blocks that stay in the processor's cache.
    rows = max(1, CACHED_BYTES // max(1, values[:1].size * np.dtype(own).itemsize))
    for top in range(0, len(values), rows):
        scaled: NDArray[Any] = values[top : top + rows].astype(own)
        scaled *= high - low
        if low:
            scaled += low
        if np.issubdtype(dtype, np.integer):
            scaled += 0.5
            if low < 0 or not bounded:  # else the conversion rounds down, too
                np.floor(scaled, out=scaled)
        if not bounded:
            limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
            np.clip(scaled, limits.min, limits.max, out=scaled)
        result[top : top + rows] = scaled
    return result


def missing(samples: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Where there are no samples: those that are NaN, and those that are ``nodata``.

    ``nodata`` is a value of the samples' type.
    """
    gone = np.isnan(samples) if samples.dtype.kind == "f" else np.zeros(samples.shape, np.bool_)
    if nodata is not None and nodata == nodata:
        gone |= samples == samples.dtype.type(nodata)
    return gone


def to_bands(
    block: NDArray[Any], bands: Sequence[Band], nodata: float | None = None
) -> Float32Array:
    """Samples, rows x columns x bands, as float32: 0 to 1 from each band's ``low`` to ``high``.

    Of bands that have gaps, samples that are missing become NaN.
    """
    first, *others = (_range(band) for band in bands)
    if all(other == first for other in others) and not any(band.gaps for band in bands):
        return to_unit(block, *first)
    result = np.empty(block.shape, np.float32)
    for number, (band, (low, high)) in enumerate(zip(bands, (first, *others), strict=True)):
        samples = block[:, :, number]
        gone = missing(samples, nodata) if band.gaps else None
        if gone is not None:  # the value that means nothing may be too far from all others
            samples = np.where(gone, samples.dtype.type(0), samples)
        result[:, :, number] = to_unit(samples, low, high)
        if gone is not None:
            result[:, :, number][gone] = np.nan
    return result


def from_bands(
    block: Float32Array,
    bands: Sequence[Band],
    dtype: np.dtype[Any],
    nodata: float | None = None,
) -> NDArray[Any]:
    """The reverse of ``to_bands``: samples of ``dtype``, integers rounded to the nearest.

    NaN becomes ``nodata``, and no other value does: one that would is moved to the sample beside.
    """
    first, *others = (_range(band) for band in bands)
    simple = nodata is None and all(_is_bounded(band) and not band.gaps for band in bands)
    if simple and all(other == first for other in others):
        return from_unit(block, *first, dtype)
    result: NDArray[Any] = np.empty(block.shape, dtype)
    for number, (band, (low, high)) in enumerate(zip(bands, (first, *others), strict=True)):
        values = block[:, :, number]
        gone = np.isnan(values) if band.gaps else None
        if gone is not None:
            values = np.where(gone, np.float32(0), values)
        samples = from_unit(values, low, high, dtype, bounded=_is_bounded(band))
        if nodata is not None and nodata == nodata and band.role not in ("alpha", "mask"):
            _move_off(samples, values, nodata, low, high)
        if gone is not None:
            nothing = nodata if nodata is not None else np.nan if dtype.kind == "f" else 0
            samples[gone] = dtype.type(nothing)
        result[:, :, number] = samples
    return result


def _is_bounded(band: Band) -> bool:
    """Whether values lie in [0, 1]. Numbers of classes are their own values, whatever range."""
    return not band.unbounded and band.role not in REPEATED_ROLES


def _move_off(
    samples: NDArray[Any], values: Float32Array, nodata: float, low: float, high: float
) -> None:
    """Move samples that are ``nodata`` to the next one on the side of their unrounded values."""
    kind = samples.dtype.type
    taken = samples == kind(nodata)
    if not taken.any():
        return
    limits = np.finfo(samples.dtype) if samples.dtype.kind == "f" else np.iinfo(samples.dtype)
    above: NDArray[np.bool_] = values[taken].astype(np.float64) * (high - low) + low > nodata
    if nodata >= limits.max:
        above[:] = False
    elif nodata <= limits.min:
        above[:] = True
    if samples.dtype.kind == "f":
        beside = [np.nextafter(kind(nodata), kind(to)) for to in (-np.inf, np.inf)]
    else:
        beside = [kind(max(int(nodata) - 1, limits.min)), kind(min(int(nodata) + 1, limits.max))]
    samples[taken] = np.where(above, beside[1], beside[0])


def _range(band: Band) -> tuple[float, float]:
    if band.low is None or band.high is None:
        raise ValueError(f"the range of {band} is not measured yet")
    return band.low, band.high


def copy_planes(place: NDArray[Any], block: NDArray[Any]) -> None:
    """``place[...] = block``, height x width x channels, where the block's channels are planes.

    Windows are so. All channels at once, numpy would copy in runs as short as a pixel, which
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
