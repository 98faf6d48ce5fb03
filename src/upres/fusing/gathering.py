"""The network's results of frames, moved to the reference's grid and summed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from upres.fusing import motion
from upres.fusing.frames import BurstFrame
from upres.fusing.merging import Sums
from upres.fusing.seeing import Region, lies_in
from upres.raster.pixels import Float32Array
from upres.raster.spool import Spool

_TAPS = 4


def no_sums(tile: Region, bands: int) -> Sums:
    """Sums of no frame, for a tile with its margin."""
    scale = tile.rows.scale
    shape = (tile.rows.samples * scale, tile.columns.samples * scale)
    return Sums(
        np.zeros(shape, np.float32),
        np.zeros((bands, *shape), np.float32),
        np.zeros((bands, *shape), np.float32),
    )


def add_frame(
    sums: Sums,
    tile: Region,
    frame: BurstFrame,
    large: Spool,
    single: Float32Array,
    bands: Sequence[int],
    size: tuple[int, int],
) -> None:
    """Add a frame to the sums of a tile.

    ``large`` is the network's result of the frame, and ``single`` the tile's part of that of the
    reference, of ``size``: rows x columns x all bands.
    """
    scale = tile.rows.scale
    height, width = sums.weights.shape
    # Of the result's samples, in the reference's coordinates.
    down = (np.arange(height) + 0.5) / scale - 0.5 + tile.rows.start
    across = (np.arange(width) + 0.5) / scale - 0.5 + tile.columns.start
    back = motion.inverse(frame.place)
    is_shift = np.array_equal(back[:, :2], np.eye(3)[:, :2])
    if is_shift:
        x, y = across[None] + back[0, 2], down[:, None] + back[1, 2]
    else:
        x, y = motion.moved(back, across[None], down[:, None])
    weights = _weights_at(frame, x, y)
    if not weights.any():
        return
    rows, columns = _Axis(y, frame.info.height, scale), _Axis(x, frame.info.width, scale)
    part = large.part(rows.start, rows.count, columns.start, columns.count)
    sums.weights[...] += weights
    for number, band in enumerate(bands):
        plane = np.ascontiguousarray(part[:, :, band])
        values = _moved_by_axis(plane, rows, columns) if is_shift else _moved(plane, rows, columns)
        values -= np.float32(frame.offsets[number])
        values *= np.float32(1 / frame.gains[number])
        values -= single[:, :, band]
        weighted = values * weights
        sums.values[number] += weighted
        weighted *= values
        sums.squares[number] += weighted


def _weights_at(frame: BurstFrame, x: motion.Coordinates, y: motion.Coordinates) -> Float32Array:
    """The weights of a frame's samples, linearly between them; 0 outside of the frame."""
    height, width = frame.size
    place_x, place_y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left = np.minimum(place_x.astype(np.intp), max(0, width - 2))
    top = np.minimum(place_y.astype(np.intp), max(0, height - 2))
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    part_x, part_y = (place_x - left).astype(np.float32), (place_y - top).astype(np.float32)
    weights = frame.weights
    upper = weights[top, left] * (1 - part_x) + weights[top, right] * part_x
    lower = weights[bottom, left] * (1 - part_x) + weights[bottom, right] * part_x
    found = (upper * (1 - part_y) + lower * part_y) * np.float32(1 / 255)
    result: Float32Array = (found * lies_in(x, y, frame.size)).astype(np.float32)
    return result


class _Axis:
    """Along one axis, the samples of a frame's result that places lie between, and by how much."""

    def __init__(self, places: motion.Coordinates, length: int, scale: int) -> None:
        samples = (places + 0.5) * scale - 0.5
        first = np.floor(samples)
        self.weights = _cubic((samples - first).astype(np.float32))
        first = first.astype(np.intp) - 1
        whole = length * scale
        low = min(max(0, int(first.min())), whole - 1)
        high = max(min(whole, int(first.max()) + _TAPS), low + 1)
        self.start, self.count = low, high - low
        # The outermost sample is repeated.
        self.taps = [np.clip(first + tap - low, 0, self.count - 1) for tap in range(_TAPS)]


def _cubic(off: Float32Array) -> list[Float32Array]:
    """Keys' weights of four neighbours (see ``upres.raster.resize.cubic``)."""
    square = off * off
    cube = square * off
    return [
        square - (cube + off) / 2,
        1.5 * cube - 2.5 * square + 1,
        2 * square + off / 2 - 1.5 * cube,
        (cube - square) / 2,
    ]


def _moved_by_axis(plane: Float32Array, rows: _Axis, columns: _Axis) -> Float32Array:
    """By a translation: along one axis, and then the other."""
    tall = np.zeros((len(rows.taps[0]), plane.shape[1]), np.float32)
    for tap, weights in zip(rows.taps, rows.weights, strict=True):
        tall += weights * plane[tap[:, 0]]
    result = np.zeros((len(tall), columns.taps[0].shape[1]), np.float32)
    for tap, weights in zip(columns.taps, columns.weights, strict=True):
        result += weights * tall[:, tap[0]]
    return result


def _moved(plane: Float32Array, rows: _Axis, columns: _Axis) -> Float32Array:
    flat, width = plane.ravel(), plane.shape[1]
    result = np.zeros(rows.taps[0].shape, np.float32)
    for tap, weights in zip(rows.taps, rows.weights, strict=True):
        first: NDArray[np.intp] = tap * width
        line = np.zeros_like(result)
        for other, own in zip(columns.taps, columns.weights, strict=True):
            line += own * flat[first + other]
        result += weights * line
    return result
