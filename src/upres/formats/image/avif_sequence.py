"""AVIF sequences: animations whose frames are decoded each by itself, or by Pillow."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyvips

from upres.errors import InputError, needs_extra
from upres.formats.image import avif_chroma
from upres.formats.image.vips import LOADERS, VipsSource
from upres.formats.metadata import avif_tracks, timing
from upres.formats.metadata.avif_boxes import read_top
from upres.formats.metadata.avif_still import Part, Still, properties_of, put_together
from upres.formats.metadata.avif_tracks import ALPHA, PICTURES, Track
from upres.raster.source import Rows

_TURNED = (b"irot", b"imir", b"clap")
_ROWS = 64


class AvifSequenceSource:
    """The frames of a track; see ``upres.raster.source``.

    Raises ``InputError`` if the file is damaged, or if frames of more than 8 bits need others to
    be decoded, which no library does a frame at a time and whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                self._read(read_top(file))
                still = self._frame(file, 0)
        except (OSError, struct.error):
            raise InputError(f"{path}: this picture is damaged or truncated") from None
        self._by_itself = self._colours.independent and (
            self._alpha is None or self._alpha.independent
        )
        if not self._by_itself and still.info.dtype != np.uint8:
            raise InputError(
                f"{path}: an animation of more than 8 bits, whose frames are differences: convert "
                "it to .png"
            )
        turned = any(kind in _TURNED for kind, _ in self._colours.properties)
        if turned and not self._by_itself:
            raise InputError(f"{path}: an animation that is to be turned or cropped: convert it")
        self.info = dataclasses.replace(still.info, frames=len(self._colours.samples))
        self.carried = timing.told(still.carried, self._colours.timing, self._colours.plays)

    def _read(self, found: dict[bytes, bytes]) -> None:
        tracks = avif_tracks.read(found.get(b"moov", b""))
        kinds = {track.handler: track for track in reversed(tracks)}
        if PICTURES not in kinds or not kinds[PICTURES].samples:
            raise struct.error("no track of pictures")
        self._colours: Track = kinds[PICTURES]
        self._alpha: Track | None = kinds.get(ALPHA)
        self._chroma = avif_chroma.of_properties(self._colours.properties)
        if self._alpha and len(self._alpha.samples) != len(self._colours.samples):
            raise struct.error("alpha of another number of frames")
        self._beside = {
            **avif_tracks.described(found.get(b"meta", b"")),
            **avif_tracks.described(self._colours.meta),
        }

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """Each frame in turn, in blocks of rows from the top."""
        if not self._by_itself:
            yield from self._by_pillow()
            return
        with self._path.open("rb") as file:
            for number in range(len(self._colours.samples)):
                source = self._frame(file, number)
                if source.info != dataclasses.replace(self.info, frames=1):
                    raise InputError(f"{self._path}: frame {number + 1} is unlike the first")
                yield from source.frames(beside)

    def _frame(self, file: BinaryIO, number: int) -> VipsSource:
        numbers = next((c for kind, c in self._colours.properties if kind == b"colr"), b"")
        told = (2, 2)
        if numbers[:4] == b"nclx" and len(numbers) >= 8:
            told = struct.unpack_from(">HH", numbers, 4)
        return VipsSource(
            self._path,
            LOADERS["avif"],
            source=partial(self._still, file, number),
            colour_numbers=told,
            to_rgb=self._chroma.to_rgb if self._chroma else None,
        )

    def _still(self, file: BinaryIO, number: int) -> pyvips.Source:
        """A frame as a file of its own."""

        def content(*places: tuple[int, int]) -> bytes:
            parts = []
            for start, length in places:
                file.seek(start)
                parts.append(file.read(length))
                if len(parts[-1]) != length:
                    raise InputError(f"{self._path}: this picture is damaged or truncated")
            return b"".join(parts)

        def part(track: Track) -> Part:
            return Part(content(track.samples[number]), properties_of(track.properties))

        still = Still(
            part(self._colours),
            part(self._alpha) if self._alpha else None,
            exif=content(*self._beside.get(b"Exif", ())),
            xmp=content(*self._beside.get(b"mime", ())),
        )
        whole = put_together(still, self._colours.width, self._colours.height)
        if self._chroma:
            return self._chroma.as_planes(whole)
        return pyvips.Source.new_from_memory(whole)

    def _by_pillow(self) -> Iterator[Iterator[Rows]]:
        with needs_extra("reading AVIF animations whose frames are differences", "formats"):
            from PIL import Image, UnidentifiedImageError
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[len(self.info.bands)]
        try:
            with Image.open(self._path) as image:
                for number in range(len(self._colours.samples)):
                    image.seek(number)
                    shape = (self.info.height, self.info.width, len(self.info.bands))
                    pixels = np.asarray(image.convert(mode)).reshape(shape)
                    yield _in_rows(pixels)
        except (OSError, EOFError, ValueError, RuntimeError, UnidentifiedImageError):
            raise InputError(f"{self._path}: this picture is damaged or truncated") from None


def _in_rows(pixels: Any) -> Iterator[Rows]:
    for top in range(0, len(pixels), _ROWS):
        yield pixels[top : top + _ROWS]
