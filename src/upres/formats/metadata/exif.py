"""EXIF of an enlarged picture: its input's own block, but for tags that tell of size and place.

libvips takes a block apart and writes those tags that its library knows; here all the others stay
as well, and a camera's private notes where they were, as many of them point into the block.
Sources: EXIF 2.32, section 4.6; PNG, third edition, section 11.3.2.5; WebP Container
Specification (RFC 9649, section 2.7); ISO/IEC 14496-12, sections 8.11.3 and 8.11.6, and
23008-12, annex A.2.1 (HEIF).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from upres.files import splice
from upres.formats.metadata.tiff_tags import EXIF, INTEROPERABILITY, read_header

PREFIX = b"Exif\0\0"
"""A block begins with it in JPEG files."""

_WIDTHS, _HEIGHTS = (256, 40962, 4097), (257, 40963, 4098)
_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _UNIT = 274, 282, 283, 296
_THUMBNAIL, _THUMBNAIL_BYTES = 513, 514
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_INCH = 2
_MOST = 2**32 - 1
"""Of a number in a fraction."""


def fitting(
    exif: bytes,
    *,
    height: int,
    width: int,
    dots_per_inch: tuple[float, float] | None,
    turned: bool = False,
) -> bytes:
    """A block of EXIF for a picture of that size, upright, without a preview; without ``PREFIX``.

    Where the block has no resolution, it gets ``dots_per_inch`` (horizontal, vertical), if known.
    Of a picture that was ``turned`` so that rows became columns, resolutions change places.

    Raises ``struct.error`` if it is damaged.
    """
    block = bytearray(exif.removeprefix(PREFIX))
    endian, big, start = read_header(BytesIO(block))
    if big:
        raise struct.error("EXIF is no BigTIFF")

    def entries(at: int) -> Iterator[tuple[int, int, int]]:
        """Tag, place and value of the entries of the directory at ``at``."""
        (count,) = struct.unpack_from(endian + "H", block, at)
        for place in range(at + 2, at + 2 + 12 * count, 12):
            (tag,) = struct.unpack_from(endian + "H", block, place)
            yield tag, place, struct.unpack_from(endian + "I", block, place + 8)[0]

    def fit(at: int, depth: int) -> None:
        for tag, place, value in entries(at):
            if tag in _WIDTHS or tag in _HEIGHTS:
                side = width if tag in _WIDTHS else height
                struct.pack_into(endian + "HII", block, place + 2, _LONG, 1, side)
            elif tag == _ORIENTATION:
                struct.pack_into(endian + "HIHH", block, place + 2, _SHORT, 1, 1, 0)
            elif tag in (EXIF, INTEROPERABILITY) and depth:
                fit(value, depth - 1)

    fit(start, 2)
    places = {tag: place for tag, place, _ in entries(start)}
    if turned and {_X_RESOLUTION, _Y_RESOLUTION} <= places.keys():
        across, down = (
            slice(places[t] + 2, places[t] + 12) for t in (_X_RESOLUTION, _Y_RESOLUTION)
        )
        block[across], block[down] = block[down], block[across]
    tags = [tag for tag, *_ in entries(start)]
    end = start + 2 + 12 * len(tags)
    (preview,) = struct.unpack_from(endian + "I", block, end)
    struct.pack_into(endian + "I", block, end, 0)
    own = bytes(block[start + 2 : end])
    if preview:
        places = {tag: value for tag, _, value in entries(preview)}
        first = places.get(_THUMBNAIL, 0)
        last = first + places.get(_THUMBNAIL_BYTES, 0)
        if block.startswith(b"\xff\xd8", first):
            block[first:last] = bytes(len(block[first:last])) if last < len(block) else b""
    if dots_per_inch and _X_RESOLUTION not in tags:
        # A longer directory, at the end, so that everything else stays where it is.
        block += bytes(len(block) % 2)
        new = [own[place : place + 12] for place in range(0, len(own), 12)]
        for tag, dots in zip((_X_RESOLUTION, _Y_RESOLUTION), dots_per_inch, strict=True):
            new.append(struct.pack(endian + "HHII", tag, _RATIONAL, 1, len(block)))
            unit = 1000 if dots * 1000 < _MOST else 1
            block += struct.pack(endian + "II", min(round(dots * unit), _MOST), unit)
        new.append(struct.pack(endian + "HHIHH", _UNIT, _SHORT, 1, _INCH, 0))
        held = {entry[:2]: entry for entry in new}  # old ones of these give way
        ordered = sorted(held.values(), key=lambda entry: struct.unpack(endian + "H", entry[:2]))
        struct.pack_into(endian + "I", block, 4, len(block))
        block += struct.pack(endian + "H", len(ordered)) + b"".join(ordered) + bytes(4)
    return bytes(block)


def replace_in_webp(path: Path, block: bytes) -> None:
    """Put ``block``, which has no ``PREFIX``, in the place of a WebP file's EXIF, if it has any."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8)[4:], "little")
        at = 12
        file.seek(at)
        while len(head := file.read(8)) == 8:
            length = int.from_bytes(head[4:], "little")
            length += length % 2
            if head[:4] == b"EXIF":
                break
            at += 8 + length
            file.seek(at)
        else:
            return
    new = b"EXIF" + struct.pack("<I", len(block)) + block + bytes(len(block) % 2)
    splice(path, at, at + 8 + length, new)
    splice(path, 4, 8, struct.pack("<I", size + len(new) - 8 - length))


