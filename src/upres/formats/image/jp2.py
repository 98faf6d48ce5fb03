"""JPEG 2000: JP2 and JPX files, and bare codestreams, tile by tile."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyvips
from numpy.typing import NDArray

from upres.errors import InputError, OutputError
from upres.files import temporary_name
from upres.formats.image.vips_sink import LEAST_QUALITY, Picture, VipsSink
from upres.formats.image.whole import (
    bands_of_picture,
    check_memory,
    scaled,
    telling_of_damage,
)
from upres.formats.metadata import jp2_boxes
from upres.formats.metadata.boxes import pack_box
from upres.formats.metadata.carried import Carried, described
from upres.formats.metadata.jp2_boxes import Facts, Siz
from upres.formats.metadata.tiff_tags import read_numbers
from upres.raster.info import RasterInfo
from upres.raster.source import Rows, Sink, Source
from upres.raster.spool import Spool

_TILE = 1024
"""Pixels of a side of a tile that is written. A power of two, so that a tile's waves and blocks
are the same wherever it is."""

_RESOLUTIONS = 6
_DECODER_BYTES = 16
"""For each sample of a tile: the library has numbers of 32 bits, several times."""

_ORIENTATION = 274


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a JPEG 2000 file; see ``upres.formats.registry``."""
    return [_Jp2Source(path)]


class _Jp2Source:
    """A picture whose tiles are decoded one by one; see ``upres.raster.source``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with telling_of_damage(path, struct.error, IndexError), path.open("rb") as file:
            facts = jp2_boxes.read_facts(file)
            siz = jp2_boxes.read_siz(file, facts)
            self._tiles = jp2_boxes.tile_parts(file, facts, siz)
        self._facts, self._siz = facts, siz
        alpha = _check_kind(path, facts, siz)
        self._bits = siz.bits[0]
        orientation = 1
        if facts.exif:
            with suppress(struct.error):  # damaged
                orientation = read_numbers(BytesIO(facts.exif)).get(_ORIENTATION, 1)
        carried = described(
            path,
            exif_block=facts.exif,
            packet=facts.xmp,
            profile=facts.profile,
            resolution=facts.resolution,
            bits_per_sample=self._bits,
        )
        self.carried: Carried = dataclasses.replace(
            carried,
            lossless=siz.lossless,
            orientation=orientation if orientation in range(1, 9) else 1,
        )
        dtype = np.dtype(np.uint8 if self._bits <= 8 else np.uint16)
        count = len(siz.bits)
        height, width = siz.height, siz.width
        if self.carried.orientation >= 5:
            height, width = width, height
        self.info = RasterInfo(
            height=height,
            width=width,
            bands=bands_of_picture(dtype, colours=count - alpha, alpha=alpha),
            dtype=dtype,
            name=str(path),
            scratch_bytes=height * width * count * dtype.itemsize
            if self.carried.orientation != 1
            else 0,
        )
        _, _, _, _, tile_width, tile_height, _, _ = siz.grid
        tile = min(siz.width, tile_width) * min(siz.height, tile_height)
        tile = siz.height * siz.width if self._tiles is None else tile
        row = min(siz.height, tile_height) * siz.width * dtype.itemsize * count
        check_memory(self.info, tile * count * _DECODER_BYTES + row)

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """The picture, in rows of tiles from the top."""
        orientation = self.carried.orientation
        if orientation == 1:
            yield self._rows()
            return
        shape = (self._siz.height, self._siz.width, len(self._siz.bits))
        with Spool(temporary_name(beside, ".raw"), shape, self.info.dtype) as spool:
            spool.fill(self._rows())
            yield spool.blocks(orientation)

    def _rows(self) -> Iterator[Rows]:
        siz = self._siz
        if self._tiles is None:
            with self._path.open("rb") as file:
                file.seek(self._facts.start)
                content = file.read(self._facts.end - self._facts.start)
            yield self._decoded(content, siz.height, siz.width)
            return
        right, bottom, left, top, width, height, first_left, first_top = siz.grid
        across, down = siz.tiles
        for row in range(down):
            start = max(first_top + row * height, top)
            end = min(first_top + (row + 1) * height, bottom)
            block = np.empty((end - start, siz.width, len(siz.bits)), self.info.dtype)
            for column in range(across):
                number = row * across + column
                with self._path.open("rb") as file:
                    content = jp2_boxes.tile_alone(file, siz, number, self._tiles[number])
                x = max(first_left + column * width, left)
                x_end = min(first_left + (column + 1) * width, right)
                block[:, x - left : x_end - left] = self._decoded(content, end - start, x_end - x)
            yield block

    def _decoded(self, content: bytes, height: int, width: int) -> NDArray[Any]:
        with telling_of_damage(self._path, RuntimeError, ValueError):
            samples: NDArray[Any] = imagecodecs.jpeg2k_decode(content, numthreads=0)
        if samples.shape[:2] != (height, width):
            raise InputError(f"{self._path}: this picture is damaged: a tile has another size")
        return scaled(samples.reshape(height, width, -1), self._bits)


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of a JPEG 2000 file; see ``upres.formats.registry``."""
    return VipsSink(path, _encode, quality=quality)


