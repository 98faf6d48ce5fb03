"""An animation as it is written: each frame by libvips, and put to the others at once."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Self

from upres.files import publish, temporary
from upres.formats.image.vips_sink import VipsSink
from upres.formats.metadata import timing
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.formats.registry import check_output
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array


class AnimationSink(ABC):
    """A sink of an animation, frame by frame; see ``upres.raster.source.Sink``.

    A format says how its file begins, how a frame is put to it, and how it ends.
    """

    longest: Fraction
    """Seconds that a frame may be shown."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._stack = ExitStack()
        self._frame: VipsSink | None = None
        self._number = 0
        """Of the frame that windows come of."""
        self._not_kept: Sequence[str] = ()

    @property
    def not_kept(self) -> Sequence[str]:
        """See ``upres.raster.source.Sink``."""
        return self._not_kept

    def begin(self, info: RasterInfo, carried: object) -> None:
        """See ``upres.raster.source.Sink``."""
        check_output(self._target, info)
        known = carried if isinstance(carried, Carried) else nothing_carried()
        known = dataclasses.replace(known, frames=info.frames or 1)
        self._seconds, self._plays = timing.seconds(known), timing.plays(known)
        timing.check_longest(self._target, self._seconds, self.longest)
        self._info, self._carried = dataclasses.replace(info, frames=1), known
        self._path = self._stack.enter_context(temporary(self._target, self._target.suffix))
        self._file = self._stack.enter_context(self._path.open("r+b"))
        self._begin_file()
        self._next()

    def write(self, frame: int, top: int, left: int, block: Float32Array) -> None:
        """See ``upres.raster.source.Sink``."""
        if frame != self._number:
            self._append()
            self._next()
        assert self._frame is not None
        self._frame.write(0, top, left, block)

    def commit(self, *, replace: bool) -> None:
        """See ``upres.raster.source.Sink``."""
        self._append()
        self._end_file()
        self._file.close()  # an open file cannot be replaced everywhere
        publish(self._path, self._target, replace=replace)

    def _append(self) -> None:
        """Put the frame that has been written to the others."""
        assert self._frame is not None
        with self._frame as frame:
            self._put(frame)
        self._number += 1

    def _next(self) -> None:
        self._frame = self._new_frame()  # known before it begins, so that it is tidied up
        self._frame.begin(self._info, self._carried)

    def _begin_file(self) -> None:
        """Write the part of the file that stands before all frames."""
        return

    @abstractmethod
    def _new_frame(self) -> VipsSink:
        """A sink of one frame."""

    @abstractmethod
    def _put(self, frame: VipsSink) -> None:
        """Put a frame that is written to the file."""

    @abstractmethod
    def _end_file(self) -> None:
        """Write the rest, when all frames are there."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._frame is not None:
            self._frame.__exit__(*exception)
        self._stack.close()
