"""Facts that only a raster's samples tell: the range of their values, and opaque alpha."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upres.enlarging.light import straight
from upres.enlarging.ranges import MostSamples
from upres.errors import InputError
from upres.raster.info import COLOUR_ROLES, REPEATED_ROLES, Band, RasterInfo
from upres.raster.pixels import missing, rounding
from upres.raster.source import Rows, Source

OWN_RANGE = ("other", "index", "mask")
"""Roles of bands that are measured each by itself; those of colours share one range, as their
proportions must stay."""

FARTHEST = 1e36
"""The largest sample that there may be."""

PIXEL_ART_PIXELS, PIXEL_ART_COLOURS = 256 * 256, 64
"""As much as a sprite or a screen of an old console has."""

_METADATA = 4096
"""Bytes that a file of pixel art may have beside a byte for each pixel."""


Float64Array = NDArray[np.float64]

_WITHOUT_GAPS = ("alpha", "mask")


def measured(source: Source, beside: Path, info: RasterInfo | None = None) -> RasterInfo:
    """The source's info with every range known, for which its samples are read once, if need be.

    ``info`` is the source's where its bands are taken for others than it says.

    The least and the largest sample are 0 and 1 to a network, so that no sample of the result lies
    beyond them; colours that are multiplied by alpha count without it. Samples of 8 bits are not
    measured: they are scaled by all of the type's range.

    Of a band that is unbounded, they are the least and the largest of most samples: see
    ``upres.enlarging.ranges``. Samples that are missing, or hidden by a mask, do not count. Bands
    that lack some get ``gaps``; NaN is no data from then on if nothing else is. Numbers of
    classes and masks are taken as they are.

    A range that the header does not tell is [0, 1] where samples are no whole numbers and all lie
    within, else as far as they go. Alpha that is opaque throughout becomes a constant band. Colours
    that cannot be divided by alpha are those of ``emission``: some are not 0 where it is, or would
    become brighter than all that are stored.

    Raises ``InputError`` if the raster is damaged, has samples that are infinite, or classes of
    numbers that float32 cannot hold.
    """
    info = info or source.info
    wanted = [_is_wanted(band, info) for band in info.bands]
    alpha = [number for number, band in enumerate(info.bands) if band.role == "alpha"]
    # NaN may be among all that are floats.
    # Videos have none, and to read one twice would take twice the time.
    looks = any(wanted) or (info.dtype.kind == "f" and info.frames is not None)
    if not looks and not alpha:
        return info
    count = len(info.bands)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    divided = _Divided(info) if info.cover == "associated" and alpha else None
    opaque = dict.fromkeys(alpha, True)
    most_samples = MostSamples(info)
    gaps = np.zeros(count, np.bool_)
    for frame in source.frames(beside):
        top = 0
        for block in frame:
            if looks:
                gone = _gone(block, info)
                if gone is None:
                    low = np.minimum(low, block.min((0, 1)))
                    high = np.maximum(high, block.max((0, 1)))
                else:
                    gaps |= gone.any((0, 1))
                    low = np.minimum(low, np.where(gone, np.inf, block).min((0, 1)))
                    high = np.maximum(high, np.where(gone, -np.inf, block).max((0, 1)))
                _check_classes(block, info)
                most_samples.look_at(block, top, gone)
                top += len(block)
            if divided:
                divided.look_at(block)
            # Once something is transparent, that is settled.
            for number in (number for number, still in opaque.items() if still):
                most = info.bands[number].high
                opaque[number] = bool((block[:, :, number] == (1 if most is None else most)).all())
            if not looks and not any(opaque.values()) and not divided:
                break
    _check_farthest(low, high, info)
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
            least, most = float(low[group].min()), float(high[group].max())
            if least > most:  # there is none
                least, most = 0.0, 1.0
            band = _ranging(band, *most_samples.range(number, least, most), info)
        if band.role in REPEATED_ROLES:
            band = _as_it_is(info.bands[number], info)
        if info.preserves == "mean" and band.unbounded and band.low is not None:
            # No sample of the result is negative where none of the input is.
            lowest = float(low[number])
            band = dataclasses.replace(band, low=0.0 if lowest >= 0 else min(band.low, lowest))
        constant = opaque.get(number, False)
        bands.append(dataclasses.replace(band, constant=constant, gaps=bool(gaps[number])))
    nodata = info.nodata
    if nodata is None and gaps.any() and info.dtype.kind == "f":
        nodata = np.nan
    return dataclasses.replace(info, bands=tuple(bands), cover=cover, nodata=nodata)


def of_whole_range(info: RasterInfo) -> RasterInfo:
    """The info without the least and the largest sample: a network is given the band's range.

    A result that is to agree with its input goes beyond the input's own samples. Of bands that are
    unbounded it may do so anyway.
    """
    bands = (
        band if band.unbounded else dataclasses.replace(band, least=None, most=None)
        for band in info.bands
    )
    return dataclasses.replace(info, bands=tuple(bands))


def looks_like_pixel_art(source: Source, path: Path) -> bool:
    """Whether a picture is small, has few colours and most pixels like one beside them.

    Larger ones are not looked at, nor those whose file, ``path``, is compressed and longer than
    pixel art is: to decode each picture of a folder once more would take as long as to enlarge it.

    Raises ``InputError`` if the picture is damaged, ``OSError`` if the file is gone.
    """
    info = source.info
    if info.dtype != np.uint8 or info.frames != 1 or info.pixels > PIXEL_ART_PIXELS:
        return False
    if not info.find(*COLOUR_ROLES) or info.find("other", "index", "ink"):
        return False
    if info.pixels + _METADATA < path.stat().st_size < info.frame_bytes:
        return False
    pixels = np.concatenate(list(next(iter(source.frames(path)))))
    # At first, as it is the fastest.
    beside = (_alike(pixels[1:], pixels[:-1]), _alike(pixels[:, 1:], pixels[:, :-1]))
    alike, count = (sum(each) for each in zip(*beside, strict=True))
    if 2 * alike <= count:  # a single pixel has none beside it
        return False
    colours = np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)
    if not 1 < len(colours) <= PIXEL_ART_COLOURS:
        return False
    return info.alpha is None or len(np.unique(pixels[:, :, info.alpha])) <= 2


def _alike(some: Rows, others: Rows) -> tuple[int, int]:
    """How many pixels are the same in both, and how many there are."""
    same = some == others
    # Band by band, as numpy takes longest where the last axis is short.
    whole = np.logical_and.reduce([same[:, :, band] for band in range(same.shape[2])])
    return int(np.count_nonzero(whole)), whole.size


def _is_wanted(band: Band, info: RasterInfo) -> bool:
    """Whether a band's samples have to be looked at for its range."""
    if band.low is None or band.high is None or band.unbounded or band.role in REPEATED_ROLES:
        return True
    if info.nodata is not None or info.mask is not None:
        return True
    return band.role != "alpha" and band.least is None and info.dtype.itemsize > 1


