"""Animated PNG (APNG) as it is written: each frame by libvips, and put to the others at once.

Source: PNG, third edition (W3C, 2025), section 11.3.6 (acTL, fcTL, fdAT).
"""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

from upres.formats.image.animation_sink import AnimationSink
from upres.formats.image.vips_sink import Encode, VipsSink
from upres.formats.metadata import png_chunks, timing
from upres.formats.metadata.carried import nothing_carried

_LARGEST_NUMBER = 65535


class ApngSink(AnimationSink):
    """A sink of an animation, whose frames ``encode`` writes; see ``upres.raster.source.Sink``.

    The first frame is the default image, too; each is as large as the picture.
    """

    longest = Fraction(_LARGEST_NUMBER)

    def __init__(self, target: Path, encode: Encode) -> None:
        super().__init__(target)
        self._encode = encode
        self._sequence = 0

    def _new_frame(self) -> VipsSink:
        return VipsSink(self._target, self._encode, any_colours=True)

    def _put(self, frame: VipsSink) -> None:
        path = frame.encoded()
        if self._number == 0:
            self._not_kept = frame.not_kept
            self._carried = nothing_carried()  # metadata stands in the file once
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

    def _end_file(self) -> None:
        self._file.write(self._tail)
        # As many as there were, which the source may not have known.
        self._file.seek(self._place)
        self._file.write(self._counts(self._number))

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


def fraction(seconds: Fraction) -> Fraction:
    """The nearest fraction of two numbers of two bytes."""
    # The numerator is to have no more digits than the denominator may.
    most = _LARGEST_NUMBER if seconds <= 1 else int(_LARGEST_NUMBER / seconds)
    return seconds.limit_denominator(max(1, most))
