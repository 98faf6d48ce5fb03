"""Which of a JPEG file's segments its result gets as they are: cameras' and programs' own data.

Sources: ITU-T T.81, section B.2.4.6 (APPn); ExifTool's list of JPEG segments.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import BinaryIO

from upres.formats.metadata import iptc
from upres.formats.metadata.jpeg_segments import APP0, APP1, APP2, APP13, MPF, Segment

_TAIL_BYTES = 4096
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


def has_trailer(file: BinaryIO) -> bool:
    """Whether a JPEG file goes on behind its end, as with the film of a motion photo."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _TAIL_BYTES))
    return not file.read().rstrip(b"\0").endswith(b"\xff\xd9")


def _begins(marker: int, content: bytes, starts: Iterable[tuple[int, bytes]]) -> bool:
    return any(marker == other and content.startswith(start) for other, start in starts)
