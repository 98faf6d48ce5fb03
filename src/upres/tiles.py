"""Which windows of a picture to run a network on, so that their results join exactly.

An output pixel depends on the input within the network's receptive-field radius, its
halo. A window therefore overlaps its neighbours by the halo, and of its result only what
lies at least that far from a cut is kept. At the picture's own borders there is no halo:
there the network pads as it would for the whole picture.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """One window along one axis, in input pixels: half-open, as ``range`` is."""

    start: int
    stop: int
    keep_start: int
    """Of the window's result, what comes from here..."""
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


def cut(length: int, count: int, *, halo: int, multiple: int = 1) -> tuple[Span, ...]:
    """Cut an axis into at most ``count`` windows of one length.

    ``length`` must be a multiple of ``multiple``; the windows' starts and lengths are
    then, too. Near the end, windows are moved back inside, and so overlap more.
    """
    if length < 1 or count < 1 or halo < 0 or multiple < 1 or length % multiple:
        raise ValueError(f"cannot cut {length=} into {count=} with {halo=}, {multiple=}")
    halo = _round_up(halo, multiple)
    core, window = _core_and_window(length, count, halo, multiple)
    spans = []
    for keep_start in range(0, length, core):
        start = max(0, min(keep_start - halo, length - window))
        spans.append(Span(start, start + window, keep_start, min(keep_start + core, length)))
    return tuple(spans)


def plan(
    height: int,
    width: int,
    *,
    halo: int,
    max_pixels: int,
    max_height: int | None = None,
    multiple: int = 1,
) -> Grid:
    """The grid that does the least work with windows of at most ``max_pixels``.

    Work is the sum of the windows' areas, halos included, so the whole picture is one
    window where that is allowed. A halo alone may exceed ``max_pixels``, or ``max_height``,
    the most rows that a window may have: then windows are as small as it lets them be.
    """
    most_rows = height if max_height is None else max_height

    def cost(columns_count: int) -> tuple[bool, int, int, int]:
        core_width, window_width = _core_and_window(width, columns_count, halo, multiple)
        # As few rows of windows as the area allows, halos included.
        tallest = min(most_rows, max_pixels // window_width)
        core_height = max(multiple, tallest - 2 * _round_up(halo, multiple))
        rows_count = 1 if height <= tallest else -(-height // core_height)
        core_height, window_height = _core_and_window(height, rows_count, halo, multiple)
        area = window_height * window_width
        windows = -(-height // core_height) * -(-width // core_width)
        return area > max_pixels, windows * area, rows_count, columns_count

    # Windows whose kept part is narrower than their halo never pay.
    most_columns = max(1, width // max(multiple, halo))
    _, _, rows_count, columns_count = min(map(cost, range(1, most_columns + 1)))
    return Grid(
        cut(height, rows_count, halo=halo, multiple=multiple),
        cut(width, columns_count, halo=halo, multiple=multiple),
    )


def _core_and_window(length: int, count: int, halo: int, multiple: int) -> tuple[int, int]:
    """How much of the axis each of ``count`` windows keeps, and how long each is."""
    core = _round_up(-(-length // count), multiple)
    return core, min(length, core + 2 * _round_up(halo, multiple))


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
