"""Samples as a network sees them, and its values as samples: linear light goes by a curve.

A network is given values that range from 0 to 1, as those of the pictures do that it was trained
on, whatever part of its type's range a raster takes: by int8, samples that take a twentieth of it
would lose 1.5 dB. Of a raster that is gamma-encoded, samples are only scaled. Of linear light,
colours are encoded by ``upres.raster.light``, and scaled then, so that dark tones have as much of a
network's range as in a photograph. Colours that are multiplied by alpha are divided by it before,
and multiplied again after. Where light comes without cover, there is nothing to divide by: colours
of that raster are enlarged as they are stored, as if on black (see ``upres.enlarging.measuring``).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.raster.info import COLOUR_ROLES, Band, RasterInfo
from upres.raster.light import decode, encode
from upres.raster.pixels import Float32Array, from_bands, to_bands

_FLOAT = np.dtype(np.float32)


def to_network(block: NDArray[Any], info: RasterInfo) -> Float32Array:
    """Samples, rows x columns x bands that vary, as values from 0 to 1 for a network.

    ``info`` has every range, see ``measured``.
    """
    if info.colours != "linear":
        return to_bands(block, seen_bands(info), info.nodata)
    values = block.astype(np.float32)
    colours = list(info.find(*COLOUR_ROLES))
    values[:, :, colours] = encode(straight(values, info))
    return to_bands(values, _encoded(info))


def from_network(block: Float32Array, info: RasterInfo) -> Float32Array:
    """A network's values for a sink: as they are, or of linear light the samples themselves.

    No sample is beyond the range that the raster had.
    """
    if info.colours != "linear":
        return _within(block, info)
    values: Float32Array = from_bands(block, _encoded(info), _FLOAT)
    alpha = info.alpha if info.cover == "associated" else None
    seen = seen_bands(info)
    for number in info.find(*COLOUR_ROLES):
        band = seen[number]
        light = np.clip(decode(values[:, :, number]), band.low, band.high)
        values[:, :, number] = light if alpha is None else light * values[:, :, alpha]
    return values


def from_seen(block: Float32Array, info: RasterInfo) -> NDArray[np.float64]:
    """A network's values, rows x columns x bands that vary, as samples that are not rounded."""
    samples: NDArray[np.float64] = from_bands(block, seen_bands(info), np.dtype(np.float64))
    return samples


def to_seen(samples: NDArray[np.float64], info: RasterInfo) -> Float32Array:
    """The reverse of ``from_seen``; colours are not those of linear light."""
    return to_bands(samples, seen_bands(info))


def straight(values: Float32Array, info: RasterInfo) -> Float32Array:
    """The colours of samples, no longer multiplied by alpha if they were; 0 where that is 0."""
    colours = values[:, :, list(info.find(*COLOUR_ROLES))]
    if info.alpha is None or info.cover != "associated":
        return colours
    alpha = values[:, :, info.alpha, None]
    return np.divide(colours, alpha, out=np.zeros_like(colours), where=alpha > 0)


def seen_bands(info: RasterInfo) -> tuple[Band, ...]:
    """The bands that vary, ``low`` and ``high`` being the samples that are 0 and 1 to a network."""
    return tuple(
        band
        if band.least is None or band.most is None
        else dataclasses.replace(band, low=band.least, high=band.most)
        for band in info.varying
    )


def _within(block: Float32Array, info: RasterInfo) -> Float32Array:
    """A network's values as a sink takes them; ``block`` itself is changed."""
    for number, (band, seen) in enumerate(zip(info.varying, seen_bands(info), strict=True)):
        if (band.low, band.high) == (seen.low, seen.high):
            continue
        assert band.low is not None
        assert band.high is not None
        assert seen.low is not None
        assert seen.high is not None
        whole = band.high - band.low
        block[:, :, number] *= np.float32((seen.high - seen.low) / whole)
        block[:, :, number] += np.float32((seen.low - band.low) / whole)
    return block


def _encoded(info: RasterInfo) -> tuple[Band, ...]:
    """The bands that vary, those of colours with the curve's values of their ranges."""

    def encoded(band: Band) -> Band:
        if band.role not in COLOUR_ROLES or band.low is None or band.high is None:
            return band
        low, high = encode(np.array([band.low, band.high], np.float32))
        return dataclasses.replace(band, low=float(low), high=float(high))

    return tuple(encoded(band) for band in seen_bands(info))
