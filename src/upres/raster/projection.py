"""Reduction by a whole factor, its transpose and its pseudo-inverse, on planes of any size.

D is MATLAB's antialiased bicubic reduction by ``scale`` (``upres.raster.resize``) without rounding.
It is separable: one filter a row, and the same a column. Borders are extended symmetrically. The
filter is symmetric, so the transpose D^T is a filter with symmetric borders, too, and so is D D^T.
The condition number of D D^T is 2.1 an axis, or less: its inverse falls to a third with each
sample, and is cut off after ``REACH``. The pseudo-inverse is D+ = D^T (D D^T)^-1.

All are sums of shifted rows, and no products of matrices, whose library's threads would take the
engine's cores (see ``upres.raster.pixels.luma``). They work in blocks of rows that stay in the
processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from upres.raster.resize import bicubic_taps

REACH = 12
"""How many samples the inverse of D D^T looks to each side. D D+ differs from the identity by so
little that no sample changes by more than 3e-6 of the largest one."""

FILTER_REACH = 2
"""How many reduced samples away D and D^T look, at most."""

_BLOCK_BYTES = 2**19

Plane = NDArray[Any]
"""Height x width, of float32 or float64."""

Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Filter:
    """D along one axis, and the inverse of D D^T."""

    first: int
    """The offset of the first weight, counted from the first of a sample's own ``scale``."""
    weights: Weights
    """Of neighbours on the large axis, in order."""
    ahead: Weights
    """The same by reduced sample, from ``FILTER_REACH`` before to as many after, and by which of
    that one's own ``scale`` it is."""
    back: tuple[tuple[int, Weights], ...]
    """Of D^T, for each of a sample's own ``scale``: the first reduced sample that counts, from
    ``FILTER_REACH`` before, and the weights of it and the next ones."""
    inverse: Weights
    """Of the inverse of D D^T, from ``REACH`` before to as many after."""


@lru_cache
def filter_of(scale: int) -> Filter:
    """The filter that reduces ``scale`` times. Raises ``ValueError`` for a scale below 2."""
    if scale < 2:
        raise ValueError(f"expected a scale of at least 2, got {scale}")
    # A sample in the middle, whose filter meets no border.
    taps, indices = bicubic_taps(9 * scale, 9)
    ahead = np.zeros((2 * FILTER_REACH + 1, scale))
    ahead.flat[indices[4] - (4 - FILTER_REACH) * scale] = taps[4]
    used = np.flatnonzero(ahead)
    length = 128
    product = np.zeros(length)
    for shift in range(-2 * FILTER_REACH, 2 * FILTER_REACH + 1):
        over = slice(max(0, shift), len(ahead) + min(0, shift))
        under = slice(max(0, -shift), len(ahead) + min(0, -shift))
        product[shift] = np.sum(ahead[over] * ahead[under])
    # Of so long a period that the inverse has fallen below float64's digits by its half.
    inverse = np.roll(np.fft.irfft(1 / np.fft.rfft(product).real, length), REACH)
    return Filter(
        first=int(used[0]) - FILTER_REACH * scale,
        weights=ahead.ravel()[used[0] : used[-1] + 1],
        ahead=ahead,
        back=tuple(
            (int(some[0]), weights[some[0] : some[-1] + 1])
            for weights in ahead[::-1].T
            for some in [np.flatnonzero(weights)]
        ),
        inverse=inverse[: 2 * REACH + 1],
    )