def replace_in_avif(path: Path, block: bytes) -> None:
    """Put ``block``, which has no ``PREFIX``, in the place of an AVIF file's EXIF, if it has any.

    If it is longer, it stands at the file's end, and the file's list of items tells so.
    """
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        file.seek(0)
        meta = b""
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"meta":
                start, meta = file.tell(), file.read(length - 8)
                break
            file.seek(max(length, 8) - 8, 1)
        found = _place_of_exif(meta)
        if found is None:
            return
        at, base = found
        numbers = struct.unpack_from(">IHII" if base else ">HII", meta, at)
        old, length = numbers[-2] + (numbers[0] if base else 0), numbers[-1]
        content = bytes(4) + block  # EXIF's own header follows after no bytes
        file.seek(old)
        file.write(content.ljust(length, b"\0")[:length])
        place = old
        if len(content) > length:
            file.seek(end)
            file.write(struct.pack(">I4s", 8 + len(content), b"mdat") + content)
            place = end + 8
        file.seek(start + at)
        # The base, the number of extents, and of the only one place and length.
        file.write(bytes(base) + struct.pack(">HII", 1, place, len(content)))


def _place_of_exif(meta: bytes) -> tuple[int, int] | None:
    """Where a meta box says where EXIF is, and of how many bytes is the base that it starts with.

    ``None`` if there is none.
    """
    boxes = {}
    at = 4
    while at + 8 <= len(meta):
        length, kind = struct.unpack_from(">I4s", meta, at)
        boxes[kind] = at + 8
        at += max(length, 8)
    if not {b"iinf", b"iloc"} <= boxes.keys():
        return None
    item = meta.find(b"Exif", boxes[b"iinf"])
    # Of a box infe of version 2: number, protection, then the kind, which was found.
    if item < 12 or meta[item - 12 : item - 7] != b"infe\x02":
        return None
    number = meta[item - 4 : item - 2]
    at = boxes[b"iloc"]
    # Version 0, with numbers of four bytes: libheif writes it so, with a base or without.
    if meta[at : at + 4] != bytes(4) or meta[at + 4 : at + 6] not in (b"\x44\0", b"\x44\x40"):
        return None
    base = 4 if meta[at + 5] else 0
    (count,) = struct.unpack_from(">H", meta, at + 6)
    at += 8
    for _ in range(count):
        name, rest = meta[at : at + 2], at + 4 + base
        extents = int.from_bytes(meta[rest : rest + 2], "big")
        if name == number and extents == 1:
            return at + 4, base
        at = rest + 2 + 8 * extents
    return None
