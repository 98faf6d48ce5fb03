"""The descriptive tags of TIFF files (who, when, where, by which camera), as a block of EXIF.

EXIF is itself a small TIFF file without a picture. libvips reads and writes it in every
format but TIFF, where its tags belong to the file's own directories: hence this module.
Source: EXIF 2.32, section 4.6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from upres.formats.metadata.exif import PREFIX
from upres.formats.metadata.jpeg_segments import LONGEST_SEGMENT
from upres.formats.metadata.tiff_tags import (
    DIRECTORIES,
    NO_UNIT,
    RESOLUTION_UNIT,
    Entry,
    pack,
    read_entries,
    read_header,
)

_IPTC = 33723
DESCRIPTION, ASCII = 270, 2

_DESCRIPTIVE = {
    269,  # document name
    DESCRIPTION,
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
    *DIRECTORIES,
}
"""Of a page; its other tags say how the pixels are stored."""

_LARGEST = 2**24
"""Bytes of a value; longer ones are passed over."""

SHAPE_NOTE = '{"shape"'
"""Begins a description that is a library's note of the small picture's shape."""


def read(file: BinaryIO, directory: int | None) -> bytes:
    """Descriptive tags of a page of a TIFF file as an EXIF block; nothing if it has none.

    The page is that whose ``directory`` is there, or the first. Raises ``struct.error`` if it is
    damaged.
    """
    entries = _descriptive(file, directory)
    return packed(entries) if entries else b""


def for_jpeg(exif: bytes) -> bytes:
    """A block of EXIF without its longest values, where a JPEG file has no room for all.

    Raises ``struct.error`` if it is damaged.
    """
    if len(exif) <= LONGEST_SEGMENT:
        return exif
    file = BytesIO(exif.removeprefix(PREFIX))
    endian, big, start = read_header(file)
    entries = read_entries(file, endian, big, start, depth=2, largest=_LARGEST)
    while len(exif) > LONGEST_SEGMENT:
        _, number, directory = max(_lengths(entries), key=lambda each: each[0])
        del directory[number]
        exif = packed(entries)
    return exif


def _lengths(entries: list[Entry]) -> Iterator[tuple[int, int, list[Entry]]]:
    """Of each value its bytes, its number, and the directory that has it."""
    for number, (*_, values) in enumerate(entries):
        if isinstance(values, list):
            yield from _lengths(values)
        else:
            yield len(values), number, entries


def packed(entries: list[Entry]) -> bytes:
    """A block of EXIF of those entries, with ``PREFIX``."""
    content, start = pack(entries, 8, big=False)
    return PREFIX + struct.pack("<2sHI", b"II", 42, start) + content


def description(exif: bytes) -> bytes:
    """The description of the picture in a block of EXIF, byte for byte; nothing without one."""
    with suppress(struct.error):
        for tag, kind, _, values in _descriptive(BytesIO(exif.removeprefix(PREFIX)), None):
            if tag == DESCRIPTION and kind == ASCII and isinstance(values, bytes):
                return values.rstrip(b"\0")
    return b""


def add(
    path: Path, exif: bytes, iptc: bytes, *, unit: bool = True, tags: Sequence[Entry] = ()
) -> None:
    """Add EXIF and IPTC blocks to the first directory of a little-endian TIFF file, and ``tags``.

    Each may be empty. The file's own tags of its pixels, such as its orientation and
    resolution, stay unless it is one of ``tags``, but that the resolution has no unit if it has
    none. Raises ``OSError`` if it cannot be written.
    """
    entries: list[Entry] = []
    with suppress(struct.error):
        entries = _descriptive(BytesIO(exif.removeprefix(PREFIX)), None)
    own = {tag for tag, *_ in tags}
    entries = [*(entry for entry in entries if entry[0] not in own), *tags]
    if iptc:
        # As whole longs, by custom.
        entries.append((_IPTC, 4, -(-len(iptc) // 4), iptc + bytes(-len(iptc) % 4)))
    with path.open("r+b") as file:
        _, big, start = read_header(file)
        size, head = (20, "<Q") if big else (12, "<H")
        file.seek(start)
        (count,) = struct.unpack(head, file.read(struct.calcsize(head)))
        raw = [file.read(size) for _ in range(count)]
        if not unit and RESOLUTION_UNIT not in own:
            at = [struct.unpack("<H", entry[:2])[0] for entry in raw].index(RESOLUTION_UNIT)
            value = size - (8 if big else 4)
            raw[at] = raw[at][:value] + struct.pack("<H", NO_UNIT).ljust(size - value, b"\0")
        following = file.read(8 if big else 4)
        # libvips writes the description, too, but takes any bytes for UTF-8.
        new = {entry[0] for entry in entries}
        raw = [entry for entry in raw if struct.unpack("<H", entry[:2])[0] not in new]
        end = file.seek(0, 2)
        end += file.write(bytes(end % 2))
        content, start = pack(entries, end, big=big, raw=raw, following=following)
        file.write(content)
        # Last, so that the file is whole at every moment.
        file.seek(8 if big else 4)
        file.write(struct.pack("<Q" if big else "<I", start))


def _descriptive(file: BinaryIO, directory: int | None) -> list[Entry]:
    endian, big, start = read_header(file)
    entries = read_entries(file, endian, big, directory or start, depth=2, largest=_LARGEST)
    return [
        (tag, kind, count, values)
        for tag, kind, count, values in entries
        if tag in _DESCRIPTIVE
        and not (isinstance(values, bytes) and values.startswith(SHAPE_NOTE.encode()))
    ]
