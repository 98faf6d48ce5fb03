"""Chunks of PNG that libvips neither reads nor writes as they were.

They tell the meaning of colours, text, and proportions of pixels whose size is not known. Source:
PNG, third edition (W3C, 2025), sections 11.3.2 (colour), 11.3.3 (text), 11.3.4 (pHYs) and 11.3.5
(time).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, NamedTuple

from upres.files import splice_all
from upres.formats.metadata import png_profiles
from upres.formats.metadata.exif import PREFIX
from upres.formats.metadata.iptc import PHOTOSHOP

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BYTES_AROUND = 12
"""Of a chunk beside its content: length, kind and checksum."""
_HEADER_END = len(SIGNATURE) + _BYTES_AROUND + 13
"""Where the first chunk, IHDR, ends: all others may follow there."""

COLOUR = (b"cICP", b"mDCV", b"cLLI", b"sRGB", b"gAMA", b"cHRM")
_BESIDE_PROFILE = (b"cICP", b"mDCV", b"cLLI")
"""Chunks that count although there is an ICC profile, which libvips sees to."""

_SIZE = b"pHYs"
"""How large a pixel is; see ``density``."""

TEXT = (b"tEXt", b"zTXt", b"iTXt", b"tIME")
XMP = b"XML:com.adobe.xmp\0"
"""Begins the text that is XMP, which libvips sees to."""

_PASSED_OVER = (b"fdAT", b"tRNS")
"""Ancillary chunks that are pixels, or part of them."""

_ORIENTATION = b"exif:orientation\0"
"""Begins, in small letters, the copy that ImageMagick and GraphicsMagick make of EXIF's, and heed
themselves."""

_END = b"IEND"
_LONGEST = 2**24
"""Bytes of a chunk's content; that of a longer one is passed over."""
_MOST = 2**26
"""Bytes of all contents together; what follows is passed over."""


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
    total = 0
    with path.open("rb") as file:
        start = file.read(len(SIGNATURE)) == SIGNATURE and len(SIGNATURE)
        while start and len(head := file.read(8)) == 8:
            length, kind, content = int.from_bytes(head[:4], "big"), head[4:], None
            if _is_read(kind) and length < _LONGEST and total + length < _MOST:
                total += length
                content = file.read(length)
                if int.from_bytes(file.read(4), "big") != zlib.crc32(kind + content):
                    content = None
            chunk = Chunk(start, kind, length, content)
            yield chunk
            if kind == _END:
                return
            start = file.seek(chunk.end)


def _is_read(kind: bytes) -> bool:
    """Whether a chunk of that kind tells something beside the pixels."""
    return kind in (b"IHDR", b"PLTE") or (kind[0] & 0x20 > 0 and kind not in _PASSED_OVER)


def kept(chunks: Iterable[Chunk], *, turned: bool = False) -> bytes:
    """The chunks on colour and text, as they stand.

    libvips would write text without its language, and lose characters beyond ASCII. Text that says
    how to turn the picture is left out if that has been ``turned`` upright.
    """
    colour: dict[bytes, bytes] = {}
    text = []
    for _, kind, _, content in chunks:
        if kind in COLOUR:
            colour[kind] = b"" if content is None else packed(kind, content)
        elif kind == b"iCCP":
            colour[kind] = b""
        elif content is None:
            continue
        elif kind in TEXT:
            old = turned and content.lower().startswith(_ORIENTATION)
            # Those are written from what was read of them.
            elsewhere = content.startswith(XMP) or png_profiles.read(kind, content)
            if not old and not elsewhere:
                text.append(packed(kind, content))
    kinds = _BESIDE_PROFILE if b"iCCP" in colour else COLOUR
    return b"".join(colour.get(kind, b"") for kind in kinds) + b"".join(text)


def colour_numbers(chunks: Iterable[Chunk]) -> tuple[int, int]:
    """Primaries and transfer function by the chunk cICP; 2, not known, without one."""
    for chunk in chunks:
        if chunk.kind == b"cICP" and chunk.content and chunk.length == 4:
            return chunk.content[0], chunk.content[1]
        if chunk.kind == b"IDAT":
            break
    return 2, 2


def embedded(chunks: Iterable[Chunk]) -> dict[str, bytes]:
    """EXIF, XMP and IPTC by libvips' names, wherever in the file they stand.

    What has a chunk of its own counts more than what is text.
    """
    own: dict[str, bytes] = {}
    as_text: dict[str, bytes] = {}
    for _, kind, _, content in chunks:
        if kind == b"eXIf" and content:
            own["exif-data"] = PREFIX + content.removeprefix(PREFIX)
        elif kind == b"iTXt" and content and content.startswith(XMP):
            own["xmp-data"] = _text(content)
        elif content and (profile := png_profiles.read(kind, content)):
            # Photoshop's blocks may have more than IPTC alone.
            if profile.content.startswith(PHOTOSHOP):
                own.setdefault(*profile)
            as_text.setdefault(*profile)
    return as_text | {name: content for name, content in own.items() if content}


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


def end(chunks: Sequence[Chunk]) -> int | None:
    """Where in the file its end is; ``None`` if it has none."""
    return chunks[-1].end if chunks and chunks[-1].kind == _END else None


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
    iptc: bytes = b"",
    size: bytes = b"",
) -> None:
    """Change a PNG file's metadata, once for all, behind its header.

    Chunks are ``added``, and ``comments`` as chunks of text. ``meaning`` of its colours becomes a
    chunk cICP if none is added. Its EXIF becomes ``exif``, if it has any. ``iptc``, as JPEG files
    have it, becomes text. ``size`` is the content of its chunk pHYs; if it is empty, there is none.
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
    if iptc:
        added += packed(b"zTXt", png_profiles.packed_iptc(iptc))
    if size:
        added += packed(_SIZE, size)
    edits = [(_HEADER_END, _HEADER_END, added)]
    for chunk in takewhile(lambda chunk: chunk.kind != b"IDAT", read(path)):
        if chunk.kind in (_SIZE, b"bKGD"):  # of libvips' own
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
