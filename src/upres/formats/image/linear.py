"""Shared by the formats of linear light: the way there from a gamma-encoded picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from upres.errors import OutputError
from upres.formats.metadata.carried import Carried
from upres.formats.metadata.colour import is_srgb
from upres.raster.info import COLOUR_ROLES, RasterInfo
from upres.raster.light import decode
from upres.raster.pixels import Float32Array, from_bands

_FLOAT = np.dtype(np.float32)


def check(target: Path, info: RasterInfo, carried: Carried) -> None:
    """Raise ``OutputError`` if it is not known which light a picture's samples stand for."""
    suffix = target.suffix.lower()
    if info.colours != "srgb" or not info.find(*COLOUR_ROLES):
        return
    profile = carried.find("icc-profile-data")
    if carried.meaning or (isinstance(profile, bytes) and not is_srgb(profile)):
        raise OutputError(
            f"{target}: {suffix} holds linear light, into which upres converts sRGB only, and the "
            "picture's colour profile is another: choose .png or .tif"
        )
    if info.dtype.kind != "f" and info.dtype.name not in ("uint8", "uint16"):
        raise OutputError(
            f"{target}: {suffix} holds light, and the picture's samples, {info.dtype}, are "
            "measured values: choose .tif"
        )
    bands = [info.varying[number] for number in info.find(*COLOUR_ROLES)]
    if info.dtype.kind == "f" and any((b.low or 0) < 0 or (b.high or 0) > 1 for b in bands):
        raise OutputError(
            f"{target}: {suffix} holds light, and nothing says how much the picture's samples "
            "beyond 0 to 1 are: choose .tif"
        )


def to_light(block: Float32Array, info: RasterInfo, *, associated: bool = False) -> Float32Array:
    """A sink's window as the samples of linear light, by sRGB's curve if it is gamma-encoded.

    ``associated`` colours are multiplied by alpha. Integers are 0 to 1 over their range.
    """
    if info.colours == "linear":
        return block
    values: Float32Array = block
    if info.dtype.kind == "f" or info.colours == "none":
        values = from_bands(block, info.varying, _FLOAT)
    if info.colours == "srgb":
        values = values.copy()
        for number in info.find(*COLOUR_ROLES):
            values[:, :, number] = decode(values[:, :, number])
            if associated and info.alpha is not None:
                values[:, :, number] *= values[:, :, info.alpha]
    return values
