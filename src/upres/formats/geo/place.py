"""All that a GeoTIFF says beside its samples, and what becomes of it at another size."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

Tags = Mapping[str, str]

_STATISTICS = ("STATISTICS_", "TIFFTAG_MINSAMPLEVALUE", "TIFFTAG_MAXSAMPLEVALUE")
"""Beginnings of keys that are not true of other samples."""


_OF_THE_GROUND = (
    "AREA_OR_POINT",
    "TIFFTAG_RESOLUTIONUNIT",
    "TIFFTAG_XRESOLUTION",
    "TIFFTAG_YRESOLUTION",
)
"""Words of a file that are true of every raster of the same ground."""


@dataclass(frozen=True)
class BandWords:
    """The words on one band. A mask beside the bands is none."""

    description: str | None
    unit: str | None
    scale: float
    offset: float
    interpretation: Any
    """Of its colour, by rasterio's ``ColorInterp``."""
    palette: Mapping[int, Any] | None
    """Colours by their numbers."""
    tags: Mapping[str, Tags]
    """By domain: the one without a name is that of a file's own words."""


@dataclass(frozen=True)
class Place:
    """A GeoTIFF's place on the map, its words, and how it is stored. The types are rasterio's."""

    height: int
    width: int
    crs: Any
    transform: tuple[float, float, float, float, float, float] | None
    """As ``RasterInfo`` has it, counted from the corner of the first pixel; ``None`` if there is
    none."""
    gcps: tuple[Any, ...]
    gcps_crs: Any
    rpcs: Any
    bands: tuple[BandWords, ...]
    tags: Mapping[str, Tags]
    nodata: float | None
    """As the file says it, whether a sample can be that or not."""
    masked: bool
    """Whether the last band of its samples is the file's mask."""
    overviews: tuple[int, ...]
    storage: Mapping[str, Any] = field(default_factory=dict)
    """How the file is stored, as rasterio's profile says it."""

    def resized(self, height: int, width: int) -> Place:
        """The same ground with another number of pixels.

        Places are counted from corners, so that they grow by the factor. Offsets of rational
        polynomials are counted from the centre of the first pixel. Source: NGA, "The compendium of
        controlled extensions for NITF", RPC00B.
        """
        down, across = height / self.height, width / self.width
        transform, rpcs = self.transform, self.rpcs
        if transform is not None:
            a, b, c, d, e, f = transform
            transform = (a / across, b / down, c, d / across, e / down, f)
        if rpcs is not None:
            rpcs = _copied(
                rpcs,
                line_off=(rpcs.line_off + 0.5) * down - 0.5,
                samp_off=(rpcs.samp_off + 0.5) * across - 0.5,
                line_scale=rpcs.line_scale * down,
                samp_scale=rpcs.samp_scale * across,
            )
        gcps = tuple(
            _copied(point, row=point.row * down, col=point.col * across) for point in self.gcps
        )
        tags = {
            domain: _finer(words, across, down) if domain == "" else words
            for domain, words in self.tags.items()
        }
        return dataclasses.replace(
            self, height=height, width=width, transform=transform, gcps=gcps, rpcs=rpcs, tags=tags
        )

    def for_a_map(self, numbers: Sequence[int], words: str) -> Place:
        """The same ground for a map of this raster, whose bands are about those of ``numbers``.

        Each is described by ``words``, and its samples are differences: the unit and the scale of
        the raster's band are theirs, too, and its offset is not.
        """
        from rasterio.enums import ColorInterp

        kinds = (ColorInterp.gray, *[ColorInterp.undefined] * len(numbers))
        bands = tuple(
            dataclasses.replace(
                self.bands[number],
                description=words,
                offset=0.0,
                interpretation=kind,
                palette=None,
                tags={},
            )
            for number, kind in zip(numbers, kinds, strict=False)
        )
        own = self.tags.get("", {})
        return dataclasses.replace(
            self,
            bands=bands,
            tags={"": {key: own[key] for key in _OF_THE_GROUND if key in own}},
            nodata=None,
            masked=False,
            overviews=(),
            storage={**self.storage, "interleave": "pixel", "white_is_0": False, "profile": None},
        )


def lasting(tags: Tags) -> dict[str, str]:
    """The words that are true of other samples, too."""
    return {key: value for key, value in tags.items() if not key.startswith(_STATISTICS)}


def _finer(tags: Tags, across: float, down: float) -> Tags:
    """The words of a file, its resolution that of so many more pixels on the same paper.

    Without a unit it is a ratio, and stays.
    """
    found = dict(tags)
    if tags.get("TIFFTAG_RESOLUTIONUNIT", "").startswith("1"):
        return found
    for key, factor in (("TIFFTAG_XRESOLUTION", across), ("TIFFTAG_YRESOLUTION", down)):
        with suppress(KeyError, ValueError):
            found[key] = f"{float(tags[key]) * factor:.9g}"
    return found


def _copied(given: Any, **changes: Any) -> Any:
    """The same object of rasterio's with other values."""
    made = copy.copy(given)
    for name, value in changes.items():
        setattr(made, name, value)
    return made
