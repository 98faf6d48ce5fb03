"""LR pictures as JPEG files have them, for measuring how models do on those."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import PurePath

from upres.errors import Remedy, UsageError


@dataclass(frozen=True)
class Jpeg:
    """The qualities of the files that LR pictures are put through.

    Raises ``UsageError`` if these are not from 1 to 100, or the lower is the higher.
    """

    low: int
    high: int
    """The highest quality; both are drawn, too."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.low <= self.high <= 100:
            raise UsageError(
                f"JPEG's quality is from 1 to 100, the lower first, such as 30-90, not {self.text}"
            )

    @property
    def text(self) -> str:
        """As the option has it: ``30-90`` or, of one quality, ``60``."""
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"

    @property
    def protocol(self) -> str:
        """The words on it to stand beside figures."""
        if self.low == self.high:
            return f"LR through JPEG files of quality {self.low}, 4:2:0"
        return (
            f"LR through JPEG files of quality {self.low} to {self.high}, drawn by seed "
            f"{self.seed} for each picture's name, 4:2:0"
        )

    def quality(self, name: str) -> int:
        """The quality for the picture that is called ``name``, whatever its suffix.

        It depends on nothing else, so that adding a set, or leaving one out, changes none.
        """
        # Of random's methods, only this one gives the same in all versions of Python.
        drawn = random.Random(f"{self.seed}/{PurePath(name).stem}").random()
        return self.low + int(drawn * (self.high - self.low + 1))


def jpeg_of_options(jpeg: str | None, seed: int | None) -> Jpeg | None:
    """Qualities as text, such as ``60`` or ``30-90``, and the seed that draws from a range.

    None without qualities. Raises ``UsageError`` if they are none, or leave nothing to draw.
    """
    if jpeg is None:
        if seed is not None:
            raise UsageError(
                f"seed {seed}: draws qualities of JPEG files, and there are none to draw from",
                Remedy("jpeg", "gives a range, such as 30-90"),
            )
        return None
    match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", jpeg)
    if match is None:
        raise UsageError(
            f"{jpeg}: no quality of JPEG files",
            Remedy("jpeg", "takes one, such as 60, or a range, such as 30-90"),
        )
    low = int(match[1])
    if match[2] is None and seed is not None:
        raise UsageError(
            f"seed {seed}: draws from a range of qualities, and {jpeg} is none",
            Remedy("jpeg", "takes a range, such as 30-90"),
        )
    return Jpeg(low, int(match[2] or low), seed or 0)
