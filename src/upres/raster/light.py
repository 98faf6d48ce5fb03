"""Linear light as a network can take it: a curve of tones that is undone exactly.

Up to 1 it is that of sRGB (IEC 61966-2-1), with which networks' training pictures are encoded.
From 1 on it is a logarithm, as in the curve for high dynamic range of ARIB STD-B67 (ITU-R
BT.2100, HLG), which also joins a power below and a logarithm above with one value and one slope.
sRGB's power, continued, would give a light of 1000 the value 18.7, and with it the tones below 1
no more than a nineteenth of a network's range; the logarithm gives it 4.04.

    e(x) = 12.92 x                      up to 0.0031308
           1.055 x^(1/2.4) - 0.055      up to 1
           1 + s ln x                   above, with s = 1.055 / 2.4, the slope at 1

Below 0 it is mirrored, e(-x) = -e(x), as in extended sRGB (IEC 61966-2-1, amendment 1). It rises
throughout, so it has an inverse everywhere.
"""

from __future__ import annotations

import numpy as np

from upres.raster.pixels import CACHED_BYTES, Float32Array

_DARKEST = np.float32(0.0031308)
_DARK_SLOPE = np.float32(12.92)
_GAIN, _OFFSET, _POWER = np.float32(1.055), np.float32(0.055), np.float32(2.4)
_BRIGHT_SLOPE = np.float32(1.055 / 2.4)
_ENCODED_DARKEST = _DARKEST * _DARK_SLOPE


def encode(light: Float32Array) -> Float32Array:
    """Linear light, of any shape and any finite values, as values of the curve."""
    result = np.empty_like(light, np.float32)
    for part, place in _blocks(light, result):
        size = np.abs(part)
        values = np.minimum(size, 1) * _DARK_SLOPE
        middle = size > _DARKEST
        values[middle] = _GAIN * size[middle] ** (1 / _POWER) - _OFFSET
        bright = size > 1
        if bright.any():
            values[bright] = 1 + _BRIGHT_SLOPE * np.log(size[bright])
        np.copysign(values, part, out=place)
    return result


def decode(values: Float32Array) -> Float32Array:
    """The reverse of ``encode``, to float32 rounding: a few parts in a million."""
    result = np.empty_like(values, np.float32)
    for part, place in _blocks(values, result):
        size = np.abs(part)
        light = size / _DARK_SLOPE
        middle = size > _ENCODED_DARKEST
        light[middle] = ((np.minimum(size[middle], 1) + _OFFSET) / _GAIN) ** _POWER
        bright = size > 1
        if bright.any():
            # A value above float32's range is its largest number.
            most = np.log(np.finfo(np.float32).max)
            light[bright] = np.exp(np.minimum((size[bright] - 1) / _BRIGHT_SLOPE, most))
        np.copysign(light, part, out=place)
    return result


def _blocks(values: Float32Array, result: Float32Array) -> list[tuple[Float32Array, Float32Array]]:
    """Both in rows that stay in the processor's cache."""
    if not values.ndim:
        return [(values[None], result[None])]
    rows = max(1, CACHED_BYTES // max(1, values[:1].size * 16))
    return [(values[i : i + rows], result[i : i + rows]) for i in range(0, len(values), rows)]
