"""How well frames agree with the reference: gains, noise, frames to leave out, and motion.

A frame's samples are compared with those that the reference, as the network enlarges it, would give
at their places. Samples that differ by more than noise and the network's own errors count nothing:
something has moved there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upres.fusing import motion
from upres.fusing.filters import least_around, mean_around
from upres.fusing.frames import BurstFrame
from upres.fusing.observing import Blur, Samples, Stretch
from upres.fusing.seeing import lies_in
from upres.raster.pixels import Float32Array
from upres.raster.spool import Spool

BLOCK = 192
"""Samples a side of the blocks that a frame is compared in."""

AROUND = 8
"""Samples around a block that are compared, too, or that the blur looks at."""

WINDOW = 2
"""How many samples around it tell whether a sample agrees."""

GROWN = 2
"""How many samples around one that does not agree count nothing, either."""

NOISE_ALLOWED, DETAIL_ALLOWED = 1.8, 0.2
"""Times the noise's deviation, and the part of local slopes, by which a frame may differ from its
explanation in the root mean square."""


@dataclass(frozen=True)
class Compared:
    """Samples of a frame beside those that the reference would give there."""

    values: Float32Array
    """Bands x rows x columns of the frame, without its gains: in the reference's exposure."""
    explained: Float32Array
    inside: NDArray[np.bool_]
    """Whether a sample lies in the reference, and all around it is known."""


def beside_reference(
    frame: BurstFrame,
    large: Spool,
    scale: int,
    bands: Sequence[int],
    size: tuple[int, int],
    rows: tuple[int, int],
    columns: tuple[int, int],
) -> Compared | None:
    """Compare some rows and columns of a frame with the reference, of ``size``.

    ``large`` is the reference, enlarged ``scale`` times. Gives ``None`` if the two do not meet.
    """
    y, x = np.mgrid[rows[0] : rows[1], columns[0] : columns[1]].astype(np.float64)
    across, down = motion.moved(frame.place, x, y)
    span_rows, span_columns = _span(down, size[0], scale), _span(across, size[1], scale)
    if span_rows is None or span_columns is None:
        return None
    part = large.part(
        span_rows.start * scale,
        span_rows.samples * scale,
        span_columns.start * scale,
        span_columns.samples * scale,
    )
    blur = Blur(span_rows, span_columns)
    seen = Samples(blur.shape, across - span_columns.start, down - span_rows.start)
    inside = seen.inside & lies_in(across, down, size)
    given = frame.part(rows[0], rows[1] - rows[0], columns[0], columns[1] - columns[0])
    shape = (len(bands), *x.shape)
    values, explained = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for number, band in enumerate(bands):
        plane = np.ascontiguousarray(part[:, :, band])
        explained[number] = seen.of(blur.coefficients(plane))
        values[number] = (given[:, :, band] - frame.offsets[number]) / frame.gains[number]
    return Compared(values, explained, inside)


def _span(places: NDArray[np.float64], length: int, scale: int) -> Stretch | None:
    start = max(0, int(np.floor(places.min())) - AROUND)
    stop = min(length, int(np.ceil(places.max())) + AROUND + 1)
    return Stretch(start, stop, length, scale) if stop - start > 1 else None


def weigh(
    frame: BurstFrame,
    large: Spool,
    scale: int,
    bands: Sequence[int],
    size: tuple[int, int],
    noise: NDArray[np.float64],
    detail: float = DETAIL_ALLOWED,
) -> float:
    """Set how much each sample of a frame counts; gives the mean of those in the reference.

    ``noise`` is its deviation in each band, and ``detail`` the part of local slopes by which a
    frame may differ from its explanation, beside that.
    """
    height, width = frame.size
    frame.weights = np.zeros((height, width), np.uint8)
    total, count = 0.0, 0
    around = WINDOW + GROWN
    for top in range(0, height, BLOCK):
        for left in range(0, width, BLOCK):
            bottom, right = min(height, top + BLOCK), min(width, left + BLOCK)
            rows = (max(0, top - around), min(height, bottom + around))
            columns = (max(0, left - around), min(width, right + around))
            part = beside_reference(frame, large, scale, bands, size, rows, columns)
            if part is None:
                continue
            weights = agreeing_weights(part, noise, detail)
            kept = (
                slice(top - rows[0], bottom - rows[0]),
                slice(left - columns[0], right - columns[0]),
            )
            weights, inside = weights[kept], part.inside[kept]
            shown = frame.shown(top, bottom - top, left, right - left)
            if shown is not None:
                weights = weights * shown
            frame.weights[top:bottom, left:right] = np.rint(weights * 255)
            total += float(weights[inside].sum())
            count += int(inside.sum())
    return total / count if count else 0.0


def agreeing_weights(
    part: Compared, noise: NDArray[np.float64], detail: float = DETAIL_ALLOWED
) -> Float32Array:
    """From 0 to 1: 1 where a frame's samples differ by no more than they may."""
    error: Float32Array = np.zeros(part.inside.shape, np.float32)
    allowed: Float32Array = np.zeros(part.inside.shape, np.float32)
    for values, explained, deviation in zip(part.values, part.explained, noise, strict=True):
        down, across = np.gradient(explained)
        unit = np.float32(1 / deviation)
        error += np.square((values - explained) * unit)
        allowed += np.square(np.float32(detail) * unit) * (down * down + across * across)
    count = len(noise)
    inside = part.inside.astype(np.float32)
    share = mean_around(inside, WINDOW)
    error = mean_around(error * inside, WINDOW)
    allowed = mean_around(allowed * inside, WINDOW)
    allowed += share * np.float32(count * NOISE_ALLOWED**2)
    weights: Float32Array = np.clip(2 - error / np.maximum(allowed, np.float32(1e-6)), 0, 1)
    weights *= inside
    return least_around(weights, part.inside, GROWN)
