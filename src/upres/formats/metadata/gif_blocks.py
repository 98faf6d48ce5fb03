"""A GIF file's blocks: where its frames are, and what libvips neither reads nor writes.

Sources: GIF89a specification (CompuServe, 1990), sections 18 to 26; XMP Specification, part 3
(Adobe, 2020), section 1.1.2.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from upres.files import splice

_XMP, _LOOPS = b"XMP DataXMP", b"NETSCAPE2.0"
_TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
"""Behind XMP, which stands there as it is: wherever a reader that takes its letters for the
lengths of blocks comes out, from here it finds the end."""

_EXTENSION, _FRAME, _END = b"\x21", b"\x2c", b"\x3b"
_CONTROL, _COMMENT, _APPLICATION = b"\xf9", b"\xfe", b"\xff"
_HEADER = re.compile(rb"GIF8[79]a")
_BLOCK = re.compile(rb"[\x21\x2c\x3b]")
_STEP = 2**16


@dataclass(frozen=True)
class GifFrame:
    """A frame as its blocks tell: a part of the picture, and when it is there."""

    left: int
    top: int
    width: int
    height: int
    flags: int
    """Of its own table of colours, and whether its rows are interlaced."""
    start: int
    """Where its table of colours and its pixels are in the file."""
    end: int
    table: bytes
    """The table of colours that counts where it has none of its own."""
    hundredths: int
    """Of a second for which it is shown."""
    after: int
    """The fate of its part of the picture when its time is over."""
    transparent: int | None
    """The colour that is none."""


@dataclass(frozen=True)
class Blocks:
    """A GIF file's blocks."""

    width: int = 0
    """Of the picture, as the header tells."""
    height: int = 0
    comments: tuple[bytes, ...] = ()
    xmp: bytes = b""
    frames: tuple[GifFrame, ...] = ()
    end: int | None = None
    """Where in the file its end is."""
    is_whole: bool = True
    """Whether it ends with the mark for that. A still may lack it, as many do; an animation that
    lacks it may lack frames, too."""


def read(path: Path) -> Blocks:
    """The blocks of a GIF file, in one pass.

    Bytes between blocks are passed over, as by other readers; a second header there brings its
    table of colours.
    """
    comments, xmp, is_whole, is_still = [], b"", True, True
    frames: list[GifFrame] = []
    control = b""
    with path.open("rb") as file:
        width, height, table = _header(file)
        while head := file.read(1):
            if head == _EXTENSION:
                label = file.read(1)
                parts, is_whole = _parts(file)
                if label == _CONTROL:
                    control = b"".join(parts)
                elif label == _COMMENT:
                    comments.append(b"".join(parts))
                elif label == _APPLICATION and parts[:1] == [_LOOPS]:
                    is_still = False
                elif label == _APPLICATION and parts[:1] == [_XMP]:
                    # XMP has no lengths of its own: they are letters of it.
                    raw = b"".join(bytes([len(part)]) + part for part in parts[1:]) + b"\0"
                    xmp = raw[: -len(_TRAILER)] if raw.endswith(_TRAILER) else xmp
            elif head == _FRAME:
                place = file.read(9)
                start = file.tell()
                if len(place) == 9:
                    file.seek(_table_bytes(place[8]), 1)
                file.seek(1, 1)  # the width of the first codes
                is_whole = _skip_parts(file)
                if len(place) == 9:
                    frames.append(_frame(place, control, start, file.tell(), table))
                control = b""
            elif head == _END:
                break
            else:
                at = file.tell() - 1
                file.seek(at)
                if _HEADER.match(file.read(6)):
                    file.seek(at)
                    table = _header(file)[2]
                else:
                    _skip_to_block(file, at)
        else:
            is_whole = is_whole and is_still and len(frames) == 1
        end = file.tell() if head == _END else None
    return Blocks(width, height, tuple(comments), xmp, tuple(frames), end, is_whole)


def alone(file: BinaryIO, frame: GifFrame) -> bytes:
    """A GIF file of one frame of ``file``, which is then all of the picture."""
    file.seek(frame.start)
    content = file.read(frame.end - frame.start)
    size = struct.pack("<HH", frame.width, frame.height)
    flags = 0x80 | _size_flag(frame.table) if frame.table else 0
    control = b""
    if frame.transparent is not None:
        control = b"\x21\xf9\x04\x01\0\0" + bytes([frame.transparent, 0])
    return b"".join(
        [
            b"GIF89a" + size + bytes([flags, 0, 0]) + frame.table,
            control,
            _FRAME + bytes(4) + size + bytes([frame.flags]) + content + _END,
        ]
    )


def add(path: Path, comments: Iterable[bytes], xmp: bytes) -> None:
    """Put comments and XMP into a GIF file that has neither; both may be empty."""
    content = b"".join(b"\x21\xfe" + _sub_blocks(comment) for comment in comments)
    if xmp:
        content += b"\x21\xff" + bytes([len(_XMP)]) + _XMP + xmp + _TRAILER
    if content:
        with path.open("rb") as file:
            _header(file)
            start = file.tell()
        splice(path, start, start, content)


def _frame(place: bytes, control: bytes, start: int, end: int, table: bytes) -> GifFrame:
    left, top, width, height, flags = struct.unpack("<HHHHB", place)
    packed, hundredths, transparent = struct.unpack("<BHB", control.ljust(4, b"\0")[:4])
    return GifFrame(
        left,
        top,
        width,
        height,
        flags,
        start,
        end,
        table,
        hundredths,
        after=packed >> 2 & 7,
        transparent=transparent if packed & 1 else None,
    )


def _header(file: BinaryIO) -> tuple[int, int, bytes]:
    """Go past the header that is next; return the size that it tells, and its table of colours."""
    head = file.read(13).ljust(13, b"\0")
    width, height, flags = struct.unpack("<HHB", head[6:11])
    return width, height, file.read(_table_bytes(flags))


def _table_bytes(flags: int) -> int:
    """Of the table of colours that ``flags`` tell of, if any."""
    return 3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0


def _size_flag(table: bytes) -> int:
    """How flags tell the size of a table of colours."""
    return max(0, (len(table) // 3 - 1).bit_length() - 1)


def _skip_to_block(file: BinaryIO, at: int) -> None:
    """Go to where the next block seems to begin, or to the end."""
    file.seek(at)
    while part := file.read(_STEP):
        if found := _BLOCK.search(part):
            file.seek(at + found.start())
            return
        at += len(part)


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
