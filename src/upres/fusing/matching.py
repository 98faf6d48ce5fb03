"""A frame beside the reference: its exposure, its noise, and whether it can be used at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upres.fusing.frames import BurstFrame
from upres.fusing.weighing import Compared, beside_reference
from upres.raster.pixels import Float32Array
from upres.raster.spool import Spool

PLACES, SIDE = 4, 96
"""Most blocks along each axis that are looked at, and samples of a block's side."""

CELL, QUIET = 8, 25
"""Samples a side of the cells whose differences are measured, and the percentage of cells that have
less: those show noise alone."""

REFERENCE_SHARE = 1.6
"""The variance of a difference, in variances of noise: the frame's own, and what is left of the
reference's. Measured on valid.tar."""

SLOPE_SHARE = 0.25
"""The variance of the slopes of the noise that is left of the reference's, in the same unit."""

LEAST_NOISE = 0.3 / 255
"""The noise of samples that are rounded to 8 bits."""

LEAST_LIKENESS, LEAST_ALIGNMENT = 0.5, 0.5
"""Of a frame's likeness and alignment, see ``Match``."""

LEAST_SHARPNESS = 0.8
"""By how much a frame may be less sharp than the reference. Frames of valid.tar that a Gaussian of
0.7 samples has blurred have 0.57 to 0.76 of its sharpness."""

LEAST_GAIN = 0.1
"""A frame that has less contrast than so many times that of the reference shows something else."""

ENOUGH = 0.75
"""The share of samples that agree with the reference above which a frame lies on it, whatever has
moved elsewhere."""


@dataclass(frozen=True)
class Match:
    """Measurements on a frame beside the reference."""

    gains: NDArray[np.float64]
    offsets: NDArray[np.float64]
    noise: NDArray[np.float64]
    """The deviation of noise in each band."""
    detail: float
    """How far the frame is off its explanation where there is detail, by the slopes there: the part
    of detail that the network or the blur gets wrong, half of the places having less."""
    likeness: float
    """The correlation of the frame with its explanation."""
    alignment: float
    """The correlation of their slopes, as if there were no noise."""
    sharpness: float
    """The deviation of the frame's slopes, without noise, by that of its explanation's. It is
    infinite where all slopes are those of noise, more or less."""

    def reason(self, share: float, own: float) -> str:
        """A reason to leave the frame out, or nothing.

        ``share`` of its samples agree with the reference, whose ``own`` sharpness is that.
        """
        if share < ENOUGH and self.likeness < LEAST_LIKENESS:
            return "it shows another scene"
        if share < ENOUGH and self.alignment < LEAST_ALIGNMENT:
            return "it does not lie on the reference"
        if self.sharpness < LEAST_SHARPNESS * own:
            return "it is blurred"
        return ""


def matched(
    frame: BurstFrame, large: Spool, scale: int, bands: Sequence[int], size: tuple[int, int]
) -> Match | None:
    """Measure a frame that has its place, beside the reference, of ``size``.

    ``large`` is the reference, enlarged ``scale`` times. Gives ``None`` where the two hardly meet.
    """
    frame.gains, frame.offsets = np.ones(len(bands)), np.zeros(len(bands))
    parts = []
    for rows in _places(frame.info.height):
        for columns in _places(frame.info.width):
            part = beside_reference(frame, large, scale, bands, size, rows, columns)
            if part is not None and part.inside.mean() > 0.25:
                parts.append(part)
    if not parts or sum(int(part.inside.sum()) for part in parts) < 64:
        return None
    gains, offsets, noise = (np.empty(len(bands)) for _ in range(3))
    like = np.zeros(3)
    slopes = np.zeros(3)
    lit = 0
    for number in range(len(bands)):
        values = np.concatenate([part.values[number][part.inside] for part in parts])
        explained = np.concatenate([part.explained[number][part.inside] for part in parts])
        gains[number], offsets[number] = _line(explained, values)
        cells, moments = [], np.zeros(3)
        for part in parts:
            z = gains[number] * part.explained[number] + offsets[number]
            difference = np.where(part.inside, part.values[number] - z, np.nan)
            cells.append(_cells(difference.astype(np.float32)))
            # A frame that is exposed longer or shorter has lost the slopes beyond its range.
            kept = part.inside & (z > 0) & (z < 1)
            moments += _slopes(part.values[number], z, kept)
            lit += int(kept.sum())
        deviations = np.concatenate(cells)
        quiet = float(np.percentile(deviations, QUIET)) if deviations.size else 0.0
        noise[number] = max(quiet / REFERENCE_SHARE**0.5, LEAST_NOISE)
        slopes += moments
        one, other = values - values.mean(), explained - explained.mean()
        like += _products(one, other)
    # A central difference of noise has half of its variance, along each of two axes.
    of_noise = lit * float((noise**2).mean())
    own = max(float(slopes[0]) - of_noise, 1e-9)
    other_own = max(float(slopes[1]) - of_noise * SLOPE_SHARE, 1e-9)
    is_plain = min(own, other_own) < 0.5 * of_noise and other_own < 2 * of_noise
    return Match(
        gains,
        offsets,
        noise / np.maximum(np.abs(gains), 0.1),
        _detail(parts, gains, offsets, noise),
        float(like[2] / np.sqrt(like[0] * like[1])) if like[0] * like[1] > 0 else 0.0,
        min(1.0, float(slopes[2] / np.sqrt(own * other_own))),
        math.inf if is_plain else math.sqrt(own / other_own),
    )


