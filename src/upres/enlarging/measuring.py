"""Facts that only a raster's samples tell: the range of their values, and opaque alpha."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from upres.enlarging.light import straight
from upres.errors import InputError
from upres.raster.info import COLOUR_ROLES, RasterInfo
from upres.raster.source import Rows, Source

OWN_RANGE = ("other", "index")
"""Roles of bands that are measured each by itself; those of colours share one range, as their
proportions must stay."""


def measured(source: Source, beside: Path) -> RasterInfo:
    """The source's info with every range known, for which its samples are read once, if need be.

    A range that the header does not tell is [0, 1] where all samples lie within, else as far as
    they go; of colours that are multiplied by alpha, as far as they go without it, too. Alpha that
    is opaque throughout becomes a constant band. Colours that cannot be divided by alpha are those
    of ``emission``: some are not 0 where it is, or would become brighter than all that are stored.

    Raises ``InputError`` if the raster is damaged, or has samples that are no numbers.
    """
    info = source.info
    unknown = [band.low is None or band.high is None for band in info.bands]
    alpha = [number for number, band in enumerate(info.bands) if band.role == "alpha"]
    if not any(unknown) and not alpha:
        return info
    count = len(info.bands)
    low, high = np.zeros(count), np.ones(count)
    divided = _Divided(info) if info.cover == "associated" and alpha else None
    opaque = dict.fromkeys(alpha, True)
    for frame in source.frames(beside):
        for block in frame:
            if any(unknown):
                low = np.minimum(low, block.min((0, 1)))
                high = np.maximum(high, block.max((0, 1)))
                if not np.isfinite(block).all():
                    raise InputError(f"{info.name}: some samples are infinite or not numbers")
            if divided:
                divided.look_at(block)
            # Once something is transparent, that is settled.
            for number in (number for number, still in opaque.items() if still):
                most = info.bands[number].high
                opaque[number] = bool((block[:, :, number] == (1 if most is None else most)).all())
            if not any(unknown) and not any(opaque.values()) and not divided:
                break
    shared = [i for i, b in enumerate(info.bands) if b.role not in (*OWN_RANGE, "alpha")]
    cover = info.cover
    if divided:
        stored = max(-low[shared].min(initial=0), high[shared].max(initial=1))
        if divided.is_emission(stored):
            cover = "emission"
        else:
            low[shared] = np.minimum(low[shared], divided.low)
            high[shared] = np.maximum(high[shared], divided.high)
    bands = []
    for number, band in enumerate(info.bands):
        if unknown[number]:
            group = shared if number in shared else [number]
            least = 0.0 if band.role == "alpha" else float(low[group].min())
            band = dataclasses.replace(band, low=least, high=float(high[group].max()))
        bands.append(dataclasses.replace(band, constant=opaque.get(number, False)))
    return dataclasses.replace(info, bands=tuple(bands), cover=cover)


class _Divided:
    """How far colours go that are divided by alpha."""

    def __init__(self, info: RasterInfo) -> None:
        self._info = info
        self._without_cover = False
        self.low, self.high = 0.0, 1.0

    def look_at(self, block: Rows) -> None:
        """Take some rows into account."""
        values = block.astype(np.float32)
        colours, alpha = self._info.find(*COLOUR_ROLES), self._info.alpha
        hidden = values[:, :, alpha] <= 0
        self._without_cover |= bool(values[:, :, list(colours)][hidden].any())
        # A light so bright, by an alpha so small, may be more than a number can be.
        with np.errstate(over="ignore"):
            divided = straight(values, self._info)
        self.low = min(self.low, float(divided.min()))
        self.high = max(self.high, float(divided.max()))

    def is_emission(self, stored: float) -> bool:
        """Whether dividing gives no colours of a cover; ``stored`` is as far as samples go from 0.

        A little further is by rounding: half precision has 11 bits.
        """
        return self._without_cover or max(-self.low, self.high) > stored * (1 + 2**-8)
