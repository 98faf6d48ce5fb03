"""Grain of films and sensors, which low resolution shows less of, and no network can bring back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STRONGEST = 7.0
"""The largest standard deviation, in grey levels, before each colour's own factor."""


def with_grain(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """``image``, height x width x 3, with normal noise: a part in common, a part of each colour.

    Its strength is drawn, and that of each colour by itself, as scanners have the most in blue. Of
    every second picture it is as coarse as that of a scan, whose neighbours share some.
    """
    common, strength = random.random(), STRONGEST * random.random()
    each = random.standard_normal(image.shape) * random.uniform(0.5, 1.5, 3)
    noise = common**0.5 * random.standard_normal((*image.shape[:2], 1)) + (1 - common) ** 0.5 * each
    if random.random() < 0.5:
        padded = np.pad(noise, ((0, 1), (0, 1), (0, 0)), mode="wrap")
        noise = (padded[1:, 1:] + padded[:-1, 1:] + padded[1:, :-1] + padded[:-1, :-1]) / 2
    made: NDArray[np.uint8] = np.clip(np.rint(image + strength * noise), 0, 255).astype(np.uint8)
    return made
