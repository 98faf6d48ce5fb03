"""Requests that are for pictures, and not for videos."""

from __future__ import annotations

from upres.enlarging.options import Options
from upres.errors import InputError
from upres.raster.info import RasterInfo


def refuse_agreement(info: RasterInfo, options: Options) -> None:
    """Raise ``InputError`` if a video is asked to agree with its input, or to keep a palette.

    Nor are its samples numbers of classes.
    """
    if info.frames is None and options.labels:
        raise InputError(f"{info.name}: numbers of classes are in pictures, and this is a video")
    if info.frames is None and (options.consistent or options.check):
        raise InputError(
            f"{info.name}: agreement with the input is for pictures: a video stores colours at "
            "half of its size, and loses some of each frame"
        )
    if info.frames is None and options.errors:
        raise InputError(f"{info.name}: errors are bounded of pictures: a video loses some of each")
    if info.frames is None and options.palette == "keep":
        raise InputError(f"{info.name}: a video cannot keep a palette: it loses some of each frame")
