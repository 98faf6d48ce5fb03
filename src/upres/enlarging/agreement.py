"""How well a result agrees with its input: it is reduced again, and compared."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.enlarging import gaps, light
from upres.enlarging.bounds import bounds_of
from upres.enlarging.consistency import MEASURED_ROLES
from upres.enlarging.measuring import measured, of_whole_range
from upres.enlarging.overlaps import Block, Extent, with_margins
from upres.errors import InputError
from upres.raster.arrays import ArraySource
from upres.raster.info import RasterInfo, Role
from upres.raster.pixels import Float32Array, from_bands, to_bands
from upres.raster.resize import apply_taps, bicubic, bicubic_taps
from upres.raster.spool import Spool

_SHARE = 1e-6
"""A reduced sample that samples which are missing have more weight in is not known."""


@dataclass
class Agreement:
    """How far results, reduced to their inputs' size, are from these."""

    squares: float = 0.0
    """The sum of squared differences, as parts of each band's range."""
    samples: int = 0

    def add(self, squares: float, samples: int) -> None:
        """Take more samples into account."""
        self.squares += squares
        self.samples += samples

    @property
    def decibels(self) -> float:
        """The peak signal-to-noise ratio of all samples; infinite where they are the input's."""
        if not self.squares:
            return math.inf
        return -10 * math.log10(self.squares / self.samples)

    def __str__(self) -> str:
        far = f"to {self.decibels:.1f} dB" if self.squares else "in every sample"
        return f"agrees with its input {far}"


def agreement(
    enlarged: object,
    image: object,
    *,
    bands: Sequence[Role] | None = None,
    value_range: tuple[float, float] | None = None,
) -> float:
    """Tell how well an enlarged picture agrees with the picture that it was made of, in dB.

    Both are arrays as ``upres.enlarge`` takes and gives them, with its ``bands`` and
    ``value_range``. ``enlarged`` is reduced by MATLAB's antialiased bicubic
    (``upres.raster.resize``), clipped to the range of values and not rounded, and compared with
    ``image``: that is the peak signal-to-noise ratio over all samples of colours, inks and other
    measurements. Alpha and numbers of classes are not compared, nor colours where ``image`` is
    wholly transparent.

    Raises ``InputError`` if the two have other bands or types, or ``enlarged`` is smaller.
    """
    source = ArraySource(image, bands=bands, value_range=value_range)
    info = of_whole_range(measured(source, Path(tempfile.gettempdir(), "array")))
    made = ArraySource(enlarged, bands=bands, value_range=_range(info))
    if len(made.info.bands) != len(info.bands) or made.pixels.dtype != source.pixels.dtype:
        raise InputError(
            f"the enlarged picture is {made.pixels.dtype} of {len(made.info.bands)} bands, the "
            f"picture {source.pixels.dtype} of {len(info.bands)}: give pictures that are alike"
        )
    if made.info.height < info.height or made.info.width < info.width:
        raise InputError("the enlarged picture is smaller than the picture: give the picture last")
    kept = [number for number, band in enumerate(info.bands) if not band.constant]
    wanted = light.to_network(source.pixels[:, :, kept], info)
    values = light.to_network(made.pixels[:, :, kept], info).astype(np.float64)
    total, size = Agreement(), (info.height, info.width)
    unknown = np.isnan(values)
    reduced = bicubic(np.where(unknown, 0, values), size=size)
    if unknown.any():
        reduced[np.abs(bicubic(unknown.astype(np.float64), size=size)) > _SHARE] = np.nan
    _compare(reduced, wanted, info, total)
    return total.decibels


