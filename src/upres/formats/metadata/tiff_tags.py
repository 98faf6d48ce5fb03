"""TIFF's directories of tags, which describe a page: read, and packed to be written.

Source: TIFF 6.0, section 2; BigTIFF.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO

WIDTH, HEIGHT, PHOTOMETRIC, SAMPLES_PER_PIXEL, EXTRA_SAMPLES = 256, 257, 262, 277, 338
EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965
DIRECTORIES = (EXIF, GPS, INTEROPERABILITY)
"""Tags whose value is another directory."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, NO_UNIT = 282, 283, 296, 1
_MILLIMETRES = {2: 25.4, 3: 10.0}
"""Of a unit of resolution: an inch, as it is without a word, or a centimetre."""
_INTEGERS, _RATIONALS = (3, 4), (5, 10)
_FARTHEST = 2**62
"""A damaged file may point farther than any file system goes, which ``seek`` refuses."""

Entry = tuple[int, int, int, "bytes | list[Entry]"]
"""Tag, type, count, and the values, little-endian, or the entries of another directory."""


def read_header(file: BinaryIO) -> tuple[str, bool, int]:
    """Byte order, whether it is BigTIFF, and where the first directory is.

    Raises ``struct.error`` if it is no TIFF file.
    """
    file.seek(0)
    head = file.read(16)
    endian = {b"II": "<", b"MM": ">"}.get(head[:2])
    if endian is None:
        raise struct.error("no TIFF")
    (magic,) = struct.unpack_from(endian + "H", head, 2)
    if magic == 43:
        return endian, True, struct.unpack_from(endian + "Q", head, 8)[0]
    return endian, False, struct.unpack_from(endian + "I", head, 4)[0]


def read_numbers(file: BinaryIO, directory: int | None = None) -> dict[int, int]:
    """By tag, the first of a page's few numbers; 0 of one that is no whole number.

    The page is that whose ``directory`` is there, or the first. Raises ``struct.error`` if the
    file is damaged.
    """
    endian, big, start = read_header(file)
    entries = read_entries(file, endian, big, directory or start, depth=0, largest=9)
    return {
        tag: int.from_bytes(values[: _SIZES[kind]], "little") if kind in _INTEGERS else 0
        for tag, kind, _, values in entries
        if isinstance(values, bytes)
    }


def has_resolution(tags: dict[int, int]) -> bool:
    """Whether a page's ``tags`` say how many pixels go into an inch or centimetre."""
    return X_RESOLUTION in tags and tags.get(RESOLUTION_UNIT) != NO_UNIT


def read_resolution(file: BinaryIO) -> tuple[float, float] | None:
    """How many pixels go into a millimetre, horizontally and vertically, by the first directory.

    ``None`` if it does not say. Raises ``struct.error`` if the file is damaged.
    """
    endian, big, start = read_header(file)
    found = {
        tag: values
        for tag, kind, _, values in read_entries(file, endian, big, start, depth=0, largest=9)
        if isinstance(values, bytes) and (tag == RESOLUTION_UNIT or kind == _RATIONALS[0])
    }
    unit = _MILLIMETRES.get(int.from_bytes(found.get(RESOLUTION_UNIT, b"\2"), "little"))
    if unit is None or not {X_RESOLUTION, Y_RESOLUTION} <= found.keys():
        return None
    across, over, down, under = struct.unpack("<4I", found[X_RESOLUTION] + found[Y_RESOLUTION])
    if not (across and over and down and under):
        return None
    return across / over / unit, down / under / unit


def read_starts(file: BinaryIO) -> list[int]:
    """Where the directories of a file's pages are; raises ``struct.error`` if it is damaged."""
    endian, big, start = read_header(file)
    offset = endian + ("Q" if big else "I")
    # In the order of the pages.
    starts: dict[int, None] = {}
    while start and start not in starts:
        starts[start] = None
        file.seek(next_pointer(file, endian, big, start))
        (start,) = struct.unpack(offset, file.read(struct.calcsize(offset)))
    return list(starts)


