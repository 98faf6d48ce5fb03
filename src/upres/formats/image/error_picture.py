"""A PNG that shows half-widths to a person: colours that are perceptually even, and a legend.

The colours' lightness in CIELAB rises evenly with the half-width, so that equal steps look equal,
and are in order on a grey printer and for the colour-blind, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
import pyvips
from numpy.typing import NDArray

from upres.errors import OutputError
from upres.files import publish, temporary, temporary_name
from upres.formats.image.spooled import as_image, head_of
from upres.formats.image.vips_sink import save
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array
from upres.raster.spool import Spool

TABLE_LENGTH = 256

LEGEND_HEIGHT, LEAST_WIDTH = 36, 128
"""In pixels; a narrow picture gets white beside it."""

SHOWN_SHARE = 0.995
"""This part of all pixels is within the range of colours; the others have the last one."""

_SHOWN_TO = "png-comment-0-Half-width-of-the-last-colour"
"""The name that libvips has for the PNG's text with this number."""

_DIGITS = {
    "0": (14, 17, 19, 21, 25, 17, 14),
    "1": (4, 12, 4, 4, 4, 4, 14),
    "2": (14, 17, 1, 2, 4, 8, 31),
    "3": (31, 2, 4, 2, 1, 17, 14),
    "4": (2, 6, 10, 18, 31, 2, 2),
    "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (6, 8, 16, 30, 17, 17, 14),
    "7": (31, 1, 2, 4, 8, 8, 8),
    "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 2, 12),
    ".": (0, 0, 0, 0, 0, 12, 12),
    "±": (4, 4, 31, 4, 4, 0, 31),
    "e": (0, 0, 14, 17, 31, 16, 14),
    "+": (0, 4, 4, 31, 4, 4, 0),
    "-": (0, 0, 0, 31, 0, 0, 0),
}
"""Rows of five pixels, the highest bit on the left. Fonts are not on every machine."""

_BUCKETS = 4096
"""Of the histogram by which the range of colours is found, in parts of the largest half-width."""


@cache
def colour_table() -> NDArray[np.uint8]:
    """The colours from no error to the largest, ``TABLE_LENGTH`` x 3: sRGB."""
    parts = np.linspace(0, 1, TABLE_LENGTH)
    lightness = 8 + 87 * parts
    chroma = 62 * np.sin(np.pi * (0.1 + 0.8 * parts))
    hue = 285 + 165 * parts  # violet, red, orange, yellow
    lch = np.stack([lightness, chroma, hue % 360], 1)[None].astype(np.float32)
    image = pyvips.Image.new_from_array(lch).copy(interpretation="lch")
    table: NDArray[np.uint8] = image.colourspace("srgb").numpy()[0]
    return table


class ErrorPictureSink:
    """Takes half-widths, of several bands the largest, and writes a picture of them.

    See ``upres.raster.source.Sink``.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self._stack = ExitStack()
        self._most = 0.0

    @property
    def not_kept(self) -> Sequence[str]:
        return ()

    def begin(self, info: RasterInfo, carried: object) -> None:
        if (info.frames or 1) > 1 or (info.page or 1) > 1:
            raise OutputError(
                f"{self.target}: a picture of an error map has one page: choose .tif for several"
            )
        shape = (info.height, info.width, 1)
        name = temporary_name(self.target, ".raw")
        dtype = np.dtype(np.float32)
        self._spool = self._stack.enter_context(Spool(name, shape, dtype, head=head_of))

    def write(self, frame: int, top: int, left: int, block: Float32Array) -> None:
        largest = block.max(2, keepdims=True)
        self._most = max(self._most, float(largest.max()))
        self._spool.write(top, left, largest)

    def commit(self, *, replace: bool) -> None:
        peak = self._peak()
        image = as_image(self._spool).linear((TABLE_LENGTH - 1) / peak, 0.5, uchar=True)
        table = pyvips.Image.new_from_array(colour_table()[None])
        image = image.maplut(table.copy(interpretation="srgb"))
        legend = pyvips.Image.new_from_array(_legend(max(image.width, LEAST_WIDTH), peak))
        image = image.join(
            legend.copy(interpretation="srgb"), "vertical", expand=True, background=255
        )
        # Its text is for those who do not see the legend, and for programs.
        image = image.copy()
        image.set_type(pyvips.GValue.gstr_type, _SHOWN_TO, f"{peak:.4g}")
        with temporary(self.target, self.target.suffix) as path:
            save(image, "pngsave", path, keep="other", compression=6)
            publish(path, self.target, replace=replace)

    def _peak(self) -> float:
        """A round number that ``SHOWN_SHARE`` of the half-widths are below."""
        counts = np.zeros(_BUCKETS, np.int64)
        most = self._most or 1.0
        for block in self._spool.blocks():
            counts += np.histogram(block, _BUCKETS, (0, most))[0]
        place = int(np.searchsorted(counts.cumsum(), SHOWN_SHARE * counts.sum()))
        return round_up_to_digit((place + 1) * most / _BUCKETS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()


def shown_to(path: Path) -> float:
    """The half-width that the last colour of such a picture stands for."""
    told: str = pyvips.Image.new_from_file(str(path)).get(_SHOWN_TO)
    return float(told)


def round_up_to_digit(value: float) -> float:
    """The next of 1, 2, 4, 5, 8, 10, 20, 40 and so on that is not less."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(digit * power for digit in (1, 2, 4, 5, 8, 10) if digit * power >= value)


def _legend(width: int, peak: float) -> NDArray[np.uint8]:
    """A bar of all colours with the half-widths that they stand for: rows x width x 3."""
    legend = np.full((LEGEND_HEIGHT, width, 3), 255, np.uint8)
    places = np.linspace(0, TABLE_LENGTH - 1, width - 16).round().astype(np.intp)
    legend[4:18, 8:-8] = colour_table()[places]
    for part in (0.0, 0.5, 1.0):
        text = _drawn(f"±{peak * part:.4g}" if part else "0")
        middle = 8 + round(part * (width - 17))
        legend[18:21, middle] = 0
        left = min(max(2, middle - text.shape[1] // 2), width - text.shape[1] - 2)
        place = legend[23 : 23 + len(text), left : left + text.shape[1]]
        place[text] = 0
    return legend


def _drawn(text: str) -> NDArray[np.bool_]:
    """Where there is ink, 7 rows high."""
    columns = 6 * len(text) - 1
    ink = np.zeros((7, columns), np.bool_)
    for number, letter in enumerate(text):
        for row, bits in enumerate(_DIGITS[letter]):
            for column in range(5):
                ink[row, 6 * number + column] = bool(bits >> (4 - column) & 1)
    return ink
