"""The pages of TIFF files: which there are, and several put together into one file.

libvips writes files whose pages are all alike; those of scanned documents seldom are.
Source: TIFF 6.0, sections 2, 3 and 12 (NewSubfileType, PageNumber).
"""

from __future__ import annotations

import os
import struct
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import pyvips

from upres.errors import InputError
from upres.formats.metadata import geotags
from upres.formats.metadata.carried import OF_PALETTE
from upres.formats.metadata.tiff_tags import (
    EXTRA_SAMPLES,
    PHOTOMETRIC,
    SAMPLES_PER_PIXEL,
    Entry,
    next_pointer,
    pack,
    read_entries,
    read_header,
    read_starts,
)
from upres.raster.info import Role

_SUBFILE_TYPE, _PAGE_NUMBER = 254, 297
_REDUCED, _PAGE, _MASK = 1, 2, 4
"""Bits of a subfile's type."""

_COMPRESSION, _SUBSAMPLING = 259, 530
_COLOURS, _PALETTE, _YCBCR = (0, 1, 2, 3, 5, 6, 8), 3, 6
"""Grey, RGB, palette, inks, YCbCr and CIELAB (section 8 and those after it)."""
_WHITE_IS_0, _GREY, _RGB = 0, 1, 2
_JPEG, _OLD_JPEG = (6, 7), 6
_LOSSY = {
    6: "JPEG",
    7: "JPEG",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
"""Compressions that lose something, or may, by their numbers in libtiff's tiff.h."""

_PLANAR, _PLANES = 284, 2

_ASSOCIATED, _ALPHA = 1, 2
"""Kinds of extra samples; 0 is one that nothing is known of."""

_CLASSIC_BYTES = 2**32 - 2**24
"""TIFF's addresses end at 4 GiB; some room is left for all but pixels."""

_STRIPS, _TILES = (273, 279), (324, 325)
"""Tags that say where a page's pixels are, and how many bytes."""

_FORMATS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_BLOCK = 2**20


def needs_bigtiff(content: int) -> bool:
    """Whether a TIFF file with so many bytes of samples, not compressed, has to be a BigTIFF."""
    return content > _CLASSIC_BYTES


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


def lossy_compression(tags: Mapping[int, int]) -> str:
    """The name of the compression of a page with those ``tags`` that may lose something, if so.

    A palette does that, too.
    """
    return _LOSSY.get(tags.get(_COMPRESSION, 1), OF_PALETTE * (tags.get(PHOTOMETRIC) == _PALETTE))


def check_colours(path: Path, tags: Mapping[int, int]) -> None:
    """Raise ``InputError`` if the colours of a page with those ``tags`` are of a kind that libvips
    takes for another.
    """
    if tags.get(_COMPRESSION) == _OLD_JPEG:
        raise InputError(
            f"{path}: its compression is JPEG as TIFF 6.0 had it, which no two programs write "
            "alike: convert it to PNG, or to TIFF of another compression"
        )
    kind = tags.get(PHOTOMETRIC, 1)
    # Where chroma is coarser, or in JPEG, libtiff converts them.
    raw = tags.get(_COMPRESSION) not in _JPEG and tags.get(_SUBSAMPLING) == 1
    if kind not in _COLOURS or (kind == _YCBCR and raw):
        names = {_YCBCR: "YCbCr", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "those of a sensor"}
        raise InputError(
            f"{path}: its colours are {names.get(kind, f'of kind {kind}')}, which upres does not "
            "read: convert it to RGB"
        )


def check_place(path: Path, tags: Iterable[int]) -> None:
    """Raise ``InputError`` if a page with those ``tags`` has a place on a map, or a value for no
    data: a larger picture would have them elsewhere.
    """
    if geotags.PLACE_TAGS.isdisjoint(tags):
        return
    raise InputError(
        f"{path}: is one of several pages, and some have a place on the map, or GDAL's tags: "
        "gdal_translate GTIFF_DIR:NUMBER:FILE makes a file of each"
    )


def told_photometric(path: Path, tags: Mapping[int, int]) -> int | None:
    """The photometric interpretation that libvips has to be told, where the page does not tell it,
    or libvips would go wrong by it.

    Raises ``InputError`` if there is nothing that it could be told.
    """
    bands, kind = tags.get(SAMPLES_PER_PIXEL, 1), tags.get(PHOTOMETRIC)
    if kind is None:
        kind = _RGB if bands > 2 else _GREY
    # Of grey in planes it mixes up the rows of the planes, but of RGB it does not.
    if tags.get(_PLANAR) == _PLANES and bands > 1 and kind in (_WHITE_IS_0, _GREY):
        if bands == 2 or kind == _WHITE_IS_0:
            raise InputError(
                f"{path}: its {bands} bands are stored in planes, which upres does not read of "
                "grey: convert it to one whose bands are stored together"
            )
        return _RGB
    return None if PHOTOMETRIC in tags else kind


def extra_roles(
    path: Path, entries: Sequence[Entry], tags: Mapping[int, int]
) -> tuple[Role, ...] | None:
    """The roles of a page's bands that follow those of its colours; ``None`` if it has none.

    ExtraSamples tells which is alpha (TIFF 6.0, section 18); one that it does not tell of is taken
    for that. Raises ``InputError`` if libvips would not leave them as they are.
    """
    kind = tags.get(PHOTOMETRIC, 1)
    count = tags.get(SAMPLES_PER_PIXEL, 1) - {2: 3, 5: 4}.get(kind, 1)
    if kind not in (0, 1, 2, 5) or count < 1:
        return None
    told = next((e for e in entries if e[0] == EXTRA_SAMPLES and isinstance(e[3], bytes)), None)
    kinds = _integers(told[1], told[3]) if told else [_ALPHA] if count == 1 else []
    kinds = (kinds + [0] * count)[:count]
    alpha = next((n for n, kind in enumerate(kinds) if kind in (_ASSOCIATED, _ALPHA)), None)
    if count > 1 or alpha is None:
        if kind == 0:
            raise InputError(
                f"{path}: its largest samples are black, and it has {count} more bands, which "
                "upres would turn round, too: convert it to one whose largest samples are white"
            )
        if _ASSOCIATED in kinds:
            raise InputError(
                f"{path}: its samples are multiplied by alpha, and it has {count} bands beside its "
                "colours: convert it to one whose alpha is unassociated"
            )
    return tuple("alpha" if number == alpha else "other" for number in range(count))


def only(path: Path, directory: int, photometric: int | None = None) -> pyvips.Source:
    """A TIFF file's content as if the page whose directory is there were its only one.

    Its photometric interpretation becomes ``photometric``, if that is given.

    Nothing is copied. libvips would walk from page to page each time that one is opened, which
    takes hours in a file of thousands. Raises ``struct.error`` if the file is damaged, and
    ``OSError`` if it cannot be read.
    """
    with path.open("rb") as file:
        endian, big, _ = read_header(file)
        following = next_pointer(file, endian, big, directory)
        end = file.seek(0, 2)
        added = b""
        if photometric is not None:
            added = _with_photometric(file, endian, big, directory, following, photometric)
    offset = endian + ("Q" if big else "I")
    changes = {8 if big else 4: struct.pack(offset, end if added else directory)}
    if not added:
        changes[following] = struct.pack(offset, 0)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    position = 0

    def read(count: int) -> bytes | None:
        nonlocal position
        content = bytearray(os.pread(descriptor, count, position))
        if len(content) < count and position + len(content) >= end:
            rest = position + len(content) - end
            content += added[rest : rest + count - len(content)]
        for place, new in changes.items():
            for number, byte in enumerate(new):
                if 0 <= place + number - position < len(content):
                    content[place + number - position] = byte
        position += len(content)
        return bytes(content) or None

    def seek(offset: int, whence: int) -> int:
        nonlocal position
        position = max(0, offset + (0, position, end + len(added))[whence])
        return position

    source = pyvips.SourceCustom()
    source.on_read(read)
    source.on_seek(seek)
    weakref.finalize(source, os.close, descriptor)
    return source


def _with_photometric(
    file: BinaryIO, endian: str, big: bool, start: int, following: int, photometric: int
) -> bytes:
    """The directory at ``start`` with that tag for its own, and no page after it."""
    head, form = (endian + "Q", endian + "HHQQ") if big else (endian + "H", endian + "HHII")
    size = struct.calcsize(form)
    first = start + struct.calcsize(head)
    file.seek(first)
    table = file.read(following - first)
    entries = [table[place : place + size] for place in range(0, len(table), size)]
    value = struct.pack(endian + "H", photometric).ljust(8 if big else 4, b"\0")
    entries = [e for e in entries if struct.unpack_from(endian + "H", e)[0] != PHOTOMETRIC]
    entries.append(struct.pack(form, PHOTOMETRIC, 3, 1, 0)[: -len(value)] + value)
    entries.sort(key=lambda entry: struct.unpack(endian + "H", entry[:2]))
    return struct.pack(head, len(entries)) + b"".join(entries) + bytes(8 if big else 4)


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
