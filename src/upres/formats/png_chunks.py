"""What PNG says that libvips neither reads nor writes as it was: what colours mean, and text.

Source: PNG, third edition (W3C, 2025), sections 11.3.2 (colour), 11.3.3 (text), 11.3.5 (time).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from upres.files import splice

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = len(_SIGNATURE) + 12 + 13
"""Where the first chunk, IHDR, ends: all others may follow there."""

_COLOUR = (b"cICP", b"sRGB", b"gAMA", b"cHRM")
_BESIDE_PROFILE = (b"cICP",)
"""What counts although there is an ICC profile, which libvips sees to."""

_TEXT = (b"tEXt", b"zTXt", b"iTXt", b"tIME")
_XMP = b"XML:com.adobe.xmp\0"
"""Begins the text that is XMP, which libvips sees to."""

_LONGEST = 2**24
"""Bytes of a chunk; a longer one is passed over."""


def read(path: Path) -> bytes:
    """A PNG file's chunks on colour, and its text, as they stand in it; of another file, nothing.

    libvips would write text without its language, and lose what is not ASCII.
    """
    colour: dict[bytes, bytes] = {}
    text = []
    with path.open("rb") as file:
        for kind, length in chunks(file):
            if kind in _TEXT and length < _LONGEST:
                chunk = _whole(file, kind, length)
                if not chunk.startswith(_XMP, 8):
                    text.append(chunk)
            elif kind in _COLOUR and length < _LONGEST:
                colour[kind] = _whole(file, kind, length)
            else:
                colour[kind] = b""
    kept = _BESIDE_PROFILE if b"iCCP" in colour else _COLOUR
    return b"".join(colour.get(kind, b"") for kind in kept) + b"".join(text)


def is_animated(path: Path) -> bool:
    """Whether a PNG file holds an animation (APNG), of which libvips sees the first frame."""
    with path.open("rb") as file:
        for kind, _ in chunks(file):
            if kind in (b"acTL", b"IDAT"):
                return kind == b"acTL"
    return False


def add(path: Path, chunks: bytes) -> None:
    """Put chunks into a PNG file, behind its header."""
    splice(path, _HEADER_END, _HEADER_END, chunks)


def _whole(file: BinaryIO, kind: bytes, length: int) -> bytes:
    """A chunk as it stands in a file that is at its content; nothing if it is damaged."""
    content = file.read(length)
    checksum = file.read(4)
    whole = int.from_bytes(checksum, "big") == zlib.crc32(kind + content)
    return length.to_bytes(4, "big") + kind + content + checksum if whole else b""


def chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Kind and length of each chunk, at whose content the file then is."""
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        return
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[:4], "big")
        after = file.tell() + length + 4  # behind its checksum
        yield head[4:], length
        file.seek(after)
