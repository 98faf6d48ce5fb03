"""The range of most of a band's samples, found in passing as a raster's rows are read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.raster.info import RasterInfo
from upres.raster.source import Rows

PERCENTILES = (0.1, 99.9)
"""Nearly all samples lie between these."""

BEYOND = 1.0
"""By how much of the distance between them a range may go beyond. Samples that are farther are few,
and would take the network's range from all others. Measured on six bands of Landsat, x2: 33.84 dB,
as with all samples within the range (at 0.5: 33.78; with no more than the percentiles: 33.58), and
33.90 dB, where that gives 33.12, if a 7000th of the samples are ten times as bright as others."""

LOOKED_AT = 2**22
"""Samples of all bands together that the percentiles are told by, about."""

LEAST_OF_A_BAND = 2**15


class MostSamples:
    """Samples of a raster at every so many rows and columns, by band; those missing are left out.

    Their number is bounded, so memory does not grow with the raster.
    """

    def __init__(self, info: RasterInfo) -> None:
        wanted = max(LEAST_OF_A_BAND, LOOKED_AT // len(info.bands))
        self._step = max(1, math.isqrt(info.pixels * (info.frames or 1) // wanted))
        self._bands = [n for n, band in enumerate(info.bands) if band.unbounded]
        self._seen: dict[int, list[NDArray[Any]]] = {number: [] for number in self._bands}

    def look_at(self, block: Rows, top: int, gone: NDArray[np.bool_] | None) -> None:
        """Take some rows into account, the first of them the frame's row ``top``.

        ``gone`` is where samples are missing: rows x columns x bands; ``None`` if none is.
        """
        rows = slice(-top % self._step, None, self._step)
        for number in self._bands:
            part = block[rows, :: self._step, number]
            if gone is not None:
                part = part[~gone[rows, :: self._step, number]]
            self._seen[number].append(part.ravel())

    def range(self, number: int, least: float, most: float) -> tuple[float, float]:
        """The range of most samples of a band whose least and largest are ``least`` and ``most``.

        Of a band that is bounded these are it.
        """
        samples = np.concatenate(self._seen.get(number) or [np.empty(0)])
        if not samples.size:
            return least, most
        low, high = (float(value) for value in np.percentile(samples, PERCENTILES))
        if low >= high:
            return least, most
        beyond = BEYOND * (high - low)
        return max(least, low - beyond), min(most, high + beyond)
