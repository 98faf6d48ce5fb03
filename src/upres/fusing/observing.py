"""How a frame sees the picture that is sought: it is blurred, and sampled at the frame's places.

MATLAB's antialiased bicubic reduction (``upres.raster.resize``) is the blur: by it the networks
are trained, and a result reduced again is its input. A frame that is moved by a part of a sample
sees the blurred picture in between. That picture is kept as coefficients of quadratic B-splines on
a grid of ``KNOTS`` to a sample of the reference. P makes them of the picture, along each axis in
turn, and a sample of any frame is a sum of 3 x 3 of them. So the sum over all frames of S^T W S, of
the samples' weights W, is a matrix of 25 diagonals on that grid, however many frames there are: it
is made once, and a step of the solver takes as long for two frames as for sixty.

The kernel keeps its axes where a frame is turned by a few degrees, or zoomed by a few percent. The
splines represent it to 0.003 of a level of 255 in the root mean square for samples at knots and
halfway between them, as x2 has them, and to 0.4 of a level for others. Source for splines:
M. Unser, "Splines: a perfect fit for signal and image processing", IEEE Signal Processing Magazine
16 (1999).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.fusing.motion import Coordinates
from upres.raster.pixels import Float32Array
from upres.raster.resize import cubic

KNOTS = 2
"""Knots of the splines to a sample of the reference, along each axis."""

TAPS = 3
"""Coefficients along each axis that a sample is made of."""

KERNEL_REACH = 5
"""How many samples of the reference away, at most, the picture counts in a coefficient: the kernel
reaches two, and what makes splines interpolate falls to a 34th with each sample."""

EDGE = 1
"""Samples beyond each end of a part whose knots are there, too."""

_BLOCK = 16
"""Samples of the reference that a block of the matrix P makes the coefficients of."""

_PRODUCT = 2**18
"""Multiplications of a product of matrices that NumPy's library makes on the thread that asks for
it: for more it would wake others, which spin afterwards on processors that have other work."""


_ROWS = 64
"""Rows of coefficients that a product with the matrix is made of at once."""


@lru_cache
def kernel(scale: int, width: float = 1.0) -> NDArray[np.float64]:
    """P of one axis, far from borders: the coefficients of a sample's own knots.

    They are ``KNOTS`` x the picture's samples, from ``KERNEL_REACH`` of the reference's before the
    sample's own to as many after. ``width`` is the kernel's, in parts of MATLAB's.
    """
    samples = 2 * KERNEL_REACH + 1
    knots = np.arange(KNOTS * 2 * samples) / KNOTS - samples
    places = (np.arange(scale * samples) + 0.5) / scale - 0.5 - KERNEL_REACH
    values = cubic((knots[:, None] - places) / width)
    # As MATLAB does: a kernel of any width keeps the mean. The outermost knots see less of it.
    sums = values[KNOTS * samples : KNOTS * samples + KNOTS].sum(1)
    values /= np.tile(sums, 2 * samples)[:, None]
    # Interpolating coefficients: a quadratic B-spline is 6/8 at its own knot, 1/8 at the next ones.
    count = len(knots)
    middle, beside = np.full(count, 6 / 8), np.full(count - 1, 1 / 8)
    spline = np.diag(middle) + np.diag(beside, 1) + np.diag(beside, -1)
    found = np.linalg.solve(spline, values)
    own: NDArray[np.float64] = found[KNOTS * samples : KNOTS * samples + KNOTS]
    return own


@lru_cache
def sharpness_of(scale: int, width: float) -> float:
    """The largest curvature of |A x|^2 for samples in place, by that of MATLAB's kernel.

    A kernel that is narrower lets finer parts of the picture through.
    """
    return (_largest(scale, width) / _largest(scale, 1.0)) ** 2


def _largest(scale: int, width: float) -> float:
    """The largest curvature along one axis: that of the spectrum of the samples' weights."""
    reach = 3 * scale
    places = (np.arange(-reach, reach) + 0.5) / scale - 0.5
    lags = np.arange(1, 6)
    waves = np.cos(np.outer(np.linspace(0, np.pi, 65), lags))
    most = 0.0
    for off in np.linspace(0, 0.5, 5):
        weights = cubic((places - off) / width)
        weights /= weights.sum()
        own = [weights[scale * lag :] @ weights[: len(weights) - scale * lag] for lag in lags]
        most = max(most, float((weights @ weights + 2 * waves @ own).max()))
    return most


