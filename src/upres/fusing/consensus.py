"""The frames' consensus: which samples differ from the reference by aliases, and not by motion.

Frames that were reduced with little filter have aliases: fine parts that look different in each.
The network takes those of the reference for something else, so that frames seem to differ from it
as if something had moved. Here frames are explained by each other, without the network, and the
reference by the others. Where they do explain each other, nothing has moved.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from upres.fusing.filters import least_around
from upres.fusing.frames import BurstFrame
from upres.fusing.merging import curvature_of, most_squared, solved
from upres.fusing.observing import Blur, Normal, sharpness_of
from upres.fusing.seeing import Region, SeenPart, seen_in, tiles_of, well_inside
from upres.fusing.weighing import DETAIL_ALLOWED, GROWN, Compared, agreeing_weights
from upres.raster.pixels import Float32Array
from upres.raster.spool import Spool

FRAMES_PER_SAMPLE = 3
"""How many other frames there must be for each sample of the result in one of the reference's:
fewer frames can be explained by aliases, whatever has moved."""

LEAST_DOUBT = 0.01
"""The share of a tile's samples that do not agree with the reference, above which it is looked at
again."""

ROUNDS = (4.0, 2.0, 1.0)
"""Times the differences that are allowed, from round to round."""


def reconsider(
    first: BurstFrame,
    others: Sequence[BurstFrame],
    large: Spool,
    scale: int,
    bands: Sequence[int],
    noise: NDArray[np.float64],
    side: int,
    width: float,
) -> None:
    """Let samples count that differ from the reference by aliases alone.

    A sample counts if the others explain it, and explain the reference at its place, too: weights
    only grow. Nothing is done where there are too few frames to tell. ``side`` is that of tiles,
    and ``width`` that of the kernel by which frames see the scene.
    """
    if len(others) < FRAMES_PER_SAMPLE * scale**2:
        return
    ordered = sorted(others, key=lambda frame: frame.digest)
    bound = curvature_of(ordered, scale)
    found = [frame.weights.copy() for frame in ordered]
    for tile in (each.by(width) for each in tiles_of(first.size, scale, side)):
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
