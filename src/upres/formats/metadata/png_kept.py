"""Chunks of a PNG file that tell of the picture as a whole, made true of its result.

Sources: PNG, third edition (W3C, 2025), sections 5.4 and 14.2 (what an editor may copy), 11.3.4
(bKGD, hIST, pHYs, sBIT, sPLT); Extensions to the PNG 1.2 Specification, version 1.4.0 (oFFs, pCAL,
sCAL); ExifTool's list of PNG tags (vpAg, caNv).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from upres.formats.metadata import png_profiles
from upres.formats.metadata.png_chunks import COLOUR, TEXT, XMP, Chunk, packed

_ELSEWHERE = frozenset(
    (*COLOUR, *TEXT, b"iCCP", b"eXIf", b"pHYs", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"iDOT")
)
"""Chunks that are kept by other means, or tell how the pixels are stored."""

_LIGHT = frozenset((b"mDCV", b"cLLI"))
"""Of those, what no other format gets: how bright a picture is, and its maker's screen."""

_PALETTE, _COLOURED, _WITH_ALPHA = 3, 2, 4
"""Types of colour: that of palettes, and bits of the others."""

_PIXELS = 0
"""The unit of chunks oFFs and the like that are in pixels."""


class Header(NamedTuple):
    """The facts of a picture in a PNG file's chunk IHDR."""

    width: int
    height: int
    depth: int
    colour: int


@dataclass(frozen=True)
class Result:
    """The picture that is to have the chunks."""

    width: int
    height: int
    bands: int
    depth: int
    orientation: int
    """How the picture was turned for it, by EXIF."""


def names(chunks: Iterable[Chunk]) -> list[str]:
    """The kinds of chunks that only PNG files have, each once."""
    found = (
        chunk.kind.decode("latin-1")
        for chunk in chunks
        if _is_ancillary(chunk.kind) and chunk.kind not in _ELSEWHERE - _LIGHT
    )
    return list(dict.fromkeys(found))


def has_text(chunks: Iterable[Chunk]) -> bool:
    """Whether there is text that is neither XMP nor another profile, be it damaged or not."""
    return any(
        chunk.content is None
        or not (chunk.content.startswith(XMP) or png_profiles.read(chunk.kind, chunk.content))
        for chunk in chunks
        if chunk.kind in TEXT and chunk.kind != b"tIME"
    )


def fitted(chunks: Sequence[Chunk], result: Result) -> tuple[bytes, list[str]]:
    """The chunks that are true of the result, some of them changed, and the kinds of the others."""
    header = _header(chunks)
    if header is None:
        return b"", []
    palette = next((c.content for c in chunks if c.kind == b"PLTE" and c.content), b"")
    kept: dict[bytes, list[bytes]] = {}
    lost: list[bytes] = []
    for chunk in chunks:
        kind, content = chunk.kind, chunk.content
        if not _is_ancillary(kind) or kind in _ELSEWHERE:
            continue
        new = None
        if content is not None:
            try:
                new = _content(kind, content, header, palette, result)
            except (struct.error, ValueError, IndexError):  # damaged
                new = None
        if new is None:
            lost.append(kind)
        elif kind not in kept or kind == b"sPLT" or kind not in _ONCE:
            kept.setdefault(kind, []).append(packed(kind, new))
    gone = [kind.decode("latin-1") for kind in dict.fromkeys(lost) if kind not in kept]
    return b"".join(part for parts in kept.values() for part in parts), gone


_ONCE = (b"bKGD", b"sBIT", b"oFFs", b"pCAL", b"sCAL", b"vpAg", b"caNv")


def _content(
    kind: bytes, content: bytes, header: Header, palette: bytes, result: Result
) -> bytes | None:
    """A chunk's content for the result; ``None`` if there is none that is true."""
    across, down = result.width / header.width, result.height / header.height
    if result.orientation >= 5:
        across, down = result.width / header.height, result.height / header.width
    if kind == b"bKGD":
        return _background(content, header, palette, result)
    if kind == b"sBIT":
        return _significant(content, header, result)
    if kind == b"oFFs" and result.orientation == 1:
        x, y, unit = struct.unpack(">iiB", content)
        # In micrometres, it is where the picture is to be printed.
        return (
            content
            if unit != _PIXELS
            else struct.pack(">iiB", round(x * across), round(y * down), unit)
        )
    if kind == b"vpAg" and result.orientation == 1:
        width, height, unit = struct.unpack(">IIB", content)
        return struct.pack(">IIB", round(width * across), round(height * down), unit)
    if kind == b"caNv" and result.orientation == 1:
        width, height, x, y = struct.unpack(">IIii", content)
        sides = (round(width * across), round(height * down), round(x * across), round(y * down))
        return struct.pack(">IIii", *sides)
    if kind == b"sCAL":
        units = content[1:].split(b"\0")
        wide, high = (float(side) for side in units[:2])
        if result.orientation >= 5:
            wide, high = high, wide
        return content[:1] + f"{wide / across:.9g}\0{high / down:.9g}".encode()
    if kind in (b"pCAL", b"sPLT"):  # of values of samples, whatever their depth
        return content
    # What an editor that does not know it may copy says the case of its last letter.
    unknown = kind not in (*_ONCE, b"hIST")
    return content if unknown and kind[3] & 0x20 else None


def _background(content: bytes, header: Header, palette: bytes, result: Result) -> bytes | None:
    """A background's colour as the result's pixels have it."""
    most = 2**header.depth - 1
    if header.colour == _PALETTE:
        colour = tuple(palette[3 * content[0] : 3 * content[0] + 3])
        most = 255
        if len(colour) < 3:
            return None
    elif header.colour & _COLOURED:
        colour = struct.unpack(">HHH", content)
    else:
        colour = struct.unpack(">H", content) * 3
    whole = 2**result.depth - 1
    scaled = [round(min(each, most) * whole / most) for each in colour]
    if result.bands >= 3:
        return struct.pack(">HHH", *scaled)
    return struct.pack(">H", scaled[0]) if len(set(scaled)) == 1 else None


def _significant(content: bytes, header: Header, result: Result) -> bytes | None:
    """How many bits of each band count, if samples are as deep as they were."""
    palette = header.colour == _PALETTE
    if (8 if palette else header.depth) != result.depth:
        return None
    count = 3 if palette or header.colour & _COLOURED else 1
    colours = 3 if result.bands >= 3 else 1
    if count != colours or len(content) < count:
        return None
    own = not palette and header.colour & _WITH_ALPHA
    alpha = content[count : count + 1] if own else bytes([result.depth])
    return content[:count] + (alpha if result.bands in (2, 4) else b"")


def _header(chunks: Sequence[Chunk]) -> Header | None:
    content = chunks[0].content if chunks and chunks[0].kind == b"IHDR" else None
    if not content or len(content) != 13:
        return None
    found = Header(*struct.unpack_from(">IIBB", content))
    return found if found.width and found.height and found.depth in (1, 2, 4, 8, 16) else None


def _is_ancillary(kind: bytes) -> bool:
    return bool(kind[0] & 0x20)
