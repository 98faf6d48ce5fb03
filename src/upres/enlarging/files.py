"""Adapters between files and arrays, one module a kind of file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from upres.enlarging.options import Estimate as Estimate
from upres.enlarging.options import Options as Options


class Enlargement(Protocol):
    """A file that is open, and what is to become of it."""

    @property
    def estimate(self) -> Estimate:
        """What this will make and need, told without decoding pixels."""

    @property
    def why(self) -> str:
        """Which model was chosen and why, where the file decided; else empty."""

    def write(
        self,
        target: Path,
        *,
        replace: bool = True,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Make the result, and write it to ``target``, whose suffix decides its format.

        ``target`` is replaced at once and whole, or stays as it was; its folder must exist.
        Without ``replace``, a file that is there by the end stays: ``ExistsError``.
        ``progress`` is told the part that is done, from 0 to 1. Only once.

        Raises ``InputError`` if the source turns out to be damaged, ``OutputError`` if
        ``target`` cannot be written or cannot hold the result.
        """


def open_file(source: Path, options: Options) -> Enlargement:
    """Open a picture's file to be enlarged.

    Raises ``InputError`` if ``source`` cannot be read or is too small or large for what is
    asked, ``ModelError`` if there is no such model.
    """
    # Here, so that asking for the options alone loads neither libvips nor the engine.
    from upres.enlarging import photo

    return photo.open_file(source, options)


def enlarge_file(
    source: Path,
    target: Path,
    options: Options,
    *,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Enlarge a picture file to another: ``open_file``, then its ``write``."""
    open_file(source, options).write(target, progress=progress)
