"""The frames' consensus: by which kernel they see the scene, and what has moved in it.

A kernel that is narrower than MATLAB's leaves frames with aliases: fine parts that each frame shows
otherwise. The network takes those of the reference for something else, so that frames seem to
differ from it as if something had moved. Here frames are explained by each other, without the
network, and the reference by the others. Where they do explain each other, nothing has moved.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from upres.fusing.filters import least_around
from upres.fusing.frames import BurstFrame
from upres.fusing.heldout import held_out
from upres.fusing.merging import curvature_of, most_squared, solved
from upres.fusing.observing import Blur, Normal, sharpness_of
from upres.fusing.seeing import Region, SeenPart, seen_in, tiles_of, well_inside
from upres.fusing.weighing import DETAIL_ALLOWED, GROWN, Compared, agreeing_weights
from upres.raster.pixels import Float32Array
from upres.raster.spool import Spool

WIDTHS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Of the kernel, in parts of MATLAB's. The last one is no filter at all at x2."""

LEAST_BETTER, TIED = 0.1, 0.01
"""By how much less the error of a narrower kernel has to be, and by how much widths may differ that
count as equal: the narrowest of those is taken. Both are of bursts of valid.tar, of eight and of
sixteen frames. Those that have the whole width were never predicted better by 0.05 of the error by
a narrower kernel. Those of a narrower one gave the whole width, their own, or one in between."""

LOOKED_AT, PLACES = 96, 4
"""Samples a side of the places that tell the width, and how many there are."""

FRAMES_PER_SAMPLE = 3
"""How many other frames there must be for each sample of the result in one of the reference's:
fewer frames can be explained by aliases, whatever has moved."""

LEAST_DOUBT = 0.01
"""The share of a tile's samples that do not agree with the reference, above which it is looked at
again."""

ROUNDS = (4.0, 2.0, 1.0)
"""Times the differences that are allowed, from round to round."""


def kernel_width(
    first: BurstFrame,
    others: Sequence[BurstFrame],
    large: Spool,
    scale: int,
    bands: Sequence[int],
    noise: NDArray[np.float64],
) -> float:
    """The width of the kernel by which frames see the scene, in parts of MATLAB's.

    Frames that are held out are predicted from the others. The error tells a narrower kernel from
    MATLAB's, though not how narrow it is: it is wider than the frames' own, rather than narrower.
    It is never wider than MATLAB's. ``large`` is the network's result of ``first``, the reference.
    """
    ordered = sorted(others, key=lambda frame: frame.digest)
    tested = held_out(ordered)
    if not tested:
        return 1.0
    kept = [first, *(frame for frame in ordered if not any(frame is other for other in tested))]
    deviation = math.sqrt(float((noise**2).mean()) / len(noise))
    bound = curvature_of(kept, scale)
    squares = np.zeros(len(WIDTHS))
    tiles = tiles_of(first.size, scale, LOOKED_AT)
    tiles.sort(key=lambda tile: _detail(first, tile, bands), reverse=True)
    for tile in tiles[:PLACES]:
        single = np.ascontiguousarray(tile.of(large)[:, :, list(bands)].mean(2, dtype=np.float32))
        shape = (tile.rows.knots, tile.columns.knots)
        normal, given = Normal(shape), np.zeros(shape, np.float32)
        for frame in kept:
            part = seen_in(tile, frame)
            if part is not None:
                there = _there(part)
                part.samples.add_to(normal, there)
                given += part.samples.back(there * part.values.mean(0))
        targets = [part for frame in tested if (part := seen_in(tile, frame)) is not None]
        for number, width in enumerate(WIDTHS):
            sharp = sharpness_of(scale, width)
            blur = _blur(tile, width)
            wrong = np.full(single.shape, most_squared(bound, deviation, sharp) ** 0.5, np.float32)
            rest = given - normal.times(blur.coefficients(single))
            picture = single + wrong * solved(blur, normal, rest, wrong, deviation, sharp)
            known = blur.coefficients(picture)
            for part in targets:
                error = part.values.mean(0) - part.samples.of(known)
                counted = well_inside(tile, part) & (_there(part) > 0)
                squares[number] += float(np.square(error[counted], dtype=np.float64).sum())
    errors = np.sqrt(squares)
    if errors.min() >= (1 - LEAST_BETTER) * errors[0]:
        return 1.0
    return WIDTHS[int(np.flatnonzero(errors <= (1 + TIED) * errors.min())[-1])]


