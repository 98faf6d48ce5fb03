"""Measurements keep their means: the samples that one of the input becomes have it as their mean.

A sample of a scanner is the mean of what lies in its voxel, about. So the reduction D that gives
the input back is the mean over s x s samples, and D D^T is a multiple of the identity: the nearest
to a network's result x of all that agree with the input y is x + repeat(y - D x). Source: the
projection of Y. Wang, J. Yu and J. Zhang, "Zero-shot image restoration using denoising diffusion
null-space model", ICLR 2023 (DDNM), for that D.

Where that goes beyond the values that the file can hold, the difference is shared out by the room
that each sample has, which keeps the mean, too. Whole numbers are rounded by the largest
remainders, so that the mean of a voxel's samples is the voxel's value, and not only near it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.enlarging.consistency import MEASURED_ROLES
from upres.enlarging.light import from_seen, to_seen
from upres.enlarging.overlaps import Block, with_margins
from upres.errors import InputError, Remedy
from upres.raster.info import Band, RasterInfo
from upres.raster.spool import Spool

Values = NDArray[np.floating[Any]]


def is_of_means(info: RasterInfo, height: int, width: int) -> bool:
    """Whether a result is a whole number of times as large as the raster, be it once."""
    factor = max(1, height // info.height)
    return (height, width) == (info.height * factor, info.width * factor)


def require_means(info: RasterInfo, height: int, width: int) -> None:
    """Raise ``InputError`` unless a result is a whole number of times as large as the raster."""
    if not is_of_means(info, height, width):
        raise InputError(
            info.problem(
                f"{width}x{height} is no whole number of times {info.width}x{info.height}, as a "
                "result must be that keeps the mean of each sample"
            ),
            Remedy("scale", "gives such a factor"),
        )


def keeping_means(
    parts: Iterable[Block], given: Spool, info: RasterInfo, scale: int, *, beside: Path
) -> Iterator[Block]:
    """Make the windows of an enlarged frame keep the means of the frame, ``given``.

    That is rows x columns x bands, and the windows together are ``scale`` times as large. All
    samples are as a network sees them, see ``upres.enlarging.light``; NaN stays. Temporary files
    may be beside ``beside``. The result does not depend on the windows.
    """
    size = (info.height * scale, info.width * scale)
    bands = info.find(*MEASURED_ROLES)
    areas = with_margins(parts, size, len(info.varying), margin=0, multiple=scale, beside=beside)
    for area in areas:
        top, left = area.rows.first // scale, area.columns.first // scale
        rows, columns = (each // scale for each in area.planes.shape[1:])
        wanted = from_seen(given.part(top, rows, left, columns), info)
        samples = from_seen(np.moveaxis(area.planes, 0, 2), info)
        for number in bands:
            samples[:, :, number] = with_means(
                samples[:, :, number],
                wanted[:, :, number],
                scale,
                limits_of(info.varying[number], info),
                whole=info.dtype.kind in "iu",
                nodata=info.nodata,
            )
        area.planes[:] = np.moveaxis(to_seen(samples, info), 2, 0)
        yield area.part()
        del area  # its memory is for the next one


def with_means(
    plane: Values,
    given: Values,
    scale: int,
    limits: tuple[float, float],
    *,
    whole: bool,
    nodata: float | None = None,
) -> Values:
    """The plane nearest to ``plane`` whose ``scale`` x ``scale`` parts have the means ``given``.

    No sample lies beyond ``limits``, within which all of ``given`` must be. ``whole`` numbers are
    rounded so that each part's sum is the nearest whole number, and none becomes ``nodata``.
    """
    height, width = given.shape
    # Rows x columns x the samples that one of the input becomes.
    cells = plane.reshape(height, scale, width, scale).swapaxes(1, 2).reshape(height, width, -1)
    moved = shared_out(cells, given, limits)
    if whole:
        moved = rounded(moved, given)
        if nodata is not None:
            _move_off(moved, nodata, limits)
    joined = moved.reshape(height, width, scale, scale).swapaxes(1, 2)
    return joined.reshape(height * scale, width * scale)


def shared_out(cells: Values, given: Values, limits: tuple[float, float]) -> Values:
    """``cells``, their last axis moved so that ``given`` is the mean over it.

    All move alike, but for those that would go beyond ``limits``: there, each by its room.
    """
    low, high = limits
    cells = np.clip(cells, low, high)
    lacking = (given - cells.mean(-1))[..., None]
    moved: Values = cells + lacking
    beyond = ((moved < low) | (moved > high)).any(-1)
    if beyond.any():
        room = np.where(lacking[beyond] > 0, high - cells[beyond], cells[beyond] - low)
        shares = room / np.maximum(room.mean(-1, keepdims=True), np.finfo(np.float64).tiny)
        moved[beyond] = np.clip(cells[beyond] + shares * lacking[beyond], low, high)
    return moved


def rounded(cells: Values, given: Values) -> Values:
    """Whole numbers, those with the largest remainders rounded up, whose mean is ``given``.

    The mean is over the last axis; their sum is the whole number nearest to that of such a mean.
    """
    count = cells.shape[-1]
    lower = np.floor(cells)
    more = np.rint(given * count - lower.sum(-1))[..., None]
    order = np.argsort(lower - cells, axis=-1, kind="stable")
    raised = np.zeros_like(cells)
    np.put_along_axis(raised, order, (np.arange(count) < more).astype(cells.dtype), -1)
    return lower + raised


def _limits_of_type(info: RasterInfo) -> tuple[float, float]:
    """The least and the largest sample of a type, but for the one that means that there is none."""
    if info.dtype.kind == "f":
        return -np.inf, np.inf
    low, high = float(np.iinfo(info.dtype).min), float(np.iinfo(info.dtype).max)
    return low + (info.nodata == low), high - (info.nodata == high)


def _move_off(cells: Values, nodata: float, limits: tuple[float, float]) -> None:
    """Change whole numbers so that none is ``nodata``, and the mean over the last axis stays.

    Each such sample moves by one, and the one that is farthest from it by one the other way.
    """
    count = cells.shape[-1]
    flat = cells.reshape(-1, count)
    left = np.flatnonzero((flat == nodata).any(-1))
    for _ in range(count):
        part = flat[left]
        each = np.arange(len(part))
        first = (part == nodata).argmax(-1)
        other = np.abs(part - nodata).argmax(-1)
        far = part[each, other] - nodata
        # Towards each other; apart where the other would become it, too.
        step = np.where(np.abs(far) > 1, 1, -1) * np.sign(far)
        part[each, first] += step
        part[each, other] -= step
        fits = (step != 0) & ((part >= limits[0]) & (part <= limits[1])).all(-1)
        flat[left[fits]] = part[fits]
        left = left[fits][(part[fits] == nodata).any(-1)]
    cells[:] = flat.reshape(cells.shape)


def limits_of(band: Band, info: RasterInfo) -> tuple[float, float]:
    """The least and the largest sample that a result may have."""
    assert band.low is not None
    assert band.high is not None
    if band.unbounded and not band.limited:
        return _limits_of_type(info)
    if info.dtype.itemsize <= 2 and info.dtype.kind != "f":
        return band.low, band.high
    # Their bands range as far as most samples do, but for 0 where none is negative.
    most = np.inf if info.dtype.kind == "f" else float(np.iinfo(info.dtype).max)
    return 0.0 if band.low == 0 else -most, most
