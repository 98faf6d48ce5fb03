"""The engine as upres wants it, whichever it is: three small protocols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from upres.card import Compute, Model, ModelCard
from upres.raster.pixels import Float32Array


class Engine(Protocol):
    """Takes 1 x C x H x W float32 of the one shape it was made for; gives the enlarged, in memory
    that nothing else has. Threads may share it. That of a model with a head gives one channel more,
    of half-widths.
    """

    def __call__(self, window: Float32Array, /) -> Float32Array: ...


@dataclass(frozen=True)
class Limits:
    """Which windows suit a model on an engine."""

    window_pixels: int
    """Most input pixels of a window, for the memory that the engine's work takes."""
    multiples: tuple[int, int] = (1, 1)
    """The height and width of windows should be multiples of these, to be fast."""
    ahead: bool = False
    """Whether the engine may compute a window while the result of the one before is worked on, in
    another thread. That takes memory for one result more."""


@dataclass(frozen=True)
class Choice:
    """Which of a shipped model's variants is taken, and how it is computed."""

    model: Model
    why: str
    """A short text, such as ``the quickest on processors with AMX, by a table``."""


class OpenedModel(Protocol):
    """A model file that is open, and not yet compiled."""

    def compile(self, height: int, width: int) -> Engine:
        """An engine for windows of 1 x channels x ``height`` x ``width``.

        The last ones compiled are kept: to ask for the same again takes no time. The engine gives
        and takes values in the card's range, and does no more than the file: see
        ``wrappers.compile_window`` for one that takes values in [0, 1] and goes by the card.

        Raises ``ModelError`` if the model does not take these windows, or its result is not as its
        card says; or in a process that was forked from one that has compiled already.
        """


class Backend(Protocol):
    """An engine's library on a device."""

    @property
    def name(self) -> str:
        """A name for messages: ``OpenVINO``."""

    @property
    def device(self) -> str:
        """``cpu`` or ``gpu``."""

    def open(self, model: Model) -> OpenedModel:
        """Open a model's file; it is kept open for the next call.

        Raises ``ModelError`` if it cannot be read, or not be computed in ``model.compute``.
        """

    def limits(self, model: Model) -> Limits:
        """Which windows suit it, told from its card alone."""

    def choose(self, variants: Sequence[Model]) -> Choice:
        """Of a shipped model's files of one scale, one for each precision and float32 first, the
        one that is taken unless a precision is asked for, and the numbers that it is computed in.
        """

    def best_compute(self, card: ModelCard) -> Compute:
        """In which numbers a file that is given is computed here unless one is asked for."""

    def can_compute(self, compute: Compute) -> bool:
        """Whether it computes in these numbers here, be it slower than in float32."""
