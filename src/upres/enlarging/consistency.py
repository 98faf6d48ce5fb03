"""Agreement with the input: a result that, reduced again, is the raster it was made of.

D is MATLAB's bicubic reduction (``upres.raster.projection``), y the input and x a network's result.
x + D+ (y - D x) is the nearest to x of all that D makes y of: the part of x that D sees comes from
the input, and the part that it does not see stays the network's. Sources: Y. Wang, J. Yu and J.
Zhang, "Zero-shot image restoration using denoising diffusion null-space model", ICLR 2023 (DDNM);
Y. Bahat and T. Michaeli, "Explorable super resolution", CVPR 2020 (the "consistency enforcing
module").

Samples have a range, and are clipped to it, which undoes a part where they meet its ends. So the
step is repeated there. An input's sample at an end of the range says no more than that D x is
there, or beyond: the reduction that made it was clipped, too. Hence y - clip(D x) is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from upres.enlarging import gaps
from upres.enlarging.bounds import FROM_0_TO_1, Bounds, bounds_of
from upres.enlarging.overlaps import Block, Extent, with_margins
from upres.enlarging.steps import FILL_RADIUS, filled_in
from upres.errors import InputError, Remedy
from upres.raster.info import COLOUR_ROLES, RasterInfo, Role
from upres.raster.pixels import Float32Array
from upres.raster.projection import (
    FILTER_REACH,
    REACH,
    product_inverse,
    reduced_rows,
    transposed_rows,
)
from upres.raster.spool import Spool

SHARES = (1.0, 1.5, 1.5)
"""How much of the difference each repetition takes: the first is the projection. The others have
to do with samples that were clipped only. The next clipping undoes a part of that again, so to take
more than all gets there sooner. Measured on the worst picture of Set14 (``ppt3``, which is text;
``fast`` x4): 59.9 dB after three repetitions of length 1, 61.2 so."""

MARGIN = 16
"""How far around a window, in samples of the input, the result is looked at. Beyond it nothing
counts for more than float32's rounding: that falls to a third with each sample of the input."""

_SPREAD = REACH + FILTER_REACH
"""How many samples of the input away D+ changes the result."""

Rectangle = tuple[int, int, int, int]
"""Top, bottom, left, right."""

MEASURED_ROLES: tuple[Role, ...] = (*COLOUR_ROLES, "ink", "other")
"""The bands that are made to agree. Alpha says what shows through, and is no measurement; numbers
of classes have nothing in between."""


def is_whole_factor(info: RasterInfo, height: int, width: int) -> bool:
    """Whether a result is 2 or another whole number of times as large."""
    factor = height // info.height
    return factor >= 2 and (height, width) == (info.height * factor, info.width * factor)


def require_whole_factor(info: RasterInfo, height: int, width: int) -> None:
    """Raise ``InputError`` unless a result is 2 or another whole number of times as large."""
    if not is_whole_factor(info, height, width):
        raise InputError(
            info.problem(
                f"{width}x{height} is not 2, 3 or another whole number of times "
                f"{info.width}x{info.height}, as a consistent result must be"
            ),
            Remedy("scale", "gives such a factor"),
        )


