"""What GIF files say in extension blocks that libvips neither reads nor writes: comments and XMP.

Sources: GIF89a specification (CompuServe, 1990), sections 24 and 26; XMP Specification, part 3
(Adobe, 2020), section 1.1.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from upres.files import splice

_SIGNATURES = (b"GIF87a", b"GIF89a")
_COMMENT, _APPLICATION = 0xFE, 0xFF
_XMP = b"XMP DataXMP"
_TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
"""Behind XMP, which stands there as it is: wherever a reader that takes its letters for the
lengths of blocks comes out, from here it finds the end."""


def read(path: Path) -> tuple[list[bytes], bytes]:
    """The comments and the XMP of a GIF file; of another file, none."""
    comments, xmp = [], b""
    with path.open("rb") as file:
        if file.read(6) in _SIGNATURES:
            file.seek(_start(path))
            for label, parts, raw in _extensions(file):
                if label == _COMMENT:
                    comments.append(b"".join(parts))
                elif label == _APPLICATION and parts[:1] == [_XMP] and raw.endswith(_TRAILER):
                    xmp = raw[1 + len(_XMP) : -len(_TRAILER)]
    return comments, xmp


def add(path: Path, comments: list[bytes], xmp: bytes) -> None:
    """Put comments and XMP into a GIF file that has neither; both may be empty."""
    content = b"".join(b"\x21\xfe" + _sub_blocks(comment) for comment in comments)
    if xmp:
        content += b"\x21\xff" + bytes([len(_XMP)]) + _XMP + xmp + _TRAILER
    if content:
        start = _start(path)
        splice(path, start, start, content)


def _start(path: Path) -> int:
    """Where a GIF file's blocks begin: behind its header and its table of colours."""
    with path.open("rb") as file:
        head = file.read(13)
    table = 3 * 2 ** (head[10] % 8 + 1) if len(head) == 13 and head[10] & 0x80 else 0
    return 13 + table


def _extensions(file: BinaryIO) -> Iterator[tuple[int, list[bytes], bytes]]:
    """Of each extension block its label, its parts, and these with their lengths as they stand."""
    while head := file.read(1):
        if head == b"\x21":
            label = int.from_bytes(file.read(1), "big")
            parts, raw = [], b""
            while length := file.read(1):
                raw += length
                if length == b"\0":
                    break
                parts.append(file.read(length[0]))
                raw += parts[-1]
            yield label, parts, raw
        elif head == b"\x2c":  # a frame
            size = file.read(9)
            if len(size) == 9 and size[8] & 0x80:
                file.seek(3 * 2 ** (size[8] % 8 + 1), 1)
            file.seek(1, 1)
            while length := file.read(1):
                if length == b"\0":
                    break
                file.seek(length[0], 1)
        else:  # the end, or what no file should have
            return


def _sub_blocks(content: bytes) -> bytes:
    parts = [content[i : i + 255] for i in range(0, len(content), 255)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
