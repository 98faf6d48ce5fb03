"""Windows of a video that are as they were a frame before: they are not computed again."""

from __future__ import annotations

import numpy as np

from upres.raster.pixels import Float32Array

REPEATS_BYTES = 2**28
"""Most memory of windows and results that are kept for the next frame."""

WindowPlace = tuple[int, int, int]
"""The number of the model among those that work one after another, and the window's row and
column."""


class Repeats:
    """The windows of the last frame, and their results.

    A result depends on its window, halo included, and on nothing else. So that of an equal window
    is the same to the bit.
    """

    def __init__(self, most_bytes: int = REPEATS_BYTES) -> None:
        self._free = most_bytes
        self._kept: dict[WindowPlace, tuple[Float32Array, Float32Array]] = {}
        self.found = 0
        """How many windows were not computed."""

    def find(self, place: WindowPlace, given: Float32Array) -> Float32Array | None:
        """The result of the window there, if it is as it was; nobody may write to it."""
        known, result = self._kept.get(place, (None, None))
        if known is None or known.shape != given.shape:
            return None
        middle = len(given) // 2
        # Of most windows that have changed, a row tells it.
        if not np.array_equal(known[middle], given[middle]) or not np.array_equal(known, given):
            return None
        self.found += 1
        return result

    def keep(self, place: WindowPlace, given: Float32Array, result: Float32Array) -> None:
        """Keep a window and its result in the place of those before, if there is room."""
        known = self._kept.pop(place, None)
        self._free += sum(array.nbytes for array in known or ())
        if given.nbytes + result.nbytes <= self._free:
            self._free -= given.nbytes + result.nbytes
            result.flags.writeable = False
            self._kept[place] = given, result
