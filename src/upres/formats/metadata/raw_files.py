"""Files of camera raw: how they are told from TIFF, whether they are whole, and their EXIF.

Sources: TIFF/EP (ISO 12234-2), section 5.1; DNG Specification 1.7; EXIF 2.32, section 4.6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from upres.formats.metadata import tiff_exif
from upres.formats.metadata.boxes import boxes
from upres.formats.metadata.exif import PREFIX
from upres.formats.metadata.tiff_tags import EXIF, Entry, read_entries, read_header

_SUB_DIRECTORIES, _PHOTOMETRIC, _DNG_VERSION = 330, 262, 50706
_SENSOR = (32803, 34892)
"""Photometric interpretations: a mosaic of colour filters, and the light of three colours."""
_SIZE, _BITS, _COMPRESSION, _CHANNELS = (256, 257), 258, 259, 277
_PLACES = ((273, 279), (324, 325))
"""Where strips and tiles are, and how many bytes each has."""
_MAKER_NOTE, _COLOUR_SPACE, _SRGB = 37500, 40961, 1
_MOST_DIRECTORIES = 16
_LARGEST = 2**20
_FORMATS = {3: "<H", 4: "<I", 13: "<I", 16: "<Q"}

RAF = b"FUJIFILMCCD-RAW "
_RAF_PARTS = 84
"""Where a RAF file says where its preview, its tags and its samples are, and how long."""


def is_raw(path: Path) -> bool:
    """Whether a file that begins like a raw one is one, not a TIFF file of a picture.

    It is if it is a DNG, if a maker marks its files as its own, or if a sensor's samples are in it.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
            if head[:4] not in (b"II*\0", b"MM\0*") or head[8:10] in (b"CR", b"II"):
                return True
            for number, tags in enumerate(_directories(file)):
                if not number and _DNG_VERSION in tags:
                    return True
                if set(tags.get(_PHOTOMETRIC, [])) & set(_SENSOR):
                    return True
    except (OSError, struct.error):
        pass  # damaged: whoever reads it will say so
    return False


def check_whole(path: Path) -> None:
    """Raise ``struct.error`` if the file is shorter than it says itself.

    LibRaw fills up a lacking part with black.
    """
    with path.open("rb") as file:
        head = file.read(16)
        size = file.seek(0, 2)
        if head[:2] in (b"II", b"MM"):
            for tags in _directories(file):
                for starts, lengths in _PLACES:
                    for start, length in zip(
                        tags.get(starts, []), tags.get(lengths, []), strict=False
                    ):
                        if start + length > size:
                            raise struct.error("its samples are cut short")
                if _lacks(tags):
                    raise struct.error("its samples are fewer than its pixels")
        elif head == RAF:
            file.seek(_RAF_PARTS)
            preview, preview_bytes, tags_at, tags_bytes, at, count = struct.unpack(
                ">6I", file.read(24)
            )
            if max(preview + preview_bytes, tags_at + tags_bytes, at + count) > size:
                raise struct.error("its samples are cut short")
        elif head[4:8] == b"ftyp":
            for _ in boxes(file):  # which fails where one is longer than the file
                pass


def read_exif(path: Path) -> bytes:
    """The descriptive tags of a raw file that is made like TIFF, as a block of EXIF.

    A maker's private notes are left out, as they point to places in the raw file; and colours,
    which are developed to sRGB, are told to be that. Nothing if it has none, or is made otherwise.
    """
    block = b""
    with suppress(struct.error), path.open("rb") as source:
        block = tiff_exif.read(source, None)
    if not block:
        return b""
    file = BytesIO(block.removeprefix(PREFIX))
    endian, big, start = read_header(file)
    entries = read_entries(file, endian, big, start, depth=2, largest=2**24)
    return tiff_exif.packed([_developed(entry) for entry in entries])


def _lacks(tags: dict[int, list[int]]) -> bool:
    """Whether samples of a sensor, which are not compressed, are fewer than there are pixels."""
    if tags.get(_COMPRESSION) != [1] or not set(tags.get(_PHOTOMETRIC, [])) & set(_SENSOR):
        return False
    found = [(tags.get(tag) or [1])[0] for tag in (*_SIZE, _BITS, _CHANNELS)]
    width, height, bits, channels = found
    held = sum(sum(tags.get(lengths, [])) for _, lengths in _PLACES)
    return held < height * (width * channels * bits // 8)


def _developed(entry: Entry) -> Entry:
    tag, kind, count, values = entry
    if tag != EXIF or not isinstance(values, list):
        return entry
    kept = [inner for inner in values if inner[0] not in (_MAKER_NOTE, _COLOUR_SPACE)]
    kept.append((_COLOUR_SPACE, 3, 1, struct.pack("<H", _SRGB)))
    return tag, kind, count, kept


def _directories(file: BinaryIO) -> Iterator[dict[int, list[int]]]:
    """Whole numbers by tag, of the first directory, those in it, and those after it."""
    endian, big, start = read_header(file)
    waiting, seen = [start], set[int]()
    while waiting and len(seen) < _MOST_DIRECTORIES:
        start = waiting.pop(0)
        if not start or start in seen:
            continue
        seen.add(start)
        tags: dict[int, list[int]] = {}
        for tag, kind, _, values in read_entries(
            file, endian, big, start, depth=0, largest=_LARGEST
        ):
            if isinstance(values, bytes):
                form = _FORMATS.get(kind)
                numbers = [n for (n,) in struct.iter_unpack(form, values)] if form else []
                tags[tag] = numbers
        yield tags
        waiting += tags.get(_SUB_DIRECTORIES, [])
