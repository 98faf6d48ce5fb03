"""The tracks of an AVIF sequence: where its frames are, and for how long each is shown.

Sources: ISO/IEC 14496-12, sections 8.2 to 8.7; AV1 Image File Format 1.1, section 3.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from upres.formats.metadata.avif_boxes import box, boxes, find_box, full, items

PICTURES, ALPHA = b"pict", b"auxv"
"""Kinds of tracks, by their handlers: of colours, and of alpha."""

ALPHA_NAME = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"
_ENTRY_BYTES = 78
"""Of a visual sample entry, before the boxes in it."""
_EVER = 2**64 - 1
_MOST_FRAMES = 2**22
_UNITY = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


@dataclass(frozen=True)
class Track:
    """Frames of a kind, colours or alpha."""

    handler: bytes
    width: int
    height: int
    properties: tuple[tuple[bytes, bytes], ...]
    """Kind and content of the boxes that describe them."""
    samples: tuple[tuple[int, int], ...]
    """Where each frame is in the file, and how many bytes."""
    timing: tuple[Fraction, ...]
    plays: int
    """0 is for ever."""
    independent: bool
    """Whether each frame is decoded without others."""
    meta: bytes = b""


def read(moov: bytes) -> list[Track]:
    """The tracks that the content of a box moov tells of; raises ``struct.error`` if damaged."""
    try:
        return [_read(content) for kind, content in boxes(moov) if kind == b"trak"]
    except (LookupError, ValueError, ZeroDivisionError, OverflowError):
        raise struct.error("a track is damaged") from None


def _read(trak: bytes) -> Track:
    media = find_box(trak, b"mdia")
    table = find_box(media, b"minf", b"stbl")
    entry = find_box(table, b"stsd")[8:]
    kind, described = next(boxes(entry))
    if kind != b"av01":
        raise struct.error("frames are no AV1")
    width, height = struct.unpack_from(">HH", described, 24)
    head = find_box(media, b"mdhd")
    (scale,) = struct.unpack_from(">I", head, 20 if head[0] else 12)
    sizes = find_box(table, b"stsz")
    same, count = struct.unpack_from(">II", sizes, 4)
    if count > _MOST_FRAMES:
        raise struct.error("too many frames")
    lengths = [same] * count if same else list(struct.unpack_from(f">{count}I", sizes, 12))
    durations: list[int] = []
    content = find_box(table, b"stts")
    for number, delta in struct.iter_unpack(">II", content[8:]):
        durations += [delta] * min(number, count - len(durations))
    if len(durations) != count:
        raise struct.error("frames without a time")
    inside = dict(boxes(table))
    told = inside.get(b"stss")
    (synced,) = struct.unpack_from(">I", told, 4) if told else (count,)
    meta = dict(boxes(trak)).get(b"meta", b"")
    return Track(
        handler=find_box(media, b"hdlr")[8:12],
        width=width,
        height=height,
        properties=tuple(boxes(described, _ENTRY_BYTES)),
        samples=tuple(_samples(inside, lengths)),
        timing=tuple(Fraction(each, scale) for each in durations),
        plays=_plays(trak),
        independent=synced == count,
        meta=meta,
    )


def _samples(table: dict[bytes, bytes], lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Place and length of each sample, by chunks of several."""
    form = ">Q" if b"co64" in table else ">I"
    places = table.get(b"co64") or table.get(b"stco") or b""
    starts = [at for (at,) in struct.iter_unpack(form, places[8:])]
    runs = list(struct.iter_unpack(">III", table[b"stsc"][8:]))
    number = 0
    for index, (first, count, _) in enumerate(runs):
        last = runs[index + 1][0] - 1 if index + 1 < len(runs) else len(starts)
        for start in starts[first - 1 : last]:
            at = start
            for length in lengths[number : number + count]:
                yield at, length
                at += length
            number += count


