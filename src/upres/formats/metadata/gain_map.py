"""The gain map of an Ultra HDR photograph: the light that a bright screen adds to a JPEG's picture.

It is a small JPEG behind the first one, of any resolution, so that an enlarged picture can keep
it as it is. Sources: Ultra HDR Image Format 1.1 (Google, 2024); ISO 21496-1; CIPA DC-007
(Multi-Picture Format), section 5.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyvips

from upres.errors import InputError
from upres.formats.metadata.jpeg_segments import (
    APP1,
    APP2,
    MPF,
    MPF_ENTRIES,
    Segment,
    packed,
    segments_of,
)

_ISO = b"urn:iso:std:iso:ts:21496:-1\0"
_MARKS = (_ISO, b"http://ns.adobe.com/hdr-gain-map/", b"urn:com:apple:photo:2020:aux:hdrgainmap")
"""By these a gain map is known: by ISO, by Adobe and Google, and by Apple."""

_QUALITY = 95


@dataclass(frozen=True)
class GainMap:
    """A gain map's file, and the picture's file's words on it."""

    content: bytes
    segments: list[tuple[int, bytes]]
    length_told: int
    """Bytes of the gain map by the picture's XMP."""

    def fitting_xmp(self, xmp: bytes) -> bytes:
        """The picture's XMP, which tells how long the gain map is, where that has changed."""
        told = rb"(:Length\s*=\s*[\"'])%d(?=[\"'])" % self.length_told
        return re.sub(told, rb"\g<1>%d" % len(self.content), xmp)


def read(path: Path, segments: Iterable[Segment], orientation: int) -> GainMap | None:
    """The gain map in a JPEG file, turned upright as its picture is; ``None`` if it has none.

    ``segments`` are those of its picture. Raises ``InputError`` if the gain map has to be turned
    and is damaged.
    """
    own = []
    places: list[tuple[int, int]] = []
    for start, marker, content in segments:
        if marker == APP2 and content.startswith(MPF):
            places = _others(content.removeprefix(MPF), start + 4 + len(MPF))
        elif marker == APP2 and content.startswith(_ISO):
            own.append((marker, content))
    if not places:
        return None
    with path.open("rb") as file:
        for start, size in places:
            file.seek(start)
            content = file.read(size)
            told = (c for _, marker, c in segments_of(content) if marker in (APP1, APP2))
            if len(content) == size and any(mark in c for c in told for mark in _MARKS):
                if orientation != 1:
                    content = _turned(content, path, orientation)
                return GainMap(content, own, size)
    return None


def others(segments: Iterable[Segment]) -> list[tuple[int, int]]:
    """Place and bytes of the pictures that stand behind a JPEG file's own, as its segments tell."""
    for start, marker, content in segments:
        if marker == APP2 and content.startswith(MPF):
            return _others(content.removeprefix(MPF), start + 4 + len(MPF))
    return []


def _turned(content: bytes, path: Path, orientation: int) -> bytes:
    try:
        image = pyvips.Image.new_from_buffer(content, "", fail_on="error").copy()
        image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
        pixels = image.autorot().jpegsave_buffer(Q=_QUALITY, keep="none", subsample_mode="off")
    except pyvips.Error as error:
        raise InputError(f"{path}: its gain map is damaged: {error.message}") from None
    told = [(m, c) for _, m, c in segments_of(content) if m in (APP1, APP2)]
    return bytes(pixels[:2] + packed(told) + pixels[2:])


def _others(index: bytes, start: int) -> list[tuple[int, int]]:
    """Place and bytes of the pictures behind the first, by MPF's ``index`` at ``start``."""
    endian = "<" if index.startswith(b"II") else ">"
    found = []
    try:
        (at,) = struct.unpack_from(endian + "I", index, 4)
        (count,) = struct.unpack_from(endian + "H", index, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, _, length, place = struct.unpack_from(endian + "HHII", index, entry)
            if tag == MPF_ENTRIES:
                for each in range(place + 16, place + length, 16):
                    _, size, offset = struct.unpack_from(endian + "III", index, each)
                    found.append((start + offset, size))
    except struct.error:
        pass  # damaged: then nothing is found
    return found
