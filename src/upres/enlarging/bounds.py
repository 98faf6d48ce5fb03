"""How far the values of each band may go, as a network counts them."""

from __future__ import annotations

import math

import numpy as np

from upres.raster.info import REPEATED_ROLES, Band, RasterInfo
from upres.raster.pixels import Float32Array

Bounds = tuple[float, float]

FROM_0_TO_1: Bounds = (0.0, 1.0)

_NONE: Bounds = (-math.inf, math.inf)


def bounds_of(info: RasterInfo) -> tuple[Bounds, ...]:
    """The least and the largest value of each band that varies: 0 and 1, but for these.

    A band that is unbounded has those of its type's range. Numbers of classes have none.
    """
    return tuple(_bounds(band, info) for band in info.varying)


def _bounds(band: Band, info: RasterInfo) -> Bounds:
    if band.role in REPEATED_ROLES:
        return _NONE
    if not band.unbounded:
        return FROM_0_TO_1
    low = band.low if band.least is None else band.least
    high = band.high if band.most is None else band.most
    if info.dtype.kind == "f" or low is None or high is None or low == high:
        return _NONE
    limits = np.iinfo(info.dtype)
    return (limits.min - low) / (high - low), (limits.max - low) / (high - low)


def clip(planes: Float32Array, bounds: tuple[Bounds, ...]) -> None:
    """Put values of planes, bands x rows x columns, that lie beyond their bounds, on these."""
    if set(bounds) == {FROM_0_TO_1}:
        np.clip(planes, *FROM_0_TO_1, out=planes)
        return
    for plane, each in zip(planes, bounds, strict=True):
        if each != _NONE:
            np.clip(plane, *each, out=plane)