def _plays(trak: bytes) -> int:
    """How often, by the list of edits; without one for ever, as browsers have it."""
    inside = dict(boxes(trak))
    if b"edts" not in inside:
        return 0
    edits, head = find_box(inside[b"edts"], b"elst"), inside[b"tkhd"]
    if not edits[3] & 1:
        return 1
    (whole,) = struct.unpack_from(">Q" if head[0] else ">I", head, 28 if head[0] else 20)
    (once,) = struct.unpack_from(">Q" if edits[0] else ">I", edits, 8)
    if whole == (_EVER if head[0] else 2**32 - 1) or not once:
        return 0
    return max(1, -(-int(whole) // int(once)))


def scale_of(timing: Sequence[Fraction]) -> int:
    """Units of a second in which all frames' times are whole, or microseconds."""
    exact = math.lcm(*(each.denominator for each in timing))
    return exact if exact <= 10**6 else 10**6


def packed(
    colours: Track, alpha: Track | None, scale: int, durations: Sequence[int], metadata: bytes
) -> bytes:
    """A box moov of a track of colours, perhaps one of alpha, and a box meta of the first."""
    once = sum(durations)
    whole = once * colours.plays if colours.plays else _EVER
    tracks = [_track(colours, 1, scale, durations, whole, metadata)]
    if alpha:
        tracks.append(_track(alpha, 2, scale, durations, whole, b""))
    head = struct.pack(">QQIQ", 0, 0, scale, whole) + struct.pack(">iHxx8x", 0x10000, 0x100)
    head += _UNITY + bytes(24) + struct.pack(">I", len(tracks) + 1)
    return box(b"moov", full(b"mvhd", 1, 0, head), *tracks)


def _track(
    track: Track, number: int, scale: int, durations: Sequence[int], whole: int, metadata: bytes
) -> bytes:
    once = sum(durations)
    head = struct.pack(">QQIxxxxQ8xhhhxx", 0, 0, number, whole, 0, 0, 0) + _UNITY
    head += struct.pack(">II", *(side << 16 for side in (track.width, track.height)))
    edit = struct.pack(">IQqhh", 1, once, 0, 1, 0)
    size = (track.width, track.height)
    entry = bytes(6) + struct.pack(">H16xHHIIIH", 1, *size, 72 << 16, 72 << 16, 0, 1)
    entry += bytes(32) + struct.pack(">Hh", 24, -1)
    entry += b"".join(box(kind, content) for kind, content in track.properties)
    places = [start for start, _ in track.samples]
    lengths = [length for _, length in track.samples]
    count = len(places)
    runs = [(len(list(alike)), each) for each, alike in itertools.groupby(durations)]
    times = b"".join(struct.pack(">II", *run) for run in runs)
    kind, form = (b"co64", "Q") if max(places) >= 2**32 else (b"stco", "I")
    table = box(
        b"stbl",
        full(b"stsd", 0, 0, struct.pack(">I", 1), box(b"av01", entry)),
        full(b"stts", 0, 0, struct.pack(">I", len(runs)), times),
        full(b"stsc", 0, 0, struct.pack(">IIII", 1, 1, 1, 1)),
        full(b"stsz", 0, 0, struct.pack(f">II{count}I", 0, count, *lengths)),
        full(kind, 0, 0, struct.pack(f">I{count}{form}", count, *places)),
    )
    handler = struct.pack(">I4s12x", 0, track.handler) + b"\0"
    media = box(
        b"mdia",
        full(b"mdhd", 1, 0, struct.pack(">QQIQHH", 0, 0, scale, once, 0x55C4, 0)),
        full(b"hdlr", 0, 0, handler),
        box(
            b"minf",
            full(b"vmhd", 0, 1, bytes(8)),
            box(b"dinf", full(b"dref", 0, 0, struct.pack(">I", 1), full(b"url ", 0, 1))),
            table,
        ),
    )
    refers = box(b"tref", box(b"auxl", struct.pack(">I", 1))) if track.handler == ALPHA else b""
    edits = box(b"edts", full(b"elst", 1, int(whole != once), edit))
    return box(b"trak", full(b"tkhd", 1, 1, head), metadata, refers, edits, media)


def metadata(exif: tuple[int, int] | None, xmp: tuple[int, int] | None) -> bytes:
    """A box meta that tells where in the file EXIF and XMP are, and how many bytes."""
    told = [(b"Exif", b"", exif), (b"mime", b"application/rdf+xml\0", xmp)]
    known = [(kind, more, place) for kind, more, place in told if place]
    if not known:
        return b""
    places = information = b""
    for number, (kind, more, place) in enumerate(known, 1):
        assert place is not None
        places += struct.pack(">HHHQI", number, 0, 1, *place)
        information += full(b"infe", 2, 0, struct.pack(">HH4s", number, 0, kind), b"\0", more)
    handler = struct.pack(">I4s12x", 0, PICTURES) + b"\0"
    return full(
        b"meta",
        0,
        0,
        full(b"hdlr", 0, 0, handler),
        full(b"iloc", 0, 0, b"\x84\0", struct.pack(">H", len(known)), places),
        full(b"iinf", 0, 0, struct.pack(">H", len(known)), information),
    )


def described(meta: bytes) -> dict[bytes, tuple[tuple[int, int], ...]]:
    """Where the parts of EXIF and XMP are that a box meta tells of, by their items' kinds."""
    if not meta:
        return {}
    return {item.kind: item.extents for item in items(meta).values() if item.kind != b"av01"}
