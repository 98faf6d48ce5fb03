"""A request to fuse frames: whether it can be done, and its plan."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Sequence

from upres.engine.protocol import Backend
from upres.enlarging.options import Options
from upres.enlarging.plan import Plan, check_pixels, plan
from upres.errors import InputError, UsageError
from upres.fusing.frames import Given

MOST_FRAMES = 256
"""Frames that are fused at once, at most: more would hardly tell more, and each takes disk."""


def fusing_plan(given: Sequence[Given], reference: int, options: Options, backend: Backend) -> Plan:
    """The plan for the result of frames, before any sample is looked at.

    Raises ``UsageError`` for a scale that is not whole, or a reference that there is not,
    ``InputError`` if there are too many frames or they are too large, ``ModelError`` as ``plan``
    does.
    """
    if options.scale is not None and options.scale not in range(2, 17):
        raise UsageError(
            f"scale must be 2, 3 or 4 to fuse pictures, not {options.scale:g}", option="scale"
        )
    if isinstance(reference, bool) or not isinstance(reference, numbers.Integral):
        raise UsageError(
            f"reference must be the number of a picture, not {reference!r}", option="reference"
        )
    if not 0 <= reference < len(given):
        raise UsageError(
            f"reference {reference}: there are {len(given)} pictures, counted from 0",
            option="reference",
        )
    if len(given) > MOST_FRAMES:
        raise InputError(
            f"{given[0].name}: {len(given)} frames, more than the {MOST_FRAMES} that are fused: "
            "give fewer"
        )
    info = dataclasses.replace(given[reference].source.info, frames=1, slices=1)
    made = plan(info, options, backend)
    scale = made.height // info.height
    for each in given:
        own = each.source.info
        check_pixels(own.problem, own.width * scale, own.height * scale, 1, options)
    return dataclasses.replace(
        made,
        memory=made.memory + _memory(scale),
        disk=made.disk + _disk(given, made),
        seconds=made.seconds * len(given) + 3e-6 * made.pixels,
    )


def _memory(scale: int) -> int:
    """Of two tiles that are worked on: planes of each, as measured."""
    return 2 * 60 * 4 * (512 + 24 * scale) ** 2


def _disk(given: Sequence[Given], made: Plan) -> int:
    """All frames, two of them enlarged, and the sums of those, as numbers of four bytes."""
    bands = len(made.info.varying)
    frames = sum(each.source.info.pixels for each in given) * bands
    return 4 * (frames + made.pixels * (2 * bands + 1 + 2 * bands))
