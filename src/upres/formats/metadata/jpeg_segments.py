"""A JPEG file's segments, and its compression as they tell it, without decoding."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from upres.files import splice

APP0, APP1, APP2, APP13 = 0xE0, 0xE1, 0xE2, 0xED
LONGEST_SEGMENT = 2**16 - 3
"""Bytes of a segment's content."""

MPF, MPF_ENTRIES = b"MPF\0", 0xB002
"""Begins the index of several pictures in one file, and its tag of where they are (CIPA DC-007,
section 5)."""

_PRIMARY = 0x030000
"""Attribute of the picture itself; of a gain map it is 0, not defined."""

_EXIF = b"Exif\0\0"

_APPLICATION = range(0xE0, 0xF0)
_JFIF = b"JFIF\0" + bytes([1, 2, 0, 0, 1, 0, 1, 0, 0])
"""Version 1.02, no unit, 1 by 1, no thumbnail (ITU-T T.871, section 10.1)."""

# ITU-T T.81, tables K.1 (luminance) and K.2 (chrominance): the steps of an 8x8 block's
# coefficients that nearly all encoders scale by their quality.
# fmt: off
LUMINANCE = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
])
CHROMINANCE = np.array([
    [17, 18, 24, 47, 99, 99, 99, 99],
    [18, 21, 26, 66, 99, 99, 99, 99],
    [24, 26, 56, 99, 99, 99, 99, 99],
    [47, 66, 99, 99, 99, 99, 99, 99],
    *[[99] * 8] * 4,
])
# fmt: on


class Segment(NamedTuple):
    """A part of a JPEG file before its pixels."""

    start: int
    """Where it is in the file: its marker's first byte."""
    marker: int
    content: bytes

    @property
    def end(self) -> int:
        """Where the next one is."""
        return self.start + 4 + len(self.content)


