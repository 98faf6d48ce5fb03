"""Where a frame's samples lie in the reference: by Gauss-Newton, from coarse to fine.

A frame's samples y(q) are explained by the reference's picture z, at places that a homography T
takes q to: y(q) = a z(T q) + b, with one gain a and offset b. Gauss-Newton finds T, a and b; each
sample counts by Tukey's weight, so that moving objects and damage count nothing. Sources: B. Lucas
and T. Kanade, "An iterative image registration technique with an application to stereo vision",
IJCAI 1981; S. Baker and I. Matthews, "Lucas-Kanade 20 years on", IJCV 56 (2004); A. Beaton and J.
Tukey, "The fitting of power series", Technometrics 16 (1974).

z is the reference itself, made smooth: parts of it that are finer than its samples appear elsewhere
in each frame, and would mislead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.fusing import motion
from upres.fusing.motion import FREEDOMS, Homography, Kind
from upres.fusing.observing import Blur, Samples, Stretch
from upres.raster.pixels import Float32Array

SAMPLES_LOOKED_AT = 2**17
"""Samples of a frame that are looked at, about: more would tell nothing more."""

PATCH = 96
"""Samples a side of the patches of a reference that is larger than that."""

EDGE_SAMPLES = 3
"""Samples of the reference's border that are not looked at, as what lies beyond is not known."""

_STEPS, _STILL = 12, 1e-4
"""Most steps; a step that moves no corner by as many samples is the last."""

_AT_ONCE = 2048
"""Samples in a product of matrices."""

_TUKEY = 4.685
_FROM_MEDIAN = 1.4826

PartOf = Callable[[int, int, int, int], Float32Array]
"""Gives a part of a plane: first row, rows, first column, columns."""


@dataclass(frozen=True)
class Patch:
    """A part of the reference as frames see it."""

    top: int
    """Of the reference's samples, the first in the coefficients."""
    left: int
    rows: int
    columns: int
    coefficients: Float32Array

    def seen(self, x: motion.Coordinates, y: motion.Coordinates) -> Samples:
        """Samples at columns and rows of the reference."""
        return Samples(self.coefficients.shape, x - self.left, y - self.top)


@dataclass(frozen=True)
class Observed:
    """Samples of a frame that fall into a patch."""

    patch: Patch
    x: NDArray[np.float32]
    """Columns of the frame."""
    y: NDArray[np.float32]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Fit:
    """A homography that explains a frame."""

    matrix: Homography
    """From the frame's coordinates to the reference's."""
    kind: Kind
    gain: float
    offset: float
    deviation: float
    """Of the samples from their explanation, robustly."""
    correlation: float
    """Of the samples with their explanation."""


def patches_of(part: PartOf, height: int, width: int, scale: int) -> list[Patch]:
    """Patches of a reference of ``height`` x ``width``, spread evenly, or one of the whole.

    ``part`` gives parts of its picture, ``scale`` times as large.
    """
    found = []
    for top, rows in _spread(height, width):
        for left, columns in _spread(width, height):
            picture = part(top * scale, rows * scale, left * scale, columns * scale)
            blur = Blur(
                Stretch(top, top + rows, height, scale), Stretch(left, left + columns, width, scale)
            )
            found.append(Patch(top, left, rows, columns, blur.coefficients(picture)))
    return found