def _gone(block: Rows, info: RasterInfo) -> NDArray[np.bool_] | None:
    """Where samples are missing, rows x columns x bands; ``None`` if none is.

    Raises ``InputError`` where some are infinite, or missing where that has no meaning.
    """
    if info.nodata is None and info.mask is None and np.isfinite(block).all():
        return None
    gone = missing(block, info.nodata)
    for number, band in enumerate(info.bands):
        if band.role in _WITHOUT_GAPS:
            gone[:, :, number] = False
    if not (np.isfinite(block) | gone).all() or (info.colours == "linear" and gone.any()):
        raise InputError(f"{info.name}: some samples are infinite or not numbers")
    for number, band in enumerate(info.bands):
        if band.role == "mask":
            hidden = block[:, :, number] == 0
            others = [n for n, other in enumerate(info.bands) if other.role not in _WITHOUT_GAPS]
            gone[:, :, others] |= hidden[:, :, None]
    return gone if gone.any() else None


def _as_it_is(band: Band, info: RasterInfo) -> Band:
    """A band whose samples come back from float32 as they were.

    Those of 16 bits do from any range that begins at 0, and others from [0, 1] alone.
    """
    low, high = 0.0, 1.0
    if info.dtype.kind == "u" and info.dtype.itemsize <= 2:
        high = float(np.iinfo(info.dtype).max) if band.high is None else band.high
    return dataclasses.replace(band, low=low, high=high, least=None, most=None)


def _check_farthest(low: Float64Array, high: Float64Array, info: RasterInfo) -> None:
    """Raise ``InputError`` where samples are so far that float32 cannot hold their distances.

    They are no measurements, but mean that there is none, and the file does not tell it.
    """
    known = np.concatenate([low[np.isfinite(low)], high[np.isfinite(high)]])
    farthest = known[np.argmax(np.abs(known))] if known.size else 0.0
    if abs(farthest) > FARTHEST:
        raise InputError(
            f"{info.name}: some samples are {farthest:g}, as if that meant that there is no data: "
            "make them NaN, or name the value in the file (gdal_edit.py -a_nodata)"
        )


def _check_classes(block: Rows, info: RasterInfo) -> None:
    """Raise ``InputError`` if numbers of classes would become others as float32."""
    classes = [number for number, band in enumerate(info.bands) if band.role == "index"]
    if not classes or info.dtype.itemsize <= 2 or info.dtype == np.float32:
        return
    numbers = block[:, :, classes]
    with np.errstate(over="ignore"):
        same = numbers.astype(np.float32) == numbers
    if not (same | missing(numbers, info.nodata)).all():
        raise InputError(
            f"{info.name}: some classes have numbers that float32 cannot hold, such as those above "
            "16,777,216: number them anew"
        )


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
