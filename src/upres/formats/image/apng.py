"""Animated PNG (APNG) as it is read: frames that are PNG's own, each for a part of the picture.

libvips decodes the frames, one at a time; here they are composed.
Source: PNG, third edition (W3C, 2025), sections 11.3.6 (acTL, fcTL, fdAT) and 13.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyvips
from numpy.typing import NDArray

from upres.errors import InputError
from upres.formats.image import composing
from upres.formats.image.composing import BACKGROUND, PREVIOUS
from upres.formats.image.vips import VipsSource, damaged, upright
from upres.formats.metadata import png_chunks, timing
from upres.formats.metadata.png_chunks import Chunk
from upres.raster.info import Band
from upres.raster.source import Rows

_OVER = 1
"""How a frame is put there: upon what is there, by its alpha."""

_ROWS = 64


@dataclass
class Frame:
    """A frame of an animation, as its chunk fcTL tells."""

    width: int
    height: int
    left: int
    top: int
    seconds: Fraction
    dispose: int
    blend: int
    parts: list[Chunk] = dataclasses.field(default_factory=list)
    """Of its file, compressed."""


class ApngSource:
    """An animation, whose default image ``still`` is; see ``upres.raster.source``.

    Frames are composed as the specification says, and one is in memory at a time. Raises
    ``InputError`` if the file is damaged or truncated.
    """

    def __init__(self, path: Path, still: VipsSource, chunks: Sequence[Chunk]) -> None:
        self._path, self._chunks = path, chunks
        count, plays = _counts(chunks)
        self._frames = list(_frames(path, chunks))
        if len(self._frames) != count or not all(f.parts for f in self._frames):
            raise _broken(path, f"it has {len(self._frames)} of {count} frames, or parts of them")
        self._header = chunks[0].content or b""
        size = struct.unpack(">II", self._header[:8])
        for frame in self._frames:
            inside = frame.left + frame.width <= size[0] and frame.top + frame.height <= size[1]
            if not (inside and frame.width and frame.height):
                raise _broken(path, "a frame lies outside of the picture")
        self._bands = len(still.info.bands)
        bands = still.info.bands
        if bands[-1].role != "alpha" and composing.shows_through(self._frames, *size):
            bands = (*bands, Band("alpha", 0.0, bands[0].high))
        self.info = dataclasses.replace(still.info, bands=bands, frames=count)
        self.carried = timing.told(still.carried, [f.seconds for f in self._frames], plays)
        composing.check_memory(self.info, "an animated PNG")

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """Each frame in turn, upright, in blocks of rows from the top."""
        yield from upright(self._composed(), self.info, self.carried.orientation, beside)

    def _composed(self) -> Iterator[Iterator[Rows]]:
        width, height = struct.unpack(">II", self._header[:8])
        canvas = np.zeros((height, width, len(self.info.bands)), self.info.dtype)
        with self._path.open("rb") as file:
            shared = b"".join(
                png_chunks.raw(file, c) for c in self._chunks if c.kind in (b"PLTE", b"tRNS")
            )
            for number, frame in enumerate(self._frames):
                rows = slice(frame.top, frame.top + frame.height)
                place = canvas[rows, frame.left : frame.left + frame.width]
                dispose = frame.dispose
                if number == 0 and dispose == PREVIOUS:
                    dispose = BACKGROUND
                before = place.copy() if dispose == PREVIOUS else None
                self._put(self._decoded(file, shared, frame), place, frame)
                yield composing.in_rows(canvas)
                if before is not None:
                    place[...] = before
                elif dispose == BACKGROUND:
                    place[...] = 0

    def _put(self, pixels: NDArray[Any], place: NDArray[Any], frame: Frame) -> None:
        if self._bands < len(self.info.bands):  # opaque, upon what may show through elsewhere
            place[:, :, : self._bands] = pixels
            place[:, :, self._bands] = np.iinfo(self.info.dtype).max
        elif frame.blend == _OVER and self.info.bands[-1].role == "alpha":
            for top in range(0, frame.height, _ROWS):
                rows = slice(top, top + _ROWS)
                place[rows] = _over(place[rows], pixels[rows])
        else:
            place[...] = pixels

    def _decoded(self, file: BinaryIO, shared: bytes, frame: Frame) -> NDArray[Any]:
        """A frame's own pixels: libvips reads it as a picture by itself."""
        size = struct.pack(">II", frame.width, frame.height)
        content = [png_chunks.SIGNATURE, png_chunks.packed(b"IHDR", size + self._header[8:])]
        content.append(shared)
        for part in frame.parts:
            data = png_chunks.checked(file, part)
            if data is None:
                raise _broken(self._path, "a checksum of its pixels is wrong")
            content.append(png_chunks.packed(b"IDAT", data[4:] if part.kind == b"fdAT" else data))
        content.append(png_chunks.packed(b"IEND", b""))
        pyvips.vips_lib.vips_error_clear()
        try:
            image = pyvips.Image.pngload_buffer(b"".join(content), fail_on="error")
            pixels: NDArray[Any] = image.numpy()
        except pyvips.Error as error:
            raise damaged(self._path, error) from None
        return pixels.reshape(frame.height, frame.width, self._bands)


def _counts(chunks: Sequence[Chunk]) -> tuple[int, int]:
    """How many frames there are, and how often they are shown, by the chunk acTL."""
    content = next(c.content for c in chunks if c.kind == b"acTL")
    return struct.unpack(">II", content) if content and len(content) == 8 else (0, 0)


def _frames(path: Path, chunks: Sequence[Chunk]) -> Iterator[Frame]:
    """The frames and their parts; a default image that is in none is left out."""
    frame = None
    numbers = []
    for chunk in chunks:
        if chunk.kind == b"fcTL":
            if frame:
                yield frame
            if chunk.content is None or len(chunk.content) != 26:
                raise _broken(path, "a frame's description is damaged")
            number, width, height, left, top, count, of, dispose, blend = struct.unpack(
                ">IIIIIHHBB", chunk.content
            )
            numbers.append(number)
            # By the specification, 0 stands for hundredths of a second.
            seconds = Fraction(count, of or 100)
            frame = Frame(width, height, left, top, seconds, dispose, blend)
        elif frame and chunk.kind in (b"IDAT", b"fdAT"):
            frame.parts.append(chunk)
    if frame:
        yield frame
    if numbers != sorted(set(numbers)):
        raise _broken(path, "its frames are not in order")


def _over(below: NDArray[Any], above: NDArray[Any]) -> NDArray[Any]:
    """Pixels with alpha, not premultiplied, put upon others; of one integer type."""
    most = np.iinfo(above.dtype).max
    own = above[:, :, -1:] / most
    rest = below[:, :, -1:] / most * (1 - own)
    alpha = own + rest
    colours = above[:, :, :-1] * own + below[:, :, :-1] * rest
    colours /= np.where(alpha, alpha, 1)
    result: NDArray[Any] = np.concatenate([colours, alpha * most], 2)
    result = (result + 0.5).astype(above.dtype)
    return np.where(own == 0, below, result)


def _broken(path: Path, what: str) -> InputError:
    return InputError(f"{path}: this picture is damaged or truncated: {what}")
