"""Which reduction of a result is to give its raster back: by the request, or by its format."""

from __future__ import annotations

import dataclasses

from upres.enlarging.consistency import is_whole_factor, require_whole_factor
from upres.enlarging.means import require_means
from upres.enlarging.options import Options
from upres.errors import InputError
from upres.raster.info import Preserves, RasterInfo


def as_classes(info: RasterInfo) -> RasterInfo:
    """A raster whose samples are taken for numbers of classes."""
    bands = (
        band
        if band.role in ("alpha", "mask")
        else dataclasses.replace(band, role="index", unbounded=False)
        for band in info.bands
    )
    return dataclasses.replace(info, bands=tuple(bands), colours="none", preserves="nothing")


def preserved(info: RasterInfo, options: Options, height: int, width: int) -> tuple[Preserves, str]:
    """The reduction that is to give a raster back, and why it is not the one of its format.

    Raises ``InputError`` if it was asked for, and cannot be.
    """
    if options.keep_means and info.preserves == "nothing":
        raise InputError(info.problem("the means of a picture are not kept, but of measurements"))
    usual: Preserves = "bicubic" if info.preserves == "nothing" else info.preserves
    usual = "mean" if options.keep_means else usual
    if usual == "mean" and options.palette == "keep":
        return "nothing", "its samples are those of its input, and so it does not keep their means"
    if usual == "mean" and options.consistent is not False:
        require_means(info, height, width)
        return usual, ""
    if options.consistent:
        require_whole_factor(info, height, width)
        return usual, ""
    reduces = height < info.height or width < info.width
    if options.consistent is False or info.preserves == "nothing" or reduces:
        return "nothing", ""
    if options.palette == "keep":  # its colours are the raster's own, and no others
        return "nothing", ""
    if not is_whole_factor(info, height, width):
        return "nothing", "reduced again it differs from its input, as the factor is not whole"
    return info.preserves, ""
