"""A picture while it is worked on: on disk if it is large, so that its size takes no memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.files import create_locked
from upres.raster.pixels import copy_planes

ROWS_BYTES = 2**22
"""Most bytes of a block of rows that is read at once; at least one row is."""


MEMORY_BYTES = 2**23
"""A picture that takes no more is kept in memory, which is faster."""


class Spool:
    """Samples, row by row: height x width x channels of one dtype.

    A picture of more than ``memory_bytes`` is in a file, which a ``with`` statement removes at its
    end. That file begins with the bytes that ``head`` makes of shape and dtype, and the samples
    follow without compression.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        *,
        head: Callable[[tuple[int, int, int], np.dtype[Any]], bytes] | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self.path = path
        self.shape = shape
        self.dtype = dtype
        self.row_bytes = shape[1] * shape[2] * dtype.itemsize
        small = shape[0] * self.row_bytes <= memory_bytes
        self._pixels = np.zeros(shape, dtype) if small else None
        if not small:
            start = head(shape, dtype) if head else b""
            self._start = len(start)
            # To go to a place and read there are two calls, and threads may read at once.
            self._turn = threading.Lock()
            self._file = create_locked(path)
            os.write(self._file, start)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pixels is None:
            os.close(self._file)
            self.path.unlink(missing_ok=True)

    @property
    def pixels(self) -> NDArray[Any] | None:
        """All samples, if they are in memory; ``None`` if they are in the file."""
        return self._pixels

    def fill(self, rows: Iterable[NDArray[Any]]) -> None:
        """Store blocks of rows, from the top."""
        top = 0
        for block in rows:
            self.write(top, 0, block)
            top += len(block)

    def read(self, start: int, count: int) -> bytes:
        """At most ``count`` bytes of the samples, as they follow each other."""
        if self._pixels is not None:
            return bytes(self._pixels.data.cast("B")[start : start + count])
        with self._turn:
            os.lseek(self._file, self._start + start, os.SEEK_SET)
            return os.read(self._file, count)

    def write(self, top: int, left: int, block: NDArray[Any]) -> None:
        """Store rows x columns x channels at a place; raises ``OSError`` where disk is lacking."""
        if self._pixels is not None:
            copy_planes(
                self._pixels[top : top + block.shape[0], left : left + block.shape[1]], block
            )
            return
        if not block.flags.c_contiguous:
            planes, block = block, np.empty(block.shape, self.dtype)
            copy_planes(block, planes)
        if block.shape[1] == self.shape[1]:
            self._write(block, top * self.row_bytes)
            return
        start = top * self.row_bytes + left * self.shape[2] * self.dtype.itemsize
        for number, row in enumerate(block):
            self._write(row, start + number * self.row_bytes)

    def _write(self, content: NDArray[Any], offset: int) -> None:
        # Plain writes, as a file mapped into memory counts as the process's own memory.
        rest = content.data.cast("B")
        with self._turn:
            os.lseek(self._file, self._start + offset, os.SEEK_SET)
            while rest:
                rest = rest[os.write(self._file, rest) :]

    def part(self, top: int, rows: int, left: int, columns: int) -> NDArray[Any]:
        """Some rows and columns of the samples; of those in memory, a view."""
        if self._pixels is not None:
            return self._pixels[top : top + rows, left : left + columns]
        result = np.empty((rows, columns, self.shape[2]), self.dtype)
        whole = columns == self.shape[1]
        offset = self._start + left * self.shape[2] * self.dtype.itemsize
        with self._turn:
            for number, part in enumerate([result] if whole else result):
                os.lseek(self._file, offset + (top + number) * self.row_bytes, os.SEEK_SET)
                rest = part.data.cast("B")
                while rest:
                    content = os.read(self._file, len(rest))
                    if not content:
                        raise OSError(None, "a temporary file was cut short", str(self.path))
                    rest[: len(content)] = content
                    rest = rest[len(content) :]
        return result

    def blocks(self, orientation: int = 1) -> Iterator[NDArray[Any]]:
        """The picture in blocks of rows, from the top, turned as an EXIF orientation says."""
        # The orientations, after EXIF 2.3, table 6: which axes are reversed once
        # rows and columns have changed places, or have not.
        turned = orientation >= 5
        up_down, left_right = {
            1: (False, False),
            2: (False, True),
            3: (True, True),
            4: (True, False),
            5: (False, False),
            6: (False, True),
            7: (True, True),
            8: (True, False),
        }[orientation]
        height, width, channels = self.shape
        if turned:
            height, width = width, height
        rows = max(1, ROWS_BYTES // (width * channels * self.dtype.itemsize))
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            first, last = (height - bottom, height - top) if up_down else (top, bottom)
            if turned:
                block = self.part(0, width, first, last - first).transpose(1, 0, 2)
            else:
                block = self.part(first, last - first, 0, width)
            yield block[:: -1 if up_down else 1, :: -1 if left_right else 1]
