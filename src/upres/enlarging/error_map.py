"""The error map of a result: a half-width for every pixel, as its head gives it and as promised.

With the half-width w of a pixel, its samples of the truth are promised to lie within w of those of
the result, for so many of all samples as the head's card says. See docs/faithfulness.md.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from upres.enlarging.bounding import bounded_groups
from upres.enlarging.light import seen_bands
from upres.files import replacing
from upres.head import HeadCard
from upres.raster.info import Band, RasterInfo
from upres.raster.pixels import Float32Array
from upres.raster.source import Sink

LEVELS = 255
"""Grey levels of 8 bits, in which summaries count, whatever type the samples have."""

THRESHOLDS = (2, 4, 8, 16, 32)
"""Half-widths, in grey levels, above which the parts of all pixels are told."""

TOLD_THRESHOLD = 8
"""The one of them in the summary of one line."""

LEAST = 0.5
"""The least half-width, in grey levels: the truth itself is rounded to whole ones."""

WORDS = "half-width of the bound of errors"
"""The description of a map's bands, where a file has a place for it."""


@dataclass
class ErrorSummary:
    """The half-widths of a result, all pages together."""

    card: HeadCard
    not_promised: str = ""
    """Why the calibration is not for this picture; empty if it is."""
    pixels: int = 0
    total: float = 0.0
    """The sum of half-widths, in grey levels."""
    above: dict[int, int] = field(default_factory=lambda: dict.fromkeys(THRESHOLDS, 0))
    """By threshold, how many pixels have a larger half-width."""

    def add(self, levels: Float32Array) -> None:
        """Take half-widths in grey levels into account."""
        self.pixels += levels.size
        self.total += float(levels.sum(dtype=np.float64))
        for threshold in self.above:
            self.above[threshold] += int(np.count_nonzero(levels > threshold))

    @property
    def mean(self) -> float:
        """The mean half-width in grey levels of 8 bits."""
        return self.total / max(1, self.pixels)

    def share_above(self, threshold: int) -> float:
        """The part of all pixels whose half-width is larger than one of ``THRESHOLDS``."""
        return self.above[threshold] / max(1, self.pixels)

    def __str__(self) -> str:
        share = f"{self.share_above(TOLD_THRESHOLD):.0%} of pixels above {TOLD_THRESHOLD}"
        promise = f"for {self.card.level:.0%} of samples"
        if self.not_promised:
            promise = f"not promised: {self.not_promised}"
        return f"errors within {self.mean:.1f} grey levels in the mean, {share}, {promise}"

    def as_data(self) -> dict[str, Any]:
        """All of it by name, for JSON."""
        return {
            "mean_half_width": self.mean,
            "unit": f"grey levels of {LEVELS}",
            "share_above": {str(each): self.share_above(each) for each in self.above},
            "level": self.card.level,
            "promised": not self.not_promised,
            "not_promised": self.not_promised or None,
            "calibration": dataclasses.asdict(self.card),
        }


class ErrorMap:
    """Takes half-widths, window by window, and gives them to sinks: one band for each group."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.sinks = sinks
        """Committing them is left to the caller."""
        self.summary: ErrorSummary | None = None

    def begin(
        self,
        info: RasterInfo,
        size: tuple[int, int],
        card: HeadCard,
        reason: str,
        *,
        carried: object = None,
    ) -> None:
        """Get ready for a page; ``info`` is the raster's, and ``size`` the result's.

        Of the metadata ``carried`` by the raster, a map gets the place and the resolution.
        """
        if self.summary is None:
            self.summary = ErrorSummary(card, reason)
        self.summary.not_promised = self.summary.not_promised or reason
        groups = bounded_groups(info)
        self._factor = card.factor
        numbers = [number for number, band in enumerate(info.bands) if not band.constant]
        firsts = [group[0] for group in groups]
        seen = seen_bands(info)
        self._units = [_length(seen[first]) or _length(info.varying[first]) for first in firsts]
        # The samples themselves, of floats, as they are.
        bands = tuple(
            Band("other" if number else "grey", 0.0, 1.0, unbounded=True)
            for number in range(len(groups))
        )
        result = RasterInfo(
            height=size[0],
            width=size[1],
            bands=bands,
            dtype=np.dtype(np.float32),
            name=info.name,
            page=info.page,
            frames=info.frames,
        )
        told: object = None
        if carried is not None:
            # Arrays need no libvips.
            from upres.formats.metadata.mapped import for_a_map

            told = for_a_map(carried, [numbers[first] for first in firsts], WORDS)
        for sink in self.sinks:
            sink.begin(result, told)

    def write(self, frame: int, top: int, left: int, widths: Float32Array) -> None:
        """Take a window: groups x rows x columns, as the head gives them. It is changed."""
        assert self.summary is not None
        for plane, unit in zip(widths, self._units, strict=True):
            plane *= np.float32(self._factor * LEVELS)
            np.clip(plane, LEAST, LEVELS, out=plane)
            self.summary.add(plane)
            plane *= np.float32(unit / LEVELS)
        block = np.moveaxis(widths, 0, 2)
        for sink in self.sinks:
            sink.write(frame, top, left, block)


def write_summary(summary: ErrorSummary, path: Path, *, replace: bool) -> None:
    """Write a summary as JSON; raises ``OutputError`` if it cannot be written."""
    with replacing(path, replace=replace) as temporary:
        temporary.write_text(json.dumps(summary.as_data(), indent=2) + "\n", encoding="utf-8")


def _length(band: Band) -> float:
    """Of a band's range, in samples; 0 where a network sees a band whose samples are all alike."""
    assert band.low is not None
    assert band.high is not None
    return band.high - band.low
