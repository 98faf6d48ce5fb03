"""GIF as it is read: frames, each for a part of the picture, are put upon each other.

libvips decodes the frames, one at a time. What no frame covers shows through, as in browsers: the
colour of the background that a file names is not looked at. Source: GIF89a specification
(CompuServe, 1990), sections 20 and 23.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyvips
from numpy.typing import NDArray

from upres.errors import InputError
from upres.formats.image import composing
from upres.formats.image.composing import BACKGROUND, NONE, PREVIOUS
from upres.formats.image.vips import VipsSource, damaged, upright
from upres.formats.metadata import gif_blocks, timing
from upres.formats.metadata.gif_blocks import Blocks
from upres.raster.info import RasterInfo, bands_of
from upres.raster.source import Rows

UNIT = Fraction(1, 100)
"""Of a second: the grid of GIF's timing."""

_AFTER = {2: BACKGROUND, 3: PREVIOUS, 4: PREVIOUS}
"""By a frame's number of it; 4 is what some programs have written for 3."""


@dataclass(frozen=True)
class _Placed:
    """A frame within the picture."""

    frame: gif_blocks.GifFrame
    left: int
    top: int
    width: int
    """As far as it is in the picture; none of what lies outside."""
    height: int
    dispose: int


class GifSource:
    """A GIF file of those ``blocks``, whose metadata ``still`` has; see ``upres.raster.source``.

    Its picture is as large as the header says, or the first frame, if that goes beyond. The canvas
    and a frame are in memory. Raises ``InputError`` if the file is damaged.
    """

    def __init__(self, path: Path, still: VipsSource, blocks: Blocks) -> None:
        self._path = path
        if not blocks.frames:
            raise InputError(f"{path}: this picture is damaged or truncated: it has no frames")
        first = blocks.frames[0]
        width = max(blocks.width, first.left + first.width)
        height = max(blocks.height, first.top + first.height)
        if not width or not height:
            raise InputError(f"{path}: this picture is damaged or truncated: it has no pixels")
        self._frames = [_placed(frame, width, height) for frame in blocks.frames]
        clear = any(frame.transparent is not None for frame in blocks.frames)
        if clear or composing.shows_through(self._frames, width, height):
            bands = bands_of(["red", "green", "blue", "alpha"], 0.0, 255.0)
        else:
            bands = bands_of(["red", "green", "blue"], 0.0, 255.0)
        orientation = still.carried.orientation
        self._size = (height, width)
        if orientation >= 5:
            height, width = width, height
        self.info: RasterInfo = dataclasses.replace(
            still.info, height=height, width=width, bands=bands, frames=len(self._frames)
        )
        self.carried = still.carried
        if len(self._frames) > 1:
            shown = [frame.hundredths * UNIT for frame in blocks.frames]
            self.carried = timing.told(self.carried, shown, timing.plays(self.carried))
        composing.check_memory(self.info, "a GIF")

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """Each frame in turn, upright, in blocks of rows from the top."""
        yield from upright(self._composed(), self.info, self.carried.orientation, beside)

    def _composed(self) -> Iterator[Iterator[Rows]]:
        canvas = np.zeros((*self._size, len(self.info.bands)), np.uint8)
        with self._path.open("rb") as file:
            yield from self._composed_on(canvas, file)

    def _composed_on(self, canvas: NDArray[np.uint8], file: BinaryIO) -> Iterator[Iterator[Rows]]:
        for placed in self._frames:
            rows = slice(placed.top, placed.top + placed.height)
            place = canvas[rows, placed.left : placed.left + placed.width]
            before = place.copy() if placed.dispose == PREVIOUS else None
            if place.size:
                _put(self._decoded(file, placed.frame), place)
            yield composing.in_rows(canvas)
            if before is not None:
                place[...] = before
            elif placed.dispose == BACKGROUND:
                place[...] = 0

    def _decoded(self, file: BinaryIO, frame: gif_blocks.GifFrame) -> NDArray[np.uint8]:
        """A frame's own pixels, with alpha where it has some."""
        pyvips.vips_lib.vips_error_clear()
        content = gif_blocks.alone(file, frame)
        try:
            image = pyvips.Image.gifload_buffer(content, fail_on="error")
            pixels: NDArray[Any] = image.numpy()
        except pyvips.Error as error:
            raise damaged(self._path, error) from None
        return pixels.reshape(frame.height, frame.width, -1)


def _placed(frame: gif_blocks.GifFrame, width: int, height: int) -> _Placed:
    return _Placed(
        frame,
        frame.left,
        frame.top,
        max(0, min(frame.width, width - frame.left)),
        max(0, min(frame.height, height - frame.top)),
        _AFTER.get(frame.after, NONE),
    )


def _put(pixels: NDArray[np.uint8], place: NDArray[np.uint8]) -> None:
    """Put a frame, or what of it is in the picture, upon what is there."""
    height, width, bands = place.shape
    pixels = pixels[:height, :width]
    colours = pixels[:, :, :3]
    shown = pixels[:, :, 3] > 0 if pixels.shape[2] > 3 else np.ones((height, width), bool)
    np.copyto(place[:, :, :3], colours, where=shown[:, :, None])
    if bands > 3:
        np.copyto(place[:, :, 3], np.uint8(255), where=shown)
