"""Animated PNG (APNG) as it is written: each frame by libvips, and put to the others at once.

Source: PNG, third edition (W3C, 2025), section 11.3.6 (acTL, fcTL, fdAT).
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Self

from upres.files import publish, temporary
from upres.formats.image.vips_sink import Encode, VipsSink
from upres.formats.metadata import png_chunks, timing
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.formats.registry import check_output
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array

_LARGEST_NUMBER = 65535


class ApngSink:
    """A sink of an animation, whose frames ``encode`` writes; see ``upres.raster.source.Sink``.

    The first frame is the default image, too; each is as large as the picture.
    """

    def __init__(self, target: Path, encode: Encode) -> None:
        self._target, self._encode = target, encode
        self._stack = ExitStack()
        self._frame: VipsSink | None = None
        self._number = 0
        """Of the frame that windows come of."""
        self._sequence = 0
        self._not_kept: Sequence[str] = ()

    def begin(self, info: RasterInfo, carried: object) -> None:
        """See ``upres.raster.source.Sink``."""
        check_output(self._target, info)
        known = carried if isinstance(carried, Carried) else nothing_carried()
        known = dataclasses.replace(known, frames=info.frames or 1)
        self._seconds, self._plays = timing.seconds(known), timing.plays(known)
        timing.check_longest(self._target, self._seconds, Fraction(_LARGEST_NUMBER))
        self._info = dataclasses.replace(info, frames=1)
        self._carried = known
        self._path = self._stack.enter_context(temporary(self._target, self._target.suffix))
        self._file = self._stack.enter_context(self._path.open("r+b"))
        self._next()

    @property
    def not_kept(self) -> Sequence[str]:
        """See ``upres.raster.source.Sink``."""
        return self._not_kept

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
        self._file.write(self._tail)
        # As many as there were, which the source may not have known.
        self._file.seek(self._place)
        self._file.write(self._counts(self._number))
        self._file.close()  # an open file cannot be replaced everywhere
        publish(self._path, self._target, replace=replace)

    def _next(self) -> None:
        self._frame = VipsSink(self._target, self._encode, any_colours=True)
        # Metadata stands in the file once.
        self._frame.begin(self._info, nothing_carried() if self._number else self._carried)

    def _append(self) -> None:
        """Put the frame that has been written to the others."""
        assert self._frame is not None
        with self._frame as frame:
            path = frame.encoded()
            if self._number == 0:
                self._not_kept = frame.not_kept
            chunks = [c for c in png_chunks.read(path) if c.kind != b"IEND"]
            pixels = [chunk for chunk in chunks if chunk.kind == b"IDAT"]
            with path.open("rb") as file:
                if self._number == 0:
                    self._file.write(file.read(pixels[0].start))
                    self._place = self._file.tell()
                    self._file.write(self._counts(len(self._seconds)))
                    file.seek(pixels[-1].end)
                    self._tail = file.read()
                # Its part of the picture stays as it is, and the next is put in its place.
                self._file.write(self._control())
                for chunk in pixels:
                    if self._number == 0:
                        self._file.write(png_chunks.raw(file, chunk))
                        continue
                    data = self._numbered() + (png_chunks.checked(file, chunk) or b"")
                    self._file.write(png_chunks.packed(b"fdAT", data))
        self._number += 1

    def _counts(self, frames: int) -> bytes:
        return png_chunks.packed(b"acTL", struct.pack(">II", frames, self._plays))

    def _control(self) -> bytes:
        size = (self._info.width, self._info.height)
        known = self._number < len(self._seconds)
        length = fraction(self._seconds[self._number] if known else timing.USUAL)
        content = self._numbered() + struct.pack(
            ">IIIIHHBB", *size, 0, 0, length.numerator, length.denominator, 0, 0
        )
        return png_chunks.packed(b"fcTL", content)

    def _numbered(self) -> bytes:
        self._sequence += 1
        return struct.pack(">I", self._sequence - 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._frame is not None:
            self._frame.__exit__(*exception)
        self._stack.close()


def fraction(seconds: Fraction) -> Fraction:
    """The nearest fraction of two numbers of two bytes."""
    # The numerator is to have no more digits than the denominator may.
    most = _LARGEST_NUMBER if seconds <= 1 else int(_LARGEST_NUMBER / seconds)
    return seconds.limit_denominator(max(1, most))
