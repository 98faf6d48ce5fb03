"""A window on its way through the steps."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from upres.engine.protocol import Engine
from upres.enlarging.pieces import Piece
from upres.raster.pixels import Float32Array


@dataclass
class Window:
    """A window on its way: its part of the raster, and its result so far."""

    given: Float32Array
    """Rows x columns x bands that vary, 0 to 1."""
    engine: Engine
    pieces: tuple[Piece, Piece]
    """Which rows and columns of the result are to be kept of it."""
    alpha: int | None = None
    """The number of the band that is alpha."""
    colour: Float32Array | None = None
    """3 x rows x columns: the network's input, where three bands go through it together."""
    hidden: Float32Array | None = None
    """Rows x columns x bands as they were before colours were filled, if some were."""
    unfilled: Float32Array | None = None
    """The same before missing samples were filled, if bands have some."""
    far: dict[int, Float32Array] = field(default_factory=dict)
    """By band, the part of its values beyond the network's range, where there is some."""
    widths: list[Float32Array] = field(default_factory=list)
    """Rows x columns each: half-widths as a head gives them, see ``bounding.bounded_groups``."""
    planes: Float32Array = field(default_factory=lambda: np.empty((0, 0, 0), np.float32))
    """The result so far: bands that vary x rows x columns."""
