"""Which windows of a picture to run a network on, so that their results join exactly.

An output pixel depends on the input within the network's receptive-field radius, its
halo. A window therefore overlaps its neighbours by the halo, and only the part of its
result that lies at least that far from a cut is kept. At the picture's own borders there is no
halo: there the network pads as it would for the whole picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Span:
    """One window along one axis, in input pixels: half-open, as ``range`` is."""

    start: int
    stop: int
    keep_start: int
    """The part of the window's result from here..."""
    keep_stop: int
    """...to here is kept; the spans' kept parts abut and cover the axis."""


@dataclass(frozen=True)
class Grid:
    """Windows of one shape that cover a picture: every row span with every column span."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @property
    def window(self) -> tuple[int, int]:
        """Height and width that all windows have."""
        row, column = self.rows[0], self.columns[0]
        return row.stop - row.start, column.stop - column.start


def cut(
    length: int, count: int, *, halo: int, multiple: int = 1, unit: int = 1
) -> tuple[Span, ...]:
    """Cut an axis into at most ``count`` windows of one length.

    ``length`` must be a multiple of ``multiple``; the windows' starts and lengths are
    then, too. If there are several, their length is one of ``unit`` as well. The last window
    ends where the axis does, and so may overlap the one before it more than others do.
    """
    if min(length, count, multiple, unit) < 1 or halo < 0 or length % multiple:
        raise ValueError(f"cannot cut {length=} into {count=} with {halo=}, {multiple=}, {unit=}")
    halo = round_up(halo, multiple)
    window = _window(length, count, halo, math.lcm(multiple, unit))
    spans: list[Span] = []
    for number in range(_count(length, window, halo)):
        start = min(number * (window - 2 * halo), length - window)
        stop = start + window
        keep_start = spans[-1].keep_stop if spans else 0
        spans.append(Span(start, stop, keep_start, length if stop == length else stop - halo))
    return tuple(spans)


@lru_cache(maxsize=8)  # frames, and the pictures of a folder, are often of one size
def cut_grid(
    height: int,
    width: int,
    *,
    halo: int,
    max_pixels: int,
    max_height: int | None = None,
    multiple: int = 1,
    units: tuple[int, int] = (1, 1),
) -> Grid:
    """The grid that does the least work with windows of at most ``max_pixels``.

    Work is the sum of the windows' areas, halos included, so the whole picture is one
    window where that is allowed. A window's height and width should be multiples of
    ``units``, as the engine is slower at others; then several windows may be less work.

    A halo may leave little or nothing of ``max_pixels``, or of ``max_height``, the most rows
    that a window may have. Windows may then be four halos high and wide, and their inner
    quarter is kept: that costs memory, but four times the work at most, about, where windows
    that keep a row each would cost hundreds of times as much.
    """
    around = round_up(halo, multiple)
    most_rows = height if max_height is None else max(max_height, 4 * around)
    max_pixels = max(max_pixels, (4 * around) ** 2)
    row_unit, column_unit = (math.lcm(multiple, unit) for unit in units)

    def cost(columns_count: int) -> tuple[bool, float, int, int]:
        window_width = _window(width, columns_count, around, column_unit)
        # As few rows of windows as the area allows, halos included.
        tallest = min(most_rows, max_pixels // window_width)
        kept = max(multiple, tallest // row_unit * row_unit - 2 * around)
        rows_count = 1 if height <= tallest else max(1, -(-(height - 2 * around) // kept))
        window_height = _window(height, rows_count, around, row_unit)
        area = window_height * window_width
        windows = _count(height, window_height, around) * _count(width, window_width, around)
        slowness = _slowness(window_height, row_unit) * _slowness(window_width, column_unit)
        return area > max_pixels, windows * area * slowness, rows_count, columns_count

    # Windows whose kept part is narrower than their halo never pay.
    most_columns = max(1, width // max(multiple, halo))
    _, _, rows_count, columns_count = min(map(cost, range(1, most_columns + 1)))
    return Grid(
        cut(height, rows_count, halo=halo, multiple=multiple, unit=units[0]),
        cut(width, columns_count, halo=halo, multiple=multiple, unit=units[1]),
    )


def _window(length: int, count: int, halo: int, unit: int) -> int:
    """How long ``count`` windows have to be to cover an axis, with halos beside cuts alone."""
    return min(length, round_up(-(-(length + 2 * halo * (count - 1)) // count), unit))


def _count(length: int, window: int, halo: int) -> int:
    """How many windows of that length it takes."""
    return 1 if window == length else -(-(length - 2 * halo) // (window - 2 * halo))


def _slowness(side: int, unit: int) -> float:
    """How much longer a pixel takes, about, if a window's side is not a multiple of ``unit``.

    Measured with AMX (benchmarks/WIDTHS.md): odd ones 1.1 times as long in the median, but some two
    to four times; other even ones seldom, and less.
    """
    if side % unit == 0:
        return 1
    return 1.5 if side % 2 else 1.15


def round_up(value: int, multiple: int) -> int:
    """The least multiple of ``multiple`` that is ``value`` or more."""
    return -(-value // multiple) * multiple
