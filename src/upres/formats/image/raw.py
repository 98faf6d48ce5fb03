"""Camera raw, developed by LibRaw to sRGB of 16 bits. It is read, and never written.

Colours are balanced as the camera was set, brightness stays as it was taken, and the sensor's
colours are put together by LibRaw's default, adaptive homogeneity.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
from numpy.typing import NDArray

from upres.errors import InputError
from upres.formats.image.whole import WholeSource, bands_of_picture, telling_of_damage
from upres.formats.metadata.carried import described
from upres.formats.metadata.raw_files import check_whole, read_exif
from upres.raster.info import RasterInfo
from upres.raster.source import Source

_SRGB_CURVE = (2.4, 12.92)
"""The power and the slope near black of sRGB (IEC 61966-2-1)."""

_DECODER_BYTES = 40
"""For each pixel, as measured: the sensor's samples, four colours of 16 bits twice, the result."""

_TURNED = 4
"""The bit of LibRaw's turns that says that rows become columns."""


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a file of camera raw; see ``upres.formats.registry``."""
    with telling_of_damage(path, struct.error):
        check_whole(path)
    try:
        with path.open("rb") as file, rawpy.RawPy() as raw:
            raw.open_buffer(file)
            sizes, colours = raw.sizes, raw.num_colors
    except rawpy.LibRawFileUnsupportedError:
        raise InputError(
            f"{path}: a sensor's samples in a way that LibRaw does not read: convert it to DNG or "
            "TIFF"
        ) from None
    except (rawpy.LibRawError, ValueError, OSError) as error:
        raise InputError(f"{path}: this picture is damaged or truncated: {_said(error)}") from None
    height, width = sizes.height, sizes.width
    # Pixels that are not square are made so.
    if sizes.pixel_aspect and sizes.pixel_aspect < 0.995:
        height = int(height / sizes.pixel_aspect + 0.5)
    elif sizes.pixel_aspect > 1.005:
        width = int(width * sizes.pixel_aspect + 0.5)
    if sizes.flip & _TURNED:
        height, width = width, height
    dtype = np.dtype(np.uint16)
    info = RasterInfo(
        height=height,
        width=width,
        bands=bands_of_picture(dtype, colours=1 if colours == 1 else 3, alpha=False),
        dtype=dtype,
        name=str(path),
    )

    def decode() -> NDArray[Any]:
        try:
            with path.open("rb") as file, rawpy.RawPy() as raw:
                raw.open_buffer(file)
                pixels = raw.postprocess(
                    use_camera_wb=True,
                    no_auto_bright=True,
                    adjust_maximum_thr=0.0,  # else the brightest sample may become white
                    output_bps=16,
                    output_color=rawpy.ColorSpace.sRGB,
                    gamma=_SRGB_CURVE,
                )
        except (rawpy.LibRawError, ValueError, OSError) as error:
            raise InputError(
                f"{path}: this picture is damaged or truncated: {_said(error)}"
            ) from None
        samples: NDArray[Any] = pixels.reshape(*pixels.shape[:2], -1)
        return samples[:, :, :1] if colours == 1 else samples

    # LibRaw turns it upright.
    carried = described(path, exif_block=read_exif(path))
    return [WholeSource(info, carried, decode, decoder_bytes=_DECODER_BYTES)]


def _said(error: Exception) -> str:
    """LibRaw's words, which are bytes."""
    told = error.args[0] if error.args else ""
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
    return text.splitlines()[0] if text else type(error).__name__
