"""The descriptive tags of TIFF files (who, when, where, with what), as a block of EXIF.

EXIF is itself a small TIFF file without a picture. libvips reads and writes it in every
format but TIFF, where its tags belong to the file's own directory: hence this module.
Source: TIFF 6.0, section 2; BigTIFF; EXIF 2.32, section 4.6.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

_PREFIX = b"Exif\0\0"
_EXIF, _GPS, _INTEROPERABILITY = 34665, 34853, 40965
_DIRECTORIES = (_EXIF, _GPS, _INTEROPERABILITY)
_WIDTH, _HEIGHT, _IPTC = 40962, 40963, 33723

_DESCRIPTIVE = {
    269,  # document name
    270,  # image description
    271,  # make
    272,  # model
    285,  # page name
    305,  # software
    306,  # date and time
    315,  # artist
    316,  # host computer
    18246,  # rating
    33432,  # copyright
    *range(40091, 40096),  # title, comment, author, keywords, subject
    *_DIRECTORIES,
}
"""Of the first directory; its other tags say how the pixels are stored."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
_RATIONALS = (5, 10)
_LARGEST = 2**16

Entry = tuple[int, int, int, "bytes | list[Entry]"]
"""Tag, type, count, and the values, little-endian, or the entries of another directory."""


def read(path: Path) -> bytes | None:
    """A TIFF file's descriptive tags as an EXIF block; ``None`` if it has none."""
    try:
        with path.open("rb") as file:
            entries = _first_directory(file)
    except (OSError, struct.error):
        return None  # damaged: what reads the pixels will say so
    if not entries:
        return None
    content, start = pack(entries, 8, big=False)
    # JPEG has no room for more.
    exif = _PREFIX + struct.pack("<2sHI", b"II", 42, start) + content
    return exif if len(exif) < _LARGEST - 2 else None


def add(path: Path, exif: bytes, iptc: bytes, *, height: int, width: int) -> None:
    """Add EXIF and IPTC blocks to the first directory of a little-endian TIFF file.

    Either may be empty. EXIF's pixel dimensions become ``height`` and ``width``. What the
    file says itself, such as its orientation and resolution, stays. Raises ``OSError`` if
    it cannot be written.
    """
    entries: list[Entry] = []
    with suppress(struct.error):
        entries = _first_directory(BytesIO(exif.removeprefix(_PREFIX)))
    if iptc:
        # As whole longs, by custom.
        entries.append((_IPTC, 4, -(-len(iptc) // 4), iptc + bytes(-len(iptc) % 4)))
    for _, _, _, values in entries:
        if isinstance(values, list):
            for number, (tag, *_) in enumerate(values):
                if tag in (_WIDTH, _HEIGHT):
                    side = width if tag == _WIDTH else height
                    values[number] = (tag, 4, 1, struct.pack("<I", side))
    with path.open("r+b") as file:
        _, big, start = _header(file)
        size, head = (20, "<Q") if big else (12, "<H")
        file.seek(start)
        (count,) = struct.unpack(head, file.read(struct.calcsize(head)))
        raw = [file.read(size) for _ in range(count)]
        following = file.read(8 if big else 4)
        there = {struct.unpack("<H", entry[:2])[0] for entry in raw}
        new = [entry for entry in entries if entry[0] not in there]
        end = file.seek(0, 2)
        end += file.write(bytes(end % 2))
        content, start = pack(new, end, big=big, raw=raw, following=following)
        file.write(content)
        # Last, so that the file is whole at every moment.
        file.seek(8 if big else 4)
        file.write(struct.pack("<Q" if big else "<I", start))


def without_preview(exif: bytes) -> bytes:
    """An EXIF block without its second directory, which holds a preview of the small picture."""
    at = len(_PREFIX)
    try:
        endian, _, start = _header(BytesIO(exif[at:]))
        (number,) = struct.unpack_from(endian + "H", exif, at + start)
    except struct.error:
        return exif
    pointer = at + start + 2 + 12 * number
    return exif[:pointer] + bytes(4) + exif[pointer + 4 :]


def _first_directory(file: BinaryIO) -> list[Entry]:
    endian, big, start = _header(file)
    return [
        entry for entry in _entries(file, endian, big, start, depth=2) if entry[0] in _DESCRIPTIVE
    ]


def _header(file: BinaryIO) -> tuple[str, bool, int]:
    """Byte order, whether it is BigTIFF, and where the first directory is."""
    head = file.read(16)
    endian = {b"II": "<", b"MM": ">"}.get(head[:2])
    if endian is None:
        raise struct.error("no TIFF")
    (magic,) = struct.unpack_from(endian + "H", head, 2)
    if magic == 43:
        return endian, True, struct.unpack_from(endian + "Q", head, 8)[0]
    return endian, False, struct.unpack_from(endian + "I", head, 4)[0]


def _entries(file: BinaryIO, endian: str, big: bool, start: int, *, depth: int) -> list[Entry]:
    head, form, room = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    file.seek(min(start, 2**62))
    (number,) = struct.unpack(endian + head, file.read(struct.calcsize(endian + head)))
    size = struct.calcsize("<" + form) + room
    table = file.read(size * min(number, 1024))
    found: list[Entry] = []
    for position in range(0, len(table) - size + 1, size):
        tag, kind, count = struct.unpack_from(endian + form, table, position)
        length = _SIZES.get(kind, 0) * count
        if not 0 < length < _LARGEST:
            continue
        values = table[position + size - room : position + size]
        if length > room:
            file.seek(struct.unpack(endian + ("Q" if big else "I"), values)[0] & (2**62 - 1))
            values = file.read(length)
        values = values[:length]
        if len(values) < length:
            continue
        if endian == ">":
            unit = 4 if kind in _RATIONALS else _SIZES[kind]
            values = b"".join(values[i : i + unit][::-1] for i in range(0, length, unit))
        if tag in _DIRECTORIES:
            inner = int.from_bytes(values, "little")
            if depth:
                nested = _entries(file, endian, big, inner, depth=depth - 1)
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
