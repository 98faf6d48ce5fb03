"""Frames and the network's results of them, merged to one picture.

The picture x is to explain the samples y_k of all frames, by A_k, how they see it
(``upres.fusing.observing``), and to be near m, the mean of the network's results of all frames,
each moved to its place:

    sum over k of w_k |A_k x - y_k|^2 / noise^2  +  |x - m|^2 / t^2

t tells how wrong the network may be. It is less where its results of all frames agree, and more
where they differ by more than noise makes them: there the network guesses. That is better than one
t everywhere, and than a total variation of x - m, which takes longer. Measured on eight frames of
pictures of valid.tar, noise of two levels, in dB over one frame: one t 3.0 at x2 and 1.6 at x4,
total variation 3.5 and 1.7, this 4.0 and 2.0.

The solver is Chebyshev's iteration: as fast as conjugate gradients, and its steps are the same for
all parts of a picture. So a part with a margin equals the whole. Sources: R. Hardie, K. Barnard and
E. Armstrong, "Joint MAP registration and high-resolution image estimation using a sequence of
undersampled images", IEEE Trans. Image Processing 6 (1997); G. Golub and R. Varga, "Chebyshev
semi-iterative methods", Numerische Mathematik 3 (1961).

Where nothing but the reference is known, the result is the network's of that frame, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upres.fusing import motion
from upres.fusing.filters import smoothed
from upres.fusing.frames import BurstFrame
from upres.fusing.observing import Blur, Normal, sharpness_of
from upres.fusing.seeing import Region, seen_in
from upres.raster.pixels import Float32Array

STEPS = 20
"""Of the solver, for a kernel of MATLAB's width."""

CONDITION = 300.0
"""The ratio of the largest and the least curvature of the sum that is made least: a larger one
would take more steps. It limits t, to 12 times the noise for eight frames at x2."""

_BOUND = 1.3
"""How far the curvature of a frame may lie above that of one that is not moved."""


@dataclass(frozen=True)
class Trust:
    """How t is made of the spread of the network's results."""

    least: float
    """In levels of 255."""
    spread: float
    """How many times the spread is added."""
    noise: float
    """The spread's variance that noise alone makes, in variances of the frames' noise."""


TRUST = {2: Trust(2.0, 3.0, 1.1), 3: Trust(2.0, 3.5, 0.5), 4: Trust(2.0, 4.0, 0.0)}
"""By scale. Picked on valid.tar, with noise of two and of five levels, and three to sixteen frames:
not on the benchmark sets."""


@dataclass(frozen=True)
class Sums:
    """Of the network's results of all frames, at their places: of bands x rows x columns."""

    weights: Float32Array
    """Rows x columns: how many frames count, the reference not counted."""
    values: Float32Array
    """The sum, the reference's taken off from each."""
    squares: Float32Array


def merged(
    tile: Region,
    frames: Sequence[BurstFrame],
    bound: float,
    single: Float32Array,
    sums: Sums,
    bands: Sequence[int],
    noise: NDArray[np.float64],
    rounds: int = 1,
) -> Float32Array:
    """Merge a tile: gives its rows x columns x all bands, from 0 to 1.

    ``frames`` are all, the reference among them, and ``bound`` is their ``curvature_of``.
    ``single`` is the tile's part of the network's result of the reference, with the margin, rows x
    columns x all bands; bands that are not merged stay as they are there. With more ``rounds``,
    each result takes the place of the mean in the next: it follows the samples more.
    """
    scale = tile.rows.scale
    blur = Blur(tile.rows, tile.columns)
    normal = Normal(blur.shape)
    explain = np.zeros((len(bands), *blur.shape), np.float32)
    # One frame after another, so that memory does not grow with their number.
    for frame in frames:
        seen = seen_in(tile, frame)
        if seen is not None:
            seen.samples.add_to(normal, seen.weights)
            for given, values in zip(explain, seen.values, strict=True):
                given += seen.samples.back(seen.weights * values)
        del seen
    # How many frames there are more than the reference, up to one: none counts, none changes it.
    share = np.minimum(sums.weights, 1)
    result = single[tile.kept].copy()
    sharp = sharpness_of(scale, tile.rows.width)
    for number, band in enumerate(bands):
        own = np.ascontiguousarray(single[:, :, band])
        deviation = float(noise[number])
        off, wrong = expected(tile, sums, number, bound, deviation)
        change = off.copy()
        for _ in range(rounds):
            given = explain[number] - normal.times(blur.coefficients(own + change))
            change += wrong * solved(blur, normal, given, wrong, deviation, sharp)
        change *= share
        plane = own + change
        result[:, :, band] = np.clip(plane[tile.kept], 0, 1)
    return result


