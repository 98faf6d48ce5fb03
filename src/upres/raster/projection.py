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
from numpy.typing import NDArray

from upres.raster.resize import bicubic_taps

REACH = 8
"""How many samples the inverse of D D^T looks to each side. D D+ differs from the identity by so
little that no sample changes by more than 2e-4 of the largest one."""

FILTER_REACH = 2
"""How many reduced samples away D and D^T look, at most."""

_BLOCK_BYTES = 2**18

Plane = NDArray[Any]
"""Height x width, of float32 or float64."""


@dataclass(frozen=True)
class Filter:
    """D along one axis, and the inverse of D D^T."""

    scale: int
    pairs: tuple[tuple[int, int, float], ...]
    """Offsets from the first of a sample's own ``scale``, two of one weight each, and the weight.
    Both are the same in the middle, where the scale is odd."""
    inverse: tuple[float, ...]
    """Weights of the inverse of D D^T: of a sample itself, and of those 1 to ``REACH`` away."""

    @property
    def offsets(self) -> dict[int, float]:
        """The weight by offset."""
        return {offset: weight for *both, weight in self.pairs for offset in both}


@lru_cache
def filter_of(scale: int) -> Filter:
    """The filter that reduces ``scale`` times. Raises ``ValueError`` for a scale below 2."""
    if scale < 2:
        raise ValueError(f"expected a scale of at least 2, got {scale}")
    # A sample in the middle, whose filter meets no border.
    weights, indices = bicubic_taps(9 * scale, 9)
    taps = {int(i) - 4 * scale: float(w) for i, w in zip(indices[4], weights[4], strict=True) if w}
    pairs = tuple((o, scale - 1 - o, w) for o, w in sorted(taps.items()) if o <= scale - 1 - o)
    length = 128
    product = np.zeros(length)
    for one, weight in taps.items():
        for other, second in taps.items():
            shift, rest = divmod(other - one, scale)
            if not rest:
                product[shift] += weight * second
    # Of so long a period that the inverse has fallen below float64's digits by its half.
    inverse = np.fft.irfft(1 / np.fft.rfft(product).real, length)
    return Filter(scale, pairs, tuple(float(v) for v in inverse[: REACH + 1]))


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
    low = min(o for o, _, _ in chosen.pairs)
    for top, bottom in _blocks(start, stop, scale * width * plane.itemsize):
        rows = _mirrored(plane, top * scale + low, bottom * scale - low, height)
        count = bottom - top
        total, both = np.zeros((count, width), plane.dtype), np.empty((count, width), plane.dtype)
        for one, other, weight in chosen.pairs:
            first = rows[one - low :: scale][:count]
            if one == other:
                np.multiply(first, plane.dtype.type(weight), out=both)
            else:
                np.add(first, rows[other - low :: scale][:count], out=both)
                both *= plane.dtype.type(weight)
            total += both
        yield top, bottom, _reduced_columns(total, chosen)


def _reduced_columns(rows: Plane, chosen: Filter) -> Plane:
    scale, pad = chosen.scale, FILTER_REACH
    count, width = rows.shape[0], rows.shape[1] // chosen.scale
    # Each of a sample's own by itself, so that shifts are of neighbours in memory.
    phases = np.empty((scale, count, width + 2 * pad), rows.dtype)
    for phase in range(scale):
        phases[phase, :, pad : pad + width] = rows[:, phase::scale]
    before = _mirror(np.arange(-pad * scale, 0), width * scale)
    after = _mirror(np.arange(width * scale, (width + pad) * scale), width * scale)
    for phase in range(scale):
        phases[phase, :, :pad] = rows[:, before[phase::scale]]
        phases[phase, :, pad + width :] = rows[:, after[phase::scale]]
    total, both = np.zeros((count, width), rows.dtype), np.empty((count, width), rows.dtype)

    def at(offset: int) -> Plane:
        shift, phase = divmod(offset, scale)
        part: Plane = phases[phase, :, pad + shift : pad + shift + width]
        return part

    for one, other, weight in chosen.pairs:
        if one == other:
            np.multiply(at(one), rows.dtype.type(weight), out=both)
        else:
            np.add(at(one), at(other), out=both)
            both *= rows.dtype.type(weight)
        total += both
    return total


