"""Frames that are put upon each other for an animation, as browsers do: APNG and GIF share this."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from upres.engine.machine import machine_memory
from upres.errors import InputError
from upres.raster.info import RasterInfo
from upres.raster.source import Rows

NONE, BACKGROUND, PREVIOUS = range(3)
"""The fates of a frame's part of the picture when its time is over."""

_ROWS = 64


class Placed(Protocol):
    """A frame's part of the picture, and what becomes of it."""

    @property
    def left(self) -> int: ...
    @property
    def top(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def dispose(self) -> int: ...


def shows_through(frames: Sequence[Placed], width: int, height: int) -> bool:
    """Whether a frame may be seen where nothing has been put, if all pixels put are opaque."""
    covered = False
    for number, frame in enumerate(frames):
        inside = frame.left or frame.top
        whole = not inside and frame.width >= width and frame.height >= height
        if not covered and not whole:
            return True
        if frame.dispose == NONE:
            covered = True
        elif frame.dispose == BACKGROUND or number == 0:
            covered = False
    return False


def in_rows(canvas: NDArray[Any]) -> Iterator[Rows]:
    """Copies, as the canvas changes from frame to frame."""
    for top in range(0, len(canvas), _ROWS):
        yield canvas[top : top + _ROWS].copy()


def check_memory(info: RasterInfo, kind: str) -> None:
    """Refuse what takes more than half of the memory: the canvas, a frame, and one before it.

    Raises ``InputError``, which calls the file what ``kind`` says.
    """
    needed, memory = 3 * info.frame_bytes, machine_memory()
    if memory is not None and needed > memory // 2:
        raise InputError(
            f"{info.name}: {kind}, whose {info.width}x{info.height} pixels take "
            f"{needed:,} bytes to decode, more than half of this machine's {memory:,}"
        )
