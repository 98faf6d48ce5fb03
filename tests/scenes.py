"""Bursts that are made: a scene, and frames of it whose places are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.raster.resize import bicubic

Picture = NDArray[Any]


def scene(height: int = 200, width: int = 220, seed: int = 0) -> NDArray[np.float64]:
    """RGB from 0 to 255 with edges, lines and texture, finer than frames of half its size show."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    picture = np.stack([110 + 50 * np.sin(x / 23 + c) * np.cos(y / 31 - c) for c in range(3)], 2)
    for _ in range(40):
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        h, w = rng.uniform(4, 30, 2)
        turn = rng.uniform(0, np.pi)
        u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
        v = (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
        inside = np.clip(1.5 - np.maximum(np.abs(u) / w, np.abs(v) / h) * 4, 0, 1)[:, :, None]
        colour = rng.uniform(20, 235, 3)
        stripes = 25 * np.sin(u / rng.uniform(0.9, 3))[:, :, None]
        picture = picture * (1 - inside) + (colour + stripes) * inside
    return np.clip(picture, 0, 255)


def frames_of(
    picture: Picture,
    shifts: Sequence[tuple[int, int]],
    scale: int = 2,
    *,
    size: tuple[int, int] = (64, 72),
    noise: float = 2.0,
    seed: int = 0,
) -> list[NDArray[np.float64]]:
    """Frames of ``size`` whose first sample lies at 20, 20 of a scene plus a shift of whole pixels.

    A shift is of rows and columns; so frames are exact, whatever the part of a sample.
    """
    rng = np.random.default_rng(seed)
    found = []
    for down, across in shifts:
        top, left = 20 + down, 20 + across
        part = picture[top : top + size[0] * scale, left : left + size[1] * scale]
        small = bicubic(part.astype(np.float64), scale=1 / scale)
        found.append(small + rng.normal(0, noise, small.shape))
    return found


def as_bytes(picture: Picture) -> NDArray[np.uint8]:
    """The picture as samples of 8 bits."""
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


SHIFTS = [(0, 0), (1, 0), (0, 1), (1, 1), (-2, 3), (3, -1), (-3, -3), (2, 5)]
"""Rows and columns in pixels of the scene: all parts of a sample at x2."""


def truth(picture: Picture, scale: int = 2, size: tuple[int, int] = (64, 72)) -> Picture:
    """The part of a scene that a frame without shift shows."""
    return picture[20 : 20 + size[0] * scale, 20 : 20 + size[1] * scale]
