"""The card of a model file that has none, found out by running it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.card import ModelCard
from upres.engine.openvino_graphs import core, read_graph
from upres.errors import ModelError

MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
"""A model may want height and width to be multiples of one; the period of its grid is another."""

SIDE = 128

LENGTHS = (384, 1024)
"""Of the strips that show how far a model sees: the longer is for one that sees far."""

VALUE_RANGES = ((0.0, 1.0), (0.0, 255.0))

TOLERANCE = 1e-4
"""A part of the largest value: rounding may change as much where a picture is moved."""

BRIGHTER = 1.5
"""How much brighter or darker a model may make a picture: some enhance it, too."""

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def probe(path: Path) -> ModelCard:
    """Find out how a model is fed, how much it enlarges and how far it sees.

    OpenVINO runs it, on the processor, whatever runs it afterwards: only its graph takes pictures
    of any size without being compiled for each.

    Raises ``ModelError`` if the file cannot be read, or is not a super-resolution model.
    """
    graph = read_graph(path)
    no_model = ModelError(
        f"{path}: not a super-resolution model: it should take and give RGB pictures, "
        "1 x 3 x height x width, enlarged 1 to 8 times"
    )
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise no_model
    shape = graph.input(0).get_partial_shape()
    if (
        shape.rank.is_dynamic
        or len(shape) != 4
        or (shape[1].is_static and shape[1].get_length() != 3)
    ):
        raise no_model
    if shape[2].is_static or shape[3].is_static:
        raise ModelError(
            f"{path}: takes pictures of one fixed size only; export it with free height and width"
        )
    try:
        compiled = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

        def run(picture: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.asarray(compiled(picture)[0])

        scale = _scale(run(_random(SIDE, SIDE)))
        if scale is None:
            raise no_model
        value_range = _value_range(run)
        if value_range is None:
            raise ModelError(
                f"{path}: not a super-resolution model: it changes how bright a picture is, "
                "be it given as values from 0 to 1 or from 0 to 255"
            )
        fitting = next((m for m in MULTIPLES if _fits(run, SIDE + m, scale)), None)
        if fitting is None:
            raise ModelError(
                f"{path}: takes pictures of some sizes only; export it so that height and width "
                f"may be any, or any multiples of {MULTIPLES[-1]} or less"
            )
        halo, multiple = _reach_and_period(run, scale, fitting, value_range[1])
    except RuntimeError:
        raise no_model from None
    return ModelCard(
        name=path.stem, scale=scale, halo=halo, multiple_of=multiple, value_range=value_range
    )


def _random(height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((1, 3, height, width), np.float32)


def _scale(result: NDArray[np.float32]) -> int | None:
    """How many times a picture of ``SIDE`` was enlarged; None if this is none enlarged."""
    scale = result.shape[-1] // SIDE if result.ndim == 4 else 0
    if result.shape != (1, 3, SIDE * scale, SIDE * scale) or not 1 <= scale <= 8:
        return None
    return scale


def _value_range(run: Run) -> tuple[float, float] | None:
    """The values that a model takes and gives, as enlarging keeps the mean; None if it does not."""
    ramp = np.linspace(0, 1, SIDE, dtype=np.float32)
    # Dark: the error of a model for 0 to 255 is then much of a picture in 0 to 1.
    picture = np.tile(ramp * ramp[:, None], (1, 3, 1, 1))
    for low, high in VALUE_RANGES:
        given = picture * np.float32(high)
        if 1 / BRIGHTER <= run(given).mean() / given.mean() <= BRIGHTER:
            return low, high
    return None


def _fits(run: Run, side: int, scale: int) -> bool:
    """Whether a model takes a picture of that side, and enlarges it."""
    try:
        return run(_random(side, side)).shape == (1, 3, side * scale, side * scale)
    except RuntimeError:  # OpenVINO's, of sizes that do not fit
        return False


def _reach_and_period(run: Run, scale: int, fitting: int, high: float) -> tuple[int | None, int]:
    """How far a model sees beyond a block of its grid, and the side of a block.

    The grid is that of a model which takes pixels together, as pooling and windows of
    attention do: of a picture that is moved by less it does not make the same, moved. One
    that sees further than the strips tell, or has no grid of ``MULTIPLES``, is taken to look
    at the whole picture, whose sides have to be multiples of ``fitting``.
    """
    for length in LENGTHS:
        # At the ends, room for the margin that a grid adds to it.
        most = length // 2 - 2 * MULTIPLES[-1]
        reach = 0
        for axis in (2, 3):
            reach = max(reach, _reach(run, _strip(axis, length, high), axis, scale))
            if reach > most:
                break
        else:
            for multiple in MULTIPLES[MULTIPLES.index(fitting) :]:
                if all(
                    _moves(run, _strip(axis, length + multiple, high), axis, scale, multiple)
                    for axis in (2, 3)
                ):
                    return reach, multiple
            break
    return None, fitting


def _strip(axis: int, length: int, high: float) -> NDArray[np.float32]:
    """A random picture that is ``length`` long along ``axis``, and narrow, which is cheap."""
    narrow = MULTIPLES[-1]
    strip = _random(length, narrow) if axis == 2 else _random(narrow, length)
    return strip * np.float32(high)


def _reach(run: Run, strip: NDArray[np.float32], axis: int, scale: int) -> int:
    """How far from a change of its input an output changes, to either side.

    The change is a wide band, as single pixels may fall on units that are off. Its edges
    are edges of blocks, whatever of ``MULTIPLES`` a block's side is.
    """
    middle = strip.shape[axis] // 2
    first, last = middle - MULTIPLES[-1], middle + MULTIPLES[-1]
    changed = strip.copy()
    band: NDArray[Any] = np.moveaxis(changed, axis, 0)[first:last]
    band[...] = band[::-1].copy()
    differs = np.moveaxis(run(changed) != run(strip), axis, 0).any(axis=(1, 2, 3))
    touched = np.flatnonzero(differs) // scale
    return max(0, first - int(touched[0]), int(touched[-1]) + 1 - last) if len(touched) else 0


def _moves(run: Run, strip: NDArray[np.float32], axis: int, scale: int, by: int) -> bool:
    """Whether the result moves by ``by`` pixels, times the scale, if the picture does."""
    long: NDArray[Any] = np.moveaxis(strip, axis, 0)
    here, moved = (
        np.moveaxis(run(np.ascontiguousarray(np.moveaxis(part, 0, axis))), axis, 0)
        for part in (long[:-by], long[by:])
    )
    # In the middle, away from the borders.
    middle = len(long) // 2
    here = here[middle * scale : (middle + 16) * scale]
    moved = moved[(middle - by) * scale : (middle - by + 16) * scale]
    return bool(np.abs(here - moved).max() <= TOLERANCE * np.abs(here).max())
