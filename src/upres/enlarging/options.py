"""What is asked of an enlargement: how large, by which model, and how it is written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

from upres.card import Model
from upres.errors import LargeEnoughError, Remedy, UsageError
from upres.models import Precision

MAX_PIXELS = 2**30
"""Largest result that is made without being asked for by ``max_pixels``."""

Palette = Literal["free", "keep"]

Larger = Literal["refuse", "skip", "copy", "reduce"]
"""``skip`` leaves it out of a run over many, ``copy`` copies its file, and ``reduce`` makes it as
large as is asked for."""


@dataclass(frozen=True)
class Options:
    """What is asked of an enlargement, apart from which file.

    Raises ``UsageError`` for values out of range or that contradict each other.
    """

    model: Model | str | Path | None = None
    """A shipped model's name, the path of an .onnx file, or a model that is open; ``None`` lets
    the raster decide, see ``upres.enlarging.plan``."""
    precision: Precision = "auto"
    """Of a shipped model: int8 where the processor is made for it, or one of the two."""
    scale: float | None = None
    """Factor, at least 1, not necessarily whole. At most one of ``scale``, ``width``,
    ``height`` and ``fit`` is given; without any, it is the model's largest."""
    width: int | None = None
    """Width of the result in pixels; its height follows from the proportions."""
    height: int | None = None
    fit: tuple[int, int] | None = None
    """Width and height within which the result is as large as its proportions allow."""
    quality: int | None = None
    """Of JPEG, WebP and AVIF, 1 to 100; ``None`` is the input's, but at least 95 (AVIF: 90)."""
    cmyk: bool = False
    """Keep CMYK as it is, ink by ink, instead of converting it to sRGB."""
    wrap: bool = False
    """The picture is a tile, whose left edge continues its right one, and its top its bottom."""
    palette: Palette = "free"
    """Whether the result may have colours that the picture has not: ``keep`` is for pixel art."""
    larger: Larger = "refuse"
    """What becomes of a picture that is larger already than what is asked for."""
    max_pixels: int = MAX_PIXELS
    """Refuse results, all pages or frames together, of more pixels than this."""

    def __post_init__(self) -> None:
        sizes = {"scale": self.scale, "width": self.width, "height": self.height, "fit": self.fit}
        given = [name for name, value in sizes.items() if value is not None]
        if len(given) > 1:
            raise UsageError(f"give one of scale, width, height and fit, not {' and '.join(given)}")
        if self.scale is not None and not (1 <= self.scale < math.inf):
            raise UsageError(f"scale must be a factor of at least 1, not {self.scale:g}")
        for name, side in (("width", self.width), ("height", self.height)):
            if side is not None and side < 1:
                raise UsageError(f"{name} must be at least 1 pixel, not {side}")
        if self.fit is not None and min(self.fit) < 1:
            raise UsageError(f"fit must be at least 1x1 pixels, not {self.fit[0]}x{self.fit[1]}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"quality must be from 1 to 100, not {self.quality}")
        for name, one, choices in (
            ("palette", self.palette, get_args(Palette)),
            ("larger", self.larger, get_args(Larger)),
        ):
            if one not in choices:
                raise UsageError(f"{name} must be one of {', '.join(choices)}, not {one}")
        if self.max_pixels < 1:
            raise UsageError(f"max_pixels must be at least 1, not {self.max_pixels}")


def output_size(
    options: Options, height: int, width: int, *, default_scale: int
) -> tuple[int, int, float]:
    """Height and width of the result for an input of ``height`` x ``width``, and the factor.

    Halves round up. ``default_scale`` is the factor where none is asked for. Raises
    ``LargeEnoughError`` if the result is smaller than the input, unless that is to be reduced.
    """
    if options.fit is not None:
        factor = min(Fraction(options.fit[0], width), Fraction(options.fit[1], height))
    elif options.width is not None:
        factor = Fraction(options.width, width)
    elif options.height is not None:
        factor = Fraction(options.height, height)
    else:
        # The decimal number that was given, not the binary one next to it.
        factor = Fraction(str(options.scale or default_scale))
    if factor < 1 and options.larger != "reduce":
        raise LargeEnoughError(
            f"the picture, {width}x{height}, is larger already than what is asked for",
            Remedy("larger", "passes it over", "skip"),
            Remedy("larger", "copies it", "copy"),
            Remedy("larger", "reduces it", "reduce"),
        )
    rows, columns = (max(1, math.floor(side * factor + Fraction(1, 2))) for side in (height, width))
    if options.width is not None:
        columns = options.width
    if options.height is not None:
        rows = options.height
    if options.fit is not None:
        rows, columns = min(rows, options.fit[1]), min(columns, options.fit[0])
    return rows, columns, float(factor)
