"""OpenEXR: linear light of half or single precision, with any number of named channels.

The official library codes the samples, by the part of it that takes rows (``InputFile``,
``OutputFile``). Channels named R, G, B, A and Y have their roles; each other one is enlarged by
itself. Colours are multiplied by alpha, as the format says they are.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import Imath
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from upres.errors import InputError, OutputError
from upres.formats.image import exr_header, linear
from upres.formats.image.exr_header import LINES, TYPES, ExrHeader, damaged
from upres.formats.image.rows_sink import RowsSink
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.raster.info import Band, RasterInfo, Role
from upres.raster.pixels import Float32Array
from upres.raster.source import Rows, Sink, Source
from upres.raster.spool import Spool

_ROLES: dict[str, Role] = {"R": "red", "G": "green", "B": "blue", "A": "alpha", "Y": "grey"}
_NAMES = {role: name for name, role in _ROLES.items()}

_BLOCK_BYTES = 2**22
_ZIP = 3
_DENSITY = b"xDensity"

_OF_THE_FILE = {
    *(b"channels", b"chunkCount", b"compression", b"dataWindow", b"displayWindow", b"lineOrder"),
    *(b"maxSamplesPerPixel", b"name", b"preview", b"tiles", b"type", b"version"),
}
"""Attributes that tell how the input was stored, or of its size."""


@dataclass(frozen=True)
class ExrCarried(Carried):
    """All that goes from an OpenEXR file to another, beside samples."""

    header: ExrHeader | None = field(default=None, repr=False)


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open an OpenEXR file; see ``upres.formats.registry``."""
    return [_ExrSource(path)]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of an OpenEXR file; see ``upres.formats.registry``."""
    return RowsSink(path, _ExrEncoder)


class _ExrSource:
    """A picture in an OpenEXR file; see ``upres.raster.source``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        header = self._header = exr_header.read(path)
        for channel in header.channels:
            if channel.kind not in TYPES:
                raise InputError(
                    f"{path}: its channel {channel.name} has whole numbers, which have nothing in "
                    "between: take it out"
                )
            if channel.sampling != (1, 1):
                raise InputError(
                    f"{path}: its channel {channel.name} has fewer samples than pixels, which "
                    "upres does not take: store it in full"
                )
        if any(name.startswith(b"cryptomatte/") for name in header.attributes):
            raise InputError(
                f"{path}: has a cryptomatte, whose numbers have nothing in between: take it out"
            )
        # In the customary order, not in that of the alphabet.
        order = ["R", "G", "B", "Y", "A"]
        names = [channel.name for channel in header.channels]
        self._names = [n for n in order if n in names] + [n for n in names if n not in order]
        self._types = {channel.name: TYPES[channel.kind] for channel in header.channels}
        dtype = np.result_type(*self._types.values())
        roles = [_ROLES.get(name, "other") for name in self._names]
        height, width = header.size
        self.info = RasterInfo(
            height=height,
            width=width,
            bands=tuple(
                Band(role, None, None, name) for role, name in zip(roles, self._names, strict=True)
            ),
            dtype=dtype,
            name=str(path),
            colours="linear",
            cover="associated",
        )
        image = nothing_carried().image
        if _DENSITY in header.attributes:
            (density,) = struct.unpack("<f", header.attributes[_DENSITY][1])
            (aspect,) = struct.unpack("<f", header.attributes[b"pixelAspectRatio"][1])
            if 0 < density < 1e6 and 0 < aspect < 1e6:
                image = image.copy(xres=density / 25.4, yres=density * aspect / 25.4)
        self.carried = ExrCarried(image, path=path, header=header)

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """The picture, in blocks of rows."""
        yield self._rows()

    def _rows(self) -> Iterator[Rows]:
        info, header = self.info, self._header
        exr_header.check_whole(self._path, header)
        together = LINES.get(header.compression, 32)
        row_bytes = info.width * len(info.bands) * info.dtype.itemsize
        count = together * max(1, _BLOCK_BYTES // (row_bytes * together))
        top, last = header.window[1], header.window[3]
        try:
            # By bytes, as a name need not be UTF-8: by a text for others, the library crashes.
            file = OpenEXR.InputFile(os.fsencode(self._path))
            try:
                for first in range(top, last + 1, count):
                    end = min(first + count - 1, last)
                    yield self._block(file.channels(self._names, scanLine1=first, scanLine2=end))
            finally:
                file.close()
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise damaged(self._path, reason) from None

    def _block(self, planes: list[bytes]) -> Rows:
        width = self.info.width
        read = [
            np.frombuffer(plane, self._types[name]).reshape(-1, width)
            for name, plane in zip(self._names, planes, strict=True)
        ]
        return np.stack(read, axis=2).astype(self.info.dtype, copy=False)


class _ExrEncoder:
    """See ``rows_sink.Encoder``."""

    def __init__(self, target: Path, info: RasterInfo, carried: Carried) -> None:
        linear.check(target, info, carried)
        self._target, self._info = target, info
        self._header = carried.header if isinstance(carried, ExrCarried) else None
        names = [band.name or _NAMES.get(band.role, "") for band in info.bands]
        if not all(names) or len(set(names)) < len(names):
            names = [name if name else f"band{i}" for i, name in enumerate(names, 1)]
        # Of 16 bits, half precision has 11.
        dtype = info.dtype if info.dtype == np.float16 else np.dtype(np.float32)
        self.dtype = np.dtype(np.float16) if info.dtype == np.uint8 else dtype
        types = {c.name: TYPES[c.kind] for c in self._header.channels} if self._header else {}
        self._types = {name: types.get(name, self.dtype) for name in names}
        self._constants = {
            name: band.high for name, band in zip(names, info.bands, strict=True) if band.constant
        }
        self._names = [name for name in names if name not in self._constants]
        self.channels = len(self._names)
        self._attributes = dict(self._header.attributes) if self._header else {}
        if not self._header and carried.has_resolution:
            density = carried.image.xres * 25.4
            self._attributes[_DENSITY] = (b"float", struct.pack("<f", density))

    def samples(self, block: Float32Array) -> NDArray[Any]:
        return linear.to_light(block, self._info, associated=True).astype(self.dtype)

    def encode(self, path: Path, spool: Spool) -> None:
        window, display = self._windows()
        compression = self._header.compression if self._header else _ZIP
        if compression not in LINES:
            compression = _ZIP
        header = {
            "channels": {
                name: Imath.Channel(Imath.PixelType(1 if dtype == np.float16 else 2))
                for name, dtype in self._types.items()
            },
            "compression": Imath.Compression(compression),
            "dataWindow": _box(window),
            "displayWindow": _box(display),
            "lineOrder": Imath.LineOrder(0),
            "pixelAspectRatio": 1.0,
            "screenWindowCenter": Imath.V2f(0, 0),
            "screenWindowWidth": 1.0,
        }
        try:
            file = OpenEXR.OutputFile(os.fsencode(path), header)
            try:
                for block in spool.blocks():
                    file.writePixels(self._planes(block), len(block))
            finally:
                file.close()
        except (RuntimeError, ValueError, TypeError) as error:
            raise OutputError(f"{self._target}: cannot write this picture: {error}") from None
        kept = {n: a for n, a in self._attributes.items() if n not in _OF_THE_FILE}
        exr_header.complete(path, kept)

    def _planes(self, block: NDArray[Any]) -> dict[str, NDArray[Any]]:
        planes = {
            name: np.ascontiguousarray(block[:, :, number], self._types[name])
            for number, name in enumerate(self._names)
        }
        for name, value in self._constants.items():
            planes[name] = np.full(block.shape[:2], value, self._types[name])
        return planes

    def _windows(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Where the samples and the visible part are, as before on the larger grid."""
        height, width = self._info.height, self._info.width
        if self._header is None:
            whole = (0, 0, width - 1, height - 1)
            return whole, whole
        old, seen = self._header.window, self._header.display
        rows, columns = self._header.size
        ratios = (width / columns, height / rows)
        left, top = (round(old[i] * ratios[i]) for i in (0, 1))
        edges = [round(seen[i] * ratios[i]) for i in (0, 1)]
        edges += [round((seen[i + 2] + 1) * ratios[i]) - 1 for i in (0, 1)]
        if old == seen:
            edges = [left, top, left + width - 1, top + height - 1]
        return (left, top, left + width - 1, top + height - 1), tuple(edges)


def _box(window: tuple[int, ...]) -> Any:
    left, top, right, bottom = window
    return Imath.Box2i(Imath.V2i(left, top), Imath.V2i(right, bottom))