def _detail(
    parts: Sequence[Compared],
    gains: NDArray[np.float64],
    offsets: NDArray[np.float64],
    noise: NDArray[np.float64],
) -> float:
    found = []
    for part in parts:
        for number, deviation in enumerate(noise):
            z = gains[number] * part.explained[number] + offsets[number]
            off = np.where(part.inside, part.values[number] - z, np.nan)
            squares = _cells(off.astype(np.float32)) ** 2
            down, across = (
                _cells(np.where(part.inside, slope, np.nan).astype(np.float32)) ** 2
                for slope in np.gradient(z)
            )
            slopes = down + across
            some = slopes > 4 * deviation**2
            found.append(np.maximum(squares[some] - deviation**2, 0) / slopes[some])
    ratios = np.concatenate(found)
    return float(np.sqrt(np.median(ratios))) if len(ratios) else 0.0


def _places(length: int) -> list[tuple[int, int]]:
    """Where the blocks begin and end along one axis: all of it, or some spread evenly."""
    if length <= PLACES * SIDE:
        return [(start, min(start + SIDE, length)) for start in range(0, length, SIDE)]
    starts = np.linspace(0, length - SIDE, PLACES).astype(int)
    return [(int(start), int(start) + SIDE) for start in starts]


def _line(x: Float32Array, y: Float32Array) -> tuple[float, float]:
    """Gain and offset that explain most of ``y`` by ``x``; what is far off counts less."""
    gain, offset = 1.0, float(np.median(y - x))
    x, y = x.astype(np.float64), y.astype(np.float64)
    for _ in range(6):
        error = np.abs(y - gain * x - offset)
        scale = max(3 * float(np.median(error)), 1e-6)
        weight = np.where(error < scale, (1 - (error / scale) ** 2) ** 2, 0)
        total = weight.sum()
        mean_x, mean_y = (weight * x).sum() / total, (weight * y).sum() / total
        spread = (weight * (x - mean_x) ** 2).sum()
        if spread < 1e-7 * total:
            return 1.0, float(mean_y - mean_x)
        gain = float((weight * (x - mean_x) * (y - mean_y)).sum() / spread)
        offset = float(mean_y - gain * mean_x)
    return gain, offset


def _cells(difference: Float32Array) -> NDArray[np.float64]:
    """The deviations of whole cells; of a plane that is smaller than one, its own."""
    height, width = (side // CELL * CELL for side in difference.shape)
    if height and width:
        parts = difference[:height, :width].reshape(height // CELL, CELL, -1, CELL)
        squares = np.square(parts.astype(np.float64)).mean((1, 3)).ravel()
    else:
        squares = np.array([np.square(difference.astype(np.float64)).mean()])
    found: NDArray[np.float64] = np.sqrt(squares[np.isfinite(squares)])
    return found


def _slopes(
    values: Float32Array, z: Float32Array, inside: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The sums of squared slopes of both, and of their products."""
    sums = np.zeros(3)
    for axis in (0, 1):
        one, other = np.gradient(values, axis=axis)[inside], np.gradient(z, axis=axis)[inside]
        sums += _products(one, other)
    return sums


def _products(one: Float32Array, other: Float32Array) -> NDArray[np.float64]:
    """The sums of both squares, and of the products."""
    pairs = ((one, one), (other, other), (one, other))
    return np.array([float((a * b).sum(dtype=np.float64)) for a, b in pairs])
