"""The boxes that files of the ISO base media family are made of: JPEG 2000, JPEG XL, HEIF, CR3.

Source: ISO/IEC 14496-12, section 4.2; ISO/IEC 15444-1, annex I.4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple


class Box(NamedTuple):
    """A box: its kind, and where in the file its content is."""

    kind: bytes
    start: int
    end: int

    def read(self, file: BinaryIO, most: int = 2**24) -> bytes:
        """Its content, or the first ``most`` bytes of it."""
        file.seek(self.start)
        return file.read(min(most, self.end - self.start))


def boxes(file: BinaryIO, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes between two places of a file, by default all.

    Raises ``struct.error`` where one says that it is longer than the box around it.
    """
    last = file.seek(0, 2) if end is None else end
    while start < last:
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
            head = 16
        elif length == 0:
            length = last - start
        if length < head or start + length > last:
            raise struct.error(f"the box {kind!r} is longer than the file")
        yield Box(kind, start + head, start + length)
        start += length


def pack_box(kind: bytes, content: bytes) -> bytes:
    """A box of that kind."""
    if len(content) + 8 < 2**32:
        return struct.pack(">I4s", len(content) + 8, kind) + content
    return struct.pack(">I4sQ", 1, kind, len(content) + 16) + content
