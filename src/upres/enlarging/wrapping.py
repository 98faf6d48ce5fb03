"""Tiles, whose opposite edges continue each other: a picture with its own content around it.

A network is given as much of that as it can see, so what it makes of the tile's edges is what it
would make of them in the middle of a floor of such tiles.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from upres.enlarging.consistency import MARGIN
from upres.enlarging.gaps import GAP_REACH
from upres.enlarging.pieces import BORDER
from upres.enlarging.plan import Plan
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array

OTHER_REACH = 16 + GAP_REACH
"""Input pixels that all steps beside the network may look further, together: filling, bicubic."""


@dataclass(frozen=True)
class Margins:
    """How many rows and columns there are around a picture, and around its result."""

    rows: int = 0
    columns: int = 0
    result_rows: int = 0
    result_columns: int = 0

    def around(self, info: RasterInfo) -> RasterInfo:
        """The picture with its margins."""
        if not self.rows and not self.columns:
            return info
        height, width = info.height + 2 * self.rows, info.width + 2 * self.columns
        return dataclasses.replace(info, height=height, width=width)

    def around_result(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the result with its margins."""
        return height + 2 * self.result_rows, width + 2 * self.result_columns

    def wrapped(self, rows: Iterable[Float32Array]) -> Iterator[Float32Array]:
        """The picture's rows with its own content around; they are put together in memory."""
        if not self.rows and not self.columns:
            yield from rows
            return
        sides = ((self.rows,) * 2, (self.columns,) * 2, (0, 0))
        yield np.pad(np.concatenate(list(rows)), sides, mode="wrap")

    def inner(
        self, top: int, left: int, block: Float32Array, size: tuple[int, int]
    ) -> Iterator[tuple[int, int, Float32Array]]:
        """The part of a window, of the result with its margins, that is the result's, if any is."""
        first, start = max(0, self.result_rows - top), max(0, self.result_columns - left)
        last = min(len(block), self.result_rows + size[0] - top)
        stop = min(block.shape[1], self.result_columns + size[1] - left)
        if first < last and start < stop:
            place = top + first - self.result_rows, left + start - self.result_columns
            yield (*place, block[first:last, start:stop])


NONE = Margins()


def margins(info: RasterInfo, plan: Plan) -> Margins:
    """As much as the models of a plan see, and whole pixels of the result.

    Of a model that looks at the whole picture, as much as half of that. A result that is made to
    agree with its input takes more: the margins' own borders bear on it, too.
    """
    half = max(info.height, info.width) // 2
    halos = [half if model.card.halo is None else model.card.halo for model in plan.models]
    reduced = min(plan.height / info.height, plan.width / info.width, 1)
    least = BORDER + math.ceil(OTHER_REACH / reduced) + sum(halos) + plan.consistent * MARGIN
    found = []
    for length, size in ((info.height, plan.height), (info.width, plan.width)):
        unit = length // math.gcd(length, size)
        margin = -(-least // unit) * unit
        found.append((margin, margin * size // length))
    (rows, result_rows), (columns, result_columns) = found
    return Margins(rows, columns, result_rows, result_columns)