def _check_kind(path: Path, facts: Facts, siz: Siz) -> bool:
    """Whether it has alpha; raises ``InputError`` if it could not be written back whole."""
    count = len(siz.bits)
    kinds = [facts.channels.get(number, (0, number + 1)) for number in range(count)]
    # A bare codestream says nothing of its components' kinds.
    alpha = bool(kinds[-1][0]) or (not facts.start and count in (2, 4))
    colours = [colour for kind, colour in kinds if kind == 0]
    problem = ""
    if facts.codestreams > 1:
        problem = f"has {facts.codestreams} pictures; upres takes files of one"
    elif facts.has_palette:
        problem = "its colours are those of a palette, which upres does not read here"
    elif siz.signed:
        problem = "its samples may be below zero, which upres does not read here"
    elif siz.coarse:
        problem = "its chroma is coarser than its pixels, which upres does not read here"
    elif facts.colours not in (None, jp2_boxes.SRGB, jp2_boxes.GREY):
        problem = "its colours are neither RGB nor grey, which upres does not read here"
    elif len(set(siz.bits)) > 1 or siz.bits[0] > 16:
        problem = f"its samples are of {max(siz.bits)} bits, or not all alike"
    elif any(kind not in (0, 1) for kind, _ in kinds):
        problem = "its colours are multiplied by alpha, which upres does not read here"
    elif count - alpha not in (1, 3) or any(kind for kind, _ in kinds[:-1]):
        problem = f"has {count} channels; upres takes grey and RGB here, with alpha or without"
    elif facts.channels and colours != list(range(1, len(colours) + 1)):
        problem = "its colours come in another order than red, green and blue"
    if problem:
        raise InputError(f"{path}: {problem}: convert it to .png or .tif")
    return alpha


def _encode(picture: Picture, path: Path) -> None:
    bare = path.suffix.lower() in BARE_SUFFIXES
    if bare and picture.field("icc-profile-data"):
        picture = picture.to_srgb()  # a codestream has no profile
    image = picture.image
    deep = image.format == "ushort"
    bits = 8
    if deep:
        bits = int(picture.find("bits-per-sample", 16))
        bits = bits if 8 < bits < 16 else 16
    options: dict[str, Any] = {"reversible": True}
    if picture.quality is not None or not picture.carried.lossless:
        options = {"level": _decibels(picture.quality or LEAST_QUALITY)}
    carried = picture.carried
    resolution = (carried.image.xres, carried.image.yres) if carried.has_resolution else None
    packet = picture.field("xmp-data")
    with path.open("wb") as file:
        if not bare:
            file.write(jp2_boxes.JP2_SIGNATURE + pack_box(b"ftyp", b"jp2 \0\0\0\0jp2 "))
            file.write(
                jp2_boxes.pack_header(
                    height=image.height,
                    width=image.width,
                    count=image.bands,
                    bits=bits,
                    alpha=bool(image.hasalpha()),
                    profile=picture.field("icc-profile-data"),
                    resolution=resolution,
                )
            )
            if picture.exif:
                file.write(pack_box(b"uuid", jp2_boxes.EXIF_ID + picture.exif_block))
            if packet:
                file.write(pack_box(b"uuid", jp2_boxes.XMP_ID + packet))
            # Of a length that is not known yet: it goes to the end.
            file.write(struct.pack(">I4s", 0, b"jp2c"))
        for part in _tiles(path, image, bits, options):
            file.write(part)
        file.write(b"\xff\xd9")


BARE_SUFFIXES = (".j2k", ".j2c", ".jpc")
"""Of files that are a codestream and nothing else."""


def _tiles(path: Path, image: pyvips.Image, bits: int, options: dict[str, Any]) -> Iterator[bytes]:
    """The codestream, apart from its end: its header, and one tile after another."""
    region = pyvips.Region.new(image)
    dtype = np.dtype(np.uint16 if image.format == "ushort" else np.uint8)
    most = (1 << bits) - 1
    number, usual = 0, b""
    for top in range(0, image.height, _TILE):
        height = min(_TILE, image.height - top)
        # The picture is read once, from the top.
        rows = np.frombuffer(region.fetch(0, top, image.width, height), dtype)
        rows = rows.reshape(height, image.width, image.bands)
        if bits not in (8, 16):
            rows = ((rows.astype(np.uint32) * 2 * most + 65535) // (2 * 65535)).astype(dtype)
        for left in range(0, image.width, _TILE):
            tile = np.ascontiguousarray(rows[:, left : left + _TILE])
            try:
                coded = imagecodecs.jpeg2k_encode(
                    tile[:, :, 0] if image.bands == 1 else tile,
                    codecformat="J2K",
                    bitspersample=bits,
                    resolutions=_RESOLUTIONS,
                    planar=False,
                    numthreads=0,
                    **options,
                )
                header, part = jp2_boxes.split_tile(bytes(coded))
                # The library halves small tiles, at the picture's edge, fewer times.
                how = jp2_boxes.coding(header)
                usual = usual or how
                part = jp2_boxes.renumbered(part, number, b"" if how == usual else how)
            except (RuntimeError, ValueError, struct.error) as error:
                raise OutputError(f"{path}: cannot write this picture: {error}") from None
            if not number:
                yield jp2_boxes.stitched(header, image.height, image.width, _TILE)
            yield part
            number += 1


def _decibels(quality: int) -> int:
    """How near the result is to be, as a ratio of signal to noise: JPEG's about at that quality."""
    return round(26 + quality / 5)
