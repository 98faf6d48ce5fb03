"""The range of most of a band's samples, of which a raster's rows are looked at in passing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.raster.info import RasterInfo
from upres.raster.source import Rows

PERCENTILES = (0.1, 99.9)
"""The samples between these are given all of a network's range."""

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

    def range(self, number: int) -> tuple[float, float] | None:
        """The least and the largest sample of most of a band's; ``None`` if that is but one."""
        if not (found := self._seen.get(number)):
            return None
        samples = np.concatenate(found)
        if not samples.size:
            return None
        least, most = (float(value) for value in np.percentile(samples, PERCENTILES))
        return (least, most) if least < most else None