def transposed(plane: Plane, scale: int) -> Plane:
    """D^T: a plane, as one ``scale`` times as large, so that <D x, y> = <x, D^T y>."""
    result = np.empty((plane.shape[0] * scale, plane.shape[1] * scale), plane.dtype)
    for top, bottom, rows in transposed_rows(plane, scale):
        result[top:bottom] = rows
    return result


def transposed_rows(plane: Plane, scale: int) -> Iterator[tuple[int, int, Plane]]:
    """``transposed`` in blocks: first row, row after the last, rows.

    The rows are in memory that the next block takes.
    """
    chosen = filter_of(scale)
    wide = _transposed_columns(plane, chosen)
    height, width = wide.shape
    block = scaled = None
    for top, bottom in _blocks(0, height, scale * width * plane.itemsize):
        count = bottom - top
        if block is None or scaled is None or len(scaled) != count:
            block = np.empty((count, scale, width), plane.dtype)
            scaled = np.empty((count, width), plane.dtype)
        rows = _mirrored(wide, top - FILTER_REACH, bottom + FILTER_REACH, height)
        for phase in range(scale):
            place = block[:, phase]
            for number, (shift, weight) in enumerate(_of_phase(chosen, phase)):
                source = rows[FILTER_REACH + shift :][:count]
                if number == 0:
                    np.multiply(source, plane.dtype.type(weight), out=place)
                else:
                    np.multiply(source, plane.dtype.type(weight), out=scaled)
                    place += scaled
        yield top * scale, bottom * scale, block.reshape(count * scale, width)


def _transposed_columns(plane: Plane, chosen: Filter) -> Plane:
    height, width = plane.shape
    scale = chosen.scale
    columns = _mirror(np.arange(-FILTER_REACH, width + FILTER_REACH), width)
    result = np.empty((height, width * scale), plane.dtype)
    for top, bottom in _blocks(0, height, scale * width * plane.itemsize):
        padded = plane[top:bottom, columns]
        total, scaled = np.empty_like(plane[top:bottom]), np.empty_like(plane[top:bottom])
        for phase in range(scale):
            for number, (shift, weight) in enumerate(_of_phase(chosen, phase)):
                source = padded[:, FILTER_REACH + shift :][:, :width]
                if number == 0:
                    np.multiply(source, plane.dtype.type(weight), out=total)
                else:
                    total += np.multiply(source, plane.dtype.type(weight), out=scaled)
            result[top:bottom, phase::scale] = total
    return result


def _of_phase(chosen: Filter, phase: int) -> list[tuple[int, float]]:
    """Which reduced samples, counted from a sample's own, reach it, and with which weight."""
    found = []
    for offset, weight in chosen.offsets.items():
        shift, rest = divmod(offset, chosen.scale)
        if rest == phase:
            found.append((-shift, weight))
    return found


def product_inverse(plane: Plane, scale: int) -> Plane:
    """(D D^T)^-1, on a plane of the reduced size."""
    weights = [plane.dtype.type(weight) for weight in filter_of(scale).inverse]
    height, width = plane.shape
    columns = _mirror(np.arange(-REACH, width + REACH), width)
    result = np.empty_like(plane)
    for top, bottom in _blocks(0, height, 2 * width * plane.itemsize):
        rows = _mirrored(plane, top - REACH, bottom + REACH, height)
        down = _symmetric_sum([rows[i : i + bottom - top] for i in range(2 * REACH + 1)], weights)
        across = down[:, columns]
        shifted = [across[:, i : i + width] for i in range(2 * REACH + 1)]
        result[top:bottom] = _symmetric_sum(shifted, weights)
    return result


def _symmetric_sum(shifted: Sequence[Plane], weights: Sequence[np.floating[Any]]) -> Plane:
    """The sum of planes by the weights of the one in the middle, and of those ever further out."""
    middle = len(shifted) // 2
    total: Plane = shifted[middle] * weights[0]
    both = np.empty_like(total)
    for away, weight in enumerate(weights[1:], 1):
        np.add(shifted[middle - away], shifted[middle + away], out=both)
        both *= weight
        total += both
    return total


def pseudo_inverse(plane: Plane, scale: int) -> Plane:
    """D+: the least plane, ``scale`` times as large, that D makes ``plane`` of.

    The least is that of the least sum of squares. Source: R. Penrose, "A generalized inverse for
    matrices", Proc. Cambridge Phil. Soc. 51 (1955).
    """
    return transposed(product_inverse(plane, scale), scale)


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