def reconsider(
    first: BurstFrame,
    others: Sequence[BurstFrame],
    large: Spool,
    scale: int,
    bands: Sequence[int],
    noise: NDArray[np.float64],
    width: float,
    side: int,
) -> None:
    """Let samples count that differ from the reference by aliases alone.

    A sample counts if the others explain it, and explain the reference at its place, too: weights
    only grow. Nothing is done where there are too few frames to tell. ``side`` is that of tiles.
    """
    if len(others) < FRAMES_PER_SAMPLE * scale**2:
        return
    ordered = sorted(others, key=lambda frame: frame.digest)
    bound = curvature_of(ordered, scale)
    found = [frame.weights.copy() for frame in ordered]
    for tile in tiles_of(first.size, scale, side, width=width):
        reference = seen_in(tile, first)
        if reference is None or not _in_doubt(tile, ordered):
            continue
        agreeing = _agreeing(tile, reference, ordered, large, bands, noise, bound)
        whole = np.zeros((tile.rows.samples, tile.columns.samples), np.float32)
        rows, columns = reference.part
        top, left = rows.start - tile.rows.start, columns.start - tile.columns.start
        place = np.s_[
            top : top + rows.stop - rows.start, left : left + columns.stop - columns.start
        ]
        whole[place] = agreeing[0]
        for frame, own, weights in zip(ordered, found, agreeing[1:], strict=True):
            part = seen_in(tile, frame)
            if part is None:
                continue
            down = np.clip(np.rint(part.y), 0, whole.shape[0] - 1).astype(np.intp)
            across = np.clip(np.rint(part.x), 0, whole.shape[1] - 1).astype(np.intp)
            both = np.rint(255 * weights * whole[down, across]).astype(np.uint8)
            kept = own[part.part]
            kept[...] = np.where(well_inside(tile, part), np.maximum(kept, both), kept)
    for frame, own in zip(ordered, found, strict=True):
        frame.weights = own


def _agreeing(
    tile: Region,
    reference: SeenPart,
    others: Sequence[BurstFrame],
    large: Spool,
    bands: Sequence[int],
    noise: NDArray[np.float64],
    bound: float,
) -> list[Float32Array]:
    """How well the others explain each frame's samples in a tile, the reference's first."""
    blur = Blur(tile.rows, tile.columns)
    sharp = sharpness_of(tile.rows.scale, tile.rows.width)
    single = tile.of(large)
    weights = [_there(part) if (part := seen_in(tile, frame)) else _NONE for frame in others]
    found: list[Float32Array] = []
    for allowed in ROUNDS:
        normal, count = Normal(blur.shape), np.zeros(blur.shape, np.float32)
        given = np.zeros((len(bands), *blur.shape), np.float32)
        for frame, own in zip(others, weights, strict=True):
            part = seen_in(tile, frame)
            if part is not None:
                part.samples.add_to(normal, own)
                count += part.samples.back(own)
                for number in range(len(bands)):
                    given[number] += part.samples.back(own * part.values[number])
        known = []
        many = blur.back(count)
        for number, band in enumerate(bands):
            deviation = float(noise[number])
            # Nothing of the reference is in the start, or it would explain itself.
            some = many > 0.1 * float(many.max())
            mean = single[:, :, band].copy()
            np.divide(blur.back(given[number]), many, out=mean, where=some)
            most = most_squared(bound, deviation, sharp) ** 0.5
            wrong = np.full(mean.shape, most, np.float32)
            rest = given[number] - normal.times(blur.coefficients(mean))
            picture = mean + wrong * solved(blur, normal, rest, wrong, deviation, sharp)
            known.append(blur.coefficients(picture))
        weights = []
        for frame in others:
            part = seen_in(tile, frame)
            weights.append(_NONE if part is None else _explained(part, known, noise, allowed))
        found = [_explained(reference, known, noise, allowed), *weights]
    return found


_NONE: Float32Array = np.zeros((0, 0), np.float32)


def _explained(
    part: SeenPart,
    known: Sequence[Float32Array],
    noise: NDArray[np.float64],
    allowed: float,
) -> Float32Array:
    """From 0 to 1, by how much a frame's samples differ from the picture of some coefficients."""
    explained = np.stack([part.samples.of(each) for each in known])
    there = _there(part) > 0
    compared = Compared(part.values, explained, there)
    found = agreeing_weights(compared, noise * allowed, DETAIL_ALLOWED * allowed)
    return least_around(found, there, GROWN)


def _there(part: SeenPart) -> Float32Array:
    """1 for samples in the tile with its margin that show something."""
    rows, columns = part.part
    there = part.inside
    shown = part.frame.shown(
        rows.start, rows.stop - rows.start, columns.start, columns.stop - columns.start
    )
    if shown is not None:
        there = there & shown
    return there.astype(np.float32)


def _in_doubt(tile: Region, frames: Sequence[BurstFrame]) -> bool:
    """Whether many samples of a tile do not agree with the reference."""
    there = agreed = 0.0
    for frame in frames:
        part = seen_in(tile, frame)
        if part is not None:
            there += float(_there(part).sum())
            agreed += float(part.weights.sum())
    return there - agreed > LEAST_DOUBT * there


def _blur(tile: Region, width: float) -> Blur:
    return Blur(
        dataclasses.replace(tile.rows, width=width), dataclasses.replace(tile.columns, width=width)
    )


def _detail(frame: BurstFrame, tile: Region, bands: Sequence[int]) -> float:
    """The variance of the reference's slopes in a tile."""
    part = frame.part(tile.top, tile.bottom - tile.top, tile.left, tile.right - tile.left)
    plane = part[:, :, list(bands)].mean(2, dtype=np.float32)
    if min(plane.shape) < 2:
        return 0.0
    down, across = np.gradient(plane)
    return float((down * down + across * across).mean())