def reduced(plane: Plane, scale: int) -> Plane:
    """D: a plane of multiples of ``scale``, as one ``scale`` times as small."""
    height, width = plane.shape
    if height % scale or width % scale:
        raise ValueError(f"{width}x{height} is no multiple of {scale}")
    result = np.empty((height // scale, width // scale), plane.dtype)
    for top, bottom, rows in reduced_rows(plane, scale, 0, len(result)):
        result[top:bottom] = rows
    return result


def reduced_rows(
    plane: Plane, scale: int, start: int, stop: int
) -> Iterator[tuple[int, int, Plane]]:
    """Rows ``start`` to ``stop`` of ``reduced``, in blocks: first row, row after the last, rows."""
    chosen = filter_of(scale)
    height, width = plane.shape
    taps, first = len(chosen.weights), chosen.first
    for top, bottom in _blocks(start, stop, scale * width * plane.itemsize):
        rows = _mirrored(plane, top * scale + first, (bottom - 1) * scale + first + taps, height)
        narrow = _sum("k,krw->rw", chosen.weights, _shifted(rows, taps, bottom - top, scale))
        yield top, bottom, _reduced_columns(narrow, chosen)


def _reduced_columns(rows: Plane, chosen: Filter) -> Plane:
    scale, pad = chosen.ahead.shape[1], FILTER_REACH
    count, width = rows.shape[0], rows.shape[1] // scale
    # Each of a sample's own by itself, so that shifts are of neighbours in memory.
    phases = np.empty((scale, count, width + 2 * pad), rows.dtype)
    before = _mirror(np.arange(-pad * scale, 0), width * scale)
    after = _mirror(np.arange(width * scale, (width + pad) * scale), width * scale)
    for phase in range(scale):
        phases[phase, :, pad : pad + width] = rows[:, phase::scale]
        phases[phase, :, :pad] = rows[:, before[phase::scale]]
        phases[phase, :, pad + width :] = rows[:, after[phase::scale]]
    total: Plane = np.zeros((count, width), rows.dtype)
    for shift, weights in enumerate(chosen.ahead):
        total += _sum("p,prw->rw", weights, phases[:, :, shift : shift + width])
    return total


def transposed(plane: Plane, scale: int) -> Plane:
    """D^T: a plane, as one ``scale`` times as large, so that <D x, y> = <x, D^T y>."""
    result = np.empty((plane.shape[0] * scale, plane.shape[1] * scale), plane.dtype)
    for top, bottom, rows in transposed_rows(plane, scale):
        result[top:bottom] = rows
    return result


def transposed_rows(plane: Plane, scale: int) -> Iterator[tuple[int, int, Plane]]:
    """``transposed`` in blocks: first row, row after the last, rows."""
    chosen = filter_of(scale)
    wide = _transposed_columns(plane, chosen)
    height, width = wide.shape
    for top, bottom in _blocks(0, height, scale * width * plane.itemsize):
        rows = _mirrored(wide, top - FILTER_REACH, bottom + FILTER_REACH, height)
        tall = np.empty((bottom - top, scale, width), plane.dtype)
        for phase, (first, weights) in enumerate(chosen.back):
            shifted = _shifted(rows[first:], len(weights), bottom - top)
            _sum("k,krw->rw", weights, shifted, out=tall[:, phase])
        yield top * scale, bottom * scale, tall.reshape((bottom - top) * scale, width)


def _transposed_columns(plane: Plane, chosen: Filter) -> Plane:
    height, width = plane.shape
    scale = len(chosen.back)
    columns = _mirror(np.arange(-FILTER_REACH, width + FILTER_REACH), width)
    result = np.empty((height, width, scale), plane.dtype)
    for top, bottom in _blocks(0, height, scale * width * plane.itemsize):
        rows = plane[top:bottom, columns]
        total, part = np.empty((2, bottom - top, width), plane.dtype)
        for phase, (first, weights) in enumerate(chosen.back):
            for shift, weight in enumerate(weights.astype(plane.dtype)):
                source = rows[:, first + shift :][:, :width]
                if shift == 0:
                    np.multiply(source, weight, out=total)
                else:
                    total += np.multiply(source, weight, out=part)
            result[top:bottom, :, phase] = total
    return result.reshape(height, width * scale)


def product_inverse(plane: Plane, scale: int) -> Plane:
    """(D D^T)^-1, on a plane of the reduced size."""
    weights = filter_of(scale).inverse.astype(plane.dtype)
    height, width = plane.shape
    columns = _mirror(np.arange(-REACH, width + REACH), width)
    result = np.empty_like(plane)
    places = range(2 * REACH + 1)
    for top, bottom in _blocks(0, height, 2 * width * plane.itemsize):
        rows = _mirrored(plane, top - REACH, bottom + REACH, height)
        down = _symmetric_sum(weights, [rows[i : i + bottom - top] for i in places])
        across = down[:, columns]
        result[top:bottom] = _symmetric_sum(weights, [across[:, i : i + width] for i in places])
    return result


def _symmetric_sum(weights: NDArray[Any], shifted: Sequence[Plane]) -> Plane:
    """The sum of planes by weights that are the same forwards and backwards."""
    total: Plane = shifted[REACH] * weights[REACH]
    both = np.empty_like(total)
    for place in range(REACH):
        np.add(shifted[place], shifted[-1 - place], out=both)
        both *= weights[place]
        total += both
    return total


def pseudo_inverse(plane: Plane, scale: int) -> Plane:
    """D+: the least plane, ``scale`` times as large, that D makes ``plane`` of.

    The least is that of the least sum of squares. Source: R. Penrose, "A generalized inverse for
    matrices", Proc. Cambridge Phil. Soc. 51 (1955).
    """
    return transposed(product_inverse(plane, scale), scale)


def _sum(
    subscripts: str, weights: Weights, shifted: NDArray[Any], out: Plane | None = None
) -> Plane:
    """A weighted sum of shifted planes, in one pass, and by no library for matrices.

    ``einsum`` asks none unless it is to ``optimize``.
    """
    result: Plane = np.einsum(subscripts, weights.astype(shifted.dtype), shifted, out=out)
    return result


def _shifted(rows: Plane, taps: int, count: int, step: int = 1) -> NDArray[Any]:
    """For each tap a plane of ``count`` rows, each ``step`` after the one before: no copy."""
    down, across = rows.strides
    shape, strides = (taps, count, rows.shape[1]), (down, step * down, across)
    return as_strided(rows, shape, strides, writeable=False)


def _blocks(start: int, stop: int, row_bytes: int) -> Iterator[tuple[int, int]]:
    rows = max(4, _BLOCK_BYTES // max(1, row_bytes))
    for top in range(start, stop, rows):
        yield top, min(stop, top + rows)


def _mirror(indices: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    period = np.mod(indices, 2 * length)
    return np.where(period < length, period, 2 * length - 1 - period)


def _mirrored(plane: Plane, start: int, stop: int, length: int) -> Plane:
    """Rows ``start`` to ``stop``, which may lie beyond the borders."""
    if start >= 0 and stop <= length:
        return plane[start:stop]
    return plane[_mirror(np.arange(start, stop), length)]