def scratch_bytes(info: RasterInfo, height: int, width: int) -> int:
    """Disk that is taken meanwhile: by a frame's values, and twice by the last of a result's rows.

    The second time is for the check, which comes after.
    """
    rows = 2 * (MARGIN + 1) * max(1, height // info.height)
    return 4 * len(info.bands) * (info.pixels + 2 * min(height, rows) * width)


def agreeing(
    parts: Iterable[Block],
    given: Spool,
    info: RasterInfo,
    scale: int,
    *,
    beside: Path,
) -> Iterator[Block]:
    """Make the windows of an enlarged frame agree with the frame, ``given``.

    That is rows x columns x bands. ``info`` is the frame's, and the windows together are ``scale``
    times as large. All samples are float32, in [0, 1] but for bands that are unbounded. Samples
    that are missing do not count, and are missing in the result, too. Temporary files may be beside
    ``beside``. The result equals that of one window over the whole frame, to float32 rounding.
    """
    size = (info.height * scale, info.width * scale)
    bands, bounds, missing = info.find(*MEASURED_ROLES), bounds_of(info), gaps.with_gaps(info)
    areas = with_margins(
        parts, size, len(info.varying), margin=MARGIN * scale, multiple=scale, beside=beside
    )
    for area in areas:
        rows = given_part(given, info, area.rows, area.columns, scale)
        for band in bands:
            exact = info.varying[band].unbounded and info.dtype.itemsize > 1
            make_agree(area.planes[band], rows[:, :, band], scale, bounds[band], exact=exact)
        top, left, part = area.part()
        if missing:
            height, width = (length // scale for length in part.shape[:2])
            before = given.part(top // scale, height, left // scale, width)
            before = before.repeat(scale, 0).repeat(scale, 1)
            gaps.put_back(np.moveaxis(part, 2, 0), before, missing, info.mask)
        yield top, left, part
        del area  # its memory is for the next one


def given_part(
    given: Spool, info: RasterInfo, rows: Extent, columns: Extent, scale: int
) -> Float32Array:
    """The samples that a part of the result was made of, as the network got them.

    Under what is transparent they are its neighbours' colour, and not what the file has there.
    """
    # Where the windows have been filled: see ``steps_for``.
    colours = info.find(*COLOUR_ROLES, "ink")
    alpha = info.alpha if colours and info.cover != "emission" else None
    missing = gaps.with_gaps(info)
    more = gaps.GAP_REACH * bool(missing) + FILL_RADIUS * (alpha is not None)
    (top, bottom), (left, right) = (
        (max(0, extent.start // scale - more), min(length, extent.stop // scale + more))
        for extent, length in ((rows, info.height), (columns, info.width))
    )
    part: Float32Array = given.part(top, bottom - top, left, right - left)
    if missing:
        part = gaps.filled(part, missing, info.mask)
    if alpha is not None:
        part = filled_in(part, alpha, colours)
    above, before = rows.start // scale - top, columns.start // scale - left
    height, width = ((each.stop - each.start) // scale for each in (rows, columns))
    return part[above : above + height, before : before + width]


def make_agree(
    plane: Float32Array,
    given: Float32Array,
    scale: int,
    bounds: Bounds = FROM_0_TO_1,
    *,
    exact: bool = False,
) -> None:
    """Change ``plane``, ``scale`` times as large as ``given``, so that D makes that of it.

    All samples are within ``bounds``, and stay so. ``exact`` is for measurements of 16 bits: a
    hundredth of their counts is beyond the digits of sums in float32, and of the inverse as it is
    cut off, so that the difference is taken in float64, and twice.
    """
    height, width = given.shape
    given = np.ascontiguousarray(given)
    looked_at: list[Rectangle] = [(0, height, 0, width)]
    if exact:
        _project(plane, given, looked_at[0], scale, 1.0, bounds, exact=True)
    for number, length in enumerate(SHARES):
        clipped = [
            _around(part, FILTER_REACH, given)
            for place in looked_at
            for part in _project(plane, given, place, scale, length, bounds, exact=exact)
        ]
        # Only beside clipped samples is there a difference again, or still: a length other than 1
        # leaves some where there was one.
        looked_at = _apart(clipped + looked_at if number else clipped)


def _project(
    plane: Float32Array,
    given: Float32Array,
    place: Rectangle,
    scale: int,
    length: float,
    bounds: Bounds,
    *,
    exact: bool,
) -> list[Rectangle]:
    """Take ``length`` of the difference at ``place``, in samples of ``given``; what was clipped."""
    top, bottom, left, right = _around(place, _SPREAD, given)
    part = plane[top * scale : bottom * scale, left * scale : right * scale]
    wanted = given[top:bottom, left:right]
    reduced_part = part.astype(np.float64) if exact else part
    difference = np.zeros_like(wanted)
    first, last = place[0] - top, place[1] - top
    inside = slice(place[2] - left, place[3] - left)
    for start, stop, rows in reduced_rows(reduced_part, scale, first, last):
        np.clip(rows, *bounds, out=rows)
        np.subtract(wanted[start:stop], rows, out=rows)
        difference[start:stop, inside] = rows[:, inside]
    if length != 1:
        difference *= np.float32(length)
    clipped = []
    for start, stop, rows in transposed_rows(product_inverse(difference, scale), scale):
        block = part[start:stop]
        block += rows
        if block.min() < bounds[0] or block.max() > bounds[1]:
            beyond = np.flatnonzero(np.any((block < bounds[0]) | (block > bounds[1]), axis=0))
            np.clip(block, *bounds, out=block)
            clipped.append(
                (
                    top + start // scale,
                    top + stop // scale,
                    left + int(beyond[0]) // scale,
                    left + int(beyond[-1]) // scale + 1,
                )
            )
    return clipped


def _around(place: Rectangle, reach: int, given: Float32Array) -> Rectangle:
    top, bottom, left, right = place
    height, width = given.shape
    rows = max(0, top - reach), min(height, bottom + reach)
    return *rows, max(0, left - reach), min(width, right + reach)


def _apart(places: list[Rectangle]) -> list[Rectangle]:
    """Rectangles that cover all ``places``, each so far from the others that none sees another."""
    joined: list[Rectangle] = []
    for top, bottom, left, right in sorted(places):
        if joined and top <= joined[-1][1] + 2 * (_SPREAD + FILTER_REACH):
            before = joined.pop()
            top, bottom = before[0], max(before[1], bottom)
            left, right = min(before[2], left), max(before[3], right)
        joined.append((top, bottom, left, right))
    return joined
