"""Where samples lie in the patient, before and after.

The ground that a raster covers stays the same, so the centre of its first sample moves towards its
corner: sample j of n times as many lies at (j + 1/2) / n - 1/2 of the samples before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def finer(affine: NDArray[Any], factors: Sequence[float] | NDArray[Any]) -> Matrix:
    """The affine, 4 x 4, of ``factors`` times as many samples along its axes on the same ground."""
    ratios = 1 / np.asarray(factors, np.float64)
    change = np.diag([*ratios, 1.0])
    change[:3, 3] = (ratios - 1) / 2
    result: Matrix = np.asarray(affine, np.float64) @ change
    return result