def next_pointer(file: BinaryIO, endian: str, big: bool, start: int) -> int:
    """Where the directory at ``start`` says where the next page's is.

    Raises ``struct.error`` if the file is damaged.
    """
    head, size = (endian + "Q", 20) if big else (endian + "H", 12)
    file.seek(min(start, _FARTHEST))
    (number,) = struct.unpack(head, file.read(struct.calcsize(head)))
    return file.tell() + min(size * int(number), _FARTHEST)


def read_tags(file: BinaryIO, endian: str, big: bool, start: int) -> set[int]:
    """The tags of the directory at ``start``; raises ``struct.error`` if it is damaged."""
    head, size = ("Q", 20) if big else ("H", 12)
    file.seek(min(start, _FARTHEST))
    (number,) = struct.unpack(endian + head, file.read(struct.calcsize(endian + head)))
    table = file.read(size * min(number, 1024))
    return {
        struct.unpack_from(endian + "H", table, place)[0]
        for place in range(0, len(table) - size + 1, size)
    }


def read_entries(
    file: BinaryIO, endian: str, big: bool, start: int, *, depth: int, largest: int = 2**16
) -> list[Entry]:
    """The entries of the directory at ``start``; raises ``struct.error`` if it is damaged.

    Those whose values take ``largest`` bytes or more are left out, and so are directories
    that are nested deeper than ``depth``.
    """
    head, form, room = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    file.seek(min(start, _FARTHEST))
    (number,) = struct.unpack(endian + head, file.read(struct.calcsize(endian + head)))
    size = struct.calcsize("<" + form) + room
    table = file.read(size * min(number, 1024))
    found: list[Entry] = []
    for position in range(0, len(table) - size + 1, size):
        tag, kind, count = struct.unpack_from(endian + form, table, position)
        length = _SIZES.get(kind, 0) * count
        if not 0 < length < largest:
            continue
        values = table[position + size - room : position + size]
        if length > room:
            file.seek(struct.unpack(endian + ("Q" if big else "I"), values)[0] & (_FARTHEST - 1))
            values = file.read(length)
        values = values[:length]
        if len(values) < length:
            continue
        if endian == ">":
            unit = 4 if kind in _RATIONALS else _SIZES[kind]
            values = b"".join(values[i : i + unit][::-1] for i in range(0, length, unit))
        if tag in DIRECTORIES:
            inner = int.from_bytes(values, "little")
            if depth:
                nested = read_entries(file, endian, big, inner, depth=depth - 1, largest=largest)
                found.append((tag, 4, 1, nested))
            continue
        found.append((tag, kind, count, values))
    return found


def pack(
    entries: list[Entry], at: int, *, big: bool, raw: Sequence[bytes] = (), following: bytes = b""
) -> tuple[bytes, int]:
    """Bytes that hold a directory when they stand at ``at``, and where in the file it starts.

    ``raw`` are further entries, as they are in the file; ``following`` points to the next
    directory.
    """
    head, offset, form = ("<Q", "<Q", "<HHQ") if big else ("<H", "<I", "<HHI")
    room = struct.calcsize(offset)
    content = bytearray()
    packed = list(raw)
    for tag, kind, count, values in entries:
        if isinstance(values, list):
            inner, start = pack(values, at + len(content), big=big)
            content += inner
            kind, count, values = (16 if big else 4), 1, struct.pack(offset, start)
        if len(values) > room:
            where = struct.pack(offset, at + len(content))
            content += values + bytes(len(values) % 2)
            values = where
        packed.append(struct.pack(form, tag, kind, count) + values.ljust(room, b"\0"))
    packed.sort(key=lambda entry: struct.unpack("<H", entry[:2]))
    start = at + len(content)
    content += struct.pack(head, len(packed)) + b"".join(packed) + following.ljust(room, b"\0")
    return bytes(content), start
