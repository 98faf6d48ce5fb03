"""Things that a card asks for beyond the network: a range of values, and the self-ensemble."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from upres.card import Model, ModelCard
from upres.engine.protocol import Backend, Engine
from upres.raster.pixels import Float32Array

ORIENTATIONS = [(flips, turned) for flips in ((), (2,), (3,), (2, 3)) for turned in (False, True)]
"""The eight ways to flip a picture, N x C x H x W, along axes, and then to swap the last two."""

REDUCING = Model(Path("bicubic"), ModelCard(name="bicubic", scale=1, halo=0, parameter_count=1))
"""For pictures that are only reduced: what it is given it gives back, and it has no file."""


def compile_window(backend: Backend, model: Model, height: int, width: int) -> Engine:
    """Compile ``model`` for windows of 1 x channels x ``height`` x ``width``, in [0, 1].

    Raises ``ModelError`` as ``Backend.open`` and ``OpenedModel.compile`` do.
    """
    if model is REDUCING:
        return lambda window: window.copy()
    network = backend.open(model)
    engine = upright = network.compile(height, width)
    if model.card.self_ensemble:
        turned = upright if height == width else network.compile(width, height)
        engine = self_ensembled(upright, turned)
    return engine if model.card.value_range == (0, 1) else ranged(engine, *model.card.value_range)


def ranged(engine: Engine, low: float, high: float) -> Engine:
    """An engine for values in [0, 1], made of one for values in [``low``, ``high``]."""
    start, length = np.float32(low), np.float32(high - low)

    def run(window: Float32Array, /) -> Float32Array:
        result = engine(window * length + start)
        result -= start
        result /= length
        return result

    return run


def self_ensembled(upright: Engine, turned: Engine) -> Engine:
    """The mean over ``ORIENTATIONS``; ``turned`` takes windows with height and width swapped."""

    def run(window: Float32Array, /) -> Float32Array:
        total: Float32Array | None = None
        for flips, swaps in ORIENTATIONS:
            given = np.flip(window, flips)
            result = turned(given.swapaxes(2, 3)).swapaxes(2, 3) if swaps else upright(given)
            result = np.flip(result, flips)
            total = result if total is None else np.add(total, result, out=total)
        assert total is not None
        return np.multiply(total, np.float32(1 / len(ORIENTATIONS)), out=total)

    return run
