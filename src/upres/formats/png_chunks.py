"""What PNG says that libvips neither reads nor writes as it was.

That is what colours mean, text, and proportions of pixels of which no size is known. Source: PNG,
third edition (W3C, 2025), sections 11.3.2 (colour), 11.3.3 (text), 11.3.4 (pHYs), 11.3.5 (time).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from upres.files import splice

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = len(_SIGNATURE) + 12 + 13
"""Where the first chunk, IHDR, ends: all others may follow there."""

_COLOUR = (b"cICP", b"mDCV", b"cLLI", b"sRGB", b"gAMA", b"cHRM")
_BESIDE_PROFILE = (b"cICP", b"mDCV", b"cLLI")
"""What counts although there is an ICC profile, which libvips sees to."""

_SIZE = b"pHYs"
"""How large a pixel is: per metre, or of no unit, which tells of proportions alone."""

_TEXT = (b"tEXt", b"zTXt", b"iTXt", b"tIME")
_XMP = b"XML:com.adobe.xmp\0"
"""Begins the text that is XMP, which libvips sees to."""

_ORIENTATION = b"exif:orientation\0"
"""Begins, in small letters, the copy that ImageMagick and GraphicsMagick make of EXIF's, and heed
themselves."""

_LONGEST = 2**24
"""Bytes of a chunk; a longer one is passed over."""


def read(path: Path, *, turned: bool = False) -> bytes:
    """A PNG file's chunks on colour, proportions and text, as they stand; of others, nothing.

    libvips would write text without its language, and lose what is not ASCII. Text that says how
    to turn the picture is left out if that has been ``turned`` upright.
    """
    colour: dict[bytes, bytes] = {}
    text, size = [], b""
    with path.open("rb") as file:
        for kind, length in chunks(file):
            if kind in _TEXT and length < _LONGEST:
                chunk = _whole(file, kind, length)
                old = turned and chunk[8:].lower().startswith(_ORIENTATION)
                if not old and not chunk.startswith(_XMP, 8):
                    text.append(chunk)
            elif kind in _COLOUR and length < _LONGEST:
                colour[kind] = _whole(file, kind, length)
            elif kind == _SIZE and length == 9:
                size = _whole(file, kind, length)
            else:
                colour[kind] = b""
    kept = _BESIDE_PROFILE if b"iCCP" in colour else _COLOUR
    if size[-5:-4] != b"\0":
        size = b""  # which libvips sees to
    return b"".join(colour.get(kind, b"") for kind in kept) + size + b"".join(text)


def colour_numbers(path: Path) -> tuple[int, int]:
    """Primaries and transfer function by a PNG file's chunk cICP; 2, not known, without one."""
    with path.open("rb") as file:
        for kind, length in chunks(file):
            if kind == b"cICP" and length == 4:
                primaries, transfer = file.read(2)
                return primaries, transfer
            if kind == b"IDAT":
                break
    return 2, 2


def has_size(path: Path) -> bool:
    """Whether a PNG file tells of the size of its pixels, by metres."""
    with path.open("rb") as file:
        for kind, length in chunks(file):
            if kind == _SIZE:
                return file.read(length)[8:] == b"\1"
    return False


def read_embedded(path: Path) -> tuple[bytes, bytes]:
    """EXIF, without a prefix, and XMP of a PNG file, wherever in it they stand; else nothing."""
    exif = xmp = b""
    with path.open("rb") as file:
        for kind, length in chunks(file):
            if kind in (b"eXIf", b"iTXt") and length < _LONGEST:
                content = _whole(file, kind, length)[8:-4]
                if kind == b"eXIf":
                    exif = content
                elif content.startswith(_XMP):
                    xmp = _text(content)
    return exif, xmp


def _text(content: bytes) -> bytes:
    """The text of an iTXt chunk's content; nothing if it is damaged."""
    _, _, rest = content.partition(b"\0")
    compressed, parts = rest[:1], rest[2:].split(b"\0", 2)  # language, keyword in it, text
    if len(parts) < 3:
        return b""
    if compressed != b"\1":
        return parts[2]
    unpacker = zlib.decompressobj()
    try:
        return unpacker.decompress(parts[2], _LONGEST)
    except zlib.error:
        return b""


def is_animated(path: Path) -> bool:
    """Whether a PNG file holds an animation (APNG), of which libvips sees the first frame."""
    with path.open("rb") as file:
        for kind, _ in chunks(file):
            if kind in (b"acTL", b"IDAT"):
                return kind == b"acTL"
    return False


def remove_size(path: Path) -> None:
    """Remove what a PNG file says of the size of its pixels."""
    with path.open("rb") as file:
        for kind, length in chunks(file):
            if kind == _SIZE:
                start = file.tell() - 8
                splice(path, start, start + 12 + length, b"")
                return


def add(path: Path, chunks: bytes, comments: Sequence[bytes] = (), meaning: bytes = b"") -> None:
    """Put chunks, and comments as chunks of text, into a PNG file, behind its header.

    And ``meaning``, of its colours, as a chunk cICP if there is none.
    """
    if meaning and b"cICP" not in chunks:
        chunks = _chunk(b"cICP", meaning) + chunks
    for comment in comments:
        try:
            text = comment.decode()
        except UnicodeDecodeError:
            text = comment.decode("latin-1")
        # Not compressed, and of no language.
        chunks += _chunk(b"iTXt", b"Comment" + bytes(5) + text.replace("\0", "").encode())
    splice(path, _HEADER_END, _HEADER_END, chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


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
