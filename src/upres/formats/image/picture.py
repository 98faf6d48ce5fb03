"""A picture that is open: what it is, and its pixels in blocks of rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# libvips would print its warnings, which name no file, straight to standard error.
os.environ.setdefault("VIPS_WARNING", "0")

import pyvips

from upres.errors import InputError
from upres.formats.image.jpeg import Segment
from upres.formats.image.png_chunks import Chunk
from upres.raster.pixels import Float32Array, from_unit, to_unit

_BLOCK_BYTES = 2**22

# Loaders that libvips itself calls unsafe for files from strangers.
pyvips.block_untrusted_set(True)
# A JPEG with a gain map is read as the JPEG that it is: ``upres.formats.metadata.gain_map``.
pyvips.operation_block_set("VipsForeignLoadUhdr", True)
# What it would keep for the next file that has the same name is memory for nothing.
pyvips.cache_set_max(0)


_NOT_READ = {
    "samples out of range": "its samples are of more than 32 bits",
    "bad labq format": "its colours are CIELAB of 8 bits",
    "compression support is not configured": "its compression is one",
    "decoding is not implemented": "its compression is one",
    "tiled separate planes": "its samples are in planes of tiles",
    "not a whole number of bytes": "its samples are no whole bytes",
    "unsupported tiff image type": "its samples are of a kind",
    "Unsupported JPEG data precision": "its samples are of another depth than 8 bits",
}
"""What libvips says, as of damage, of files of kinds that it does not read."""


def _text(pointer: Any) -> str:
    content = b"NULL" if pointer == pyvips.ffi.NULL else pyvips.ffi.string(pointer)
    text: str = content.decode("utf-8", "backslashreplace")
    return text


# pyvips takes what libvips says for UTF-8. Where that names a file whose name is not, it would
# fail before it has cleared it, and so would whichever thread next has an error to tell.
pyvips.error._to_string = _text


@dataclass(frozen=True)
class Photo:
    """An open picture, a page of a file or an animation; its pixels are not yet decoded."""

    path: Path
    height: int
    """Of one frame, upright."""
    width: int
    frames: int
    """More than one of an animation only."""
    pages: int
    """That the file has, if it is a TIFF."""
    directory: int | None
    """Where this one's directory of tags is in the file, if it is not the first page."""
    cmyk: bool
    """Is kept as four inks; otherwise it is grey or RGB."""
    colours: int
    alpha: bool
    opaque_alpha: bool
    """There is alpha, but nothing is transparent: then ``alpha`` is false."""
    dtype: np.dtype[Any]
    low: float
    high: float
    """Samples of colours from here to there become 0 to 1."""
    alpha_high: float
    """What alpha is where nothing shows through; where all does, it is 0."""
    orientation: int
    meaning: bytes
    """What its colours mean, where that is unlike sRGB and in no profile: ``formats.colour``."""
    jpeg_quality: int | None
    """By libjpeg's scale; ``None`` of what is no JPEG file."""
    segments: tuple[Segment, ...]
    """Of a JPEG file, before its pixels."""
    chunks: tuple[Chunk, ...]
    """Of a PNG file."""
    image: pyvips.Image
    """An animation's frames are one below the other."""

    @property
    def channels(self) -> int:
        return self.colours + self.alpha

    @property
    def has_resolution(self) -> bool:
        """Whether the file tells how many pixels go into an inch."""
        return (self.image.xres, self.image.yres) != (1, 1)  # what libvips takes for nothing

    @property
    def stored_size(self) -> tuple[int, int]:
        """Height and width of a page as the file has it, not yet turned upright."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)

    def blocks(self) -> Iterator[Iterator[NDArray[Any]]]:
        """Of each frame in turn, blocks of rows from the top, as stored in the file.

        A frame's blocks must be taken before the next frame's. Raises ``InputError`` where
        the file turns out to be damaged or truncated.
        """
        height, _ = self.stored_size
        region = pyvips.Region.new(self.image)
        for frame in range(self.frames):
            yield self._rows(region, frame * height)

    def _rows(self, region: Any, start: int) -> Iterator[NDArray[Any]]:
        height, width = self.stored_size
        bands = self.image.bands
        rows = min(64, max(1, _BLOCK_BYTES // (width * bands * self.dtype.itemsize)))
        for top in range(0, height, rows):
            count = min(rows, height - top)
            try:
                content = region.fetch(0, start + top, width, count)
            except pyvips.Error as error:
                raise damaged(self.path, error) from None
            block = np.frombuffer(content, self.dtype).reshape(count, width, bands)
            yield block[:, :, : self.channels]

    def to_float(self, block: NDArray[Any]) -> Float32Array:
        """Samples as stored, as float32 in [0, 1]."""
        if not self.alpha or (self.low, self.high) == (0, self.alpha_high):
            return to_unit(block, self.low, self.high)
        colours = to_unit(block[:, :, :-1], self.low, self.high)
        return np.concatenate([colours, to_unit(block[:, :, -1:], 0, self.alpha_high)], axis=2)

    def from_float(self, block: Float32Array, dtype: np.dtype[Any]) -> NDArray[Any]:
        """float32 in [0, 1] as samples of ``dtype``: the picture's own, uint8 or uint16."""
        low, high, alpha_high = self.low, self.high, self.alpha_high
        if dtype != self.dtype:
            low, high = 0, np.iinfo(dtype).max
            alpha_high = high
        # An alpha that is opaque throughout is no longer part of what is enlarged.
        if not self.alpha or (low, high) == (0, alpha_high):
            return from_unit(block, low, high, dtype)
        colours = from_unit(block[:, :, :-1], low, high, dtype)
        alpha = from_unit(block[:, :, -1:], 0, alpha_high, dtype)
        return np.concatenate([colours, alpha], axis=2)


def damaged(path: Path, error: pyvips.Error) -> InputError:
    """What to raise where libvips cannot go on reading ``path``."""
    line = first_line(error)
    for said, kind in _NOT_READ.items():
        if said in line:
            return InputError(
                f"{path}: {kind}, which upres does not read: convert it to PNG, or to TIFF of 8 or "
                "16 bits, or of floating point of 32"
            )
    # libvips has one place for what all threads have to say: a word on another file is none on
    # this one, and that something was not done is known.
    told = "" if '"' in line or line.startswith("unable to") else f": {line}"
    return InputError(f"{path}: this picture is damaged or truncated{told}")


def first_line(error: pyvips.Error) -> str:
    """What libvips says, in one line."""
    lines = [line for line in str(error.detail).splitlines() if line.strip()]
    return lines[0].strip() if lines else str(error.message)
