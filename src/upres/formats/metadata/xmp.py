"""XMP of an enlarged picture: its input's own, and how JPEG files hold it.

Source: XMP Specification, part 3 (Adobe, 2020), section 1.1.3.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable

from upres.formats.metadata.jpeg_segments import APP1, LONGEST_SEGMENT, Segment

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_REFERENCE = """<x:xmpmeta xmlns:x="adobe:ns:meta/">\
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\
<rdf:Description xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="{}"/>\
</rdf:RDF></x:xmpmeta>"""

_REFERS = re.compile(
    rb"""\s[\w-]+:HasExtendedXMP\s*=\s*["'](\w{32})["']"""
    rb"""|<[\w-]+:HasExtendedXMP>\s*(\w{32})\s*</[\w-]+:HasExtendedXMP>"""
)
"""The same of another program: an attribute or an element."""

LONGEST = LONGEST_SEGMENT - len(_XMP)
"""Bytes of XMP that one segment holds."""


def fitting(xmp: bytes, *, height: int, width: int) -> bytes:
    """XMP with orientation and pixel dimensions of the enlarged picture, without thumbnails."""
    xmp = re.sub(rb"<(xmp|xap):Thumbnails\b.*?</\1:Thumbnails>", b"", xmp, flags=re.DOTALL)
    for names, value in (
        (rb"tiff:Orientation", 1),
        (rb"tiff:ImageWidth|exif:PixelXDimension", width),
        (rb"tiff:ImageLength|exif:PixelYDimension", height),
    ):
        # As an attribute, and as an element.
        xmp = re.sub(rb"\b(%b)(\s*=\s*[\"']|\s*>)\s*\d+" % names, rb"\g<1>\g<2>%d" % value, xmp)
    return xmp


def orientation(xmp: bytes) -> int | None:
    """How XMP says that its picture is to be turned, by EXIF's numbers; ``None`` if it does not."""
    for told in (rb"\btiff:Orientation\s*=\s*[\"']\s*(\d+)", rb"<tiff:Orientation\s*>\s*(\d+)"):
        if found := re.search(told, xmp):
            number = int(found[1][:2])
            return number if number in range(1, 9) else None
    return None


def extended(segments: Iterable[Segment]) -> list[tuple[int, bytes]]:
    """Those segments of a JPEG file that hold XMP which the first 64 KB had no room for."""
    return [
        (marker, content)
        for _, marker, content in segments
        if marker == APP1 and content.startswith(_EXTENDED_XMP)
    ]


def whole(main: bytes, segments: Iterable[Segment]) -> bytes:
    """XMP of a JPEG file: ``main``, which its first segment has, with all the others."""
    refers = _REFERS.search(main)
    if not refers:
        return main
    parts = {}
    for _, content in extended(segments):
        name, start, part = _parted(content)
        if name in refers.groups():
            parts[start] = part
    rest = b"".join(parts[start] for start in sorted(parts))
    inside = re.search(rb"(.*?<rdf:RDF\b[^>]*>)(.*)</rdf:RDF>", rest, re.DOTALL)
    head, end, tail = main.rpartition(b"</rdf:RDF>")
    if not inside or not end:
        return main
    # Names that only the other packet's own beginning declares, its descriptions have to.
    spaces = re.findall(rb"""\s(xmlns:[\w-]+)\s*=\s*("[^"]*"|'[^']*')""", inside[1])

    def declared(match: re.Match[bytes]) -> bytes:
        new = (b" " + n + b"=" + v for n, v in spaces if n not in match[0] and n != b"xmlns:x")
        return b"<rdf:Description" + b"".join(new) + match[1]

    added = re.sub(rb"<rdf:Description\b([^>]*>)", declared, inside[2])
    return head.replace(refers[0], b"") + added + end + tail


def _parted(content: bytes) -> tuple[bytes, int, bytes]:
    """Of an extended segment's content: its packet's name, where it belongs in that, and it."""
    head = len(_EXTENDED_XMP)
    return (
        content[head : head + 32],
        int.from_bytes(content[head + 36 : head + 40], "big"),
        content[head + 40 :],
    )


def split(xmp: bytes) -> list[tuple[int, bytes]]:
    """XMP longer than ``LONGEST`` as segments. The first refers to all others."""
    name = hashlib.md5(xmp, usedforsecurity=False).hexdigest().upper()
    segments = [(APP1, _XMP + _REFERENCE.format(name).encode())]
    size = LONGEST_SEGMENT - len(_EXTENDED_XMP) - 40
    for start in range(0, len(xmp), size):
        head = _EXTENDED_XMP + name.encode() + struct.pack(">II", len(xmp), start)
        segments.append((APP1, head + xmp[start : start + size]))
    return segments
