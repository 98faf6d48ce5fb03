"""Tiles of the result, and the samples of frames that lie in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from upres.fusing import motion
from upres.fusing.frames import BurstFrame
from upres.fusing.observing import Samples, Stretch
from upres.raster.pixels import Float32Array
from upres.raster.spool import Spool

TILE_MARGIN = 12
"""How many samples of the reference around a tile are solved for, too."""


@dataclass(frozen=True)
class Region:
    """A part of the result, in samples of the reference, and its margin."""

    rows: Stretch
    columns: Stretch
    top: int
    """The first of the part itself."""
    bottom: int
    left: int
    right: int

    def by(self, width: float) -> Region:
        """The same, seen by a kernel of another width; see ``Stretch``."""
        rows, columns = (replace(each, width=width) for each in (self.rows, self.columns))
        return replace(self, rows=rows, columns=columns)

    @property
    def kept(self) -> tuple[slice, slice]:
        """The part itself, in what is looked at, in samples of the result."""
        scale = self.rows.scale
        return (
            slice((self.top - self.rows.start) * scale, (self.bottom - self.rows.start) * scale),
            slice(
                (self.left - self.columns.start) * scale, (self.right - self.columns.start) * scale
            ),
        )

    def of(self, spool: Spool) -> Float32Array:
        """The samples of a result that are looked at."""
        scale = self.rows.scale
        part: Float32Array = spool.part(
            self.rows.start * scale,
            self.rows.samples * scale,
            self.columns.start * scale,
            self.columns.samples * scale,
        )
        return part


def tiles_of(
    size: tuple[int, int],
    scale: int,
    side: int,
    margin: int = TILE_MARGIN,
) -> list[Region]:
    """Tiles that cover a reference of ``size`` once, of at most ``side`` samples a side."""
    found = []
    for top in range(0, size[0], side):
        for left in range(0, size[1], side):
            bottom, right = min(size[0], top + side), min(size[1], left + side)
            found.append(
                Region(
                    _stretch(top, bottom, margin, size[0], scale),
                    _stretch(left, right, margin, size[1], scale),
                    *(top, bottom, left, right),
                )
            )
    return found


def _stretch(start: int, stop: int, margin: int, length: int, scale: int) -> Stretch:
    return Stretch(max(0, start - margin), min(length, stop + margin), length, scale)


def lies_in(
    x: motion.Coordinates, y: motion.Coordinates, size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Whether places lie in a frame of ``size``, its samples' outer halves included."""
    across: NDArray[np.bool_] = (x >= -0.5) & (x <= size[1] - 0.5)
    down: NDArray[np.bool_] = (y >= -0.5) & (y <= size[0] - 0.5)
    return across & down


@dataclass(frozen=True)
class SeenPart:
    """A frame's samples in a tile with its margin."""

    frame: BurstFrame
    part: tuple[slice, slice]
    """Which rows and columns of the frame."""
    samples: Samples
    x: NDArray[np.float64]
    """Columns of the reference, from the tile's first."""
    y: NDArray[np.float64]
    inside: NDArray[np.bool_]
    """Whether a sample lies in the reference, and in the tile with its margin."""
    weights: Float32Array
    values: Float32Array
    """Bands x rows x columns, in the reference's exposure."""


def seen_in(tile: Region, frame: BurstFrame) -> SeenPart | None:
    """The samples of a frame that lie in a tile; ``None`` if there are none."""
    back = motion.inverse(frame.place)
    x, y = motion.corners(tile.rows.samples, tile.columns.samples)
    across, down = motion.moved(back, x + tile.columns.start, y + tile.rows.start)
    top, bottom = _reach(down, frame.info.height)
    left, right = _reach(across, frame.info.width)
    if bottom <= top or right <= left:
        return None
    rows, columns = np.mgrid[top:bottom, left:right].astype(np.float64)
    x, y = motion.moved(frame.place, columns, rows)
    inside = lies_in(x, y, (tile.rows.length, tile.columns.length))
    x, y = x - tile.columns.start, y - tile.rows.start
    samples = Samples((tile.rows.knots, tile.columns.knots), x, y)
    inside &= samples.inside
    weights = frame.weights[top:bottom, left:right].astype(np.float32)
    weights *= inside
    weights *= np.float32(1 / 255)
    given = frame.part(top, bottom - top, left, right - left)
    values = (given[:, :, list(frame.bands)] - frame.offsets) / frame.gains
    planes = np.ascontiguousarray(np.moveaxis(values, 2, 0), np.float32)
    part = (slice(top, bottom), slice(left, right))
    return SeenPart(frame, part, samples, x, y, inside, weights, planes)


def well_inside(tile: Region, part: SeenPart) -> NDArray[np.bool_]:
    """Which samples of a frame lie in a tile itself, its margin left out."""
    down, across = part.y + tile.rows.start, part.x + tile.columns.start
    inside: NDArray[np.bool_] = (down >= tile.top - 0.5) & (down < tile.bottom - 0.5)
    inside &= (across >= tile.left - 0.5) & (across < tile.right - 0.5)
    return inside & part.inside


def _reach(places: NDArray[np.float64], length: int) -> tuple[int, int]:
    return max(0, int(places.min()) - 2), min(length, int(places.max()) + 3)