def compared(
    parts: Iterable[Block],
    given: Spool,
    info: RasterInfo,
    size: tuple[int, int],
    total: Agreement,
    *,
    written: np.dtype[Any],
    margins: tuple[int, int] = (0, 0),
    beside: Path,
    by_means: bool = False,
) -> Iterator[Block]:
    """Give the windows of an enlarged frame of ``size``, and add to ``total`` how well they agree.

    ``given`` and ``info`` are the frame, rows x columns x bands. Values are float32 in [0, 1], and
    are compared as the samples of type ``written`` that become of them. Of the frame, so many rows
    and columns at its borders as ``margins`` says are not compared. Memory does not grow with
    the picture. ``beside`` is a file beside which temporary ones may be. A result is reduced
    ``by_means`` where it is to keep these, and is a whole number of times as large.
    """
    lengths = zip(size, (info.height, info.width), margins, strict=True)
    axes = [_ReducedAxis(*each, by_means=by_means) for each in lengths]
    margin = max(axis.reach for axis in axes)
    for area in with_margins(parts, size, len(info.varying), margin=margin, beside=beside):
        planes = _as_written(area.planes, info, written)
        unknown = np.isnan(planes) if gaps.with_gaps(info) else None
        if unknown is not None:
            planes[unknown] = 0
        planes, rows = axes[0].reduced(planes, 1, area.rows)
        planes, columns = axes[1].reduced(planes, 2, area.columns)
        if unknown is not None:
            shares, _ = axes[0].reduced(unknown.astype(np.float32), 1, area.rows)
            shares, _ = axes[1].reduced(shares, 2, area.columns)
            planes[np.abs(shares) > _SHARE] = np.nan
        wanted = given.part(
            rows.start, rows.stop - rows.start, columns.start, columns.stop - columns.start
        )
        if planes.size:
            _compare(np.moveaxis(planes, 0, 2), wanted, info, total)
        yield area.part()
        del area  # its memory is for the next one


class _ReducedAxis:
    """One axis of a result, reduced to the input's length."""

    def __init__(self, length: int, given: int, margin: int, *, by_means: bool) -> None:
        self._first, self._last = margin, given - margin
        self._weights, self._indices = bicubic_taps(length, given)
        if by_means:
            self._indices = np.arange(length).reshape(given, -1)
            self._weights = np.full(self._indices.shape, given / length)
        # Each sample of the input belongs to the window that its centre lies in.
        self._centres = ((np.arange(given) + 0.5) * (length / given)).astype(np.intp)
        self.reach = math.ceil(2.5 * length / given) + 1

    def reduced(
        self, planes: Float32Array, axis: int, extent: Extent
    ) -> tuple[Float32Array, slice]:
        """The input's samples that belong to an extent, and which these are."""
        first, last = (
            min(max(int(found), self._first), self._last)
            for found in np.searchsorted(self._centres, (extent.first, extent.last))
        )
        kept = slice(first, last)
        if first == last:
            return planes.take([], axis), kept
        indices = self._indices[kept] - extent.start
        return apply_taps(planes, axis, self._weights[kept], indices), kept


def _compare(
    values: NDArray[np.floating[Any]], wanted: Float32Array, info: RasterInfo, total: Agreement
) -> None:
    """Add the differences of two parts, rows x columns x bands."""
    seen = None
    if info.alpha is not None and info.cover != "emission":
        seen = wanted[:, :, info.alpha] > 0
    bounds = bounds_of(info)
    for band in info.find(*MEASURED_ROLES):
        difference = np.clip(values[:, :, band], *bounds[band]) - wanted[:, :, band].astype(float)
        known = np.isfinite(difference) if info.varying[band].gaps else None
        if info.mask is not None:
            shown = wanted[:, :, info.mask] > 0
            known = shown if known is None else known & shown
        if seen is not None:
            known = seen if known is None else known & seen
        if known is not None:
            difference = difference[known]
        total.add(float(np.square(difference).sum()), difference.size)


def _as_written(planes: Float32Array, info: RasterInfo, written: np.dtype[Any]) -> Float32Array:
    """The values that samples of the type ``written`` stand for."""
    if info.colours == "linear":
        return planes  # of floats, which are rounded in the light's domain
    bands = light.seen_bands(info)
    if written != info.dtype:
        most = float(np.iinfo(written).max) if written.kind in "iu" else 1.0
        bands = tuple(dataclasses.replace(band, low=0.0, high=most) for band in bands)
    samples = from_bands(np.moveaxis(planes, 0, 2), bands, written, info.nodata)
    values = np.moveaxis(to_bands(samples, bands, info.nodata), 2, 0)
    return np.where(np.isnan(planes), planes, values) if gaps.with_gaps(info) else values


def _range(info: RasterInfo) -> tuple[float, float] | None:
    """The range of the bands that are no alpha."""
    known = {(b.low, b.high) for b in info.bands if b.role != "alpha" and b.low is not None}
    low, high = known.pop() if len(known) == 1 else (None, None)
    return None if low is None or high is None else (low, high)