@dataclass(frozen=True)
class Stretch:
    """Samples of the reference along one axis, a part of ``length``, and their knots.

    The picture's samples are ``scale`` for each, and the knots ``KNOTS`` for each.
    """

    start: int
    stop: int
    length: int
    scale: int
    width: float = 1.0
    """The kernel's, in parts of MATLAB's."""

    @property
    def samples(self) -> int:
        return self.stop - self.start

    @property
    def knots(self) -> int:
        return KNOTS * (self.samples + 2 * EDGE)

    @lru_cache(maxsize=64)  # noqa: B019  # it is frozen, and the matrices are small
    def blurring(self) -> list[tuple[slice, slice, NDArray[np.float32]]]:
        """P in blocks: the knots, the picture's samples that they are made of, and the matrix.

        The picture is extended symmetrically at its borders; beyond a part's own ends it is 0.
        """
        return [
            (
                slice(KNOTS * (first + EDGE), KNOTS * (last + EDGE)),
                slice(self.scale * low, self.scale * high),
                matrix,
            )
            for first, last, low, high, matrix in self._blocks()
        ]

    def _blocks(self) -> Iterator[tuple[int, int, int, int, NDArray[np.float32]]]:
        own, scale = kernel(self.scale, self.width), self.scale
        end = self.samples + EDGE
        for first in range(-EDGE, end, _BLOCK):
            last = min(first + _BLOCK, end)
            low, high = max(0, first - KERNEL_REACH), min(self.samples, last + KERNEL_REACH)
            matrix = np.zeros((KNOTS * (last - first), scale * (high - low)))
            for number in range(first, last):
                around = np.arange(
                    scale * (number - KERNEL_REACH), scale * (number + KERNEL_REACH + 1)
                )
                places = self._mirrored(around + scale * self.start) - scale * (self.start + low)
                inside = (places >= 0) & (places < matrix.shape[1])
                rows = slice(KNOTS * (number - first), KNOTS * (number - first + 1))
                for knot, weights in zip(matrix[rows], own, strict=True):
                    np.add.at(knot, places[inside], weights[inside])
            yield first, last, low, high, matrix.astype(np.float32)

    def _mirrored(self, places: NDArray[np.intp]) -> NDArray[np.intp]:
        whole = self.length * self.scale
        period = np.mod(places, 2 * whole)
        return np.where(period < whole, period, 2 * whole - 1 - period)


class Blur:
    """P and its transpose, for a part of the picture."""

    def __init__(self, rows: Stretch, columns: Stretch) -> None:
        self._rows, self._columns = rows.blurring(), columns.blurring()
        self.shape = (rows.knots, columns.knots)
        self._picture = (rows.scale * rows.samples, columns.scale * columns.samples)

    def coefficients(self, picture: Float32Array) -> Float32Array:
        """Of a part of the picture, rows x columns."""
        narrow = np.empty((picture.shape[0], self.shape[1]), np.float32)
        for knots, samples, matrix in self._columns:
            for rows in _some(len(picture), matrix):
                narrow[rows, knots] = picture[rows, samples] @ matrix.T
        result = np.empty(self.shape, np.float32)
        for knots, samples, matrix in self._rows:
            for columns in _some(narrow.shape[1], matrix):
                result[knots, columns] = matrix @ narrow[samples, columns]
        return result

    def back(self, coefficients: Float32Array) -> Float32Array:
        """The transpose: from coefficients to the part of the picture."""
        tall = np.zeros((self._picture[0], self.shape[1]), np.float32)
        for knots, samples, matrix in self._rows:
            for columns in _some(tall.shape[1], matrix):
                tall[samples, columns] += matrix.T @ coefficients[knots, columns]
        result = np.zeros(self._picture, np.float32)
        for knots, samples, matrix in self._columns:
            for rows in _some(len(tall), matrix):
                result[rows, samples] += tall[rows, knots] @ matrix
        return result


