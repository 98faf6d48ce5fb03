"""Where a frame lies, roughly: from nothing known to a start for Gauss-Newton.

Frames are reduced to small planes, whose translation phase correlation tells. Source: C. Kuglin and
D. Hines, "The phase correlation image alignment method", Proc. IEEE Int. Conf. on Cybernetics and
Society (1975). From there Gauss-Newton goes from coarse to fine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from upres.fusing import motion
from upres.fusing.filters import halved, smoothed
from upres.fusing.motion import Homography, Kind
from upres.fusing.registration import Fit, PartOf, observed, patches_of
from upres.fusing.selecting import best_fit
from upres.raster.pixels import Float32Array

COARSE = 64
"""A plane is halved as long as its lesser side stays as long as this."""

SMOOTH = 1.0
"""Deviation in samples of the Gaussian that both planes are smoothed by: the finest parts of a
frame are aliases. Of 0.8, 1.0, 1.2 and 1.5 samples it places frames of valid.tar best, all in all,
with noise of two levels: half of them to 0.004 of a sample if shifted, and 0.009 if turned."""

PEAKS, LEAST_OVERLAP = 6, 0.25
"""Translations that are looked at; the least part of the lesser plane that has to overlap."""

_LEAST = 0.2 / 255


def pyramid(plane: Float32Array) -> list[Float32Array]:
    """Smoothed planes, the finest first, each half as large as the one before."""
    planes = [plane]
    while min(planes[-1].shape) >= 2 * COARSE:
        planes.append(halved(planes[-1]))
    return [smoothed(each, SMOOTH) for each in planes]


def rough_fit(
    reference: list[Float32Array], frame: list[Float32Array], known: Homography | None = None
) -> Fit | None:
    """Where a frame lies, by the ``pyramid``s of both; ``known`` is a start that is known.

    Gives ``None`` where nothing fits.
    """
    levels = min(len(reference), len(frame))
    level = levels - 1
    if known is None:
        x, y = rough_shift(reference[level], frame[level])
        matrix = motion.shift(x, y)
    else:
        matrix = motion.at_scale(known, 0.5**level)
    found = None
    for number in range(level, -1, -1):
        large, small = reference[number], frame[number]
        patches = patches_of(_part_of(large), large.shape[0], large.shape[1], 1)
        samples = observed(
            patches, _part_of(small), small.shape[0], small.shape[1], matrix, margin=1
        )
        kinds: tuple[Kind, ...] = ("shift", "affine")
        if not number:
            kinds += ("homography",)
        each = best_fit(samples, matrix, (large.shape[0], large.shape[1]), _LEAST, kinds)
        if each is None:
            return None
        found, matrix = each, each.matrix
        if number:
            matrix = motion.at_scale(matrix, 2)
    return found


def _part_of(plane: Float32Array) -> PartOf:
    return lambda top, rows, left, columns: plane[top : top + rows, left : left + columns]


def rough_shift(reference: Float32Array, frame: Float32Array) -> tuple[float, float]:
    """The whole columns and rows by which a frame's samples lie further in the reference."""
    height, width = (max(sides) for sides in zip(reference.shape, frame.shape, strict=True))
    shape = (2 * height, 2 * width)
    spectra = [np.fft.rfft2(_windowed(plane), shape) for plane in (reference, frame)]
    product = spectra[0] * np.conj(spectra[1])
    surface = np.fft.irfft2(product / np.maximum(np.abs(product), 1e-12), shape)
    best, found = _alike(reference, frame, 0, 0), (0, 0)
    for place in np.argsort(surface, axis=None)[: -PEAKS - 1 : -1]:
        down, across = (int(i) for i in np.unravel_index(place, shape))
        down, across = down - shape[0] * (down >= height), across - shape[1] * (across >= width)
        alike = _alike(reference, frame, across, down)
        if alike > best:
            best, found = alike, (across, down)
    return float(found[0]), float(found[1])


def _windowed(plane: Float32Array) -> NDArray[np.float64]:
    down, across = (np.hanning(side + 2)[1:-1] for side in plane.shape)
    result: NDArray[np.float64] = (plane - plane.mean()) * down[:, None] * across
    return result


def _alike(reference: Float32Array, frame: Float32Array, x: int, y: int) -> float:
    """The correlation of the overlap; less than any where there is too little of it."""
    rows = slice(max(0, y), min(reference.shape[0], frame.shape[0] + y))
    columns = slice(max(0, x), min(reference.shape[1], frame.shape[1] + x))
    least = LEAST_OVERLAP * min(reference.size, frame.size)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    if height < 4 or width < 4 or height * width < least:
        return -2.0
    one = reference[rows, columns]
    other = frame[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    one, other = one - one.mean(), other - other.mean()
    spread = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / spread if spread > 0 else -1.0
