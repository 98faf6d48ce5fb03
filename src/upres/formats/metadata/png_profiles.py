"""Profiles that PNG files have as text, as ImageMagick and ExifTool write them: EXIF, XMP, IPTC.

Each is a chunk of text whose keyword names its kind, and whose text is a line of that kind, one of
its length, and its bytes as hexadecimal digits. Source: ImageMagick's coders/png.c, by its output;
ExifTool's list of PNG tags, "Raw profile type".
"""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

from upres.formats.metadata.exif import PREFIX
from upres.formats.metadata.iptc import PHOTOSHOP

_LONGEST = 2**24
"""Bytes that text may unpack to; longer text stays as it is."""

_KEYWORD = b"Raw profile type "
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_TEXT = re.compile(rb"\s*[^\n]+\n\s*(\d+)\s*\n([0-9A-Fa-f\s]*)\Z")
_LINE = 72


class Profile(NamedTuple):
    """A profile's kind by libvips' name, and its content."""

    name: str
    content: bytes


def read(kind: bytes, content: bytes) -> Profile | None:
    """The profile in a chunk of text of that kind; ``None`` if it has none, or a damaged one."""
    if not content.startswith(_KEYWORD):
        return None
    keyword, _, rest = content.partition(b"\0")
    named = keyword.removeprefix(_KEYWORD).lower()
    text = _unpacked(kind, rest)
    found = _TEXT.match(text)
    if not found:
        return None
    digits = b"".join(found[2].split())
    if len(digits) != 2 * int(found[1]):
        return None
    data = bytes.fromhex(digits.decode())
    if data.startswith(PREFIX) and named in (b"exif", b"app1"):
        return Profile("exif-data", data)
    if named == b"exif" and data[:2] in (b"II", b"MM"):
        return Profile("exif-data", PREFIX + data)
    if data.startswith(_XMP) and named in (b"xmp", b"app1"):
        return Profile("xmp-data", data.removeprefix(_XMP))
    if named == b"xmp":
        return Profile("xmp-data", data)
    if named in (b"iptc", b"8bim") and data:
        bare = not data.startswith((b"8BIM", PHOTOSHOP))
        return Profile("iptc-data", data if bare else PHOTOSHOP + data.removeprefix(PHOTOSHOP))
    return None


def packed_iptc(blocks: bytes) -> bytes:
    """The content of a chunk zTXt of IPTC; ``blocks`` are Photoshop's, as JPEG files have them."""
    data = blocks.removeprefix(PHOTOSHOP)
    digits = data.hex().encode()
    lines = b"\n".join(digits[at : at + _LINE] for at in range(0, len(digits), _LINE))
    text = b"\niptc\n%8d\n%b\n" % (len(data), lines)
    return _KEYWORD + b"iptc\0\0" + zlib.compress(text)


def _unpacked(kind: bytes, rest: bytes) -> bytes:
    """The text behind a keyword; nothing if it is damaged, or too long."""
    if kind == b"tEXt":
        return rest
    if kind == b"iTXt":
        compressed, parts = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
        if len(parts) < 3:
            return b""
        rest = parts[2]
        if not compressed:
            return rest
    elif kind == b"zTXt":
        rest = rest[1:]
    else:
        return b""
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(rest, _LONGEST)
    except zlib.error:
        return b""
    return text if unpacker.eof else b""
