"""Chunks of PNG that libvips neither reads nor writes as they were.

They tell the meaning of colours, text, and proportions of pixels whose size is not known. Source:
PNG, third edition (W3C, 2025), sections 11.3.2 (colour), 11.3.3 (text), 11.3.4 (pHYs) and 11.3.5
(time).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, NamedTuple

from upres.files import splice_all

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BYTES_AROUND = 12
"""Of a chunk beside its content: length, kind and checksum."""
_HEADER_END = len(SIGNATURE) + _BYTES_AROUND + 13
"""Where the first chunk, IHDR, ends: all others may follow there."""

_COLOUR = (b"cICP", b"mDCV", b"cLLI", b"sRGB", b"gAMA", b"cHRM")
_BESIDE_PROFILE = (b"cICP", b"mDCV", b"cLLI")
"""Chunks that count although there is an ICC profile, which libvips sees to."""

_SIZE = b"pHYs"
"""How large a pixel is: per metre, or of no unit, which tells of proportions alone."""

_TEXT = (b"tEXt", b"zTXt", b"iTXt", b"tIME")
_XMP = b"XML:com.adobe.xmp\0"
"""Begins the text that is XMP, which libvips sees to."""

_READ = (*_COLOUR, *_TEXT, _SIZE, b"eXIf", b"IHDR", b"acTL", b"fcTL")

_ORIENTATION = b"exif:orientation\0"
"""Begins, in small letters, the copy that ImageMagick and GraphicsMagick make of EXIF's, and heed
themselves."""

_LONGEST = 2**24
"""Bytes of a chunk's content; that of a longer one is passed over."""


class Chunk(NamedTuple):
    """A part of a PNG file."""

    start: int
    """Where it is in the file."""
    kind: bytes
    length: int
    """Bytes of its content."""
    content: bytes | None
    """``None`` of a chunk that nothing here asks for, that is very long, or that is damaged."""

    @property
    def end(self) -> int:
        """Where the next one is."""
        return self.start + _BYTES_AROUND + self.length


def read(path: Path) -> Iterator[Chunk]:
    """A PNG file's chunks; of another file, none."""
    with path.open("rb") as file:
        start = file.read(len(SIGNATURE)) == SIGNATURE and len(SIGNATURE)
        while start and len(head := file.read(8)) == 8:
            length, kind, content = int.from_bytes(head[:4], "big"), head[4:], None
            if kind in _READ and length < _LONGEST:
                content = file.read(length)
                if int.from_bytes(file.read(4), "big") != zlib.crc32(kind + content):
                    content = None
            chunk = Chunk(start, kind, length, content)
            yield chunk
            start = file.seek(chunk.end)


def kept(chunks: Iterable[Chunk], *, turned: bool = False) -> bytes:
    """The chunks on colour, proportions and text, as they stand.

    libvips would write text without its language, and lose characters beyond ASCII. Text that says
    how to turn the picture is left out if that has been ``turned`` upright.
    """
    colour: dict[bytes, bytes] = {}
    text, size = [], b""
    for _, kind, _, content in chunks:
        if kind in _COLOUR:
            colour[kind] = b"" if content is None else packed(kind, content)
        elif kind == b"iCCP":
            colour[kind] = b""
        elif content is None:
            continue
        elif kind in _TEXT:
            old = turned and content.lower().startswith(_ORIENTATION)
            if not old and not content.startswith(_XMP):
                text.append(packed(kind, content))
        elif kind == _SIZE and content[8:] == b"\0":  # of another unit libvips sees to it
            size = packed(kind, content)
    kinds = _BESIDE_PROFILE if b"iCCP" in colour else _COLOUR
    return b"".join(colour.get(kind, b"") for kind in kinds) + size + b"".join(text)


def colour_numbers(chunks: Iterable[Chunk]) -> tuple[int, int]:
    """Primaries and transfer function by the chunk cICP; 2, not known, without one."""
    for chunk in chunks:
        if chunk.kind == b"cICP" and chunk.content and chunk.length == 4:
            return chunk.content[0], chunk.content[1]
        if chunk.kind == b"IDAT":
            break
    return 2, 2


def has_size(chunks: Iterable[Chunk]) -> bool:
    """Whether they tell of the size of pixels, by metres."""
    return any(c.kind == _SIZE and c.content and c.content[8:] == b"\1" for c in chunks)


def embedded(chunks: Iterable[Chunk]) -> tuple[bytes, bytes]:
    """EXIF, without a prefix, and XMP, wherever in the file they stand; else nothing."""
    exif = xmp = b""
    for _, kind, _, content in chunks:
        if kind == b"eXIf" and content:
            exif = content
        elif kind == b"iTXt" and content and content.startswith(_XMP):
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


def is_animated(chunks: Iterable[Chunk]) -> bool:
    """Whether they are an animation's (APNG); libvips sees its default image alone."""
    first = next((c.kind for c in chunks if c.kind in (b"acTL", b"IDAT")), None)
    return first == b"acTL"


def rewrite(
    path: Path,
    *,
    added: bytes = b"",
    comments: Iterable[bytes] = (),
    meaning: bytes = b"",
    exif: bytes = b"",
    size: bool = True,
) -> None:
    """Change a PNG file's metadata, once for all, behind its header.

    Chunks are ``added``, and ``comments`` as chunks of text. ``meaning`` of its colours becomes a
    chunk cICP if none is added. Its EXIF becomes ``exif``, if it has any. Without ``size``, it says
    nothing of the size of its pixels.
    """
    if meaning and b"cICP" not in added:
        added = packed(b"cICP", meaning) + added
    for comment in comments:
        try:
            text = comment.decode()
        except UnicodeDecodeError:
            text = comment.decode("latin-1")
        # Not compressed, and of no language.
        added += packed(b"iTXt", b"Comment" + bytes(5) + text.replace("\0", "").encode())
    edits = [(_HEADER_END, _HEADER_END, added)]
    for chunk in takewhile(lambda chunk: chunk.kind != b"IDAT", read(path)):
        if chunk.kind == _SIZE and not size:
            edits.append((chunk.start, chunk.end, b""))
        elif chunk.kind == b"eXIf" and exif:
            edits.append((chunk.start, chunk.end, packed(b"eXIf", exif)))
    splice_all(path, [edit for edit in edits if edit[0] != edit[1] or edit[2]])


def raw(file: BinaryIO, chunk: Chunk) -> bytes:
    """A chunk as the file has it."""
    file.seek(chunk.start)
    return file.read(chunk.end - chunk.start)


def checked(file: BinaryIO, chunk: Chunk) -> bytes | None:
    """A chunk's content, whatever its kind; ``None`` if its checksum is another's."""
    found = raw(file, chunk)
    content = found[8:-4]
    return content if packed(chunk.kind, content) == found else None


def packed(kind: bytes, content: bytes) -> bytes:
    """A chunk as a file has it."""
    body = kind + content
    return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
