"""A request for an enlargement: how large, by which model, and how it is written."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

from upres.card import Model
from upres.errors import LargeEnoughError, UsageError
from upres.models import Precision, Settled

Existing = Literal["refuse", "skip", "replace"]
"""How a result that exists is dealt with."""

Consistent = bool | Literal["force"]
"""Whether a result is made to agree with its input: ``"force"`` even with one that JPEG changed."""

Bounding = bool | Literal["force"]
"""Whether the error of each pixel is bounded: ``"force"`` even where nothing can be promised."""

MAP_SUFFIXES = (".tif", ".tiff", ".png", ".json")
"""Of files of an error map."""

MAX_PIXELS = 2**30
"""Largest result that is made without being asked for by ``max_pixels``."""

Palette = Literal["free", "keep"]
"""Whether a result may have colours that its input has not: ``keep`` is for pixel art."""

Larger = Literal["refuse", "skip", "copy", "reduce"]
"""How a file is dealt with whose picture is larger already than asked for: ``skip`` passes it over,
``copy`` copies it, and ``reduce`` makes the result as large as asked for."""


@dataclass(frozen=True)
class Options:
    """A request for an enlargement, apart from which file.

    Raises ``UsageError`` for values out of range or that contradict each other.
    """

    model: Model | str | Path | None = None
    """A shipped model's name, the path of an .onnx file, ``hf://owner/name@revision``, or a model
    that is open; ``None`` lets the raster decide, see ``upres.enlarging.plan``."""
    precision: Precision = "auto"
    """Of a shipped model that is named: ``auto`` is the quickest here that is nearly as exact as
    float32. One that is open is that of its card."""
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
    larger: Larger = "refuse"
    consistent: Consistent | None = None
    """Make the result agree with its input, see ``upres.enlarging.consistency``; ``None`` lets its
    format decide."""
    keep_means: bool = False
    """Make the result agree by the means of its samples, see ``upres.enlarging.means``, where its
    format would have it agree by bicubic, or would not have to."""
    labels: bool = False
    """Its samples are numbers of classes, which have nothing in between: each is repeated."""
    through_plane: bool = False
    """Enlarge volumes between their slices, too, see ``upres.enlarging.between``."""
    check: bool = False
    """Tell how well the result agrees with its input, see ``upres.enlarging.agreement``."""
    errors: Bounding = False
    """Bound the error of each pixel of the result, see ``upres.enlarging.bounding``."""
    error_map: tuple[Path, ...] = ()
    """Files for these bounds: .tif holds them, .png shows them, .json sums them up."""
    cog: bool = False
    """Write a GeoTIFF as a Cloud Optimized GeoTIFF."""
    settled: Settled = ()
    """How models are computed where several machines or runs share the work, see
    ``upres.models.settle_modes``."""
    max_pixels: int = MAX_PIXELS
    """Refuse results, all pages or frames together, of more pixels than this."""

    def __post_init__(self) -> None:
        self._check_types()
        sizes = {"scale": self.scale, "width": self.width, "height": self.height, "fit": self.fit}
        given = [name for name, value in sizes.items() if value is not None]
        if len(given) > 1:
            raise UsageError(f"give one of scale, width, height and fit, not {' and '.join(given)}")
        if self.scale is not None and not (1 <= self.scale < math.inf):
            raise _wrong("scale", f"must be a factor of at least 1, not {self.scale:g}")
        for name, side in (("width", self.width), ("height", self.height)):
            if side is not None and side < 1:
                raise _wrong(name, f"must be at least 1 pixel, not {side}")
        if self.fit is not None and min(self.fit) < 1:
            raise _wrong("fit", f"must be at least 1x1 pixels, not {self.fit[0]}x{self.fit[1]}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise _wrong("quality", f"must be from 1 to 100, not {self.quality}")
        for name, one, choices in (
            ("palette", self.palette, get_args(Palette)),
            ("larger", self.larger, get_args(Larger)),
        ):
            if one not in choices:
                raise _wrong(name, f"must be one of {', '.join(choices)}, not {one}")
        if self.labels and self.consistent:
            raise UsageError("numbers of classes are repeated: there is nothing to make consistent")
        for name, at_odds in (
            ("consistent=False", self.consistent is False),
            ("labels", self.labels),
            ("palette keep", self.palette == "keep"),
            ("larger reduce", self.larger == "reduce"),
        ):
            if self.keep_means and at_odds:
                raise UsageError(f"give keep_means or {name}, not both: it keeps no means")
        if self.consistent not in (None, False, True, "force"):
            raise UsageError(f"consistent must be True, False or 'force', not {self.consistent!r}")
        if self.consistent and self.palette == "keep":
            raise UsageError(
                "a consistent result needs other colours than the picture's: "
                "give consistent or palette keep, not both"
            )
        if self.larger == "reduce" and (self.consistent or self.check):
            raise UsageError(
                "a picture that is reduced cannot agree with its result: "
                "give larger reduce, or consistent and check, not both"
            )
        if self.errors not in (False, True, "force"):
            raise UsageError(f"errors must be True, False or 'force', not {self.errors!r}")
        for path in self.error_map:
            if path.suffix.lower() not in MAP_SUFFIXES:
                raise UsageError(
                    f"{path}: an error map is written as .tif (half-widths), .png (a picture of "
                    "them) or .json (a summary)"
                )
        if self.error_map and not self.errors:
            raise UsageError("error_map is for the bounds of errors: give errors, too")
        for name, at_odds in (
            ("labels", self.labels),
            ("palette keep", self.palette == "keep"),
            (f"larger {self.larger}", self.larger in ("reduce", "copy")),
            ("wrap", self.wrap),
            ("through_plane", self.through_plane),
        ):
            if self.errors and at_odds:
                raise UsageError(f"give errors or {name}, not both: its errors are not bounded")
        if self.max_pixels < 1:
            raise _wrong("max_pixels", f"must be at least 1, not {self.max_pixels}")

    def _check_types(self) -> None:
        """Raise ``UsageError`` for values of types that nothing can be done with."""
        scale: object = self.scale
        if isinstance(scale, bool) or not (scale is None or isinstance(scale, numbers.Real)):
            raise _wrong("scale", f"must be a number, not {scale!r}")
        for name in ("width", "height", "quality", "max_pixels"):
            value = getattr(self, name)
            if not (_is_whole(value) or (value is None and name != "max_pixels")):
                raise _wrong(name, f"must be a whole number, not {value!r}")
        fit: object = self.fit
        if fit is not None and not (
            isinstance(fit, tuple | list) and len(fit) == 2 and all(map(_is_whole, fit))
        ):
            raise _wrong("fit", f"must be a width and a height, such as (800, 600), not {fit!r}")


def _wrong(option: str, must: str) -> UsageError:
    """The error of an option's value."""
    return UsageError(f"{option} {must}", option=option)


def _is_whole(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


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
        scale = options.scale or default_scale
        # The decimal number that was given, not the binary one next to it.
        factor = Fraction(int(scale) if scale == int(scale) else str(scale))
        if factor.denominator == 1:
            return height * factor.numerator, width * factor.numerator, float(factor)
    if factor < 1 and options.larger != "reduce":
        raise LargeEnoughError(f"the picture, {width}x{height}, is larger already than asked for")
    rows, columns = (max(1, math.floor(side * factor + Fraction(1, 2))) for side in (height, width))
    if options.width is not None:
        columns = options.width
    if options.height is not None:
        rows = options.height
    if options.fit is not None:
        rows, columns = min(rows, options.fit[1]), min(columns, options.fit[0])
    return rows, columns, float(factor)