def expected(
    tile: Region, sums: Sums, number: int, bound: float, deviation: float
) -> tuple[Float32Array, Float32Array]:
    """Of a band: by how much m differs from the reference's result, and t, as planes.

    ``number`` is the band's in ``sums``, ``bound`` the frames' ``curvature_of``, and ``deviation``
    that of their noise in the band.
    """
    scale, width = tile.rows.scale, tile.rows.width
    trust = TRUST.get(scale, TRUST[4])
    total = sums.weights + 1
    off: Float32Array = sums.values[number] / total
    # The reference itself is 0 off itself.
    variance = np.maximum(sums.squares[number] / total - off * off, 0)
    variance *= total / np.maximum(total - 1, 0.5)
    spread = smoothed(variance, scale / 2) - np.float32(trust.noise * deviation**2)
    squared = np.maximum(spread, 0) * np.float32(trust.spread**2)
    squared += np.float32((trust.least / 255) ** 2)
    most = most_squared(bound, deviation, sharpness_of(scale, width))
    return off, np.sqrt(np.minimum(squared, np.float32(most)))


def most_squared(bound: float, noise: float, sharp: float) -> float:
    """The largest square of t that the solver converges for.

    ``bound`` is ``curvature_of`` the frames, for MATLAB's kernel, and ``sharp`` is
    ``sharpness_of`` theirs.
    """
    return (CONDITION - 1 / sharp) * noise**2 / bound


def solved(
    blur: Blur,
    normal: Normal,
    given: Float32Array,
    wrong: Float32Array,
    noise: float,
    sharp: float = 1.0,
) -> Float32Array:
    """By how many times ``wrong`` the picture differs from the mean, by Chebyshev's iteration.

    ``given`` is the part that the mean leaves to explain, as coefficients. The steps are those for
    curvatures from the noise's to ``CONDITION`` times as much, whatever a tile has of it, so that
    they are the same in all tiles. For a kernel that is ``sharp``, see ``sharpness_of``, there are
    more.
    """
    least = noise**2
    most = CONDITION * sharp * least
    middle, half = (most + least) / 2, (most - least) / 2
    sigma = middle / half
    rho = 1 / sigma
    rest = wrong * blur.back(given)
    step = rest / np.float32(middle)
    change = np.zeros_like(rest)
    for _ in range(round(STEPS * math.sqrt(sharp))):
        change += step
        product = wrong * blur.back(normal.times(blur.coefficients(wrong * step)))
        product += np.float32(least) * step
        rest -= product
        following = 1 / (2 * sigma - rho)
        step *= np.float32(following * rho)
        step += np.float32(2 * following / half) * rest
        rho = following
    return change


def curvature_of(frames: Sequence[BurstFrame], scale: int) -> float:
    """No less than the largest curvature of the sum of |A_k x - y_k|^2."""
    total = 0.0
    for frame in frames:
        # How many of a frame's samples lie on one of the reference's, at most.
        x, y = motion.corners(*frame.size)
        matrix = frame.place
        below = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
        total += float((below**3 / np.linalg.det(matrix)).max())
    return _BOUND * total / scale**2
