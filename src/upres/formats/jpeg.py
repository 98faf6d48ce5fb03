"""What a JPEG file tells of its compression, without decoding it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# The customary luminance table of JPEG (ITU T.81, table K.1), in the file's zigzag order.
# fmt: off
_LUMINANCE = np.array([
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35,
    37, 29, 40, 58, 51, 61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109,
    81, 87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
], float)
# fmt: on
_PERCENT = np.array([5000 // q if q < 50 else 200 - 2 * q for q in range(1, 101)])
_TABLES = np.clip((_LUMINANCE * _PERCENT[:, None] + 50) // 100, 1, 255)
"""That table at qualities from 1 to 100, as libjpeg scales it."""


def jpeg_quality(path: Path) -> int | None:
    """Quality that a JPEG file was saved with, by libjpeg's scale; ``None`` if it is no JPEG.

    It is that at which the customary luminance table, scaled as libjpeg scales it, is
    nearest to the file's own.
    """
    for marker, content in _jpeg_segments(path):
        if marker != 0xDB:
            continue
        for number, table in _quantisation_tables(content):
            if number == 0:  # luminance
                # Of equals the last, which is the best quality.
                return 100 - int(np.abs(_TABLES[::-1] - table).sum(axis=1).argmin())
    return None


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


def _jpeg_segments(path: Path) -> Iterator[tuple[int, bytes]]:
    """Marker and content of a JPEG file's segments, up to its pixels; of another file, none."""
    with path.open("rb") as file:
        if file.read(2) != b"\xff\xd8":
            return
        while len(head := file.read(4)) == 4 and head[0] == 0xFF and head[1] != 0xDA:
            yield head[1], file.read(max(0, int.from_bytes(head[2:], "big") - 2))
