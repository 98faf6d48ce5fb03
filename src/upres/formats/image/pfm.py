"""PFM: grey or colours as floating point, the last row first.

Its samples are taken for linear light, by custom: the format itself says nothing. Written here, as
there is little to it, and no library reads it row by row. Source: Paul Debevec's description of
PFM; Netpbm's pfm(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from upres.errors import InputError
from upres.formats.image import linear
from upres.formats.image.rows_sink import RowsSink
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.raster.info import RasterInfo, bands_of
from upres.raster.pixels import Float32Array
from upres.raster.source import Rows, Sink, Source
from upres.raster.spool import Spool

_BLOCK_BYTES = 2**22
_HEADER = re.compile(
    # Comments are none of the format's, but ImageMagick writes them.
    rb"P([Ff])(?:\s|#[^\n]*\n)+(\d{1,10})\s+(\d{1,10})\s+([-+.\deE]{1,32})\s"
)
_UPSIDE_DOWN = 4
"""As an EXIF orientation."""


@dataclass(frozen=True)
class PfmCarried(Carried):
    """All that goes from a PFM file to another, beside samples."""

    scale: float = 1.0
    """How much light a sample of 1 is."""


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a PFM file; see ``upres.formats.registry``."""
    return [_PfmSource(path)]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of a PFM file; see ``upres.formats.registry``."""
    return RowsSink(path, _PfmEncoder)


class _PfmSource:
    """A picture in a PFM file; see ``upres.raster.source``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            head = file.read(4096)
        match = _HEADER.match(head)
        try:
            scale = float(match[4]) if match else 0.0
        except ValueError:
            scale = 0.0
        if match is None or not np.isfinite(scale) or scale == 0:
            raise self._damaged("its header has no sizes and scale")
        colour, width, height = match[1] == b"F", int(match[2]), int(match[3])
        if not (0 < width < 2**31 and 0 < height < 2**31):
            raise InputError(f"{path}: says that it has {width}x{height} pixels")
        self._start = match.end()
        # The sign of the scale is that of the order of bytes.
        self._stored = np.dtype("<f4" if scale < 0 else ">f4")
        self.info = RasterInfo(
            height=height,
            width=width,
            bands=bands_of(("red", "green", "blue") if colour else ("grey",), None, None),
            dtype=np.dtype(np.float32),
            name=str(path),
            colours="linear",
        )
        self.carried = PfmCarried(nothing_carried().image, path=path, scale=abs(scale))

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """The picture, in blocks of rows."""
        yield self._rows()

    def _rows(self) -> Iterator[Rows]:
        height, width, bands = self.info.height, self.info.width, len(self.info.bands)
        row_bytes = 4 * width * bands
        count = max(1, _BLOCK_BYTES // row_bytes)
        with self._path.open("rb") as file:
            if file.seek(0, 2) < self._start + height * row_bytes:
                raise self._damaged("its samples end early")
            for top in range(0, height, count):
                bottom = min(top + count, height)
                file.seek(self._start + (height - bottom) * row_bytes)
                content = file.read((bottom - top) * row_bytes)
                if len(content) < (bottom - top) * row_bytes:
                    raise self._damaged("its samples end early")
                rows = np.frombuffer(content, self._stored).reshape(-1, width, bands)
                yield rows[::-1].astype(np.float32)

    def _damaged(self, reason: str) -> InputError:
        return InputError(f"{self._path}: this picture is damaged or truncated: {reason}")


class _PfmEncoder:
    """See ``rows_sink.Encoder``."""

    dtype = np.dtype("<f4")

    def __init__(self, target: Path, info: RasterInfo, carried: Carried) -> None:
        linear.check(target, info, carried)
        self._info = info
        self.channels = len(info.varying)
        self._scale = carried.scale if isinstance(carried, PfmCarried) else 1.0

    def samples(self, block: Float32Array) -> Float32Array:
        return linear.to_light(block, self._info)

    def encode(self, path: Path, spool: Spool) -> None:
        height, width, channels = spool.shape
        with path.open("wb") as file:
            kind = "F" if channels == 3 else "f"
            file.write(f"P{kind}\n{width} {height}\n{-self._scale!r}\n".encode())
            for block in spool.blocks(_UPSIDE_DOWN):
                file.write(np.ascontiguousarray(block, self.dtype).data)
