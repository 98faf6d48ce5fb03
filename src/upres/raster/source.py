"""Where rasters come from and where they go: one protocol each, for arrays and all files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array

Rows = NDArray[Any]
"""Some rows of a frame, rows x width x bands: samples as stored, of ``RasterInfo.dtype``."""


class Source(Protocol):
    """A raster that is open: its header is read, its pixels are not."""

    @property
    def info(self) -> RasterInfo:
        """Its description, told without decoding pixels."""

    @property
    def carried(self) -> object:
        """Things that only a sink of its own kind understands: metadata, sound, tags."""

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """Each frame in turn, upright, in blocks of rows from the top.

        A copy that does not fit into memory is kept under a temporary name beside the file
        ``beside``, see ``upres.files.temporary_name``. A frame's blocks must be taken before the
        next frame's. It may be called again, and then starts anew: a raster that has to be looked
        at before it is enlarged is read twice.

        Raises ``InputError`` where the raster turns out to be damaged or truncated.
        """


class Sink(Protocol):
    """Takes an enlarged raster; at the end of a ``with`` statement an uncommitted one goes."""

    def begin(self, info: RasterInfo, carried: object) -> None:
        """Get ready for a raster, each band's range of values known.

        ``carried`` is the source's, made for a sink of its kind; that of another kind is not
        looked at. Raises ``OutputError`` if this kind of file cannot hold the raster.
        """

    def write(self, frame: int, top: int, left: int, block: Float32Array) -> None:
        """Take a window of a frame: rows x columns x the bands that vary.

        Values are 0 to 1 between the bands' ``low`` and ``high``. Of linear light they are the
        samples: between the darkest and the brightest, 0 to 1 has too few digits for dark tones.
        Windows come in order of frames and, within one, cover it once, rows of windows from the
        top.

        Raises ``OutputError`` where it cannot be stored.
        """

    def commit(self, *, replace: bool) -> None:
        """Make the result be there, at once and whole.

        Raises ``OutputError`` if it cannot be, ``ExistsError`` without ``replace`` if there is one.
        """

    @property
    def not_kept(self) -> Sequence[str]:
        """Short names of what the source carried and the result does not keep, such as ``IPTC``.

        It is complete when the result is committed.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...
