"""Which of a JPEG file's segments its result gets as they are: cameras' and programs' own data.

Sources: ITU-T T.81, section B.2.4.6 (APPn); ExifTool's list of JPEG segments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from upres.formats.metadata import iptc
from upres.formats.metadata.jpeg_segments import APP0, APP1, APP2, APP13, MPF, Segment

_STEP = 2**20
_SCAN, _END = 0xDA, 0xD9
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
"""Of what follows coded pixels: in them, 0xFF is followed by 0, or is a mark to restart at."""
_APPLICATION = range(0xE0, 0xF0)
_APP8, _APP11, _APP14 = 0xE8, 0xEB, 0xEE

_WRITTEN = (
    (APP0, b"JFIF\0"),
    (APP1, b"Exif\0"),
    (APP1, b"http://ns.adobe.com/xap/1.0/\0"),
    (APP1, b"http://ns.adobe.com/xmp/extension/\0"),
    (APP2, b"ICC_PROFILE\0"),
    (APP2, MPF),
    (APP2, b"urn:iso:std:iso:ts:21496:-1\0"),
    (APP13, iptc.PHOTOSHOP),
    (_APP14, b"Adobe"),
)
"""Beginnings of segments that are written anew, of their own content or of the pixels."""

_PREVIEWS = ((APP0, b"JFXX\0"),)
"""Of small pictures of the small picture."""

_UNTRUE = {
    (_APP8, b"SPIFF\0"): "SPIFF header",
    (_APP11, b"JP"): "content credentials",
    (_APP11, b"HDR_RI"): "JPEG-HDR",
}
"""Beginnings of segments on the pixels as they were stored, which are wrong of others."""


def makers(segments: Iterable[Segment]) -> list[tuple[int, bytes]]:
    """The segments that are true of the result, too, marker and content of each."""
    return [
        (marker, content)
        for _, marker, content in segments
        if marker in _APPLICATION
        and not _begins(marker, content, (*_WRITTEN, *_PREVIEWS, *_UNTRUE))
    ]


def untrue(segments: Iterable[Segment]) -> list[str]:
    """Names of what the segments have that would be wrong of the result."""
    return [
        name
        for start, name in _UNTRUE.items()
        if any(_begins(marker, content, (start,)) for _, marker, content in segments)
    ]


def whole_exif(segments: Sequence[Segment]) -> bytes:
    """EXIF of a JPEG file that has it in several segments; else nothing."""
    parts = [
        content[6:]
        for _, marker, content in segments
        if marker == APP1 and content.startswith(b"Exif\0\0")
    ]
    if len(parts) < 2 or any(part.startswith((b"II*\0", b"MM\0*")) for part in parts[1:]):
        return b""
    return b"Exif\0\0" + b"".join(parts)


def end(path: Path, segments: Sequence[Segment]) -> int | None:
    """Where in a JPEG file its picture ends; ``None`` if its end is missing.

    Between scans there are segments, and within them bytes may look like an end.
    """
    with path.open("rb") as file:
        at = segments[-1].end if segments else 2
        while True:
            file.seek(at)
            head = file.read(4)
            if len(head) < 2 or head[0] != 0xFF:
                return None
            if head[1] == _END:
                return at + 2
            if head[1] == 0xFF:  # a byte that fills up
                at += 1
                continue
            at += 2 + int.from_bytes(head[2:], "big")
            if head[1] == _SCAN:
                found = _next_marker(file, at)
                if found is None:
                    return None
                at = found


def _next_marker(file: BinaryIO, at: int) -> int | None:
    """Where behind coded pixels the next marker is that does not belong to them."""
    file.seek(at)
    kept = b""
    while part := file.read(_STEP):
        part = kept + part
        if found := _MARKER.search(part):
            return at + found.start()
        kept = part[-1:]
        at += len(part) - 1
    return None


def _begins(marker: int, content: bytes, starts: Iterable[tuple[int, bytes]]) -> bool:
    return any(marker == other and content.startswith(start) for other, start in starts)
