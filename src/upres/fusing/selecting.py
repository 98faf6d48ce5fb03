"""Which kind of homography places a frame: none has more parameters than the frame asks for.

A translation, an affine map and a homography are tried in turn, and one with more parameters is
taken only if it explains more than by chance (G. Schwarz, "Estimating the dimension of a model",
Annals of Statistics 6 (1978)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from upres.fusing import motion
from upres.fusing.motion import FREEDOMS, Homography, Kind
from upres.fusing.registration import Fit, Observed, fit, seen_at

_CAUTION = 16.0
"""By how much a parameter has to explain more than by Schwarz's rule, which is for errors that have
nothing to do with each other: planes that are smoothed have so many times fewer of those."""


def best_fit(
    samples: Sequence[Observed],
    start: Homography,
    size: tuple[int, int],
    least: float,
    kinds: Sequence[Kind] = ("shift", "affine", "homography"),
) -> Fit | None:
    """The fit of the kind that explains most for its number of parameters.

    ``kinds`` go from the one with fewest on; each starts at the fit of the one before, and the
    first at the translation of the reference's centre.
    """
    centre = (np.array((size[1] - 1) / 2), np.array((size[0] - 1) / 2))
    found: list[Fit] = []
    matrix = start
    if kinds[0] == "shift":
        back = motion.moved(motion.inverse(start), *centre)
        matrix = motion.shift(float(centre[0] - back[0]), float(centre[1] - back[1]))
    for kind in kinds:
        # What is known of a turn already is a better start than none.
        each = fit(samples, start if kind == "affine" else matrix, kind, size, least)
        if each is not None:
            found.append(each)
            matrix = each.matrix
    if not found:
        return None
    deviation = min(each.deviation for each in found)
    return min(found, key=lambda each: _cost(samples, each, size, deviation))


def _cost(samples: Sequence[Observed], each: Fit, size: tuple[int, int], deviation: float) -> float:
    total, count = 0.0, 0
    for y, z, _, _, inside in (seen_at(one, each.matrix, size) for one in samples):
        error = (y - each.gain * z - each.offset)[inside] / deviation
        total += float(np.minimum(error * error, 9).sum())
        count += error.size
    # By the mean, as a fit may have more samples inside than another.
    penalty = _CAUTION * FREEDOMS[each.kind] * math.log(max(count, 2))
    return total / max(count, 1) * sum(one.values.size for one in samples) + penalty
