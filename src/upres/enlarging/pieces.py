"""Along one axis, which piece of the result comes from which window, and how."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upres.enlarging.tiles import Span
from upres.raster.pixels import Float32Array
from upres.raster.resize import apply_taps, bicubic_taps

BORDER = 8
"""Input pixels from the border of a picture up to which a network's result may suffer from it. It
sees zeros outside: of a flat colour, the four outermost pixels become others by up to 40 levels."""


@dataclass(frozen=True)
class Piece:
    """The part of a window that is kept along one axis, and how it is reduced to that."""

    start: int
    """Where it begins in the result."""
    stop: int
    offset: int
    """The first of the window's samples, in those of the result before it is reduced."""
    taps: tuple[NDArray[np.float64], NDArray[np.intp]] | None
    """Weights and indices of ``bicubic_taps`` for the whole axis, if it is reduced."""
    ratio: float
    """Samples before for one after."""
    scale: int
    """How many of a window's samples there are for one of the input."""
    ends: tuple[slice, slice]
    """Which of the window's input samples lie within ``BORDER`` of the axis' two ends."""

    @property
    def is_reduced(self) -> bool:
        """Whether the axis is shorter in the result than the model makes it."""
        return self.taps is not None

    def reduced(self, planes: Float32Array, axis: int) -> Float32Array:
        """The piece of an enlarged window, channels x height x width; not clipped."""
        if self.taps is None:
            kept = slice(self.start - self.offset, self.stop - self.offset)
            return planes[:, kept] if axis == 1 else planes[:, :, kept]
        weights, indices = self.taps
        kept = slice(self.start, self.stop)
        return apply_taps(planes, axis, weights[kept], indices[kept] - self.offset)

    def nearest(self, plane: Float32Array, axis: int) -> Float32Array:
        """The piece of one plane, each sample the one that is nearest to its centre."""
        centres = (np.arange(self.start, self.stop) + 0.5) * self.ratio
        return plane.take(centres.astype(np.intp) - self.offset, axis)


class Axis:
    """One axis of a raster of ``length``, enlarged ``scale`` times and then reduced to ``size``."""

    def __init__(self, length: int, size: int, scale: int) -> None:
        self.length, self.size, self.scale = length, size, scale
        self._taps = None if size == length * scale else bicubic_taps(length * scale, size)

    def piece(self, span: Span) -> Piece:
        """The part that is kept of a window that covers ``span``."""
        first, last = (
            (min(end, self.length) * self.size * 2 + self.length) // (2 * self.length)
            for end in (span.keep_start, span.keep_stop)
        )
        ratio = self.length * self.scale / self.size
        sides = np.clip([BORDER - span.start, self.length - BORDER - span.start], 0, None)
        ends = (slice(0, int(sides[0])), slice(int(sides[1]), span.stop - span.start))
        return Piece(first, last, span.start * self.scale, self._taps, ratio, self.scale, ends)
