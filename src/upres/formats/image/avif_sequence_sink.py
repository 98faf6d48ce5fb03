"""AVIF sequences as they are written: each frame by libvips, and put to the others at once.

Each is coded by itself. That takes more bytes than differences would, and keeps 10 and 12 bits.
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
from upres.formats.metadata import avif_still, avif_tracks, timing
from upres.formats.metadata.avif_boxes import box
from upres.formats.metadata.avif_still import Part
from upres.formats.metadata.avif_tracks import ALPHA, ALPHA_NAME, PICTURES, Track
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.formats.registry import check_output
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array

_ALONE = 0xC0000000
"""Of a track's frames: none needs another, and all are predicted within themselves."""
_LONGEST = Fraction(2**32 - 1, 10**6)


class AvifSequenceSink:
    """A sink of an animation, whose frames ``encode`` writes; see ``upres.raster.source.Sink``."""

    def __init__(self, target: Path, encode: Encode, *, quality: int | None) -> None:
        self._target, self._encode, self._quality = target, encode, quality
        self._stack = ExitStack()
        self._frame: VipsSink | None = None
        self._number = 0
        """Of the frame that windows come of."""
        self._parts: dict[bytes, Part] = {}
        """The first frame's, by their handlers."""
        self._places: dict[bytes, list[tuple[int, int]]] = {PICTURES: [], ALPHA: []}
        self._beside: list[tuple[int, int] | None] = []
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
        timing.check_longest(self._target, self._seconds, _LONGEST)
        self._info, self._carried = dataclasses.replace(info, frames=1), known
        self._path = self._stack.enter_context(temporary(self._target, self._target.suffix))
        self._file = self._stack.enter_context(self._path.open("r+b"))
        self._file.write(box(b"ftyp", b"avis", bytes(4), b"avismsf1miafMA1A"))
        self._start = self._file.tell()
        self._file.write(bytes(16))
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
        end = self._file.tell()
        usual = [timing.USUAL] * (self._number - len(self._seconds))
        seconds = [*self._seconds, *usual][: self._number]
        scale = avif_tracks.scale_of(seconds)
        self._file.write(
            avif_tracks.packed(
                self._track(PICTURES, seconds),
                self._track(ALPHA, seconds) if ALPHA in self._parts else None,
                scale,
                timing.in_units(seconds, Fraction(1, scale)),
                avif_tracks.metadata(*self._beside),
            )
        )
        self._file.seek(self._start)
        self._file.write(struct.pack(">I4sQ", 1, b"mdat", end - self._start))
        self._file.close()  # an open file cannot be replaced everywhere
        publish(self._path, self._target, replace=replace)

    def _next(self) -> None:
        self._frame = VipsSink(self._target, self._encode, quality=self._quality)
        # Its colours may be converted by a profile, and its depth is told by metadata.
        self._frame.begin(self._info, self._carried)

    def _append(self) -> None:
        """Put the frame that has been written to the others."""
        assert self._frame is not None
        with self._frame as frame, frame.encoded().open("rb") as file:
            still = avif_still.taken_apart(file)
            self._not_kept = frame.not_kept
        parts = {PICTURES: still.colours}
        if still.alpha:
            parts[ALPHA] = still.alpha
        for handler, part in parts.items():
            self._places[handler].append(self._stored(part.content))
        if self._number == 0:
            self._parts = parts
            self._beside = [
                self._stored(content) if content else None for content in (still.exif, still.xmp)
            ]
        self._number += 1

    def _stored(self, content: bytes) -> tuple[int, int]:
        place = self._file.tell()
        return place, self._file.write(content)

    def _track(self, handler: bytes, seconds: list[Fraction]) -> Track:
        properties = list(self._parts[handler].properties)
        if handler == ALPHA:
            properties.append((b"auxi", bytes(4) + ALPHA_NAME))
        properties.append((b"ccst", struct.pack(">II", 0, _ALONE)))
        return Track(
            handler=handler,
            width=self._info.width,
            height=self._info.height,
            properties=tuple(properties),
            samples=tuple(self._places[handler]),
            timing=tuple(seconds),
            plays=self._plays,
            independent=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._frame is not None:
            self._frame.__exit__(*exception)
        self._stack.close()