def _spread(length: int, other: int) -> list[tuple[int, int]]:
    """Starts and lengths of patches along one axis."""
    if length * other <= SAMPLES_LOOKED_AT or length <= PATCH:
        return [(0, length)]
    # As many patches on each axis as give the samples that are looked at, by the sides' ratio.
    count = math.sqrt(SAMPLES_LOOKED_AT / PATCH**2 * length / max(other, PATCH))
    count = max(1, min(round(count), length // PATCH))
    places = (
        np.linspace(0, length - PATCH, count + 2)[1:-1] if count > 1 else [(length - PATCH) / 2]
    )
    return [(int(place), PATCH) for place in places]


def observed(
    patches: Sequence[Patch],
    part: PartOf,
    height: int,
    width: int,
    matrix: Homography,
    *,
    margin: int,
) -> list[Observed]:
    """The samples of a frame of ``height`` x ``width`` that fall into patches, by a homography.

    ``margin`` is how many samples of a patch's edge are left out, in case it is not quite right.
    """
    found = []
    back = motion.inverse(matrix)
    for patch in patches:
        x, y = motion.corners(patch.rows, patch.columns)
        across, down = motion.moved(back, x + patch.left, y + patch.top)
        top, bottom = _inner(down, margin, height)
        left, right = _inner(across, margin, width)
        if bottom - top < 4 or right - left < 4:
            continue
        values = part(top, bottom - top, left, right - left)
        rows, columns = np.mgrid[top:bottom, left:right].astype(np.float32)
        found.append(Observed(patch, columns, rows, values))
    return found


def _inner(places: NDArray[np.float64], margin: int, length: int) -> tuple[int, int]:
    """From the corners' places along one axis, the samples well inside."""
    ordered = np.sort(places)
    low = max(0, math.ceil(ordered[0]) + margin)
    high = min(length, math.floor(ordered[-1]) + 1 - margin)
    return low, high


def fit(
    samples: Sequence[Observed], start: Homography, kind: Kind, size: tuple[int, int], least: float
) -> Fit | None:
    """Find the homography of a ``kind`` that explains a frame's samples best.

    ``size`` are the reference's height and width. A deviation of ``least`` is taken for noise in
    any case. Gives ``None`` where nothing is found.
    """
    height, width = size
    half = max(height, width) / 2
    to_pixels = np.array([[half, 0, (width - 1) / 2], [0, half, (height - 1) / 2], [0, 0, 1]])
    to_unit = np.linalg.inv(to_pixels)
    matrix, gain, offset, deviation, correlation = start, 1.0, 0.0, math.inf, 0.0
    count = FREEDOMS[kind] + 2
    for step in range(_STEPS):
        parts = [seen_at(each, matrix, size) for each in samples]
        errors = [y[inside] - gain * z[inside] - offset for y, z, _, _, inside in parts]
        together = np.concatenate(errors) if errors else np.empty(0)
        if together.size < 8 * count:
            return None
        deviation = max(_FROM_MEDIAN * float(np.median(np.abs(together))), least)
        products, wanted = np.zeros((count, count)), np.zeros(count)
        sums = np.zeros(6)
        for y, z, slopes, places, inside in parts:
            error = y - gain * z - offset
            # Of the first step most may be motion, and no outliers.
            wide = deviation * _TUKEY * (2 if step == 0 else 1)
            weight = np.where(inside & (np.abs(error) < wide), (1 - (error / wide) ** 2) ** 2, 0)
            columns = [*_directions(kind, slopes, places, to_unit, half), z, np.ones_like(z)]
            base = np.stack([column.ravel() for column in columns]).astype(np.float64)
            own = y.ravel().astype(np.float64)
            # In parts that NumPy's library for matrices takes no more threads for.
            for first in range(0, own.size, _AT_ONCE):
                some = slice(first, first + _AT_ONCE)
                weighted = base[:, some] * weight.ravel()[some]
                products += weighted @ base[:, some].T
                wanted += weighted @ own[some]
            sums += _moments(y, z, weight)
        products[np.diag_indices(count)] += 1e-9 * np.trace(products) / count
        try:
            found = np.linalg.solve(products, wanted)
        except np.linalg.LinAlgError:
            return None
        if not np.isfinite(found).all() or abs(found[-2]) < 1e-3:
            return None
        gain, offset = float(found[-2]), float(found[-1])
        correlation = _correlation(sums)
        change = to_pixels @ _small(kind, found[:-2] / gain) @ to_unit
        matrix = motion.with_last_one(change @ matrix)
        if not motion.is_plausible(matrix, height, width):
            return None
        if motion.largest_move(change, height, width) < _STILL:
            break
    return Fit(matrix, kind, gain, offset, deviation, correlation)


def seen_at(each: Observed, matrix: Homography, size: tuple[int, int]) -> _Seen:
    """Samples, their explanations by a homography, the slopes and places of these, and whether
    they lie in the reference.
    """
    x, y = motion.moved(matrix, each.x, each.y)
    seen = each.patch.seen(x, y)
    edge = EDGE_SAMPLES if min(size) > 8 * EDGE_SAMPLES else 0
    inside = seen.inside & (x >= edge) & (x <= size[1] - 1 - edge)
    inside &= (y >= edge) & (y <= size[0] - 1 - edge)
    coefficients = each.patch.coefficients
    return each.values, seen.of(coefficients), seen.slopes(coefficients), (x, y), inside


_Pair = tuple[NDArray[np.float32], NDArray[np.float32]]
_Seen = tuple[NDArray[np.float32], NDArray[np.float32], _Pair, _Pair, NDArray[np.bool_]]


def _directions(
    kind: Kind, slopes: _Pair, places: _Pair, to_unit: Homography, half: float
) -> list[NDArray[np.float32]]:
    """How fast the explanation changes with each parameter."""
    across, down = (slope * half for slope in slopes)
    if kind == "shift":
        return [across, down]
    x = places[0] * to_unit[0, 0] + to_unit[0, 2]
    y = places[1] * to_unit[1, 1] + to_unit[1, 2]
    found = [across * x, across * y, across, down * x, down * y, down]
    if kind == "homography":
        along = across * x + down * y
        found += [-along * x, -along * y]
    return found


def _small(kind: Kind, values: NDArray[np.floating[Any]]) -> Homography:
    """The homography of a kind's parameters, in a frame from -1 to 1."""
    if kind == "shift":
        return motion.shift(*values)
    matrix = np.eye(3)
    matrix[:2] += values[:6].reshape(2, 3)
    if kind == "homography":
        matrix[2, :2] = values[6:]
    return matrix


def _moments(y: Float32Array, z: Float32Array, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array(
        [
            weight.sum(),
            (weight * y).sum(),
            (weight * z).sum(),
            (weight * y * y).sum(),
            (weight * z * z).sum(),
            (weight * y * z).sum(),
        ]
    )


def _correlation(sums: NDArray[np.float64]) -> float:
    count, y, z, yy, zz, yz = sums
    spread = (yy - y * y / count) * (zz - z * z / count) if count > 0 else 0.0
    return float((yz - y * z / count) / math.sqrt(spread)) if spread > 0 else 0.0
