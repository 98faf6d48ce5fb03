"""The memory of an engine's work, and memory for its results, which is kept for the next ones."""

from __future__ import annotations

import math
import weakref

import numpy as np

from upres.card import ModelCard
from upres.raster.pixels import Float32Array


def affordable_pixels(card: ModelCard, most_bytes: int) -> int:
    """Input pixels of a window on which a network's work takes at most so many bytes, about."""
    features = card.network_parameters.get("features", 64)
    # A few layers' values are held at a time, and the result a few times over.
    return int(most_bytes // (4 * (4 * features + 3 * 3 * card.scale**2)))


class ResultMemory:
    """Gives arrays of one shape, in memory of earlier ones that nobody has any more.

    To fetch new memory from the system takes time: for the results of ``fast`` x4 in int8 up to
    10 ms beside 17 of computing, where the system is a virtual one.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._free: list[Float32Array] = []

    def new(self) -> Float32Array:
        """An array, whose values are whatever was there before."""
        try:
            memory = self._free.pop()
        except IndexError:  # another thread may have taken the last one
            memory = np.empty(math.prod(self.shape), np.float32)
        # An array that is not simply a view of the memory, whose own views would keep that alone:
        # of this one all keep it, and it goes with the last of them.
        owner = np.frombuffer(memory.data, np.float32)
        weakref.finalize(owner, self._free.append, memory).atexit = False
        return owner.reshape(self.shape)
