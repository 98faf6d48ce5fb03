"""Tells what a written AVIF file's colours mean, for which libvips has no option.

The file is libheif's, so only its ways are known here: a reduced header of the sequence, places of
items in four bytes. Sources: ISO/IEC 14496-12, sections 8.11.3 (iloc) and 12.1.5 (colr); ISO/IEC
23008-12 (HEIF), section 9.3.2 (ipma); AV1 Bitstream Specification, sections 5.5.1 and 5.5.2.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from upres.files import splice
from upres.formats.metadata import avif_items
from upres.formats.metadata.boxes import boxes, pack_box

_FULL_RANGE = 0x80
_SEQUENCE_HEADER, _DELIMITER = b"\x0a", b"\x12\0"
_REDUCED_STILL = 0b11


def tell(path: Path, primaries: int, transfer: int) -> bool:
    """Say what the colours of a file's picture mean, by CICP; whether that could be said.

    The matrix by which pixels were encoded stays as it is, in the file's stream of AV1.
    """
    found = avif_items.read(path)
    if found.nclx is not None:
        with path.open("r+b") as file:
            file.seek(found.nclx[0] + 4)
            file.write(struct.pack(">HH", primaries, transfer))
        return True
    matrix = _set_in_stream(path, primaries, transfer)
    if matrix is None:
        return False
    told = struct.pack(">4sHHHB", b"nclx", primaries, transfer, matrix, _FULL_RANGE)
    return add(path, [(b"colr", told)])


def add(path: Path, properties: Sequence[tuple[bytes, bytes]]) -> bool:
    """Give a file's picture further properties, kind and content of each; whether it worked."""
    with path.open("rb") as file:
        meta = next((box for box in boxes(file) if box.kind == b"meta"), None)
        if meta is None:
            return False
        parts = {box.kind: box.read(file) for box in boxes(file, meta.start + 4, meta.end)}
        order = [box.kind for box in boxes(file, meta.start + 4, meta.end)]
        file.seek(meta.start)
        version = file.read(4)
    if not {b"iloc", b"pitm", b"iprp"} <= parts.keys():
        return False
    whole = BytesIO(parts[b"iprp"])
    held = {box.kind: box.read(whole) for box in boxes(whole)}
    if list(held) != [b"ipco", b"ipma"]:
        return False
    count = sum(1 for _ in boxes(BytesIO(held[b"ipco"])))
    associated = _associated(held[b"ipma"], parts[b"pitm"], count, len(properties))
    if associated is None:
        return False
    more = b"".join(pack_box(*each) for each in properties)
    parts[b"iprp"] = pack_box(b"ipco", held[b"ipco"] + more) + pack_box(b"ipma", associated)
    grown = len(more) + len(associated) - len(held[b"ipma"])
    moved = _moved(parts[b"iloc"], grown)
    if moved is None:
        return False
    parts[b"iloc"] = moved
    content = version + b"".join(pack_box(kind, parts[kind]) for kind in order)
    splice(path, meta.start - 8, meta.end, pack_box(b"meta", content))
    return True


def _associated(ipma: bytes, pitm: bytes, there: int, added: int) -> bytes | None:
    """The box ipma with so many more properties of the primary item, behind the others."""
    if ipma[:4] != bytes(4) or pitm[0] or there + added > 127:
        return None
    primary = pitm[4:6]
    (count,) = struct.unpack_from(">I", ipma, 4)
    at = 8
    for _ in range(count):
        end = at + 3 + ipma[at + 2]
        if ipma[at : at + 2] == primary:
            indices = bytes(range(there + 1, there + 1 + added))
            head = ipma[: at + 2] + bytes([ipma[at + 2] + added])
            return head + ipma[at + 3 : end] + indices + ipma[end:]
        at = end
    return None


def _place(iloc: bytes, item: bytes) -> int | None:
    """Where an item's content is in the file; ``None`` if libheif would tell it otherwise."""
    base = _base_bytes(iloc)
    if base is None:
        return None
    at = 8
    for _ in range(int.from_bytes(iloc[6:8], "big")):
        first = int.from_bytes(iloc[at + 4 : at + 4 + base], "big")
        extents = int.from_bytes(iloc[at + 4 + base : at + 6 + base], "big")
        if iloc[at : at + 2] == item and extents == 1:
            return first + int.from_bytes(iloc[at + 6 + base : at + 10 + base], "big")
        at += 6 + base + 8 * extents
    return None


def _base_bytes(iloc: bytes) -> int | None:
    """Of how many bytes is what places of items count from; ``None`` of another kind of box."""
    if iloc[:5] != b"\0\0\0\0\x44" or iloc[5] not in (0, 0x40):
        return None
    return 4 if iloc[5] else 0


def _moved(iloc: bytes, by: int) -> bytes | None:
    """The box iloc of items that have moved; ``None`` if it is of another kind than libheif's."""
    base = _base_bytes(iloc)
    if base is None:
        return None
    content = bytearray(iloc)
    (count,) = struct.unpack_from(">H", content, 6)
    at = 8
    for _ in range(count):
        (extents,) = struct.unpack_from(">H", content, at + 4 + base)
        at += 6 + base
        for _ in range(extents):
            (place,) = struct.unpack_from(">I", content, at)
            struct.pack_into(">I", content, at, place + by)
            at += 8
    return bytes(content)


def _set_in_stream(path: Path, primaries: int, transfer: int) -> int | None:
    """Set both numbers in the stream's header; return its matrix, or ``None`` if it has none."""
    with path.open("r+b") as file:
        meta = next((box for box in boxes(file) if box.kind == b"meta"), None)
        inside = list(boxes(file, meta.start + 4, meta.end)) if meta else []
        parts = {box.kind: box.read(file) for box in inside}
        start = _place(parts.get(b"iloc", b""), parts.get(b"pitm", b"")[4:6])
        if start is None:
            return None
        file.seek(start)
        head = file.read(64)
        at = len(_DELIMITER) if head.startswith(_DELIMITER) else 0
        if head[at : at + 1] != _SEQUENCE_HEADER or head[at + 1] > 32:
            return None
        header = head[at + 2 : at + 2 + head[at + 1]]
        place = _place_of_colours(header)
        if place is None:
            return None
        size = 8 * len(header)
        bits = int.from_bytes(header, "big")
        shift = size - place - 24
        matrix = bits >> shift & 0xFF
        bits &= ~(0xFFFF << (shift + 8))
        bits |= (primaries << 8 | transfer) << (shift + 8)
        file.seek(start + at + 2)
        file.write(bits.to_bytes(len(header), "big"))
    return matrix


def _place_of_colours(header: bytes) -> int | None:
    """At which bit a reduced header of AV1 tells primaries; ``None`` if it does not."""
    size = 8 * len(header)
    bits = int.from_bytes(header, "big")

    def read(start: int, count: int) -> int:
        return bits >> (size - start - count) & ((1 << count) - 1)

    profile = read(0, 3)
    if read(3, 2) != _REDUCED_STILL:
        return None
    # A level of five bits, then how many bits width and height have, those, and six switches.
    at = 18 + read(10, 4) + 1 + read(14, 4) + 1 + 6
    deep = read(at, 1)
    at += 1 + (profile == 2 and deep) + (profile != 1)
    return at + 1 if read(at, 1) else None
