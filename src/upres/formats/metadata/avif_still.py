"""A still picture of AVIF taken apart, and put together: libvips reads and writes no others.

Sources: ISO/IEC 23008-12 (HEIF), sections 6.4 to 6.6 and 9.3; AV1 Image File Format 1.1.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from upres.formats.metadata.avif_boxes import (
    Item,
    box,
    boxes,
    find_box,
    full,
    items,
    read_top,
    references,
)
from upres.formats.metadata.avif_tracks import ALPHA_NAME, PICTURES

_SHAPES = (b"ispe", b"auxC", b"auxi", b"ccst", b"btrt")
"""Properties that stills and tracks tell otherwise."""


@dataclass(frozen=True)
class Part:
    """The coded colours or alpha of a picture."""

    content: bytes
    properties: tuple[tuple[bytes, bytes], ...]
    """Kind and content of the boxes that describe it, but for its size and purpose."""


@dataclass(frozen=True)
class Still:
    """A picture, and the items beside it."""

    colours: Part
    alpha: Part | None
    exif: bytes = b""
    """As the file has it, after the four bytes that tell where its header is."""
    xmp: bytes = b""


def taken_apart(file: BinaryIO) -> Still:
    """A file of one picture; raises ``struct.error`` if it is damaged or has several."""
    meta = read_top(file).get(b"meta", bytes(4))
    every = items(meta)
    (primary,) = struct.unpack_from(">H", find_box(meta[4:], b"pitm"), 4)
    auxiliary = [a for a, b in references(meta, b"auxl") if b == primary and a in every]
    beside = {item.kind: _content(file, item) for item in every.values() if item.kind != b"av01"}
    if primary not in every:
        raise struct.error("no picture")
    return Still(
        _part(file, every[primary]),
        _part(file, every[auxiliary[0]]) if auxiliary else None,
        beside.get(b"Exif", b""),
        beside.get(b"mime", b""),
    )


def put_together(still: Still, width: int, height: int) -> bytes:
    """A file of one picture of that size."""
    kinds = [(b"av01", b"", still.colours.content)]
    shape = box(b"ispe", struct.pack(">III", 0, width, height))
    properties = [shape, *(box(*each) for each in still.colours.properties)]
    told = [(1, list(range(1, len(properties) + 1)))]
    refers = b""
    if still.alpha:
        kinds.append((b"av01", b"", still.alpha.content))
        own = [box(*each) for each in still.alpha.properties]
        own.append(full(b"auxC", 0, 0, ALPHA_NAME))
        told.append((2, [1, *range(len(properties) + 1, len(properties) + len(own) + 1)]))
        properties += own
        refers += box(b"auxl", struct.pack(">HHH", 2, 1, 1))
    for kind, more, content in (
        (b"Exif", b"", still.exif),
        (b"mime", b"application/rdf+xml\0", still.xmp),
    ):
        if content:
            kinds.append((kind, more, content))
            refers += box(b"cdsc", struct.pack(">HHH", len(kinds), 1, 1))
    information = b"".join(
        full(b"infe", 2, 0, struct.pack(">HH4s", number, 0, kind), b"\0", more)
        for number, (kind, more, _) in enumerate(kinds, 1)
    )
    associated = b"".join(
        struct.pack(">HB", number, len(indices)) + bytes(indices) for number, indices in told
    )
    head = box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf")

    def meta(start: int) -> bytes:
        places = b""
        for number, (_, _, content) in enumerate(kinds, 1):
            places += struct.pack(">HHHII", number, 0, 1, start, len(content))
            start += len(content)
        return full(
            b"meta",
            0,
            0,
            full(b"hdlr", 0, 0, struct.pack(">I4s12x", 0, PICTURES), b"\0"),
            full(b"pitm", 0, 0, struct.pack(">H", 1)),
            full(b"iloc", 0, 0, b"\x44\0", struct.pack(">H", len(kinds)), places),
            full(b"iinf", 0, 0, struct.pack(">H", len(kinds)), information),
            box(
                b"iprp",
                box(b"ipco", *properties),
                full(b"ipma", 0, 0, struct.pack(">I", len(told)), associated),
            ),
            full(b"iref", 0, 0, refers),
        )

    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + box(b"mdat", *(content for _, _, content in kinds))


def properties_of(described: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Those properties that stills and tracks have in common."""
    return tuple(each for each in described if each[0] not in _SHAPES)


def _part(file: BinaryIO, item: Item) -> Part:
    if item.kind != b"av01":
        raise struct.error("the picture is no AV1")
    described = [next(boxes(whole)) for whole in item.properties]
    return Part(_content(file, item), properties_of(described))


def _content(file: BinaryIO, item: Item) -> bytes:
    parts = []
    for start, length in item.extents:
        file.seek(start)
        parts.append(file.read(length))
        if len(parts[-1]) != length:
            raise struct.error("a part is beyond the file")
    return b"".join(parts)
