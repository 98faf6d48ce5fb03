"""The header of an OpenEXR file, as bytes: every attribute is kept as it is.

Written here, as neither of the library's two ways is right for it. The newer decodes a whole
picture into memory; the older, which takes it in rows, loses some attributes, as of chromaticities,
which it writes as zeros. Source: OpenEXR File Layout, https://openexr.com/en/latest/.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from upres.errors import InputError
from upres.files import splice

_TILED, _DEEP, _SEVERAL = 0x200, 0x800, 0x1000
_LONGEST = 2**24
"""Bytes of an attribute; previews are the largest in practice."""
_MOST = 10_000
"""Attributes and channels."""

LINES = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256}
"""How many rows are compressed together, by the number of the compression."""

TYPES: dict[int, np.dtype[Any]] = {1: np.dtype(np.float16), 2: np.dtype(np.float32)}
"""Of samples, by their numbers."""


@dataclass(frozen=True)
class Channel:
    """One channel of a file."""

    name: str
    kind: int
    """A number of ``TYPES``; 0 are whole numbers."""
    sampling: tuple[int, int]


@dataclass(frozen=True)
class ExrHeader:
    """The words of a file before its samples."""

    attributes: dict[bytes, tuple[bytes, bytes]]
    """By name: type and value."""
    channels: tuple[Channel, ...]
    window: tuple[int, int, int, int]
    """First column and row, last column and row, of the samples."""
    display: tuple[int, int, int, int]
    """Of its visible part."""
    compression: int
    tiled: bool
    end: int
    """Where the header ends, and the table of the parts' places begins."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        left, top, right, bottom = self.window
        return bottom - top + 1, right - left + 1


def read(path: Path) -> ExrHeader:
    """A file's header.

    Raises ``InputError`` if it is damaged, or if the file has several parts or deep samples.
    """
    with path.open("rb") as file:
        (flags,) = struct.unpack("<I", file.read(8)[4:].ljust(4, b"\0"))
        if flags & _SEVERAL:
            raise InputError(
                f"{path}: has several parts, and upres would lose all but the first: take them "
                "apart with exrmultipart -separate"
            )
        if flags & _DEEP:
            raise InputError(f"{path}: has deep samples, which upres does not take: flatten it")
        try:
            attributes = _attributes(file)
            if attributes.get(b"type", (b"", b""))[1].startswith(b"deep"):
                raise InputError(f"{path}: has deep samples, which upres does not take: flatten it")
            channels = tuple(_channels(attributes[b"channels"][1]))
            window, display = (
                struct.unpack("<4i", attributes[name][1])
                for name in (b"dataWindow", b"displayWindow")
            )
            header = ExrHeader(
                attributes,
                channels,
                (window[0], window[1], window[2], window[3]),
                (display[0], display[1], display[2], display[3]),
                attributes[b"compression"][1][0],
                bool(flags & _TILED),
                file.tell(),
            )
        except (KeyError, IndexError, ValueError, struct.error):
            raise damaged(path, "its header is not whole") from None
    if min(header.size) < 1 or not channels:
        raise damaged(path, "its header is not whole")
    return header


def check_whole(path: Path, header: ExrHeader) -> None:
    """Raise ``InputError`` if a file ends before its samples do.

    The library tells that only where it comes to it, and on the standard error, too.
    """
    if header.tiled or header.compression not in LINES:
        return
    count = -(-header.size[0] // LINES[header.compression])
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if header.end + 8 * count > size:
            raise damaged(path, "its samples end early")
        file.seek(header.end)
        places = np.frombuffer(file.read(8 * count), "<u8")
        last = int(places.max())
        if last + 8 > size or not places.all():
            raise damaged(path, "its samples end early")
        file.seek(last + 4)
        if last + 8 + int.from_bytes(file.read(4), "little") > size:
            raise damaged(path, "its samples end early")


def complete(path: Path, attributes: dict[bytes, tuple[bytes, bytes]]) -> None:
    """Put attributes in a file's header, in the place of those that have their names.

    The file is one that has just been written, in rows.
    """
    header = read(path)
    packed = b"".join(
        name + b"\0" + kind + b"\0" + struct.pack("<i", len(value)) + value
        for name, (kind, value) in sorted({**header.attributes, **attributes}.items())
    )
    with path.open("rb") as file:
        magic, flags = struct.unpack("<II", file.read(8))
    if any(len(name) > 31 or len(kind) > 31 for name, (kind, _) in attributes.items()):
        flags |= 0x400  # which says that names may be as long as 255 bytes
    new = struct.pack("<II", magic, flags) + packed + b"\0"
    shift = len(new) - header.end
    count = -(-header.size[0] // LINES[header.compression])
    with path.open("rb") as file:
        file.seek(header.end)
        places = np.frombuffer(file.read(8 * count), "<u8") + np.uint64(shift)
    splice(path, 0, header.end + 8 * count, new + places.astype("<u8").tobytes())


def damaged(path: Path, reason: str) -> InputError:
    """The error of a file that cannot be read further."""
    return InputError(f"{path}: this picture is damaged or truncated: {reason}")


def _attributes(file: BinaryIO) -> dict[bytes, tuple[bytes, bytes]]:
    found: dict[bytes, tuple[bytes, bytes]] = {}
    for _ in range(_MOST):
        name = _text(file)
        if not name:
            return found
        kind = _text(file)
        (length,) = struct.unpack("<i", file.read(4))
        if not 0 <= length <= _LONGEST:
            raise ValueError
        value = file.read(length)
        if len(value) < length:
            raise ValueError
        found[name] = (kind, value)
    raise ValueError


def _text(file: BinaryIO) -> bytes:
    text = bytearray()
    while (byte := file.read(1)) != b"\0":
        text += byte
        if not byte or len(text) > 255:
            raise ValueError
    return bytes(text)


def _channels(value: bytes) -> list[Channel]:
    found: list[Channel] = []
    at = 0
    while value[at] != 0:
        end = value.index(b"\0", at)
        kind, _, horizontal, vertical = struct.unpack_from("<iB3xii", value, end + 1)
        if kind not in (0, 1, 2) or len(found) == _MOST:
            raise ValueError
        found.append(Channel(value[at:end].decode(), kind, (horizontal, vertical)))
        at = end + 17
    return found
