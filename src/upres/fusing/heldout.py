"""Whether fusing has helped: some frames are predicted from the others, and compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upres.fusing.frames import BurstFrame
from upres.fusing.merging import Sums, merged
from upres.fusing.observing import Blur, Samples
from upres.fusing.seeing import Region, seen_in, well_inside
from upres.raster.pixels import Float32Array

EVERY = 4
"""One frame of so many is held out."""

MOST_TILES = 4
"""Tiles that are looked at, at most."""


@dataclass
class HeldOut:
    """How far predictions of frames are from them, in the root mean square, in levels of 255."""

    squares: float = 0.0
    single_squares: float = 0.0
    samples: int = 0

    @property
    def fused(self) -> float:
        """Of predictions by fusing the other frames."""
        return 255 * math.sqrt(self.squares / max(self.samples, 1))

    @property
    def single(self) -> float:
        """Of predictions by the network's result of the reference alone."""
        return 255 * math.sqrt(self.single_squares / max(self.samples, 1))

    def __add__(self, other: HeldOut) -> HeldOut:
        return HeldOut(
            self.squares + other.squares,
            self.single_squares + other.single_squares,
            self.samples + other.samples,
        )

    def __str__(self) -> str:
        helped = "helped" if self.fused < self.single else "did not help"
        return f"fusing {helped}: {self.fused:.1f} instead of {self.single:.1f}"


def held_out(others: Sequence[BurstFrame]) -> list[BurstFrame]:
    """Every fourth of the frames beside the reference; none if there are fewer than that."""
    return list(others[EVERY - 1 :: EVERY])


def errors_in(
    tile: Region,
    frames: Sequence[BurstFrame],
    bound: float,
    left_out: Sequence[BurstFrame],
    single: Float32Array,
    sums: Sums,
    bands: Sequence[int],
    noise: NDArray[np.float64],
) -> HeldOut:
    """Fuse a tile of ``frames``: gives how well that predicts the frames ``left_out``."""
    total = HeldOut()
    fused = single.copy()
    fused[tile.kept] = merged(tile, frames, bound, single, sums, bands, noise)
    blur = Blur(tile.rows, tile.columns)
    for frame in left_out:
        seen = seen_in(tile, frame)
        if seen is None:
            continue
        inside = well_inside(tile, seen)
        for number, band in enumerate(bands):
            error, before = (
                _errors(blur, seen.samples, seen.values[number], picture, band, inside)
                for picture in (fused, single)
            )
            gain = float(frame.gains[number]) ** 2
            total.squares += gain * float(np.square(error).sum())
            total.single_squares += gain * float(np.square(before).sum())
            total.samples += len(error)
    return total


def _errors(
    blur: Blur,
    samples: Samples,
    values: Float32Array,
    picture: Float32Array,
    band: int,
    inside: NDArray[np.bool_],
) -> NDArray[np.float64]:
    plane = np.ascontiguousarray(picture[:, :, band])
    difference = (values - samples.of(blur.coefficients(plane)))[inside]
    return difference.astype(np.float64)
