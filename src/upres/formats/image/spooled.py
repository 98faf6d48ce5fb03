"""A spool as an image of libvips: it has the head of a TIFF file, whose samples it holds."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from upres.formats.metadata.tiff_tags import Entry, pack
from upres.raster.spool import Spool

TIFF_STRIP_BYTES = 2**20
"""Bytes of a strip of the file; at least one row is in it."""


def as_image(spool: Spool) -> pyvips.Image:
    """The stored samples, as an image to be read once from the top.

    The spool's ``head`` is ``head_of``: libvips reads TIFF strip by strip, and bare
    samples it would map into memory, all of them in the end.
    """
    if spool.pixels is not None:
        return pyvips.Image.new_from_array(spool.pixels)
    source = source_of(spool.path)
    image: pyvips.Image = pyvips.Operation.call("tiffload_source", source, access="sequential")
    return image


def source_of(path: Path) -> pyvips.Source:
    """A file as libvips reads it, without its name, as pyvips takes only UTF-8.

    Raises ``OSError`` if it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        return pyvips.Source.new_from_descriptor(descriptor)  # which keeps a copy of it
    finally:
        os.close(descriptor)


def head_of(shape: tuple[int, int, int], dtype: np.dtype[Any]) -> bytes:
    """The head that makes a (Big)TIFF file of the samples behind it."""
    height, width, channels = shape
    row_bytes = width * channels * dtype.itemsize
    rows = min(height, max(1, TIFF_STRIP_BYTES // row_bytes))
    tops = np.arange(0, height, rows)
    counts = (np.minimum(rows, height - tops) * row_bytes).astype("<u8").tobytes()
    kind = {"u": 1, "i": 2, "f": 3}[dtype.kind]

    def short(*values: int) -> tuple[int, int, bytes]:
        return 3, len(values), np.array(values, "<u2").tobytes()

    def long(*values: int) -> tuple[int, int, bytes]:
        return 4, len(values), np.array(values, "<u4").tobytes()

    directory = b""
    for _ in range(2):  # once for its length, on which the strips' places depend
        places = (16 + len(directory) + tops * row_bytes).astype("<u8").tobytes()
        entries: list[Entry] = [
            (256, *long(width)),
            (257, *long(height)),
            (258, *short(*[8 * dtype.itemsize] * channels)),
            (259, *short(1)),
            (262, *short(1)),
            (273, 16, len(tops), places),
            (277, *short(channels)),
            (278, *long(rows)),
            (279, 16, len(tops), counts),
            (284, *short(1)),
            (339, *short(*[kind] * channels)),
        ]
        if channels > 1:
            entries.append((338, *short(*[0] * (channels - 1))))
        directory, start = pack(entries, 16, big=True)
    return struct.pack("<2sHHHQ", b"II", 43, 8, 0, start) + directory
