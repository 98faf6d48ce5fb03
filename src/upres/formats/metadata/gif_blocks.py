"""What GIF files say in extension blocks that libvips neither reads nor writes: comments and XMP.

Sources: GIF89a specification (CompuServe, 1990), sections 24 and 26; XMP Specification, part 3
(Adobe, 2020), section 1.1.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from upres.files import splice

_XMP = b"XMP DataXMP"
_TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
"""Behind XMP, which stands there as it is: wherever a reader that takes its letters for the
lengths of blocks comes out, from here it finds the end."""


@dataclass(frozen=True)
class Blocks:
    """A GIF file's blocks, those that libvips does not tell of."""

    comments: tuple[bytes, ...] = ()
    xmp: bytes = b""
    frames: int = 0
    is_whole: bool = True
    """Whether the file ends where a block does. Its own mark at the end is often missing."""


def read(path: Path) -> Blocks:
    """The blocks of a GIF file, in one pass."""
    comments, xmp, frames, is_whole = [], b"", 0, True
    with path.open("rb") as file:
        _skip_header(file)
        while head := file.read(1):
            if head == b"\x21":
                label = file.read(1)
                parts, is_whole = _parts(file)
                if label == b"\xfe":
                    comments.append(b"".join(parts))
                elif label == b"\xff" and parts[:1] == [_XMP]:
                    # XMP has no lengths of its own: they are letters of it.
                    raw = b"".join(bytes([len(part)]) + part for part in parts[1:]) + b"\0"
                    xmp = raw[: -len(_TRAILER)] if raw.endswith(_TRAILER) else xmp
            elif head == b"\x2c":
                size = file.read(9)
                if len(size) == 9 and size[8] & 0x80:
                    file.seek(3 * 2 ** (size[8] % 8 + 1), 1)
                file.seek(1, 1)  # the width of the first codes
                is_whole = _skip_parts(file)
                frames += 1
            else:  # the end, or what no file should have
                break
    return Blocks(tuple(comments), xmp, frames, is_whole)


def add(path: Path, comments: Iterable[bytes], xmp: bytes) -> None:
    """Put comments and XMP into a GIF file that has neither; both may be empty."""
    content = b"".join(b"\x21\xfe" + _sub_blocks(comment) for comment in comments)
    if xmp:
        content += b"\x21\xff" + bytes([len(_XMP)]) + _XMP + xmp + _TRAILER
    if content:
        with path.open("rb") as file:
            start = _skip_header(file)
        splice(path, start, start, content)


def _skip_header(file: BinaryIO) -> int:
    """Go to a GIF file's first block, behind its table of colours; return where that is."""
    head = file.read(13)
    table = 3 * 2 ** (head[10] % 8 + 1) if len(head) == 13 and head[10] & 0x80 else 0
    return file.seek(13 + table)


def _parts(file: BinaryIO) -> tuple[list[bytes], bool]:
    """The parts of an extension block, and whether they come to an end before the file does."""
    parts: list[bytes] = []
    while length := file.read(1):
        if length == b"\0":
            return parts, True
        parts.append(file.read(length[0]))
    return parts, False


def _skip_parts(file: BinaryIO) -> bool:
    """Pass over the parts of a frame; whether they come to an end before the file does."""
    while length := file.read(1):
        if length == b"\0":
            return True
        file.seek(length[0], 1)
    return False


def _sub_blocks(content: bytes) -> bytes:
    parts = [content[i : i + 255] for i in range(0, len(content), 255)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
