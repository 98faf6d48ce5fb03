"""The boxes that AVIF files are made of, read into memory and packed.

Sources: ISO/IEC 14496-12 (base media file format), sections 4.2 and 8.11; 23008-12 (HEIF), sections
6.5 and 9.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

LONGEST_BOX = 2**26
"""Bytes of a box that is read into memory: those that describe pixels, not they themselves."""


@dataclass(frozen=True)
class Item:
    """A picture or a block of metadata in a file of stills."""

    kind: bytes
    """``av01``, ``Exif`` or ``mime``."""
    extents: tuple[tuple[int, int], ...]
    """Where its content is in the file, and how many bytes."""
    properties: tuple[bytes, ...]
    """Whole boxes that describe it."""


def box(kind: bytes, *content: bytes) -> bytes:
    """A box as a file has it."""
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind: bytes, version: int, flags: int, *content: bytes) -> bytes:
    """A box with a version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *content)


def boxes(content: bytes, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each box that follows ``start``; raises ``struct.error`` if damaged."""
    while start + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, start)
        size = size or len(content) - start
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, start + 8)
            head = 16
        if size < head or start + size > len(content):
            raise struct.error("a box ends beyond the one that it is in")
        yield kind, content[start + head : start + size]
        start += size


def find_box(content: bytes, *path: bytes) -> bytes:
    """The content of the first box at a path of kinds; raises ``struct.error`` if there is none."""
    for kind in path:
        found = next((inner for name, inner in boxes(content) if name == kind), None)
        if found is None:
            raise struct.error(f"no box {kind!r}")
        content = found
    return content


def read_top(file: BinaryIO) -> dict[bytes, bytes]:
    """The contents of a file's boxes by kind, but for its pixels; the first of each kind.

    Raises ``struct.error`` if it is damaged.
    """
    end = file.seek(0, 2)
    found: dict[bytes, bytes] = {}
    at = 0
    while at + 8 <= end:
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
            head = 16
        size = size or end - at
        if size < head or at + size > end:
            raise struct.error("a box ends beyond the file")
        if kind in (b"ftyp", b"meta", b"moov"):
            if size > LONGEST_BOX:
                raise struct.error("a box is too long")
            found.setdefault(kind, file.read(size - head))
        at += size
    return found


def items(meta: bytes) -> dict[int, Item]:
    """The items of a box meta, whose content is given, by their numbers.

    Those whose content is not at a place in the file are left out. Raises ``struct.error`` if it
    is damaged.
    """
    inside = dict(boxes(meta, 4))
    places = dict(_places(inside.get(b"iloc", bytes(8))))
    properties = _properties(inside.get(b"iprp", b""))
    found = {}
    information = inside.get(b"iinf", bytes(6))
    start = 8 if information[0] else 6
    for kind, content in boxes(information, start):
        if kind == b"infe" and content[0] >= 2:
            form = ">H" if content[0] == 2 else ">I"
            (number,) = struct.unpack_from(form, content, 4)
            at = 4 + struct.calcsize(form) + 2
            if number in places:
                told = properties.get(number, ())
                found[number] = Item(content[at : at + 4], places[number], told)
    return found


def references(meta: bytes, kind: bytes) -> list[tuple[int, int]]:
    """From which item to which there is a reference of that kind; numbers of two bytes."""
    told = dict(boxes(meta, 4)).get(b"iref", bytes(4))
    return [
        struct.unpack_from(">HxxH", content)
        for name, content in boxes(told, 4)
        if name == kind and told[0] == 0
    ]


def _places(content: bytes) -> Iterator[tuple[int, tuple[tuple[int, int], ...]]]:
    version = content[0]
    sizes, more = content[4], content[5]
    offset, length, base, index = sizes >> 4, sizes & 15, more >> 4, more & 15
    at = 6

    def number(size: int) -> int:
        nonlocal at
        at += size
        if at > len(content):
            raise struct.error("a list of places is too short")
        return int.from_bytes(content[at - size : at], "big")

    wide = 4 if version == 2 else 2
    for _ in range(number(wide)):
        name = number(wide)
        method = number(2) & 15 if version else 0
        number(2)  # of a file elsewhere, which is none
        start = number(base)
        extents = []
        for _ in range(number(2)):
            number(index if version else 0)
            extents.append((start + number(offset), number(length)))
        if method == 0:
            yield name, tuple(extents)


def _properties(content: bytes) -> dict[int, tuple[bytes, ...]]:
    inside = dict(boxes(content))
    every = [box(kind, body) for kind, body in boxes(inside.get(b"ipco", b""))]
    told = inside.get(b"ipma")
    found: dict[int, tuple[bytes, ...]] = {}
    if told is None:
        return found
    wide, double = told[0] > 0, told[3] & 1
    (count,) = struct.unpack_from(">I", told, 4)
    at = 8
    for _ in range(count):
        form = ">IB" if wide else ">HB"
        name, number = struct.unpack_from(form, told, at)
        at += struct.calcsize(form)
        step = 2 if double else 1
        own = []
        for _ in range(number):
            index = int.from_bytes(told[at : at + step], "big") & (0x7FFF if double else 0x7F)
            at += step
            if 0 < index <= len(every):
                own.append(every[index - 1])
        found[name] = tuple(own)
    return found
