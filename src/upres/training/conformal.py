"""The one factor by which half-widths keep their promise: conformal risk control.

Source: A. N. Angelopoulos, S. Bates, A. Fisch, L. Lei and T. Schuster, "Conformal risk control",
ICLR 2024. The risk of a picture is the part of its samples that lie outside. It falls as the
factor rises. The least factor for which ``n / (n + 1)`` of the mean risk of ``n`` pictures and
``1 / (n + 1)`` are together no more than is allowed keeps that risk, in the mean over further
pictures that are drawn as those were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FIRST, _STEPS_OF_TWO = 2.0**-6, 512

FACTORS = _FIRST * 2.0 ** (np.arange(12 * _STEPS_OF_TWO + 1) / _STEPS_OF_TWO)
"""Those that are tried, from 1/64 to 64: each is 0.14 percent more than the one before."""


@dataclass(frozen=True)
class Calibrated:
    """A factor, and how the pictures that gave it are covered."""

    factor: float
    coverages: tuple[float, ...]
    """By picture, the part of its samples that lie within."""


def coverage_by_factor(
    errors: NDArray[np.floating], widths: NDArray[np.floating]
) -> NDArray[np.float64]:
    """For each of ``FACTORS``, the part of a picture's samples that lie within so many half-widths.

    ``errors`` are absolute, and ``widths``, above 0, broadcast to their shape.
    """
    ratios = (errors / widths).ravel()
    # A sample is covered by all factors from its ratio on.
    places = np.ceil(np.log2(np.maximum(ratios, _FIRST) / _FIRST) * _STEPS_OF_TWO)
    first = np.minimum(places, len(FACTORS)).astype(np.intp)
    counts = np.bincount(first, minlength=len(FACTORS) + 1)[: len(FACTORS)]
    shares: NDArray[np.float64] = counts.cumsum() / ratios.size
    return shares


def calibrated(coverages: Sequence[NDArray[np.float64]], level: float) -> Calibrated:
    """The least factor that covers the part ``level`` of samples, by ``coverage_by_factor`` of each
    picture.

    Raises ``ValueError`` if no factor does, as of too few pictures.
    """
    count = len(coverages)
    if not count:
        raise ValueError("there are no pictures to calibrate with")
    table = np.stack(coverages)
    bound = (count * (1 - table.mean(0)) + 1) / (count + 1)
    kept = np.flatnonzero(bound <= 1 - level)
    if not kept.size:
        raise ValueError(f"{count} pictures are too few, or no factor covers {level:.0%} of them")
    place = int(kept[0])
    return Calibrated(float(FACTORS[place]), tuple(map(float, table[:, place])))
