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
    ``InputError`` if there are too many frames, they are too large, or the reference is a medical
    picture among others, ``ModelError`` as ``plan`` does.
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
    own = given[reference].source.info
    if len(given) > 1 and own.only_as:
        raise InputError(
            f"{own.name}: a medical picture is not fused with others, as slices of a body are no "
            "views of one scene: enlarge it, or give pictures of another format"
        )
    alone = dataclasses.replace(own, frames=1, slices=1)
    made = plan(alone, options, backend)
    scale = made.height // own.height
    for each in given:
        info = each.source.info
        check_pixels(info.problem, info.width * scale, info.height * scale, 1, options)
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
