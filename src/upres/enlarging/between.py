"""Between the slices of a volume: a network sees the planes that lie across the slices.

It is given each plane of slices x columns, and each of slices x rows. Their results are reduced to
the columns and rows that there were, by antialiased bicubic, so that only the slices are more. Both
are averaged: each sees what the other does not. The mean of the slices that one becomes is that
slice, see ``upres.enlarging.means``. Each slice is then enlarged in its plane like any other frame.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count, islice
from pathlib import Path

import numpy as np

from upres.enlarging.light import from_seen, to_seen
from upres.enlarging.means import limits_of, rounded, shared_out
from upres.enlarging.options import Options
from upres.errors import InputError, Remedy
from upres.files import temporary_name
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array
from upres.raster.spool import Spool

PLANES_BYTES = 2**25
"""Most memory of the planes that are read at once; at least one plane is."""

EnlargePlane = Callable[[Float32Array, RasterInfo, tuple[int, int]], Float32Array]
"""Enlarges a plane, rows x columns x bands that vary, of that info, to a size."""


def factor_between(info: RasterInfo, options: Options, height: int) -> int:
    """How many slices of the result each slice becomes; 1 where they stay as they are.

    Raises ``InputError`` for a raster that is no volume, or a factor that is not whole.
    """
    if not options.through_plane:
        return 1
    if info.slices < 2:
        raise InputError(
            info.problem("has no slices one behind the other that share one scale of values"),
            Remedy("through_plane", "is for volumes only"),
        )
    if height % info.height:
        raise InputError(
            info.problem("a volume is enlarged between its slices by whole factors only"),
            Remedy("scale", "gives such a factor"),
        )
    return height // info.height


def with_slices_between(
    frames: Iterable[Iterable[Float32Array]],
    info: RasterInfo,
    factor: int,
    enlarge: EnlargePlane,
    *,
    beside: Path,
    progress: Callable[[int, float], None] | None = None,
) -> Iterator[Iterator[Float32Array]]:
    """Frames that are slices of volumes, ``factor`` times as many, in blocks of rows.

    All samples are as a network sees them. A volume is kept on disk beside ``beside``, once as it
    is and once with the slices between. ``progress`` is told each volume's number, from 0, and the
    part of its planes that is done.
    """
    frames = iter(frames)
    height, bands = info.height, len(info.varying)
    size = (info.slices * height, info.width, bands)
    result_size = (size[0] * factor, *size[1:])
    for volume in count():
        first = next(frames, None)
        if first is None:
            return
        with ExitStack() as stack:
            given, result = (
                stack.enter_context(
                    Spool(temporary_name(beside, ".raw"), shape, np.dtype(np.float32))
                )
                for shape in (size, result_size)
            )
            given.fill(first)
            for number, frame in enumerate(islice(frames, info.slices - 1), 1):
                top = number * height
                for block in frame:
                    given.write(top, 0, block)
                    top += len(block)
            told = partial(progress, volume) if progress else None
            _across(given, result, info, factor, enlarge, told)
            for number in range(info.slices * factor):
                yield iter([result.part(number * height, height, 0, info.width).copy()])


def _across(
    given: Spool,
    result: Spool,
    info: RasterInfo,
    factor: int,
    enlarge: EnlargePlane,
    progress: Callable[[float], None] | None,
) -> None:
    """Fill ``result`` with the slices, and with those between them."""
    total = info.height + info.width
    done = 0
    for top, rows in _spans(info.height, info.slices * info.width * len(info.varying)):
        part = _read(given, info, info.slices, (top, rows), (0, info.width))
        for row in range(rows):
            made = _plane(part[:, row], info, factor, enlarge)
            for number, line in enumerate(made):
                result.write(number * info.height + top + row, 0, line[None])
            done += 1
            if progress:
                progress(done / total)
    for left, columns in _spans(info.width, info.slices * info.height * len(info.varying)):
        part = _read(given, info, info.slices, (0, info.height), (left, columns))
        both = _read(result, info, info.slices * factor, (0, info.height), (left, columns)).copy()
        for column in range(columns):
            made = _plane(part[:, :, column], info, factor, enlarge)
            both[:, :, column] += made
            done += 1
            if progress:
                progress(done / total)
        both *= np.float32(0.5)
        for number in range(info.slices):
            slices = slice(number * factor, (number + 1) * factor)
            both[slices] = _with_mean(both[slices], part[number], info)
        for number, block in enumerate(both):
            result.write(number * info.height, left, block)


def _plane(
    plane: Float32Array, info: RasterInfo, factor: int, enlarge: EnlargePlane
) -> Float32Array:
    """A plane across the slices with ``factor`` times as many of them."""
    depth, across = plane.shape[:2]
    seen = dataclasses.replace(info, height=depth, width=across)
    return enlarge(np.ascontiguousarray(plane), seen, (depth * factor, across))


def _with_mean(block: Float32Array, wanted: Float32Array, info: RasterInfo) -> Float32Array:
    """Slices x rows x columns x bands whose mean over the slices is ``wanted``."""
    if info.preserves != "mean":
        return block
    samples = np.stack([from_seen(each, info) for each in block], -1)
    target = from_seen(wanted, info)
    # Whole numbers have means in their plane that are multiples of one over this.
    parts = len(block) ** 2
    for number, band in enumerate(info.varying):
        moved = shared_out(samples[:, :, number], target[:, :, number], limits_of(band, info))
        if info.dtype.kind in "iu":
            moved = rounded(moved * parts, target[:, :, number] * parts) / parts
        samples[:, :, number] = moved
    return np.stack([to_seen(samples[..., i], info) for i in range(samples.shape[-1])])


def _read(
    spool: Spool, info: RasterInfo, count: int, rows: tuple[int, int], columns: tuple[int, int]
) -> Float32Array:
    """A part of each of ``count`` slices: slices x rows x columns x bands."""
    parts = [spool.part(i * info.height + rows[0], rows[1], *columns) for i in range(count)]
    return np.stack(parts)


def _spans(length: int, samples: int) -> Iterator[tuple[int, int]]:
    """First and count of the planes that are read at once, of so many samples each."""
    count = max(1, PLANES_BYTES // (4 * samples))
    for first in range(0, length, count):
        yield first, min(count, length - first)
