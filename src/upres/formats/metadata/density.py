"""How large pixels are: in PNG and JPEG files by a unit, or as a proportion without one.

Sources: ITU-T T.871 (JFIF), section 10.1; PNG, third edition (W3C, 2025), section 11.3.4.3 (pHYs).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from upres.formats.metadata.jpeg_segments import APP0, Segment
from upres.formats.metadata.png_chunks import Chunk

NO_UNIT, INCH, CENTIMETRE, METRE = range(4)
"""JFIF's numbers of units, and one more for PNG's."""

_MILLIMETRES = {INCH: 25.4, CENTIMETRE: 10.0, METRE: 1000.0}
_MOST = {INCH: 65535, CENTIMETRE: 65535, METRE: 2**31 - 1}
_JFIF = b"JFIF\0"


class Density(NamedTuple):
    """How many pixels go into a unit, across and down."""

    unit: int
    x: int
    y: int

    @property
    def per_millimetre(self) -> tuple[float, float] | None:
        """The same, if there is a unit."""
        if self.unit not in _MILLIMETRES:
            return None
        return self.x / _MILLIMETRES[self.unit], self.y / _MILLIMETRES[self.unit]

    @property
    def is_oblong(self) -> bool:
        """Whether it says that pixels are no squares, and no more than that."""
        return self.unit == NO_UNIT and self.x != self.y

    def turned(self, orientation: int) -> Density:
        """That of a picture turned upright."""
        return Density(self.unit, self.y, self.x) if orientation >= 5 else self


def of_jpeg(segments: Iterable[Segment]) -> Density | None:
    """The density by a JPEG file's header of JFIF, if that tells one."""
    for _, marker, content in segments:
        if marker == APP0 and content.startswith(_JFIF) and len(content) >= 12:
            found = Density(*struct.unpack_from(">BHH", content, 7))
            known = found.unit <= CENTIMETRE and found.x and found.y
            return found if known and (found.unit or found.is_oblong) else None
    return None


def of_png(chunks: Iterable[Chunk]) -> Density | None:
    """The density by a PNG file's chunk pHYs, if it has a true one."""
    for chunk in chunks:
        if chunk.kind == b"pHYs" and chunk.content and len(chunk.content) == 9:
            x, y, unit = struct.unpack(">IIB", chunk.content)
            if x and y and unit <= 1:
                return Density(METRE if unit else NO_UNIT, x, y)
    return None


def for_jpeg(own: Density | None, resolution: tuple[float, float] | None) -> Density | None:
    """The density of a JPEG file: ``own`` where JFIF can hold it, else that nearest to it.

    ``resolution`` is in pixels for a millimetre. ``None`` where neither is known.
    """
    if own and own.unit <= CENTIMETRE:
        return own if max(own.x, own.y) <= 65535 else None
    return _nearest(resolution, (INCH, CENTIMETRE))


def for_png(own: Density | None, resolution: tuple[float, float] | None) -> Density | None:
    """The same of a PNG file."""
    if own and own.unit in (NO_UNIT, METRE):
        return own
    return _nearest(resolution, (METRE,))


def as_phys(density: Density) -> bytes:
    """The content of PNG's chunk pHYs."""
    return struct.pack(">IIB", density.x, density.y, density.unit == METRE)


def as_jfif(density: Density) -> bytes:
    """The part of JFIF's header that tells it."""
    return struct.pack(">BHH", *density)


def _nearest(resolution: tuple[float, float] | None, units: tuple[int, ...]) -> Density | None:
    """That of the ``units`` in which whole numbers are nearest."""
    if resolution is None:
        return None
    found: list[tuple[float, int, Density]] = []
    for unit in units:
        exact = [each * _MILLIMETRES[unit] for each in resolution]
        x, y = (round(each) for each in exact)
        if min(x, y) >= 1 and max(x, y) <= _MOST[unit]:
            error = max(abs(x / exact[0] - 1), abs(y / exact[1] - 1))
            found.append((round(error, 4), len(found), Density(unit, x, y)))
    return min(found)[2] if found else None
