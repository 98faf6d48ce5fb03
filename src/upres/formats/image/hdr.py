"""Radiance HDR: red, green and blue of linear light, with one exponent for the three.

Written here: the library that reads it (imagecodecs) takes a whole picture at once, and of pictures
that lie on their side, which the format can say, it takes no notice. Samples are within a 256th of
the brightest of the three, which is the format's own precision. Source: Greg Ward, "Real Pixels",
Graphics Gems II; the Radiance manual, "File Formats", section on pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from upres.errors import InputError, OutputError
from upres.files import temporary_name
from upres.formats.image import linear
from upres.formats.image.rows_sink import RowsSink
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.raster.info import Band, RasterInfo, Role
from upres.raster.pixels import Float32Array
from upres.raster.source import Rows, Sink, Source
from upres.raster.spool import Spool

Bytes = NDArray[np.uint8]

_BLOCK_BYTES = 2**22
_READ_BYTES = 2**20
_HEADER_BYTES = 2**16
_PACKED_WIDTHS = range(8, 0x8000)
"""Widths of rows that are stored channel by channel, equal bytes counted."""
_EXCESS = 136
"""Of the exponent: 128, and 8 for the bits of the other bytes."""
_SHORTEST_RUN = 4

_ORIENTATIONS = {
    (b"-Y", b"+X"): 1,
    (b"-Y", b"-X"): 2,
    (b"+Y", b"-X"): 3,
    (b"+Y", b"+X"): 4,
    (b"+X", b"-Y"): 5,
    (b"-X", b"-Y"): 6,
    (b"-X", b"+Y"): 7,
    (b"+X", b"+Y"): 8,
}
"""Which way rows and the pixels in them go, as an EXIF orientation; Y goes up."""


@dataclass(frozen=True)
class HdrCarried(Carried):
    """All that goes from an HDR file to another, beside samples."""

    lines: tuple[bytes, ...] = ()
    """Of its header: exposure, primaries, which view it is."""


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open an HDR file; see ``upres.formats.registry``."""
    return [_HdrSource(path)]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of an HDR file; see ``upres.formats.registry``."""
    return RowsSink(path, _HdrEncoder)


class _HdrSource:
    """A picture in an HDR file; see ``upres.raster.source``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
        told, blank, rest = head.partition(b"\n\n")
        sizes = re.match(rb"([-+][XY]) +(\d{1,9}) +([-+][XY]) +(\d{1,9})[ \r]*\n", rest)
        axes = (sizes[1], sizes[3]) if sizes else (b"", b"")
        if not blank or sizes is None or axes not in _ORIENTATIONS:
            raise _damaged(path, "its header has no sizes")
        lines = told.splitlines()[1:]
        kind = next((line[7:].strip() for line in lines if line.startswith(b"FORMAT=")), b"")
        if kind not in (b"", b"32-bit_rle_rgbe"):
            name = kind.decode("latin-1")
            raise InputError(
                f"{path}: its colours are {name}, which upres does not take: convert it to RGBE"
            )
        self._start = len(told) + len(blank) + sizes.end()
        # Of rows as they are stored; on its side, each is a column.
        self._rows_count, self._width = int(sizes[2]), int(sizes[4])
        if min(self._rows_count, self._width) < 1:
            raise InputError(f"{path}: says that it has no pixels")
        self._orientation = _ORIENTATIONS[axes]
        height, width = self._rows_count, self._width
        if self._orientation >= 5:
            height, width = width, height
        turned = self._orientation != 1
        roles: tuple[Role, ...] = ("red", "green", "blue")
        self.info = RasterInfo(
            height=height,
            width=width,
            bands=tuple(Band(role, 0.0, None) for role in roles),
            dtype=np.dtype(np.float32),
            name=str(path),
            colours="linear",
            scratch_bytes=12 * height * width if turned else 0,
        )
        kept = tuple(line for line in lines if not line.startswith(b"FORMAT="))
        self.carried = HdrCarried(nothing_carried().image, path=path, lines=kept)

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """The picture, upright, in blocks of rows."""
        if self._orientation == 1:
            yield self._rows()
            return
        shape = (self._rows_count, self._width, 3)
        with Spool(temporary_name(beside, ".raw"), shape, self.info.dtype) as spool:
            spool.fill(self._rows())
            yield spool.blocks(self._orientation)

    def _rows(self) -> Iterator[Rows]:
        count = max(1, _BLOCK_BYTES // (16 * self._width))
        with self._path.open("rb") as file:
            file.seek(self._start)
            rows = _Scanlines(self._path, file, self._width)
            for top in range(0, self._rows_count, count):
                part = [rows.take() for _ in range(min(count, self._rows_count - top))]
                yield to_float(np.stack(part))


class _Scanlines:
    """The rows of a file, one after another."""

    def __init__(self, path: Path, file: BinaryIO, width: int) -> None:
        self._path, self._file, self._width = path, file, width
        self._content, self._at = b"", 0

    def take(self) -> Bytes:
        """The next row: pixels x 4."""
        # No row takes more, unless it is damaged: of each byte, it and the count of it.
        self._have(8 * self._width + 4)
        content, at, width = self._content, self._at, self._width
        packed = width in _PACKED_WIDTHS and content[at : at + 2] == b"\2\2"
        if packed and int.from_bytes(content[at + 2 : at + 4], "big") == width:
            row, self._at = self._packed(content, at + 4)
            return row
        return self._plain()

    def _have(self, count: int) -> None:
        if len(self._content) - self._at < count:
            left = self._content[self._at :]
            self._content, self._at = left + self._file.read(count + _READ_BYTES), 0

    def _packed(self, content: bytes, at: int) -> tuple[Bytes, int]:
        row, end = bytearray(), 4 * self._width
        try:
            for channel in range(1, 5):
                stop = channel * self._width
                while len(row) < stop:
                    count = content[at]
                    if count > 128:
                        row += content[at + 1 : at + 2] * (count - 128)
                        at += 2
                    else:
                        row += content[at + 1 : at + 1 + count]
                        at += 1 + count
                    if not count or at > len(content):
                        raise IndexError
                if len(row) > stop:
                    raise IndexError
        except IndexError:
            raise _damaged(self._path, "a row of its samples ends early") from None
        assert len(row) == end
        return np.frombuffer(bytes(row), np.uint8).reshape(4, -1).T, at

    def _plain(self) -> Bytes:
        """Pixels one by one; 1 1 1 n repeats the one before n times."""
        pixels = np.frombuffer(self._content, np.uint8, count=self._whole(), offset=self._at)
        pixels = pixels[: 4 * self._width].reshape(-1, 4)
        repeats = (pixels[:, :3] == 1).all(1)
        if not repeats.any():
            if len(pixels) < self._width:
                raise _damaged(self._path, "its samples end early")
            self._at += 4 * self._width
            return pixels
        row = np.empty((self._width, 4), np.uint8)
        count, shift = 0, 0
        for pixel, repeated in zip(pixels, repeats, strict=True):
            if count == self._width:
                break
            self._at += 4
            if not repeated:
                row[count] = pixel
                count, shift = count + 1, 0
                continue
            more = int(pixel[3]) << shift
            if not count or count + more > self._width:
                raise _damaged(self._path, "a row of its samples is too long")
            row[count : count + more] = row[count - 1]
            count, shift = count + more, shift + 8
        if count < self._width:
            raise _damaged(self._path, "its samples end early")
        return row

    def _whole(self) -> int:
        return (len(self._content) - self._at) // 4 * 4


class _HdrEncoder:
    """See ``rows_sink.Encoder``."""

    channels = 4
    dtype = np.dtype(np.uint8)

    def __init__(self, target: Path, info: RasterInfo, carried: Carried) -> None:
        linear.check(target, info, carried)
        if any((band.low or 0) < 0 for band in info.varying):
            raise OutputError(f"{target}: .hdr cannot hold light below 0: choose .exr or .pfm")
        if any((band.high or 0) >= 2.0**127 for band in info.varying):
            raise OutputError(f"{target}: .hdr cannot hold so much light: choose .exr or .pfm")
        self._info = info
        self._lines = carried.lines if isinstance(carried, HdrCarried) else ()

    def samples(self, block: Float32Array) -> Bytes:
        light = linear.to_light(block, self._info)
        return from_float(np.repeat(light, 3, axis=2) if light.shape[2] == 1 else light)

    def encode(self, path: Path, spool: Spool) -> None:
        height, width, _ = spool.shape
        head = [b"#?RADIANCE", *self._lines, b"FORMAT=32-bit_rle_rgbe", b""]
        head.append(f"-Y {height} +X {width}".encode())
        with path.open("wb") as file:
            file.write(b"\n".join(head) + b"\n")
            for block in spool.blocks():
                if width not in _PACKED_WIDTHS:
                    file.write(np.ascontiguousarray(block).data)
                    continue
                start = b"\2\2" + width.to_bytes(2, "big")
                for row in block:
                    planes = np.ascontiguousarray(row.T)
                    file.write(start + b"".join(map(packed, planes)))


def to_float(pixels: Bytes) -> Float32Array:
    """RGBE, ... x 4, as float32, ... x 3; an exponent of 0 is black."""
    exponent = pixels[..., 3:].astype(np.int32)
    light = np.ldexp(pixels[..., :3].astype(np.float32), exponent - _EXCESS)
    return np.where(exponent > 0, light, np.float32(0))


def from_float(light: Float32Array) -> Bytes:
    """Light, not below 0, as RGBE, rounded to the nearest."""
    most = light.max(-1)
    exponent = np.frexp(most)[1]
    # Rounded, the largest may need one bit more.
    exponent += np.round(np.ldexp(most, 8 - exponent)) > 255
    result = np.zeros((*light.shape[:-1], 4), np.uint8)
    shown = exponent > -128
    scaled = np.ldexp(light, (8 - exponent)[..., None])
    result[..., :3] = np.where(shown[..., None], np.round(scaled), 0)
    result[..., 3] = np.where(shown & (most > 0), exponent + 128, 0)
    return result


def packed(line: Bytes) -> bytes:
    """Bytes of a row, equal ones that follow each other counted."""
    starts = np.flatnonzero(np.diff(line)) + 1
    starts = np.concatenate([[0], starts])
    lengths = np.diff(np.concatenate([starts, [len(line)]]))
    content, result, done = line.tobytes(), bytearray(), 0

    def plain(end: int) -> None:
        for first in range(done, end, 128):
            part = content[first : min(first + 128, end)]
            result.append(len(part))
            result.extend(part)

    runs = lengths >= _SHORTEST_RUN
    for start, length in zip(starts[runs].tolist(), lengths[runs].tolist(), strict=True):
        plain(start)
        for first in range(0, length, 127):
            result.append(128 + min(127, length - first))
            result.append(content[start])
        done = start + length
    plain(len(line))
    return bytes(result)


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: this picture is damaged or truncated: {reason}")
