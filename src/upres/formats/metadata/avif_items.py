"""The items of an AVIF file, and what they are to each other: tiles of a grid, alpha, gain maps.

Sources: ISO/IEC 14496-12, section 8.11 (items); ISO/IEC 23008-12 (HEIF), sections 6.4 to 6.6 and
9.3; ISO 21496-1, annex C.4 (tmap).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from upres.formats.metadata.boxes import Box, boxes

_PICTURES = (b"av01", b"grid", b"iovl", b"iden", b"hvc1", b"avc1", b"jpeg", b"unci")
"""Kinds of items that are pictures."""

_INPUT, _AUXILIARY, _THUMBNAIL = b"dimg", b"auxl", b"thmb"
"""How an item refers to others: to what it is made of, what it belongs to, what it shows small."""

_META_BYTES = 2**24

LIGHT = (b"clli", b"mdcv")
"""Properties that tell how bright a picture is, and the screen that it was made on."""


@dataclass
class Items:
    """The facts in a file's box meta."""

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)
    references: list[tuple[bytes, int, int]] = field(default_factory=list)
    """Kind, from which item and to which."""
    properties: list[tuple[bytes, int, bytes]] = field(default_factory=list)
    """Kind, where in the file its content is, and that."""
    described: dict[int, list[int]] = field(default_factory=dict)
    """By item, the numbers of its properties, from 0."""

    @property
    def pictures(self) -> list[int]:
        """The items that are pictures by themselves, and no part of another."""
        parts = {to for kind, _, to in self.references if kind == _INPUT}
        parts |= {of for kind, of, _ in self.references if kind in (_AUXILIARY, _THUMBNAIL)}
        return [
            number
            for number, kind in self.kinds.items()
            if number == self.primary or (kind in _PICTURES and number not in parts | self.hidden)
        ]

    @property
    def colour_numbers(self) -> tuple[int, int]:
        """Primaries and transfer function of the picture by CICP; 2, not known, without them."""
        found = self.nclx
        primaries, transfer = struct.unpack_from(">HH", found[1], 4) if found else (2, 2)
        # H.273 has numbers of a byte.
        return (primaries, transfer) if max(primaries, transfer) < 256 else (2, 2)

    @property
    def nclx(self) -> tuple[int, bytes] | None:
        """Where in the file the picture's colours are told by numbers, and how."""
        for kind, start, content in self._of(self.primary):
            if kind == b"colr" and content[:4] == b"nclx" and len(content) >= 11:
                return start, content
        return None

    @property
    def coded(self) -> list[tuple[bytes, bytes]]:
        """Kind and content of the picture's properties, and of its tiles', if it is a grid."""
        tiles = [to for kind, of, to in self.references if (kind, of) == (_INPUT, self.primary)]
        return [
            (kind, content)
            for item in (self.primary, *tiles[:1])
            for kind, _, content in self._of(item)
            if item == self.primary or kind == b"av1C"
        ]

    @property
    def light(self) -> list[tuple[bytes, bytes]]:
        """Kind and content of what tells of the picture's brightness."""
        return [(kind, content) for kind, _, content in self._of(self.primary) if kind in LIGHT]

    @property
    def extras(self) -> list[str]:
        """Names of what is beside the picture and its alpha."""
        found = []
        told = [
            content
            for of in self._auxiliaries()
            for kind, _, content in self._of(of)
            if kind == b"auxC"
        ]
        if b"tmap" in self.kinds.values() or any(b"gainmap" in each.lower() for each in told):
            found.append("gain map")
        if any(b"auxid:2" in each or b"depth" in each for each in told):
            found.append("depth map")
        return found

    def _auxiliaries(self) -> list[int]:
        return [of for kind, of, to in self.references if kind == _AUXILIARY and to == self.primary]

    def _of(self, item: int) -> Iterator[tuple[bytes, int, bytes]]:
        for number in self.described.get(item, []):
            if number < len(self.properties):
                yield self.properties[number]


def read(path: Path) -> Items:
    """The items of a file; nothing of what is damaged."""
    found = Items()
    with path.open("rb") as file, suppress(struct.error, IndexError):
        for each in boxes(file):
            if each.kind == b"meta":
                content = each.read(file, _META_BYTES)
                _read_meta(BytesIO(content), each, found)
                break
    return found


def _read_meta(file: BytesIO, meta: Box, found: Items) -> None:
    for each in boxes(file, 4):
        content = each.read(file)
        if each.kind == b"pitm":
            found.primary = _number(content, 4, wide=content[0] > 0)
        elif each.kind == b"iinf":
            start = each.start + (6 if content[0] == 0 else 8)
            for entry in boxes(file, start, each.end):
                _read_entry(entry.read(file), found)
        elif each.kind == b"iref":
            for entry in boxes(file, each.start + 4, each.end):
                _read_reference(entry.kind, entry.read(file), content[0] > 0, found)
        elif each.kind == b"iprp":
            for part in boxes(file, each.start, each.end):
                if part.kind == b"ipco":
                    found.properties += [
                        (one.kind, meta.start + one.start, one.read(file))
                        for one in boxes(file, part.start, part.end)
                    ]
                elif part.kind == b"ipma":
                    _read_associations(part.read(file), found)


def _read_entry(content: bytes, found: Items) -> None:
    """A box infe: an item's kind, and whether it is hidden."""
    version, flags = content[0], int.from_bytes(content[1:4], "big")
    if version < 2:
        return
    wide = version > 2
    number = _number(content, 4, wide=wide)
    at = (8 if wide else 6) + 2
    found.kinds[number] = content[at : at + 4]
    if flags & 1:
        found.hidden.add(number)


def _read_reference(kind: bytes, content: bytes, wide: bool, found: Items) -> None:
    size = 4 if wide else 2
    own = _number(content, 0, wide=wide)
    (count,) = struct.unpack_from(">H", content, size)
    for number in range(count):
        other = _number(content, size + 2 + number * size, wide=wide)
        found.references.append((kind, own, other))


def _read_associations(content: bytes, found: Items) -> None:
    wide, long = content[0] > 0, content[3] & 1
    (count,) = struct.unpack_from(">I", content, 4)
    at = 8
    for _ in range(count):
        item = _number(content, at, wide=wide)
        at += 4 if wide else 2
        several, at = content[at], at + 1
        for _ in range(several):
            index = struct.unpack_from(">H" if long else ">B", content, at)[0]
            at += 2 if long else 1
            # The highest bit says that readers must know it; 0 is none.
            index &= 0x7FFF if long else 0x7F
            if index:
                found.described.setdefault(item, []).append(index - 1)


def _number(content: bytes, at: int, *, wide: bool) -> int:
    found: int = struct.unpack_from(">I" if wide else ">H", content, at)[0]
    return found
