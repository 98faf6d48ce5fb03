"""Which frames are fused: each is placed, measured and weighed, or left out by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from upres.fusing.frames import BurstFrame
from upres.fusing.matching import LEAST_GAIN, LEAST_NOISE, Match, matched
from upres.fusing.start import pyramid, rough_fit
from upres.fusing.weighing import DETAIL_ALLOWED, weigh
from upres.raster.spool import Spool

MOST_DETAIL = 1.0
"""The part of local slopes by which a frame may differ from its explanation, at most: beyond that,
objects that move would count as aliases."""


@dataclass(frozen=True)
class LeftFrame:
    """A frame that was not fused."""

    name: str
    reason: str
    """A clause, such as ``it is blurred``."""

    def __str__(self) -> str:
        return f"{self.name}: left out: {self.reason}"


def choose(
    reference: BurstFrame,
    others: Sequence[BurstFrame],
    large: Spool,
    scale: int,
    bands: Sequence[int],
    pool: Executor,
) -> tuple[list[BurstFrame], list[LeftFrame], NDArray[np.float64]]:
    """Place and weigh frames beside the reference; the others' order is kept.

    ``large`` is the network's result of the reference, ``scale`` times as large. Frames are looked
    at by ``pool``. Gives the frames
    that can be fused, those that cannot, and the deviation of noise in each band.
    """
    size = reference.size
    shown = reference.shown(0, size[0], 0, size[1])
    reference.weights = np.full(size, 255, np.uint8)
    if shown is not None:
        reference.weights[~shown] = 0
    reference.gains, reference.offsets = np.ones(len(bands)), np.zeros(len(bands))
    levels = pyramid(reference.grey(bands))
    left_out: list[LeftFrame] = []
    found: list[tuple[BurstFrame, Match]] = []

    def look(frame: BurstFrame) -> Match | None:
        placed = rough_fit(levels, pyramid(frame.grey(bands)), frame.told_place)
        if placed is None:
            return None
        frame.place = placed.matrix
        return matched(frame, large, scale, bands, size)

    for frame, match in zip(others, pool.map(look, others), strict=True):
        if match is None:
            left_out.append(LeftFrame(frame.name, "it does not lie on the reference"))
            continue
        if match.gains.min() < LEAST_GAIN:
            left_out.append(LeftFrame(frame.name, "it shows another scene"))
            continue
        frame.gains, frame.offsets = match.gains, match.offsets
        found.append((frame, match))
    if not found:
        return [], left_out, np.full(len(bands), LEAST_NOISE)
    itself = matched(reference, large, scale, bands, size)
    own = itself.sharpness if itself is not None and math.isfinite(itself.sharpness) else 0.0
    reference.gains, reference.offsets = np.ones(len(bands)), np.zeros(len(bands))
    # Anew without those that are left out, as their noise and faults are no measure of the others'.
    while True:
        noise = np.median([match.noise for _, match in found], axis=0)
        # Frames with many aliases are all off, and none of that is motion.
        detail = 2 * float(np.median([match.detail for _, match in found]))
        detail = min(max(detail, DETAIL_ALLOWED), MOST_DETAIL)
        used = []
        weighing = partial(
            weigh, large=large, scale=scale, bands=bands, size=size, noise=noise, detail=detail
        )
        shares = pool.map(weighing, [frame for frame, _ in found])
        for (frame, match), share in zip(found, shares, strict=True):
            reason = match.reason(share, own)
            if reason:
                left_out.append(LeftFrame(frame.name, reason))
            else:
                used.append((frame, match))
        if not used or len(used) == len(found):
            return [frame for frame, _ in used], left_out, noise
        found = used
