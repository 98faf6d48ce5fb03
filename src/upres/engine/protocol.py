"""What upres wants of an engine, whichever it is: three small protocols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from upres.card import Model, ModelCard
from upres.raster.pixels import Float32Array


class Engine(Protocol):
    """Takes 1 x C x H x W float32 of the one shape it was made for; gives the enlarged, in memory
    that nothing else has.
    """

    def __call__(self, window: Float32Array, /) -> Float32Array: ...


@dataclass(frozen=True)
class Limits:
    """Which windows suit a model on an engine."""

    window_pixels: int
    """Most input pixels of a window, for the memory that the engine's work takes."""
    multiples: tuple[int, int] = (1, 1)
    """What the height and width of windows should be multiples of, to be fast."""


class Network(Protocol):
    """A model file that is open, and not yet compiled."""

    def compile(self, height: int, width: int) -> Engine:
        """An engine for windows of 1 x channels x ``height`` x ``width``.

        The same one, if it is asked for again.

        Raises ``ModelError`` if the model does not take such windows, or does not give what its
        card says.
        """


class Backend(Protocol):
    """An engine's library on a device."""

    name: str
    """Such as ``OpenVINO``."""
    device: str
    """``cpu`` or ``gpu``."""

    def open(self, model: Model) -> Network:
        """Open a model's file; it is kept open for the next call.

        Raises ``ModelError`` if it cannot be read, or not be computed in ``model.compute``.
        """

    def limits(self, model: Model) -> Limits:
        """Which windows suit it, told from its card alone."""

    def suits(self, card: ModelCard) -> bool:
        """Whether a model in that precision is fast here: of a shipped model's variants, int8 is
        taken where it is, else float32.
        """
