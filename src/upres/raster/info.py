"""A raster as upres sees it: its size, and the meaning of each band. No pixels, no file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

Role = Literal["red", "green", "blue", "grey", "alpha", "ink", "index", "mask", "other"]
"""The kind of a band's samples: ``ink`` is a plate of CMYK and the like, ``index`` a number of a
palette or class, which has no values in between, ``mask`` is 0 where the other bands' samples count
for nothing, and ``other`` is anything measured."""

Colours = Literal["srgb", "linear", "none"]
"""How the samples of colours are to be understood: ``srgb`` are gamma-encoded, as photographs are
(a profile may say how exactly), ``linear`` are proportional to light, ``none`` are no colours."""

Cover = Literal["straight", "associated", "emission"]
"""How colours go with alpha: ``straight`` ones are those of the cover, ``associated`` ones are
multiplied by alpha, and so are those of ``emission``, but for some light that covers nothing: that
is found out by looking."""

Preserves = Literal["nothing", "bicubic", "mean"]
"""The reduction of a result that gives its input back: MATLAB's antialiased bicubic, or the mean of
the samples that one of the input has become."""

RGB_ROLES: tuple[Role, ...] = ("red", "green", "blue")

COLOUR_ROLES: tuple[Role, ...] = ("red", "green", "blue", "grey")

REPEATED_ROLES: tuple[Role, ...] = ("index", "mask")
"""Of bands that no network enlarges: each sample of the result is the nearest of the input."""

SAMPLE_TYPES = ("uint8", "uint16", "uint32", "int16", "int32", "float16", "float32", "float64")
"""NumPy's names of the types that samples may have."""

ROLES = get_args(Role)


@dataclass(frozen=True)
class Band:
    """One band of a raster, and the values that its samples take."""

    role: Role
    low: float | None = 0.0
    """The sample that is 0 to a sink; ``None`` where only the samples can tell the range."""
    high: float | None = 1.0
    """The sample that is 1 to a sink."""
    name: str = ""
    constant: bool = False
    """Every sample is ``high``: found out of alpha by looking. The band is not enlarged, and
    blocks that a sink is given do not have it."""
    least: float | None = None
    """The sample that is 0 to a network: the least that there is, or that may be. Until it is
    measured it is ``None``; bands of 8 bits are not measured, and it is ``low``."""
    most: float | None = None
    """The sample that is 1 to a network."""
    unbounded: bool = False
    """A measurement, which knows no bounds but its type's: ``least`` and ``most`` are those of most
    samples, so that a few far ones leave the others the whole range. Samples may lie beyond."""
    limited: bool = False
    """A measurement whose samples have less than their type's range, as by the bits that are
    stored, or that are not negative where none is: no result goes beyond."""
    gaps: bool = False
    """Some samples are missing: found out by looking. They are NaN in blocks that a sink is given,
    but for those that only a band of role ``mask`` hides."""


@dataclass(frozen=True)
class RasterInfo:
    """The description of an array, a picture, a slice of a volume, the frames of a film."""

    height: int
    """Of a frame, upright, in pixels."""
    width: int
    bands: tuple[Band, ...]
    dtype: np.dtype[Any]
    """Of the samples as they are stored; one of ``SAMPLE_TYPES``."""
    name: str = "array"
    """Names the raster in messages: a file's path."""
    page: int | None = None
    """Its number in a file of several pages, from 1."""
    frames: int | None = 1
    """How many; ``None`` if that is known at the end only."""
    nodata: float | None = None
    """The sample that means that there is none, exact in ``dtype``. NaN means it without that."""
    spacing: tuple[float, float] | None = None
    """Height and width of a pixel in the world, in the file's own unit."""
    transform: tuple[float, float, float, float, float, float] | None = None
    """From columns and rows to places, x = a column + b row + c and y = d column + e row + f."""
    colours: Colours = "srgb"
    cover: Cover = "straight"
    scratch_bytes: int = 0
    """Disk that is taken while it is read, as by the copy of a picture that has to be turned."""
    jpeg_quality: int | None = None
    """By libjpeg's scale, where the samples come from a JPEG file."""
    preserves: Preserves = "nothing"
    """The reduction of the result that has to give it back, by its format; see ``Plan``."""
    slices: int = 1
    """How many frames, one after another, are slices of a volume, from one side to the other."""
    only_as: str = ""
    """The name of the one format that a result may have; empty where it may have any."""
    made_by: str = ""
    """Of a result: how it was made, in words for those who read its file."""

    @property
    def pixels(self) -> int:
        """Of a frame."""
        return self.height * self.width

    @property
    def frame_bytes(self) -> int:
        """Bytes of the samples of a frame, constant bands included."""
        return self.pixels * len(self.bands) * self.dtype.itemsize

    @property
    def alpha(self) -> int | None:
        """The number of the band that tells transparency, unless nothing is transparent."""
        return next((i for i, b in enumerate(self.varying) if b.role == "alpha"), None)

    @cached_property
    def varying(self) -> tuple[Band, ...]:
        """The bands that are enlarged, in the order in which blocks have them."""
        return tuple(band for band in self.bands if not band.constant)

    @property
    def mask(self) -> int | None:
        """The number of the band that tells which pixels count; ``None`` if all do."""
        return next(iter(self.find("mask")), None)

    @property
    def is_measured(self) -> bool:
        """Whether the range of every band is known."""
        return all(b.low is not None and b.high is not None for b in self.bands)

    def find(self, *roles: Role) -> tuple[int, ...]:
        """The numbers of the bands that vary and have one of these roles."""
        return tuple(i for i, band in enumerate(self.varying) if band.role in roles)

    @property
    def colour_bands(self) -> tuple[int, int, int] | None:
        """The numbers of red, green and blue; ``None`` if one is missing, or there twice."""
        found = [self.find(role) for role in ("red", "green", "blue")]
        if any(len(numbers) != 1 for numbers in found):
            return None
        return found[0][0], found[1][0], found[2][0]

    def problem(self, text: str) -> str:
        """A message about it, which names it, and its page if it is one of several."""
        return f"{self.name}: {text}" + (f" (page {self.page})" if self.page else "")

    def resized(self, height: int, width: int) -> RasterInfo:
        """The same raster with another number of pixels on the same ground.

        Spacing and transform are divided by the exact ratio of each axis, so bounds stay.
        """
        rows, columns = height / self.height, width / self.width
        spacing, transform = self.spacing, self.transform
        if spacing is not None:
            spacing = (spacing[0] / rows, spacing[1] / columns)
        if transform is not None:
            a, b, c, d, e, f = transform
            transform = (a / columns, b / rows, c, d / columns, e / rows, f)
        return dataclasses.replace(
            self, height=height, width=width, spacing=spacing, transform=transform
        )


def bands_of(
    roles: Iterable[Role], low: float | None = 0.0, high: float | None = 1.0
) -> tuple[Band, ...]:
    """A band for each role, all with one range of values."""
    return tuple(Band(role, low, high) for role in roles)


def usual_roles(count: int) -> tuple[Role, ...] | None:
    """The roles of so many channels of a picture; ``None`` where they cannot be guessed."""
    usual: dict[int, tuple[Role, ...]] = {
        1: ("grey",),
        2: ("grey", "alpha"),
        3: ("red", "green", "blue"),
        4: ("red", "green", "blue", "alpha"),
    }
    return usual.get(count)
