"""The pages of TIFF files: which there are, and several put together into one file.

libvips writes files whose pages are all alike; those of scanned documents seldom are.
Source: TIFF 6.0, sections 2, 3 and 12 (NewSubfileType, PageNumber).
"""

from __future__ import annotations

import os
import struct
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import pyvips

from upres.errors import InputError
from upres.formats.metadata.tiff_tags import (
    Entry,
    next_pointer,
    pack,
    read_entries,
    read_header,
    read_starts,
)

_SUBFILE_TYPE, _PAGE_NUMBER = 254, 297
_REDUCED, _PAGE, _MASK = 1, 2, 4
"""Bits of a subfile's type."""

_COMPRESSION, _PHOTOMETRIC, _SUBSAMPLING = 259, 262, 530
_COLOURS, _YCBCR = (0, 1, 2, 3, 5, 6, 8), 6
"""Grey, RGB, palette, inks, YCbCr and CIELAB (section 8 and those after it)."""
_JPEG = (6, 7)

_STRIPS, _TILES = (273, 279), (324, 325)
"""Tags that say where a page's pixels are, and how many bytes."""

_FORMATS = {3: "H", 4: "I", 16: "Q"}
_BLOCK = 2**20


def full_pages(path: Path, file: BinaryIO) -> dict[int, int]:
    """The pages of a file that is open, without those that are smaller copies of others.

    By their numbers, from 0: where their directories are.

    The copies are a preview or the overviews of a large picture. Raises ``InputError`` if a
    page is but the mask of another, ``struct.error`` if the file is damaged.
    """
    pages = {}
    endian, big, _ = read_header(file)
    for number, start in enumerate(read_starts(file)):
        kind = 0
        for tag, _, _, values in read_entries(file, endian, big, start, depth=0, largest=9):
            if tag == _SUBFILE_TYPE and isinstance(values, bytes):
                kind = int.from_bytes(values, "little")
        if kind & _MASK:
            raise InputError(
                f"{path}: page {number + 1} is a mask, which upres would not keep: "
                "remove it, or save the picture with an alpha channel"
            )
        if not kind & _REDUCED:
            pages[number] = start
    return pages


def check_colours(path: Path, tags: Mapping[int, int]) -> None:
    """Raise ``InputError`` if the colours of a page with those ``tags`` are of a kind that libvips
    takes for another.
    """
    kind = tags.get(_PHOTOMETRIC, 1)
    # Where chroma is coarser, or in JPEG, libtiff converts them.
    raw = tags.get(_COMPRESSION) not in _JPEG and tags.get(_SUBSAMPLING) == 1
    if kind not in _COLOURS or (kind == _YCBCR and raw):
        names = {_YCBCR: "YCbCr", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "those of a sensor"}
        raise InputError(
            f"{path}: its colours are {names.get(kind, f'of kind {kind}')}, which upres does not "
            "read: convert it to RGB"
        )


def only(path: Path, directory: int) -> pyvips.Source:
    """A TIFF file's content as if the page whose directory is there were its only one.

    Nothing is copied. libvips would walk from page to page each time that one is opened, which
    takes hours in a file of thousands. Raises ``struct.error`` if the file is damaged, and
    ``OSError`` if it cannot be read.
    """
    with path.open("rb") as file:
        endian, big, _ = read_header(file)
        following = next_pointer(file, endian, big, directory)
    offset = endian + ("Q" if big else "I")
    changes = {8 if big else 4: struct.pack(offset, directory), following: struct.pack(offset, 0)}
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    position = 0

    def read(count: int) -> bytes | None:
        nonlocal position
        content = bytearray(os.pread(descriptor, count, position))
        for place, new in changes.items():
            for number, byte in enumerate(new):
                if 0 <= place + number - position < len(content):
                    content[place + number - position] = byte
        position += len(content)
        return bytes(content) or None

    def seek(offset: int, whence: int) -> int:
        nonlocal position
        end = os.fstat(descriptor).st_size
        position = max(0, offset + (0, position, end)[whence])
        return position

    source = pyvips.SourceCustom()
    source.on_read(read)
    source.on_seek(seek)
    weakref.finalize(source, os.close, descriptor)
    return source


def begin(file: BinaryIO, *, big: bool) -> int:
    """Write the beginning of a TIFF file; return where the first page is to be pointed to."""
    file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else b"II*\0" + bytes(4))
    return 8 if big else 4


def append(file: BinaryIO, page: Path, pointer: int, *, number: int, count: int) -> int:
    """Add the one page of another file, as the page ``number``, from 0, of ``count``.

    Both are little-endian, and both BigTIFF or neither. ``pointer`` is where the page is to be
    pointed to, and the result is that of the next page. Raises ``OSError`` if it cannot
    be written.
    """
    with page.open("rb") as source:
        _, big, start = read_header(source)
        entries = read_entries(source, "<", big, start, depth=2, largest=2**62)
        values = {tag: _integers(kind, held) for tag, kind, _, held in entries if kind in _FORMATS}
        places, lengths = _TILES if _TILES[0] in values else _STRIPS
        first = min(values[places])
        last = max(map(int.__add__, values[places], values[lengths]))
        at = file.seek(0, 2)
        at += file.write(bytes(at % 2))
        _copy(source, file, first, last)
    moved = [place - first + at for place in values[places]]
    own: list[Entry] = [
        (places, 16 if big else 4, len(moved), struct.pack(f"<{len(moved)}{'IQ'[big]}", *moved)),
        (_SUBFILE_TYPE, 4, 1, struct.pack("<I", _PAGE)),
        (_PAGE_NUMBER, 3, 2, struct.pack("<HH", min(number, 0xFFFF), min(count, 0xFFFF))),
    ]
    tags = {tag for tag, *_ in own}
    entries = [*own, *(entry for entry in entries if entry[0] not in tags)]
    end = file.seek(0, 2)
    end += file.write(bytes(end % 2))
    content, start = pack(entries, end, big=big)
    file.write(content)
    offset = "<Q" if big else "<I"
    following = file.tell() - struct.calcsize(offset)
    file.seek(pointer)
    file.write(struct.pack(offset, start))
    return following


def _integers(kind: int, values: bytes | list[Entry]) -> list[int]:
    if isinstance(values, list):
        return []
    return [value for (value,) in struct.iter_unpack("<" + _FORMATS[kind], values)]


def _copy(source: BinaryIO, target: BinaryIO, first: int, last: int) -> None:
    source.seek(first)
    while content := source.read(min(_BLOCK, last - first)):
        target.write(content)
        first += len(content)