def _some(length: int, matrix: Float32Array) -> Iterator[slice]:
    """Parts of the other matrix of a product that are small enough."""
    count = max(8, _PRODUCT // matrix.size)
    for start in range(0, length, count):
        yield slice(start, start + count)


class Samples:
    """Samples of a frame, at places ``x`` and ``y`` of a part of the reference.

    Places are columns and rows from the part's first sample; ``shape`` are the knots' rows and
    columns. Those that lie so far out that coefficients are lacking are not ``inside``.
    """

    def __init__(self, shape: tuple[int, int], x: Coordinates, y: Coordinates) -> None:
        self.shape = shape
        row, self._down = _taps(y)
        column, self._across = _taps(x)
        height, width = shape
        self.inside = (row >= 0) & (row <= height - TAPS) & (column >= 0)
        self.inside &= column <= width - TAPS
        row, column = np.clip(row, 0, height - TAPS), np.clip(column, 0, width - TAPS)
        self._first = row * width + column

    def of(self, coefficients: Float32Array) -> NDArray[np.float32]:
        """S: the samples' values."""
        return self._sum(coefficients, self._down[0], self._across[0])

    def slopes(self, coefficients: Float32Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """How fast the values change with ``x`` and with ``y``."""
        across = self._sum(coefficients, self._down[0], self._across[1])
        down = self._sum(coefficients, self._down[1], self._across[0])
        return across, down

    def _sum(self, coefficients: Float32Array, down: Any, across: Any) -> NDArray[np.float32]:
        flat, width = coefficients.ravel(), self.shape[1]
        total = np.zeros(self._first.shape, np.float32)
        for a in range(TAPS):
            row = np.zeros(self._first.shape, np.float32)
            for b in range(TAPS):
                row += across[b] * flat[self._first + (a * width + b)]
            total += down[a] * row
        return total

    def add_to(self, normal: Normal, weights: NDArray[np.float32]) -> None:
        """Add S^T W S to ``normal``."""
        down, across, width = self._down[0], self._across[0], self.shape[1]
        weights = np.where(self.inside, weights, 0)
        for a in range(TAPS):
            for b in range(TAPS):
                place, part = self._first + (a * width + b), weights * (down[a] * across[b])
                for c in range(a, TAPS):
                    for d in range(b if c == a else 0, TAPS):
                        normal.add((c - a, d - b), place, part * (down[c] * across[d]))

    def back(self, values: NDArray[np.float32]) -> Float32Array:
        """S^T: from samples' values, weighted already, to coefficients."""
        down, across, width = self._down[0], self._across[0], self.shape[1]
        values = np.where(self.inside, values, 0)
        total = np.zeros(self.shape[0] * width)
        for a in range(TAPS):
            for b in range(TAPS):
                place = (self._first + (a * width + b)).ravel()
                total += np.bincount(place, (values * (down[a] * across[b])).ravel(), len(total))
        return total.reshape(self.shape).astype(np.float32)


class Normal:
    """The sum of S^T W S over frames: its diagonals from the middle on, as it is symmetric."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._diagonals = {
            (down, across): np.zeros(shape, np.float32)
            for down in range(TAPS)
            for across in range(-TAPS + 1 if down else 0, TAPS)
        }

    def add(self, offset: tuple[int, int], place: NDArray[np.intp], values: Float32Array) -> None:
        """Add to a diagonal, at places that are counted along rows."""
        counted = np.bincount(place.ravel(), values.ravel(), self.shape[0] * self.shape[1])
        self._diagonals[offset] += counted.reshape(self.shape).astype(np.float32)

    def times(self, coefficients: Float32Array) -> Float32Array:
        """The product with coefficients."""
        flat = np.ascontiguousarray(coefficients).ravel()
        result = np.zeros_like(flat)
        length, some = len(flat), _ROWS * self.shape[1]
        room = np.empty(min(some, length), np.float32)
        # Rows end to end: a diagonal is 0 where it would reach into the row after. And some rows
        # at once, so that they stay in the processor's cache for all diagonals.
        for first in range(0, length, some):
            for (down, across), diagonal in self._diagonals.items():
                offset = down * self.shape[1] + across
                own = slice(first, min(first + some, length - offset))
                if own.stop <= own.start:
                    continue
                other = slice(own.start + offset, own.stop + offset)
                values, part = diagonal.ravel()[own], room[: own.stop - own.start]
                np.multiply(values, flat[other], out=part)
                result[own] += part
                if offset:
                    np.multiply(values, flat[own], out=part)
                    result[other] += part
        return result.reshape(self.shape)


def _taps(places: Coordinates) -> tuple[NDArray[np.intp], tuple[Any, Any]]:
    """The first knot that counts for each place; the knots' weights, and the weights' slopes."""
    knots = (places + EDGE) * KNOTS
    nearest = np.floor(knots + 0.5)
    off = (knots - nearest).astype(np.float32)
    weights = (0.5 * (0.5 - off) ** 2, 0.75 - off * off, 0.5 * (0.5 + off) ** 2)
    slopes = (KNOTS * (off - 0.5), -2 * KNOTS * off, KNOTS * (off + 0.5))
    return nearest.astype(np.intp) - 1, (weights, slopes)
