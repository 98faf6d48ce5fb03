"""Puts an enlarged picture together for an encoder of our own, which takes it row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from upres.errors import OutputError
from upres.files import publish, temporary, temporary_name
from upres.formats.metadata import parts
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.formats.registry import check_output, output_format
from upres.raster.info import COLOUR_ROLES, RasterInfo
from upres.raster.pixels import Float32Array
from upres.raster.spool import Spool


class Encoder(Protocol):
    """How a raster is stored in a file of one format."""

    channels: int
    """Of the samples, as ``samples`` gives them."""
    dtype: np.dtype[Any]

    def samples(self, block: Float32Array) -> NDArray[Any]:
        """A window as it is stored: rows x columns x ``channels``."""

    def encode(self, path: Path, spool: Spool) -> Iterable[str] | None:
        """Write all of the samples to a file that is new and empty.

        Returns short names of items that the format has a place for, and this file has not.

        Raises ``OSError`` if it cannot be written.
        """


MakeEncoder = Callable[[Path, RasterInfo, Carried], Encoder]
"""Takes a result's name, its info, and all that its source carries. Raises ``OutputError`` if its
format cannot hold that."""


class RowsSink:
    """A sink of one picture; see ``upres.raster.source.Sink``."""

    def __init__(self, target: Path, make: MakeEncoder) -> None:
        self.target = target
        self._make = make
        self._stack = ExitStack()
        self._not_kept: Sequence[str] = ()

    @property
    def not_kept(self) -> Sequence[str]:
        return self._not_kept

    def begin(self, info: RasterInfo, carried: object) -> None:
        check_output(self.target, info)
        _check_colours(self.target, info)
        known = carried if isinstance(carried, Carried) else nothing_carried()
        self._not_kept = parts.not_kept(known, output_format(self.target).keeps)
        self._encoder = self._make(self.target, info, known)
        shape = (info.height, info.width, self._encoder.channels)
        name = temporary_name(self.target, ".raw")
        self._spool = self._stack.enter_context(Spool(name, shape, self._encoder.dtype))
        self._path = self._stack.enter_context(temporary(self.target, self.target.suffix))

    def write(self, frame: int, top: int, left: int, block: Float32Array) -> None:
        self._spool.write(top, left, self._encoder.samples(block))

    def commit(self, *, replace: bool) -> None:
        lost = self._encoder.encode(self._path, self._spool)
        self._not_kept = [*self._not_kept, *(lost or ())]
        publish(self._path, self.target, replace=replace)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()


def _check_colours(target: Path, info: RasterInfo) -> None:
    """Refuse some of the colours, as of a file that has red alone, where there is but all or grey.

    Raises ``OutputError``.
    """
    colours = sorted(band.role for band in info.bands if band.role in COLOUR_ROLES)
    if not output_format(target).others and colours not in (["grey"], ["blue", "green", "red"]):
        raise OutputError(
            f"{target}: {target.suffix.lower()} holds grey or red, green and blue, and the picture "
            f"has {', '.join(colours)}: choose .exr"
        )
