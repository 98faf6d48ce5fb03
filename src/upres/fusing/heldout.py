"""Whether fusing has helped: some frames are predicted from the others, and compared.

The errors tell, too, by which kernel frames see the scene. With a kernel that is narrower than
MATLAB's, as that of a camera may be, frames have aliases, and a wrong kernel costs decibels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upres.fusing.frames import BurstFrame
from upres.fusing.gathering import add_frame, no_sums
from upres.fusing.merging import Sums, curvature_of, merged
from upres.fusing.observing import Blur, Samples
from upres.fusing.seeing import Region, seen_in, well_inside
from upres.raster.pixels import Float32Array
from upres.raster.spool import Spool

EVERY = 4
"""One frame of so many is held out."""

MOST_TILES = 4
"""Tiles that are looked at, at most."""

NARROWEST, BETWEEN = 0.5, 0.7
"""Widths of the kernel that are tried beside MATLAB's, in parts of it. The first is no filter at
all at x2."""

BELIEVED, LEAST_LESS = 0.75, 1.0
"""A narrower kernel is believed if the error by it is no more than this part of that by MATLAB's,
and if the root of the squares that it explains is at least so many levels."""

TIED = 0.06
"""By how much of the least error widths may differ that count as equal: the widest is taken."""


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
    """Every fourth of the frames beside the reference; none if there are fewer than that.

    They are taken from left to right, so that they lie among the others, in whatever order these
    are given.
    """

    def place(frame: BurstFrame) -> tuple[float, float, bytes]:
        return float(frame.place[0, 2]), float(frame.place[1, 2]), frame.digest

    return sorted(others, key=place)[EVERY - 1 :: EVERY]


class Prediction:
    """The frames that are held out, predicted from the others in some tiles.

    ``large`` is the network's result of the reference, ``first``, and ``tiles`` are all of those.
    """

    def __init__(
        self,
        first: BurstFrame,
        used: Sequence[BurstFrame],
        large: Spool,
        bands: Sequence[int],
        noise: NDArray[np.float64],
        tiles: Sequence[Region],
    ) -> None:
        self.used = used
        self._first, self._large, self._bands, self._noise = first, large, bands, noise
        self._tested = held_out(used)
        self._kept = [f for f in used if not any(f is other for other in self._tested)]
        self._tiles = tiles[:: -(-len(tiles) // MOST_TILES)] if self._tested else []
        self._sums = [no_sums(tile, len(bands)) for tile in self._tiles]

    def add(self, number: int, own: Spool) -> None:
        """Add the network's result of the frame of a number, unless it is held out."""
        frame = self.used[number]
        if any(frame is other for other in self._kept):
            for tile, sums in zip(self._tiles, self._sums, strict=True):
                single = tile.of(self._large)
                add_frame(sums, tile, frame, own, single, self._bands, self._first.size)

    def errors(self, width: float, pool: Executor, rounds: int = 1) -> HeldOut | None:
        """The errors by a kernel of that width; ``None`` where no frame is held out.

        ``rounds`` are those of ``merged``.
        """
        if not self._tested:
            return None
        some = [self._first, *sorted(self._kept, key=lambda frame: frame.digest)]
        bound = curvature_of(some, self._tiles[0].rows.scale)

        def test(tile: Region, sums: Sums) -> HeldOut:
            single = tile.of(self._large)
            about = (single, sums, self._bands, self._noise, rounds)
            return errors_in(tile.by(width), some, bound, self._tested, *about)

        return sum(pool.map(test, self._tiles, self._sums), HeldOut())


def kernel_width(
    plain: Prediction, narrow: Prediction, pool: Executor
) -> tuple[float, HeldOut | None]:
    """The width of the kernel by which frames see the scene, in parts of MATLAB's; and the errors.

    ``plain`` has frames whose weights are those for MATLAB's kernel, and ``narrow`` for the
    narrowest. The error of frames that are held out falls by a narrower kernel in some bursts that
    have MATLAB's, too. There it falls as well if the result follows the samples more, and it rises
    where the kernel is wrong. So a narrower one is believed if the error falls by much, and if
    following the samples more by MATLAB's makes it larger.
    """
    found = plain.errors(1.0, pool)
    by_narrowest = narrow.errors(NARROWEST, pool)
    if found is None or by_narrowest is None:
        return 1.0, found
    less = found.fused**2 - by_narrowest.fused**2
    if by_narrowest.fused > BELIEVED * found.fused or less < LEAST_LESS**2:
        return 1.0, found
    nearer = plain.errors(1.0, pool, rounds=2)
    if nearer is None or nearer.fused <= found.fused:
        return 1.0, found
    between = narrow.errors(BETWEEN, pool)
    assert between is not None
    if between.fused <= (1 + TIED) * min(between.fused, by_narrowest.fused):
        return BETWEEN, between
    return NARROWEST, by_narrowest


def errors_in(
    tile: Region,
    frames: Sequence[BurstFrame],
    bound: float,
    left_out: Sequence[BurstFrame],
    single: Float32Array,
    sums: Sums,
    bands: Sequence[int],
    noise: NDArray[np.float64],
    rounds: int,
) -> HeldOut:
    """Fuse a tile of ``frames``: gives how well that predicts the frames ``left_out``."""
    total = HeldOut()
    fused = single.copy()
    fused[tile.kept] = merged(tile, frames, bound, single, sums, bands, noise, rounds)
    blur = Blur(tile.rows, tile.columns)
    # The network sees by MATLAB's kernel, whatever is that of the frames.
    seen_by_network = tile.by(1.0)
    plain = Blur(seen_by_network.rows, seen_by_network.columns)
    for frame in left_out:
        seen = seen_in(tile, frame)
        if seen is None:
            continue
        inside = well_inside(tile, seen)
        for number, band in enumerate(bands):
            error, before = (
                _errors(kernel, seen.samples, seen.values[number], picture, band, inside)
                for kernel, picture in ((blur, fused), (plain, single))
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
