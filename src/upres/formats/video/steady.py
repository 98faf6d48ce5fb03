"""Noise of frames taken down over time, where nothing moves: a network takes noise for detail."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.raster.pixels import Float32Array

STEADY_REACH = 2
"""How many frames before and after one are looked at for it."""

STEADY_AROUND = 2
"""How many samples around one have to be alike, too."""

_MEDIAN, _MEAN = 0.6745, 0.7979
"""Of the size of a normal distribution's values, in its standard deviations."""

_ALIKE, _LEVEL = 1.5, 0.6
"""How large differences around a sample may be, in their mean size by noise alone, and how far
their mean may be from zero, in their standard deviations. Noise alone goes beyond either in one of
a few hundred samples."""

Numbered = tuple[int, list[NDArray[Any]]]
"""A frame's number and its planes."""


def steadied(frames: Iterable[Numbered], first: int) -> Iterator[Numbered]:
    """The frames from number ``first`` on, each sample the mean of those that show the same.

    These are the sample there in the frame and in ``STEADY_REACH`` frames before and after, as far
    as the frames differ around it by noise alone. Noise is measured in each pair of frames: as they
    differ at most places, and no more than a frame differs from its neighbours. Where it is none,
    and where something moves, samples stay as they are. Planes are float32, of stored levels.

    Source of the measure within a frame: Immerkaer, "Fast noise variance estimation", Computer
    Vision and Image Understanding 64(2), 1996, with the median in place of the mean.
    """
    window: deque[Numbered] = deque(maxlen=2 * STEADY_REACH + 1)
    waiting = 0
    for frame in frames:
        window.append(frame)
        waiting += 1
        if waiting > STEADY_REACH:
            yield from _made(window, len(window) - waiting, first)
            waiting -= 1
    for place in range(len(window) - waiting, len(window)):
        yield from _made(window, place, first)


def _made(window: deque[Numbered], place: int, first: int) -> Iterator[Numbered]:
    number, planes = window[place]
    if number >= first:
        others = [other for n, other in window if n != number and abs(n - number) <= STEADY_REACH]
        yield number, [_mean(plane, [o[i] for o in others]) for i, plane in enumerate(planes)]


def _mean(plane: NDArray[Any], others: list[NDArray[Any]]) -> Float32Array:
    own = plane.astype(np.float32)
    within = _noise(own)
    total, count = own.copy(), np.ones(own.shape, np.float32)
    for other in others:
        difference = other.astype(np.float32)
        difference -= own
        # Differences of noise are larger than it by the root of two.
        between = float(np.median(np.abs(difference[::2, ::2]))) / _MEDIAN
        deviation = min(between, within * 2**0.5)
        if not deviation:
            continue
        alike = _around(np.abs(difference)) < _ALIKE * _MEAN * deviation
        alike &= np.abs(_around(difference)) < _LEVEL * deviation
        difference *= alike
        total += difference
        total += own * alike
        count += alike
    return np.divide(total, count, out=total)


def _noise(plane: Float32Array) -> float:
    """The standard deviation of noise in a frame, in levels."""
    if min(plane.shape) < 3:
        return 0.0
    rows = plane[:-2] - 2 * plane[1:-1] + plane[2:]
    both = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(np.median(np.abs(both[::2, ::2]))) / (6 * _MEDIAN)


def _around(plane: Float32Array) -> Float32Array:
    """The mean of the samples up to ``STEADY_AROUND`` away."""
    length = 2 * STEADY_AROUND + 1
    for axis in (0, 1):
        margin = [(STEADY_AROUND, STEADY_AROUND) if axis == i else (0, 0) for i in range(2)]
        padded = np.moveaxis(np.pad(plane, margin, mode="edge"), axis, 0)
        size = plane.shape[axis]
        total = padded[:size].copy()
        for step in range(1, length):
            total += padded[step : step + size]
        plane = np.moveaxis(total, 0, axis)
    plane *= np.float32(1 / length**2)
    return plane
