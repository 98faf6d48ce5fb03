"""AVIF sequences as they are written: each frame by libvips, and put to the others at once.

Each is coded by itself. That takes more bytes than differences would, and keeps 10 and 12 bits.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

from upres.formats.image.animation_sink import AnimationSink
from upres.formats.image.vips_sink import Encode, VipsSink
from upres.formats.metadata import avif_still, avif_tracks, timing
from upres.formats.metadata.avif_boxes import box
from upres.formats.metadata.avif_still import Part
from upres.formats.metadata.avif_tracks import ALPHA, ALPHA_NAME, PICTURES, Track

_ALONE = 0xC0000000
"""Of a track's frames: none needs another, and all are predicted within themselves."""
_LONGEST = Fraction(2**32 - 1, 10**6)


class AvifSequenceSink(AnimationSink):
    """A sink of an animation, whose frames ``encode`` writes; see ``upres.raster.source.Sink``."""

    longest = _LONGEST

    def __init__(self, target: Path, encode: Encode, *, quality: int | None) -> None:
        super().__init__(target)
        self._encode, self._quality = encode, quality
        self._parts: dict[bytes, Part] = {}
        """The first frame's, by their handlers."""
        self._places: dict[bytes, list[tuple[int, int]]] = {PICTURES: [], ALPHA: []}
        self._beside: list[tuple[int, int] | None] = []

    def _begin_file(self) -> None:
        self._file.write(box(b"ftyp", b"avis", bytes(4), b"avismsf1miafMA1A"))
        self._start = self._file.tell()
        self._file.write(bytes(16))

    def _new_frame(self) -> VipsSink:
        # Metadata goes to each: colours may be converted by a profile, and it tells the depth.
        return VipsSink(self._target, self._encode, quality=self._quality)

    def _put(self, frame: VipsSink) -> None:
        with frame.encoded().open("rb") as file:
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

    def _end_file(self) -> None:
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
