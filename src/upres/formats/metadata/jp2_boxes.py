"""The words of JPEG 2000 files around and in front of their pixels.

Source: ISO/IEC 15444-1, annexes A (codestream) and I (JP2); ISO/IEC 15444-2 for JPX; Adobe's XMP
Specification, part 3, section 1.1.6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from upres.formats.metadata.boxes import Box, boxes, pack_box

JP2_SIGNATURE = pack_box(b"jP  ", b"\r\n\x87\n")
CODESTREAM = b"\xff\x4f\xff\x51"
"""A codestream's first two markers: its start, and its sizes."""

EXIF_ID = b"JpgTiffExif->JP2"
XMP_ID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
SRGB, GREY, SYCC = 16, 17, 18
"""Colours that are told by number."""

_SOT, _COD, _QCD, _PPM, _TLM, _PLM = 0xFF90, 0xFF52, 0xFF5C, 0xFF60, 0xFF55, 0xFF57
_REVERSIBLE = 1
_MOST_TILES = 65535


@dataclass
class Facts:
    """The facts in the boxes before the pixels."""

    start: int = 0
    """Where the codestream is in the file."""
    end: int = 0
    colours: int | None = None
    profile: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    resolution: tuple[float, float] | None = None
    """Pixels for a millimetre, across and down."""
    has_palette: bool = False
    channels: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By component: its type (0 colour, 1 alpha, 2 premultiplied alpha) and which colour."""
    codestreams: int = 0


@dataclass(frozen=True)
class Siz:
    """A codestream's sizes, and how it is coded."""

    height: int
    width: int
    bits: tuple[int, ...]
    """Of each component's samples."""
    signed: bool
    coarse: bool
    """Whether a component has fewer samples than there are pixels."""
    lossless: bool
    header: bytes
    """From its start to the first tile."""
    grid: tuple[int, int, int, int, int, int, int, int]
    """Right and bottom, left and top, a tile's width and height, the first tile's left and top."""

    @property
    def tiles(self) -> tuple[int, int]:
        """How many there are across and down."""
        right, bottom, _, _, width, height, left, top = self.grid
        return -(-(right - left) // width), -(-(bottom - top) // height)


def read_facts(file: BinaryIO) -> Facts:
    """The facts in a JP2 file, or a bare codestream; raises ``struct.error`` if it is damaged."""
    file.seek(0)
    if file.read(4) == CODESTREAM:
        return Facts(start=0, end=file.seek(0, 2), codestreams=1)
    facts = Facts()
    for box in boxes(file):
        if box.kind == b"jp2c":
            facts.codestreams += 1
            if facts.codestreams == 1:
                facts.start, facts.end = box.start, box.end
        elif box.kind == b"jp2h":
            for inner in boxes(file, box.start, box.end):
                _take_header(facts, file, inner)
        elif box.kind == b"uuid":
            content = box.read(file)
            if content[:16] == EXIF_ID:
                facts.exif = content[16:]
            elif content[:16] == XMP_ID:
                facts.xmp = content[16:]
    if not facts.codestreams:
        raise struct.error("it has no pixels")
    return facts


def read_siz(file: BinaryIO, facts: Facts) -> Siz:
    """The codestream's header; raises ``struct.error`` if it is damaged."""
    file.seek(facts.start)
    content = file.read(min(2**20, facts.end - facts.start))
    if content[:4] != CODESTREAM:
        raise struct.error("no codestream of JPEG 2000")
    grid = struct.unpack_from(">8I", content, 8)
    right, bottom, left, top, width, height, first_left, first_top = grid
    (count,) = struct.unpack_from(">H", content, 40)
    if not (right > left and bottom > top and width and height and count):
        raise struct.error("its sizes are none")
    if not (first_left <= left < first_left + width and first_top <= top < first_top + height):
        raise struct.error("its tiles are elsewhere")
    if -(-(right - first_left) // width) * -(-(bottom - first_top) // height) > _MOST_TILES:
        raise struct.error("it has more tiles than there are numbers for")
    kinds = [struct.unpack_from("3B", content, 42 + 3 * i) for i in range(count)]
    lossless, at = False, 2
    while (marker := struct.unpack_from(">H", content, at)[0]) != _SOT:
        (length,) = struct.unpack_from(">H", content, at + 2)
        if marker == _COD:
            lossless = content[at + 13] == _REVERSIBLE
        if marker < 0xFF00 or length < 2:
            raise struct.error("its header is damaged")
        at += 2 + length
    return Siz(
        height=bottom - top,
        width=right - left,
        bits=tuple(1 + (kind & 127) for kind, *_ in kinds),
        signed=any(kind & 128 for kind, *_ in kinds),
        coarse=any((across, down) != (1, 1) for _, across, down in kinds),
        lossless=lossless,
        header=content[:at],
        grid=grid,
    )


def tile_parts(file: BinaryIO, facts: Facts, siz: Siz) -> list[list[tuple[int, int]]] | None:
    """Of each tile, where its parts are in the file; ``None`` if tiles do not stand alone.

    Raises ``struct.error`` if the file is damaged or truncated.
    """
    if any(marker == _PPM for marker, *_ in _segments(siz.header)):
        return None
    across, down = siz.tiles
    found: list[list[tuple[int, int]]] = [[] for _ in range(across * down)]
    at = facts.start + len(siz.header)
    while at + 12 <= facts.end:
        file.seek(at)
        marker, _, tile, length = struct.unpack(">HHHI", file.read(10))
        if marker != _SOT:
            break
        end = at + length if length else facts.end - 2
        if tile >= len(found) or 0 < length < 14 or end > facts.end:
            raise struct.error("a tile is cut short")
        found[tile].append((at, end))
        at = end
    if not all(found):
        raise struct.error("a tile is missing")
    return found


def tile_alone(file: BinaryIO, siz: Siz, number: int, parts: list[tuple[int, int]]) -> bytes:
    """A codestream that has one tile of another, at the same place."""
    across, _ = siz.tiles
    right, bottom, left, top, width, height, first_left, first_top = siz.grid
    x, y = first_left + number % across * width, first_top + number // across * height
    grid = (
        min(x + width, right),
        min(y + height, bottom),
        max(x, left),
        max(y, top),
        width,
        height,
        x,
        y,
    )
    content = bytearray()
    for marker, start, end in _segments(siz.header):
        if marker not in (_TLM, _PLM):  # which tell where parts are
            content += siz.header[start:end]
    struct.pack_into(">8I", content, 8, *grid)
    for start, end in parts:
        file.seek(start)
        part = bytearray(file.read(end - start))
        struct.pack_into(">HI", part, 4, 0, len(part))
        content += part
    return bytes(content + b"\xff\xd9")


def pack_header(
    *,
    height: int,
    width: int,
    count: int,
    bits: int,
    alpha: bool,
    profile: bytes,
    resolution: tuple[float, float] | None,
) -> bytes:
    """The box jp2h of a picture of ``count`` components of so many bits each."""
    colours = count - alpha
    told = b"\2\0\0" + profile if profile else struct.pack(">3BI", 1, 0, 0, _number(colours))
    inner = pack_box(b"ihdr", struct.pack(">IIH4B", height, width, count, bits - 1, 7, 0, 0))
    inner += pack_box(b"colr", told)
    if alpha:
        entries = [(i, 0, i + 1) for i in range(colours)] + [(colours, 1, 0)]
        inner += pack_box(
            b"cdef",
            struct.pack(">H", count) + b"".join(struct.pack(">3H", *entry) for entry in entries),
        )
    if resolution:
        across, down = (_fraction(1000 * each) for each in resolution)
        numbers = struct.pack(">4H2b", *down[:2], *across[:2], down[2], across[2])
        inner += pack_box(b"res ", pack_box(b"resc", numbers))
    return pack_box(b"jp2h", inner)


def stitched(header: bytes, height: int, width: int, tile: int) -> bytes:
    """The header of a codestream of tiles, made of that of one of its tiles, which is its first."""
    content = bytearray(header)
    struct.pack_into(">8I", content, 8, width, height, 0, 0, tile, tile, 0, 0)
    return bytes(content)


def split_tile(codestream: bytes) -> tuple[bytes, bytes]:
    """A codestream of one tile: its header, and the tile's parts; raises ``struct.error``."""
    end = 2
    while struct.unpack_from(">H", codestream, end)[0] != _SOT:
        end += 2 + struct.unpack_from(">H", codestream, end + 2)[0]
    return codestream[:end], codestream[end:-2]


def coding(header: bytes) -> bytes:
    """How tiles are coded by a codestream's header: the markers COD and QCD."""
    return b"".join(
        header[start:end] for marker, start, end in _segments(header) if marker in (_COD, _QCD)
    )


def renumbered(part: bytes, number: int, own: bytes) -> bytes:
    """A tile's only part as that of another tile, which is coded as ``own`` says, if not empty.

    Raises ``struct.error`` if it has several parts.
    """
    (length,) = struct.unpack_from(">I", part, 6)
    if length not in (0, len(part)):
        raise struct.error("a tile of several parts")
    content = bytearray(part[:12] + own + part[12:])
    struct.pack_into(">HI", content, 4, number, len(content))
    return bytes(content)


def _segments(header: bytes) -> Iterator[tuple[int, int, int]]:
    """Of a codestream's header its markers, and where their segments start and end."""
    yield 0xFF4F, 0, 2
    at = 2
    while at < len(header):
        marker, length = struct.unpack_from(">HH", header, at)
        yield marker, at, at + 2 + length
        at += 2 + length


def _take_header(facts: Facts, file: BinaryIO, box: Box) -> None:
    content = box.read(file)
    if box.kind == b"colr" and facts.colours is None and not facts.profile:
        if content[0] == 1:
            (facts.colours,) = struct.unpack_from(">I", content, 3)
        elif content[0] in (2, 3):
            facts.profile = content[3:]
    elif box.kind == b"pclr":
        facts.has_palette = True
    elif box.kind == b"cdef":
        (count,) = struct.unpack_from(">H", content)
        for i in range(count):
            number, kind, colour = struct.unpack_from(">3H", content, 2 + 6 * i)
            facts.channels[number] = (kind, colour)
    elif box.kind == b"res ":
        for inner in boxes(file, box.start, box.end):
            if inner.kind in (b"resc", b"resd"):
                down, under, across, over, high, wide = struct.unpack(">4H2b", inner.read(file, 10))
                if down and under and across and over:
                    facts.resolution = (
                        across / over * 10.0**wide / 1000,
                        down / under * 10.0**high / 1000,
                    )


def _number(colours: int) -> int:
    return GREY if colours == 1 else SRGB


def _fraction(value: float) -> tuple[int, int, int]:
    """A positive number as two of 16 bits, the second not 0, and a power of ten."""
    power = 0
    while value >= 65535:
        value, power = value / 10, power + 1
    under = 1
    while under < 1000 and value * under * 10 < 65535:
        under *= 10
    return round(value * under), under, power
