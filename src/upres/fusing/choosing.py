"""Which frames are fused: each is placed, measured and weighed, or left out by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upres.fusing.frames import Frame
from upres.fusing.matching import LEAST_NOISE, Match, matched
from upres.fusing.start import pyramid, rough_fit
from upres.fusing.weighing import weigh
from upres.raster.spool import Spool


@dataclass(frozen=True)
class LeftOut:
    """A frame that was not fused."""

    name: str
    reason: str
    """A clause, such as ``it is blurred``."""

    def __str__(self) -> str:
        return f"{self.name}: left out: {self.reason}"


def choose(
    reference: Frame,
    others: Sequence[Frame],
    large: Spool,
    scale: int,
    bands: Sequence[int],
) -> tuple[list[Frame], list[LeftOut], NDArray[np.float64]]:
    """Place and weigh frames beside the reference; the others' order is kept.

    ``large`` is the network's result of the reference, ``scale`` times as large. Gives the frames
    that can be fused, those that cannot, and the deviation of noise in each band.
    """
    size = reference.size
    reference.weights = np.full(size, 255, np.uint8)
    if reference.info.alpha is not None:
        rows = [block[:, :, reference.info.alpha] for block in reference.spool.blocks()]
        reference.weights = np.where(np.concatenate(rows) >= 1, np.uint8(255), np.uint8(0))
    reference.gains, reference.offsets = np.ones(len(bands)), np.zeros(len(bands))
    levels = pyramid(reference.grey(bands))
    left_out: list[LeftOut] = []
    found: list[tuple[Frame, Match]] = []
    for frame in others:
        placed = rough_fit(levels, pyramid(frame.grey(bands)))
        match = None
        if placed is not None:
            frame.place = placed.matrix
            match = matched(frame, large, scale, bands, size)
        if match is None:
            left_out.append(LeftOut(frame.name, "it does not lie on the reference"))
            continue
        frame.gains, frame.offsets = match.gains, match.offsets
        found.append((frame, match))
    if not found:
        return [], left_out, np.full(len(bands), LEAST_NOISE)
    # Of frames that show another scene it is far too much.
    noise: NDArray[np.float64] = np.median([match.noise for _, match in found], axis=0)
    lowest: NDArray[np.float64] = np.min([match.noise for _, match in found], axis=0)
    noise = np.minimum(noise, 2 * lowest)
    used = []
    # The reference has 1 itself: beside one frame it is the only measure.
    sharpest = max([match.sharpness for _, match in found] + [1.0] * (len(found) == 1))
    for frame, match in found:
        share = 0.0
        if match.gains.min() > 0:
            share = weigh(frame, large, scale, bands, size, noise)
        reason = match.reason(share, sharpest)
        if reason:
            left_out.append(LeftOut(frame.name, reason))
        else:
            used.append(frame)
    return used, left_out, noise
