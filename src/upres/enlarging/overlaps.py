"""Windows of a result that abut, given again with what lies around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from upres.files import temporary_name
from upres.raster.pixels import Float32Array
from upres.raster.spool import Spool

Block = tuple[int, int, Float32Array]
"""The first row and column in the result of rows x columns x bands."""


@dataclass(frozen=True)
class Extent:
    """Along one axis, a part of the result, and how far what lies around it is known."""

    start: int
    first: int
    """The first of the part itself."""
    last: int
    stop: int

    @property
    def kept(self) -> slice:
        """The part itself, in what is known."""
        return slice(self.first - self.start, self.last - self.start)


@dataclass(frozen=True)
class Area:
    """A part of the result together with what lies around it."""

    planes: Float32Array
    """Bands x rows x columns, from ``start`` to ``stop`` of both axes. They may be changed."""
    rows: Extent
    columns: Extent

    def part(self) -> Block:
        """The part without what lies around it."""
        kept = self.planes[:, self.rows.kept, self.columns.kept]
        return self.rows.first, self.columns.first, np.moveaxis(kept, 0, 2)


def with_margins(
    parts: Iterable[Block],
    size: tuple[int, int],
    bands: int,
    *,
    margin: int,
    multiple: int = 1,
    beside: Path,
) -> Iterator[Area]:
    """Give ``parts``, which cover a result of ``size`` once, as areas that do so, too.

    Parts come in rows of equal height from the top, and from the left in each. An area lies a
    little further up and left than the part that it is given for, so that ``margin`` samples are
    known on each side of it, or all to the result's border. It begins and ends at a ``multiple``,
    or at the border.

    The last rows are kept for the next row of parts, those of a wide result on disk, in a temporary
    file beside ``beside``. A result that comes as one part is not copied.
    """
    rows, columns = _Axis(size[0], margin, multiple), _Axis(size[1], margin, multiple)
    # More rows than these are never kept.
    kept = (min(size[0], 2 * (margin + multiple)), size[1], bands)
    with Spool(temporary_name(beside, ".raw"), kept, np.dtype(np.float32)) as above:
        left_over: Float32Array = np.empty((0, 0, 0), np.float32)
        for top, left, block in parts:
            if left == 0:
                rows.advance(top, top + len(block))
                columns.restart()
            columns.advance(left, left + block.shape[1])
            planes = np.moveaxis(block, 2, 0)
            width = planes.shape[2]
            if rows.known < top:
                before = above.part(0, top - rows.known, left, width)
                planes = np.concatenate([np.moveaxis(before, 2, 0), planes], axis=1)
            if rows.stop < size[0]:
                last = planes[:, rows.needed - rows.known :]
                above.write(0, left, np.moveaxis(last, 0, 2))
            if columns.known < left:
                planes = np.concatenate([left_over, planes], axis=2)
            if columns.stop < size[1]:
                left_over = planes[:, :, columns.needed - columns.known :].copy()
            down, across = rows.extent(), columns.extent()
            if down.first < down.last and across.first < across.last:
                planes = planes[:, : down.stop - down.start, : across.stop - across.start]
                yield Area(planes, down, across)


class _Axis:
    """How far along an axis parts have come, and areas been given."""

    def __init__(self, length: int, margin: int, multiple: int) -> None:
        self._length, self._margin, self._multiple = length, margin, multiple
        self.restart()

    def restart(self) -> None:
        self.stop, self._first, self._last = 0, 0, 0

    def advance(self, start: int, stop: int) -> None:
        """Take in parts from ``start`` to ``stop``."""
        self._first, self.stop = self._last, stop
        if stop == self._length:
            self._last = stop
        else:
            aligned = (stop - self._margin) // self._multiple * self._multiple
            self._last = max(self._first, aligned)

    @property
    def known(self) -> int:
        """The first that is known of what lies around the area, and after."""
        return self._before(self._first)

    @property
    def needed(self) -> int:
        """The first that will have to be known around the next area."""
        return self._before(self._last)

    def extent(self) -> Extent:
        stop = min(self.stop, self._last + self._margin)
        return Extent(self.known, self._first, self._last, stop)

    def _before(self, place: int) -> int:
        return max(0, place - self._margin) // self._multiple * self._multiple
