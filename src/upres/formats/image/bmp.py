"""BMP: with a palette or without, run lengths, either way up, with alpha and a profile.

Written here: the base's libvips does not read it. Pillow does, but whole, without a profile, and
takes the lacking part of a truncated file for black; its files with alpha have no mask for it.
Source: Microsoft, "Bitmap Storage", BITMAPINFOHEADER to BITMAPV5HEADER, "Bitmap Compression".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.errors import OutputError
from upres.formats.image import bmp_header
from upres.formats.image.bmp_header import damaged
from upres.formats.image.rows_sink import RowsSink
from upres.formats.metadata.carried import Carried
from upres.raster.info import Band, RasterInfo
from upres.raster.pixels import Float32Array, from_bands
from upres.raster.source import Rows, Sink, Source
from upres.raster.spool import Spool

_BLOCK_BYTES = 2**22
_UPSIDE_DOWN = 4
"""As an EXIF orientation."""


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a BMP file; see ``upres.formats.registry``."""
    return [_BmpSource(path)]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of a BMP file; see ``upres.formats.registry``."""
    return RowsSink(path, _BmpEncoder)


class _BmpSource:
    """A picture in a BMP file; see ``upres.raster.source``."""

    def __init__(self, path: Path) -> None:
        self._path, self._header = path, bmp_header.read(path)
        header = self._header
        roles = header.roles
        self.info = RasterInfo(
            height=header.height,
            width=header.width,
            bands=tuple(Band(role, 0.0, 255.0) for role in roles),
            dtype=np.dtype(np.uint8),
            name=str(path),
        )
        self.carried = bmp_header.carried(path, header)

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """The picture, in blocks of rows."""
        yield self._unpacked() if self._header.run_bits else self._rows()

    def _rows(self) -> Iterator[Rows]:
        header = self._header
        count = max(1, _BLOCK_BYTES // max(header.row_bytes, 4 * header.width))
        with self._path.open("rb") as file:
            for top in range(0, header.height, count):
                bottom = min(top + count, header.height)
                first = top if header.top_down else header.height - bottom
                file.seek(header.start + first * header.row_bytes)
                content = file.read((bottom - top) * header.row_bytes)
                if len(content) < (bottom - top) * header.row_bytes:
                    raise damaged(self._path, "its samples end early")
                rows = np.frombuffer(content, np.uint8).reshape(-1, header.row_bytes)
                yield self._samples(rows if header.top_down else rows[::-1])

    def _samples(self, rows: NDArray[np.uint8]) -> Rows:
        header = self._header
        width = header.width
        if header.bits <= 8:
            numbers = np.unpackbits(rows, axis=1) if header.bits == 1 else rows
            if header.bits == 4:
                numbers = np.stack([rows >> 4, rows & 15], -1).reshape(len(rows), -1)
            if header.bits == 2:
                numbers = np.stack([rows >> 6, rows >> 4 & 3, rows >> 2 & 3, rows & 3], -1)
                numbers = numbers.reshape(len(rows), -1)
            return self._coloured(numbers[:, :width])
        if header.bits == 24:
            return rows[:, : 3 * width].reshape(-1, width, 3)[:, :, ::-1]
        if header.masks == bmp_header.BYTES and not header.alpha_mask:
            return rows.reshape(-1, width, 4)[:, :, 2::-1]
        words = np.ascontiguousarray(rows[:, : width * header.bits // 8])
        values = words.view("<u2" if header.bits == 16 else "<u4").astype(np.uint32)
        masks = [*header.masks, *([header.alpha_mask] if header.alpha_mask else [])]
        return np.stack([_by_mask(values, mask) for mask in masks], axis=2)

    def _coloured(self, numbers: NDArray[np.uint8]) -> Rows:
        palette = self._header.palette
        assert palette is not None
        if numbers.size and int(numbers.max()) >= len(palette):
            raise damaged(self._path, "a pixel has a colour that its palette lacks")
        return palette[numbers]

    def _unpacked(self) -> Iterator[Rows]:
        """Of run lengths, rows come from the bottom: all are unpacked before the first is given."""
        header = self._header
        numbers = np.zeros((header.height, header.width), np.uint8)
        with self._path.open("rb") as file:
            file.seek(header.start)
            # No file needs more: each pixel by itself, and an end to each row.
            content = file.read(4 * header.height * (header.width + 2))
        _unpack(self._path, content, numbers, header.run_bits)
        count = max(1, _BLOCK_BYTES // (3 * header.width))
        for top in range(0, header.height, count):
            yield self._coloured(numbers[::-1][top : top + count])


class _BmpEncoder:
    """See ``rows_sink.Encoder``."""

    dtype = np.dtype(np.uint8)

    def __init__(self, target: Path, info: RasterInfo, carried: Carried) -> None:
        alpha = any(band.role == "alpha" for band in info.bands)
        self._grey = bool(info.find("grey")) and not alpha
        self.channels = 1 if self._grey else 4 if alpha else 3
        if carried.meaning:
            raise OutputError(
                f"{target}: .bmp cannot hold the picture's colours, which are no sRGB and have no "
                "profile: choose .png"
            )
        size = bmp_header.file_bytes(info.height, info.width, self.channels)
        if size >= 2**32 - 2**24:
            raise OutputError(
                f"{target}: the result, {info.width}x{info.height}, takes {size:,} bytes, more "
                "than a BMP file can have: choose .png or .tif"
            )
        self._bands = tuple(Band(band.role, 0.0, 255.0) for band in info.varying)
        self._carried = carried

    def samples(self, block: Float32Array) -> NDArray[Any]:
        stored = from_bands(block, self._bands, self.dtype)
        if self._grey:
            return stored
        roles = [band.role for band in self._bands]
        colours = (
            [roles.index("grey")] * 3
            if "grey" in roles
            else [roles.index(role) for role in ("blue", "green", "red")]
        )
        result = np.full((*stored.shape[:2], self.channels), 255, np.uint8)
        result[:, :, :3] = stored[:, :, colours]
        if "alpha" in roles:
            result[:, :, 3] = stored[:, :, roles.index("alpha")]
        return result

    def encode(self, path: Path, spool: Spool) -> None:
        height, width, channels = spool.shape
        head, tail = bmp_header.packed(height, width, channels, self._carried)
        with path.open("wb") as file:
            file.write(head)
            for block in spool.blocks(_UPSIDE_DOWN):
                rows = block.reshape(len(block), -1)
                file.write(np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).data)
            file.write(tail)


def _by_mask(values: NDArray[np.uint32], mask: int) -> NDArray[np.uint8]:
    """The bits that a mask has, 0 to 255 over their range."""
    shift = (mask & -mask).bit_length() - 1
    most = mask >> shift
    part = (values & np.uint32(mask)) >> np.uint32(shift)
    if most == 255:
        return part.astype(np.uint8)
    # Rounded; of more than 8 bits, in double.
    return (part * (255.0 / most) + 0.5).astype(np.uint8)


def _unpack(path: Path, content: bytes, numbers: NDArray[np.uint8], bits: int) -> None:
    """Put run lengths of 8 or 4 bits into rows, which come from the bottom."""
    height, width = numbers.shape
    at, x, y = 0, 0, 0
    try:
        while True:
            count, value = content[at], content[at + 1]
            at += 2
            if count:
                part = _pair(bytes([value]) * count, count) if bits == 4 else bytes([value]) * count
            elif value == 0:
                x, y = 0, y + 1
                continue
            elif value == 1:
                return
            elif value == 2:
                x, y = x + content[at], y + content[at + 1]
                at += 2
                continue
            else:
                stored = value if bits == 8 else (value + 1) // 2
                part = content[at : at + stored]
                at += stored + stored % 2
                if len(part) < stored:
                    raise IndexError
                part = _pair(part, value) if bits == 4 else part
            if y >= height or x + len(part) > width + 3 * (bits == 4):
                raise IndexError
            part = part[: width - x]  # some writers fill the last byte
            numbers[y, x : x + len(part)] = np.frombuffer(part, np.uint8)
            x += len(part)
    except IndexError:
        if at < len(content) or (y, x) not in ((height - 1, width), (height, 0)):
            raise damaged(path, "its samples end early, or go beyond it") from None


def _pair(content: bytes, count: int) -> bytes:
    """Each byte as two numbers of four bits, and of these the first ``count``."""
    pairs = np.frombuffer(content, np.uint8)
    return np.stack([pairs >> 4, pairs & 15], -1).tobytes()[:count]
