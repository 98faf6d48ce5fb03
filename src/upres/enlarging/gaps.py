"""Samples that are missing: filled before a network looks at them, and taken out again after.

A value that means that there is none would bleed into the samples beside it, as a network and a
filter look around. So it is replaced by the mean of valid samples around, whatever it was. The
result has a gap where the input has one: its samples are those of the nearest of the input. Source
of the filling: H. Knutsson and C.-F. Westin, "Normalized and differential convolution", CVPR 1993.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from upres.raster.info import REPEATED_ROLES, RasterInfo
from upres.raster.pixels import Float32Array

RADII = (2, 4, 8)
"""How far around a missing sample, in samples of the input, others are averaged: the first by which
there are any. The nearer ones say more of what is missing."""

GAP_REACH = sum(RADII)

_NOTHING_NEAR = np.float32(0.5)
"""The fill where no sample is near: the middle of the range."""


def with_gaps(info: RasterInfo) -> tuple[int, ...]:
    """The numbers of the bands of which some samples are missing, and which a network enlarges."""
    return tuple(
        number
        for number, band in enumerate(info.varying)
        if band.gaps and band.role not in REPEATED_ROLES
    )


def gone(given: Float32Array, band: int, mask: int | None) -> NDArray[np.bool_]:
    """Where samples of a band are missing: they are NaN, or the band ``mask`` is 0 there.

    ``given`` is rows x columns x bands.
    """
    nothing: NDArray[np.bool_] = np.isnan(given[:, :, band])
    if mask is not None:
        nothing |= given[:, :, mask] == 0
    return nothing


def radii_for(reduction: float) -> tuple[int, ...]:
    """The radii for a result that is so many times as large as the input: as far as it averages."""
    if reduction >= 1:
        return RADII
    return (*RADII, max(RADII[-1], math.ceil(2 / reduction) + 1))


def filled(
    given: Float32Array,
    bands: Sequence[int],
    mask: int | None,
    radii: Sequence[int] = RADII,
) -> Float32Array:
    """Rows x columns x bands, in which nothing is missing; ``given`` itself if nothing is.

    Each sample is filled by those at most the sum of ``radii`` away, and no missing one counts.
    """
    result = given
    for band in bands:
        nothing = gone(given, band, mask)
        if nothing.any():
            result = given.copy() if result is given else result
            result[:, :, band] = _filled(given[:, :, band], nothing, radii)
    return result


def _filled(plane: Float32Array, nothing: NDArray[np.bool_], radii: Sequence[int]) -> Float32Array:
    known = np.where(nothing, np.float32(0), plane)
    weight = (~nothing).astype(np.float32)
    for radius in radii:
        if weight.all():
            return known
        total, count = _box(known, radius), _box(weight, radius)
        reached = (weight == 0) & (count > 0)
        np.divide(total, count, out=known, where=reached)
        weight[reached] = 1
    known[weight == 0] = _NOTHING_NEAR
    return known


def _box(plane: Float32Array, radius: int) -> Float32Array:
    """The sum over a square, with nothing beyond the borders."""
    for _ in range(2):  # along one axis and then the other
        padded = np.pad(plane, ((radius, radius), (0, 0)))
        total = padded[: len(plane)].copy()
        for shift in range(1, 2 * radius + 1):
            total += padded[shift : shift + len(plane)]
        plane = total.T
    return plane


def put_back(
    planes: Float32Array, before: Float32Array, bands: Sequence[int], mask: int | None
) -> None:
    """Change ``planes``, bands x rows x columns: missing samples, and hidden ones, are as before.

    ``before`` is the input that the nearest samples are taken from, of the same size already.
    """
    for band in bands:
        nothing = gone(before, band, mask)
        planes[band][nothing] = before[:, :, band][nothing]
