"""Homographies between frames: 3 x 3 matrices that take columns and rows to columns and rows.

Coordinates are of frames, before they are enlarged: the centre of the first sample is (0, 0).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Homography = NDArray[np.floating[Any]]

Coordinates = NDArray[Any]
"""Columns or rows, in any shape."""

Kind = Literal["shift", "affine", "homography"]

FREEDOMS: dict[Kind, int] = {"shift": 2, "affine": 6, "homography": 8}


def moved(matrix: Homography, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
    """Take columns ``x`` and rows ``y`` through a homography."""
    below = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    across = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
    down = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
    return across / below, down / below


def inverse(matrix: Homography) -> Homography:
    """The homography back."""
    return with_last_one(np.linalg.inv(matrix))


def with_last_one(matrix: Homography) -> Homography:
    """The same homography, its last number 1."""
    result: Homography = matrix / matrix[2, 2]
    return result


def shift(x: float, y: float) -> Homography:
    """A translation by columns and rows."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def at_scale(matrix: Homography, factor: float) -> Homography:
    """The same homography of frames that have ``factor`` times as many samples a side."""
    to = _grid(factor)
    return with_last_one(to @ matrix @ np.linalg.inv(to))


def corners(height: int, width: int) -> tuple[Coordinates, Coordinates]:
    """Columns and rows of a frame's four corners."""
    x = np.array([0.0, width - 1, 0, width - 1])
    y = np.array([0.0, 0, height - 1, height - 1])
    return x, y


def largest_move(matrix: Homography, height: int, width: int) -> float:
    """How far a homography moves a corner of a frame, at most, in samples."""
    x, y = corners(height, width)
    to_x, to_y = moved(matrix, x, y)
    return float(np.hypot(to_x - x, to_y - y).max())


def is_plausible(matrix: Homography, height: int, width: int) -> bool:
    """Whether a frame keeps its orientation, and about half to twice its size, everywhere."""
    x, y = corners(height, width)
    below = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    if not np.isfinite(matrix).all() or below.min() <= 0.5 or below.max() >= 2:
        return False
    area = np.linalg.det(matrix) / below**3
    return bool(area.min() > 0.25 and area.max() < 4)


def _grid(factor: float) -> Homography:
    """From a frame's coordinates to those of one with ``factor`` times as many samples a side."""
    offset = (factor - 1) / 2
    return np.array([[factor, 0, offset], [0, factor, offset], [0, 0, 1]], np.float64)
