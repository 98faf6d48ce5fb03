"""How long each frame of an animation is shown, and how often all of them are.

libvips tells it in whole milliseconds, by its fields ``delay`` and ``loop``; some formats are
finer.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pyvips

from upres.errors import OutputError
from upres.formats.metadata.carried import Carried

USUAL = Fraction(1, 10)
"""Seconds of a frame without a word on it, as browsers have it."""

MOST_PLAYS = 65535
"""The largest number that all formats can tell; a larger one is written as this."""


def seconds(carried: Carried) -> tuple[Fraction, ...]:
    """How long each frame is shown, exactly."""
    if len(carried.timing) == carried.frames:
        return carried.timing
    told = carried.find("delay")
    delays = list(told) if isinstance(told, list) else []
    usual = [USUAL] * (carried.frames - len(delays))
    return tuple([*(Fraction(delay, 1000) for delay in delays), *usual][: carried.frames])


def plays(carried: Carried) -> int:
    """How often all frames are shown; 0 is for ever."""
    told = carried.find("loop")
    return min(max(told, 0), MOST_PLAYS) if isinstance(told, int) else 0


def in_units(timing: Sequence[Fraction], unit: Fraction) -> list[int]:
    """How many units each frame is shown, so that frames begin as near to their time as they can.

    A frame that is shown at all is shown for one unit at least.
    """
    ends, now = [0], Fraction(0)
    for each in timing:
        now += each
        ends.append(max(math.floor(now / unit + Fraction(1, 2)), ends[-1] + bool(each)))
    return [last - first for first, last in itertools.pairwise(ends)]


def nearest(timing: Sequence[Fraction], unit: Fraction) -> list[int]:
    """How many units each frame is shown, each rounded by itself, halves up.

    A frame that is shown at all is shown for one unit at least.
    """
    return [max(math.floor(each / unit + Fraction(1, 2)), int(each > 0)) for each in timing]


def told(carried: Carried, timing: Sequence[Fraction], plays: int) -> Carried:
    """The same as of an animation of that timing, of as many frames as it has."""
    image = carried.image.copy()
    kinds = pyvips.GValue
    milliseconds = [min(each, 2**31 - 1) for each in in_units(timing, Fraction(1, 1000))]
    image.set_type(kinds.array_int_type, "delay", milliseconds)
    image.set_type(kinds.gint_type, "loop", min(plays, MOST_PLAYS))
    return dataclasses.replace(carried, image=image, frames=len(timing), timing=tuple(timing))


def check_longest(target: Path, timing: Sequence[Fraction], most: Fraction) -> None:
    """Raise ``OutputError`` if a frame is shown for longer than a format can tell."""
    longest = max(timing, default=Fraction(0))
    if longest > most:
        raise OutputError(
            f"{target}: {target.suffix.lower()} cannot hold a frame that is shown for "
            f"{float(longest):g} seconds, more than {float(most):g}: choose .png"
        )
