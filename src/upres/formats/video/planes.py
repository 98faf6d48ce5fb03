"""Planes of samples as they are stored in a video, to red, green and blue and back, in NumPy.

Each step is exact but for float32, so that a sample is the nearest to its true value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.formats.video.colours import LUMA_WEIGHTS, RGB, SITINGS
from upres.raster.pixels import Float32Array

Planes = Sequence[NDArray[Any]]

YCGCO = 8

BEYOND_RANGE = 0.001
"""The part of a frame's samples that may be clipped without a word."""


@dataclass(frozen=True)
class Coding:
    """How planes mean colours."""

    bits: int
    matrix: int
    """By H.273; ``colours.RGB`` where the planes are green, blue and red."""
    full: bool
    """Whether samples take all values of so many bits; else as in television, 16 to 235 of 8."""
    across: int = 1
    """How many luma samples of a row share a chroma sample."""
    down: int = 1
    siting: str = "left"
    """See ``colours.SITINGS``."""
    grey: bool = False
    """There is luma alone."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the samples."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16)

    @property
    def luma_range(self) -> tuple[float, float]:
        """The samples that are black and white."""
        unit = 2.0 ** (self.bits - 8)
        return (0.0, 2.0**self.bits - 1) if self.full else (16 * unit, 235 * unit)

    @property
    def chroma_range(self) -> tuple[float, float]:
        """The sample without colour, and how many levels chroma's whole range has."""
        middle = 2.0 ** (self.bits - 1)
        return middle, 2.0**self.bits - 1 if self.full else 224 * 2.0 ** (self.bits - 8)

    def chroma_shape(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of a chroma plane."""
        return -(-height // self.down), -(-width // self.across)


def to_colours(planes: Planes, coding: Coding) -> Float32Array:
    """Height x width x 3 (or 1, of grey), in [0, 1]; what lies beyond black and white is clipped.

    The bands are planes in memory.
    """
    low, high = coding.luma_range
    luma = _scaled(planes[0], low, high - low)
    if coding.grey:
        return np.clip(luma, 0, 1, out=luma)[:, :, None]
    result = np.empty((3, *luma.shape), np.float32)
    red, green, blue = result
    if coding.matrix == RGB:
        green[:] = luma
        blue[:] = _scaled(planes[1], low, high - low)
        red[:] = _scaled(planes[2], low, high - low)
        return np.moveaxis(np.clip(result, 0, 1, out=result), 0, 2)
    middle, span = coding.chroma_range
    first, second = (
        _spread(_scaled(plane, middle, span), luma.shape, coding) for plane in planes[1:3]
    )
    if coding.matrix == YCGCO:  # first is green, second is orange
        np.add(luma, first, out=green)
        np.subtract(luma, first, out=blue)
        np.add(blue, second, out=red)
        np.subtract(blue, second, out=blue)
    else:
        of_red, of_blue = LUMA_WEIGHTS[coding.matrix]
        of_green = 1 - of_red - of_blue
        first *= np.float32(2 * (1 - of_blue))
        second *= np.float32(2 * (1 - of_red))
        np.add(luma, first, out=blue)
        np.add(luma, second, out=red)
        first *= np.float32(of_blue / of_green)
        second *= np.float32(of_red / of_green)
        np.subtract(luma, first, out=green)
        green -= second
    return np.moveaxis(np.clip(result, 0, 1, out=result), 0, 2)


def beyond(planes: Planes, coding: Coding) -> tuple[str, ...]:
    """Names of what ``to_colours`` clips of a frame's luma, if it is more than a codec's noise.

    That is a thousandth of the samples by more than 4 levels of 256. Each fourth row is looked at.
    """
    if coding.full or coding.matrix == RGB:
        return ()
    low, high = coding.luma_range
    slack, luma = 4 * 2.0 ** (coding.bits - 8), planes[0][::4]
    found = []
    if (luma > high + slack).mean() > BEYOND_RANGE:
        found.append("samples brighter than white")
    if (luma < low - slack).mean() > BEYOND_RANGE:
        found.append("samples darker than black")
    return tuple(found)


def to_planes(colours: Float32Array, coding: Coding) -> list[NDArray[Any]]:
    """The reverse of ``to_colours``, each sample rounded to the nearest."""
    low, high = coding.luma_range
    if coding.grey:
        return [_rounded(colours[:, :, 0], low, high - low, coding)]
    red, green, blue = (colours[:, :, band] for band in range(3))
    if coding.matrix == RGB:
        return [_rounded(plane, low, high - low, coding) for plane in (green, blue, red)]
    middle, span = coding.chroma_range
    if coding.matrix == YCGCO:
        luma = (red + blue) * np.float32(0.25) + green * np.float32(0.5)
        first = _gathered(green - luma, coding)
        second = _gathered((red - blue) * np.float32(0.5), coding)
    else:
        of_red, of_blue = LUMA_WEIGHTS[coding.matrix]
        luma = red * np.float32(of_red)
        part = green * np.float32(1 - of_red - of_blue)
        luma += part
        luma += np.multiply(blue, np.float32(of_blue), out=part)
        first = _gathered(blue - luma, coding)
        first *= np.float32(0.5 / (1 - of_blue))
        second = _gathered(red - luma, coding)
        second *= np.float32(0.5 / (1 - of_red))
    return [
        _rounded(luma, low, high - low, coding),
        _rounded(first, middle, span, coding),
        _rounded(second, middle, span, coding),
    ]


def _scaled(plane: NDArray[Any], zero: float, span: float) -> Float32Array:
    values = plane.astype(np.float32)
    values -= np.float32(zero)
    values /= np.float32(span)
    return values


def _rounded(values: Float32Array, zero: float, span: float, coding: Coding) -> NDArray[Any]:
    samples = values * np.float32(span)
    samples += np.float32(zero + 0.5)
    # Chroma's whole range has half a level beyond what an even number of values can hold.
    np.clip(samples, 0, 2**coding.bits - 1, out=samples)
    return samples.astype(coding.dtype)


def _spread(plane: Float32Array, shape: tuple[int, ...], coding: Coding) -> Float32Array:
    """Chroma at every luma sample, by cubic convolution.

    Source: Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions
    on Acoustics, Speech, and Signal Processing 29(6), 1981: a = -1/2.
    """
    across, down = SITINGS[coding.siting]
    plane = _spread_axis(plane, 0, coding.down, down)
    plane = _spread_axis(plane, 1, coding.across, across)
    return plane[: shape[0], : shape[1]]


def _spread_axis(plane: Float32Array, axis: int, factor: int, siting: float) -> Float32Array:
    if factor == 1:
        return plane
    length = plane.shape[axis]
    margin = [(2, 2) if axis == i else (0, 0) for i in range(2)]
    padded = np.pad(plane, margin, mode="edge")
    shape = [side * factor if axis == i else side for i, side in enumerate(plane.shape)]
    result = np.empty(shape, np.float32)
    for phase in range(factor):
        # The luma sample's place, in chroma samples from that which it shares.
        place = (phase - siting * (factor - 1)) / factor
        first = math.floor(place)
        total: Float32Array | None = None
        for tap in range(-1, 3):
            weight = _cubic(place - first - tap)
            if weight == 0:
                continue
            start = 2 + first + tap
            part = _part(padded, axis, start, length) * np.float32(weight)
            total = part if total is None else np.add(total, part, out=total)
        assert total is not None
        _part(result, axis, phase, None, factor)[:] = total
    return result


def _cubic(distance: float) -> float:
    x = abs(distance)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def _gathered(plane: Float32Array, coding: Coding) -> Float32Array:
    """Chroma as it is stored: the mean of the luma samples around its place."""
    across, down = SITINGS[coding.siting]
    plane = _gathered_axis(plane, 0, coding.down, down)
    return _gathered_axis(plane, 1, coding.across, across)


def _gathered_axis(plane: Float32Array, axis: int, factor: int, siting: float) -> Float32Array:
    if factor == 1:
        return plane
    count = -(-plane.shape[axis] // factor)
    place = siting * (factor - 1)
    if place % 1:  # between samples: those that share it, alike
        taps = dict.fromkeys(range(factor), 1.0)
    else:  # on a sample: a triangle as wide as its neighbours' distance
        reach = range(1 - factor, factor)
        taps = {int(place) + number: float(factor - abs(number)) for number in reach}
    before = -min(min(taps), 0)
    after = max(0, max(taps) + (count - 1) * factor + 1 - plane.shape[axis])
    if before or after:
        margin = [(before, after) if axis == i else (0, 0) for i in range(2)]
        plane = np.pad(plane, margin, mode="edge")
    total: Float32Array | None = None
    weights = sum(taps.values())
    for tap, weight in taps.items():
        part = _part(plane, axis, before + tap, None, factor)
        part = part[:count] if axis == 0 else part[:, :count]
        part = part * np.float32(weight / weights)
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None
    return total


def _part(
    plane: Float32Array, axis: int, start: int, count: int | None, step: int = 1
) -> Float32Array:
    stop = None if count is None else start + count
    return plane[start:stop:step] if axis == 0 else plane[:, start:stop:step]
