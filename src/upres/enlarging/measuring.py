"""Facts that only a raster's samples tell: the range of their values, and opaque alpha."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from upres.errors import InputError
from upres.raster.info import RasterInfo
from upres.raster.source import Source

OWN_RANGE = ("other", "index")
"""Roles of bands that are measured each by itself; those of colours share one range, as their
proportions must stay."""


def measured(source: Source, beside: Path) -> RasterInfo:
    """The source's info with every range known, for which its samples are read once, if need be.

    A range that the header does not tell is [0, 1] where all samples lie within, else as far as
    they go. Alpha that is opaque throughout becomes a constant band.

    Raises ``InputError`` if the raster is damaged, or has samples that are no numbers.
    """
    info = source.info
    unknown = [band.low is None or band.high is None for band in info.bands]
    alpha = [number for number, band in enumerate(info.bands) if band.role == "alpha"]
    if not any(unknown) and not alpha:
        return info
    count = len(info.bands)
    low, high = np.zeros(count), np.ones(count)
    opaque = dict.fromkeys(alpha, True)
    for frame in source.frames(beside):
        for block in frame:
            if any(unknown):
                low = np.minimum(low, block.min((0, 1)))
                high = np.maximum(high, block.max((0, 1)))
                if not np.isfinite(block).all():
                    raise InputError(f"{info.name}: some samples are infinite or not numbers")
            # Once something is transparent, that is settled.
            for number in (number for number, still in opaque.items() if still):
                most = info.bands[number].high
                opaque[number] = bool((block[:, :, number] == (1 if most is None else most)).all())
            if not any(unknown) and not any(opaque.values()):
                break
    shared = [i for i, b in enumerate(info.bands) if b.role not in (*OWN_RANGE, "alpha")]
    bands = []
    for number, band in enumerate(info.bands):
        if unknown[number]:
            group = shared if number in shared else [number]
            least = 0.0 if band.role == "alpha" else float(low[group].min())
            band = dataclasses.replace(band, low=least, high=float(high[group].max()))
        bands.append(dataclasses.replace(band, constant=opaque.get(number, False)))
    return dataclasses.replace(info, bands=tuple(bands))
