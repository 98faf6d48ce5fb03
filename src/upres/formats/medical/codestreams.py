"""The size that a compressed picture inside of DICOM tells of itself.

A decoder makes room for that size, whatever the header around it says. Sources: ISO/IEC 10918-1,
B.2.2 (JPEG); ISO/IEC 14495-1, C.2.2 (JPEG-LS); ISO/IEC 15444-1, A.5.1 (JPEG 2000).
"""

from __future__ import annotations

import mmap
import re
import struct
from pathlib import Path

_STARTS = re.compile(rb"\xff\x4f\xff\x51|\xff\xd8\xff", re.DOTALL)

_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG and JPEG-LS that a frame's size follows."""


def largest(path: Path) -> tuple[int, int]:
    """Rows and columns of the largest picture by the codestreams in a file; 0 where none is."""
    rows = columns = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for match in _STARTS.finditer(content):
            at = match.start()
            found = _of_jpeg_2000(content, at) if content[at + 1] == 0x4F else _of_jpeg(content, at)
            rows, columns = max(rows, found[0]), max(columns, found[1])
    return rows, columns


def _of_jpeg_2000(content: mmap.mmap, at: int) -> tuple[int, int]:
    if at + 24 > len(content):
        return 0, 0
    right, bottom, left, top = struct.unpack_from(">4I", content, at + 8)
    return max(0, bottom - top), max(0, right - left)


def _of_jpeg(content: mmap.mmap, at: int) -> tuple[int, int]:
    at += 2
    while at + 9 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker in _FRAMES:
            rows, columns = struct.unpack_from(">2H", content, at + 5)
            return rows, columns
        at += 2 + struct.unpack_from(">H", content, at + 2)[0]
    return 0, 0
