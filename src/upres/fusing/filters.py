"""Small separable filters of planes: rows first, and then columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from upres.raster.pixels import Float32Array


def smoothed(plane: Float32Array, deviation: float) -> Float32Array:
    """A plane through a Gaussian filter, its borders extended symmetrically."""
    reach = int(np.ceil(3.5 * deviation))
    places = np.arange(-reach, reach + 1)
    bell = np.exp(-0.5 * (places / deviation) ** 2)
    weights = (bell / bell.sum()).astype(np.float32)
    for _ in range(2):  # along one axis, and then the other
        length = len(plane)
        padded = np.pad(plane, ((reach, reach), (0, 0)), mode="symmetric")
        total: Float32Array = np.zeros_like(plane)
        for number, weight in enumerate(weights):
            total += weight * padded[number : number + length]
        plane = np.ascontiguousarray(total.T)
    return plane


def halved(plane: Float32Array) -> Float32Array:
    """A plane of half the size, by the mean of 2 x 2; an odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in plane.shape)
    even = plane[:height, :width]
    tall = even[::2] + even[1::2]
    result: Float32Array = tall[:, ::2] + tall[:, 1::2]
    result *= np.float32(0.25)
    return result


def mean_around(plane: Float32Array, reach: int) -> Float32Array:
    """The mean of the samples around each; beyond a border there are zeros."""
    for _ in range(2):
        length = len(plane)
        padded = np.pad(plane, ((reach, reach), (0, 0)))
        total: Float32Array = padded[:length].copy()
        for number in range(1, 2 * reach + 1):
            total += padded[number : number + length]
        plane = np.ascontiguousarray((total / np.float32(2 * reach + 1)).T)
    return plane


def least_around(weights: Float32Array, inside: NDArray[np.bool_], reach: int) -> Float32Array:
    """The least weight around each sample; those that are not inside do not count."""
    plane = np.where(inside, weights, 1)
    for _ in range(2):
        length = len(plane)
        padded = np.pad(plane, ((reach, reach), (0, 0)), constant_values=1)
        least = padded[:length].copy()
        for number in range(1, 2 * reach + 1):
            np.minimum(least, padded[number : number + length], out=least)
        plane = np.ascontiguousarray(least.T)
    return np.where(inside, plane, 0).astype(np.float32)
