"""Facts that only a raster's samples tell: the range of their values, and opaque alpha."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from upres.enlarging.light import straight
from upres.errors import InputError
from upres.raster.info import COLOUR_ROLES, Band, RasterInfo
from upres.raster.pixels import rounding
from upres.raster.source import Rows, Source

OWN_RANGE = ("other", "index")
"""Roles of bands that are measured each by itself; those of colours share one range, as their
proportions must stay."""

PIXEL_ART_PIXELS, PIXEL_ART_COLOURS = 256 * 256, 64
"""As much as a sprite or a screen of an old console has."""


def measured(source: Source, beside: Path) -> RasterInfo:
    """The source's info with every range known, for which its samples are read once, if need be.

    The least and the largest sample are 0 and 1 to a network, so that no sample of the result lies
    beyond them; colours that are multiplied by alpha count without it. Samples of 8 bits are not
    measured: they are scaled by all of the type's range.

    A range that the header does not tell is [0, 1] where samples are no whole numbers and all lie
    within, else as far as they go. Alpha that is opaque throughout becomes a constant band. Colours
    that cannot be divided by alpha are those of ``emission``: some are not 0 where it is, or would
    become brighter than all that are stored.

    Raises ``InputError`` if the raster is damaged, or has samples that are no numbers.
    """
    info = source.info
    wanted = [_is_wanted(band, info) for band in info.bands]
    alpha = [number for number, band in enumerate(info.bands) if band.role == "alpha"]
    if not any(wanted) and not alpha:
        return info
    count = len(info.bands)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    divided = _Divided(info) if info.cover == "associated" and alpha else None
    opaque = dict.fromkeys(alpha, True)
    for frame in source.frames(beside):
        for block in frame:
            if any(wanted):
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
            if not any(wanted) and not any(opaque.values()) and not divided:
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
        if wanted[number]:
            group = shared if number in shared else [number]
            band = _ranging(band, float(low[group].min()), float(high[group].max()), info)
        bands.append(dataclasses.replace(band, constant=opaque.get(number, False)))
    return dataclasses.replace(info, bands=tuple(bands), cover=cover)


def of_whole_range(info: RasterInfo) -> RasterInfo:
    """The info without the least and the largest sample: a network is given the band's range.

    A result that is to agree with its input goes beyond the input's own samples.
    """
    bands = (dataclasses.replace(band, least=None, most=None) for band in info.bands)
    return dataclasses.replace(info, bands=tuple(bands))


def looks_like_pixel_art(source: Source, beside: Path) -> bool:
    """Whether a picture is small, has few colours and most pixels like one beside them.

    Larger ones are not looked at. Raises ``InputError`` if the picture is damaged.
    """
    info = source.info
    if info.dtype != np.uint8 or info.frames != 1 or info.pixels > PIXEL_ART_PIXELS:
        return False
    if not info.find(*COLOUR_ROLES) or info.find("other", "index", "ink"):
        return False
    pixels = np.concatenate(list(next(iter(source.frames(beside)))))
    colours = np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)
    if not 1 < len(colours) <= PIXEL_ART_COLOURS:
        return False
    if info.alpha is not None and len(np.unique(pixels[:, :, info.alpha])) > 2:
        return False
    alike = [(pixels[1:] == pixels[:-1]).all(2), (pixels[:, 1:] == pixels[:, :-1]).all(2)]
    return bool(np.concatenate([each.ravel() for each in alike]).mean() > 0.5)


def _is_wanted(band: Band, info: RasterInfo) -> bool:
    """Whether a band's samples have to be looked at for its range."""
    if band.low is None or band.high is None:
        return True
    return band.role != "alpha" and band.least is None and info.dtype.itemsize > 1


def _ranging(band: Band, least: float, most: float, info: RasterInfo) -> Band:
    """A band whose samples, and those of the bands that share its range, go so far."""
    low, high = band.low, band.high
    light = info.colours == "linear" and band.role in COLOUR_ROLES
    if low is None or high is None:
        beyond = rounding(info.dtype)
        if band.role == "alpha":
            low, high = 0.0, max(1.0, most)
        elif light:
            low, high = min(0.0, least), max(1.0, most)
        elif info.dtype.kind == "f" and -beyond <= least and most <= 1 + beyond:
            low, high = 0.0, 1.0
        else:
            low, high = least, most
    if band.role == "alpha":
        return dataclasses.replace(band, low=low, high=high)
    least, most = max(low, least), min(high, most)
    return dataclasses.replace(band, low=low, high=high, least=least, most=most)


class _Divided:
    """How far colours go that are divided by alpha."""

    def __init__(self, info: RasterInfo) -> None:
        self._info = info
        self._without_cover = False
        self.low, self.high = np.inf, -np.inf

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