def scaled_tables(table: NDArray[np.int_]) -> NDArray[np.int_]:
    """``table`` at qualities from 1 to 100, 100 x 8 x 8, as libjpeg scales it."""
    # jpeg_quality_scaling, then jpeg_add_quant_table held to a byte.
    percent = np.array([5000 // q if q < 50 else 200 - 2 * q for q in range(1, 101)])
    scaled: NDArray[np.int_] = (table * percent[:, None, None] + 50) // 100
    return scaled.clip(1, 255)


def _diagonally(at: int) -> tuple[int, int]:
    """Sorts the places of an 8x8 table as files have them: by diagonals, up and down in turns."""
    row, column = divmod(at, 8)
    diagonal = row + column
    return diagonal, row if diagonal % 2 else column


_IN_FILES = scaled_tables(LUMINANCE).reshape(100, 64)[:, sorted(range(64), key=_diagonally)]


def jpeg_quality(segments: Iterable[Segment]) -> int | None:
    """Quality that a JPEG file was saved with, by libjpeg's scale; ``None`` if it is no JPEG.

    It is that at which the customary luminance table, scaled as libjpeg scales it, is
    nearest to the file's own.
    """
    for segment in segments:
        if segment.marker != 0xDB:
            continue
        for number, table in _quantisation_tables(segment.content):
            if number == 0:  # luminance
                # Of equals the last, which is the best quality.
                return 100 - int(np.abs(_IN_FILES[::-1] - table).sum(axis=1).argmin())
    return None


def is_420(segments: Iterable[Segment]) -> bool:
    """Whether a JPEG file has half the chroma resolution along both axes, and no coarser.

    libvips calls 4:2:2 so, too.
    """
    for _, marker, content in segments:
        # SOF0 to SOF15, among which the numbers of DHT, JPG and DAC are none.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return len(content) == 15 and content[7::3] == b"\x22\x11\x11"
    return False


def _quantisation_tables(content: bytes) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Number and 64 values, at most 255, of each table in a segment of them."""
    while content:
        wide, number = divmod(content[0], 16)
        # Some encoders take two bytes a value rather than stop at 255.
        end = 1 + (128 if wide else 64)
        if len(content) < end:
            return
        table = np.frombuffer(content[1:end], ">u2" if wide else np.uint8)
        yield number, np.minimum(table, 255).astype(float)
        content = content[end:]


def jpeg_segments(path: Path) -> Iterator[Segment]:
    """A JPEG file's segments, up to its pixels; of another file, none."""
    with path.open("rb") as file:
        yield from _segments(file)


def segments_of(content: bytes | BinaryIO) -> Iterator[Segment]:
    """The same of a file's content, or of an open file from its start."""
    return _segments(BytesIO(content) if isinstance(content, bytes) else content)


def _segments(file: BinaryIO) -> Iterator[Segment]:
    if file.read(2) != b"\xff\xd8":
        return
    while len(head := file.read(4)) == 4 and head[0] == 0xFF and head[1] != 0xDA:
        start = file.tell() - 4
        if head[1] == 0xFF:  # a byte that fills up (section B.1.1.2)
            file.seek(start + 1)
            continue
        yield Segment(start, head[1], file.read(max(0, int.from_bytes(head[2:], "big") - 2)))


def rewrite(
    path: Path,
    *,
    header: bool,
    density: bytes = b"",
    exif: bytes,
    segments: list[tuple[int, bytes]],
    second: tuple[list[tuple[int, bytes]], bytes] | None = None,
) -> None:
    """Change a JPEG file's metadata, once for all.

    It gets a ``header`` of JFIF that it lacks: square pixels of unknown size. Its header of JFIF
    gets the ``density``, if that is not empty. Its EXIF becomes ``exif``, with its prefix, if that
    is not empty and a segment can hold it. ``segments``, marker and content of each, follow those
    of applications. A ``second`` picture, such as a gain map,
    stands behind the first: segments that tell of it, and its file.
    """
    with path.open("r+b") as file:
        own = list(takewhile(lambda s: s.marker in _APPLICATION, _segments(file)))
        size = file.seek(0, 2)
    end = own[-1].end if own else 2
    has_header = any(s.marker == APP0 and s.content.startswith(_JFIF[:5]) for s in own)
    header = header and not has_header
    parts = [(APP0, _JFIF[:7] + (density or _JFIF[7:12]) + _JFIF[12:])] if header else []
    for _, marker, content in own:
        if density and marker == APP0 and content.startswith(_JFIF[:5]):
            content = content[:7] + density + content[12:]
        if exif and marker == APP1 and content.startswith(_EXIF) and len(exif) <= LONGEST_SEGMENT:
            content, exif = exif, b""
        parts.append((marker, content))
    parts += segments
    index = b""
    if second:
        index = _index(0, 0, 0)
        parts += [*second[0], (APP2, MPF + index)]
    head = packed(parts)
    if second:
        at = 2 + len(head) - len(index)
        size += len(head) - (end - 2)
        head = head[: -len(index)] + _index(size, len(second[1]), size - at)
    if parts != [(marker, content) for _, marker, content in own]:
        splice(path, 2, end, head)
    if second:
        with path.open("ab") as file:
            file.write(second[1])


def _index(first_size: int, second_size: int, second_at: int) -> bytes:
    """MPF's index of two pictures: bytes of both, and of the second where it is from here."""
    head = struct.pack(">2sHIH", b"MM", 42, 8, 3)
    head += struct.pack(">HHI4s", 0xB000, 7, 4, b"0100")
    head += struct.pack(">HHII", 0xB001, 4, 1, 2)
    head += struct.pack(">HHIII", MPF_ENTRIES, 7, 32, len(head) + 16, 0)
    head += struct.pack(">IIIHH", _PRIMARY, first_size, 0, 0, 0)
    return head + struct.pack(">IIIHH", 0, second_size, second_at, 0, 0)


def packed(segments: list[tuple[int, bytes]]) -> bytes:
    """Segments, marker and content of each, as a file has them."""
    return b"".join(b"\xff%c" % m + (len(c) + 2).to_bytes(2, "big") + c for m, c in segments)
