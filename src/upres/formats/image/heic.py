"""HEIC: pictures coded by HEVC in files of the HEIF family."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray

from upres.errors import InputError, OutputError
from upres.formats.image.vips_sink import LEAST_QUALITY, Picture, VipsSink
from upres.formats.image.whole import (
    WholeSource,
    bands_of_picture,
    scaled,
    telling_of_damage,
)
from upres.formats.metadata.boxes import boxes
from upres.formats.metadata.carried import described
from upres.formats.metadata.colour import with_meaning
from upres.formats.metadata.jpeg_segments import is_420
from upres.raster.info import RasterInfo
from upres.raster.source import Sink, Source

_DEPTHS = (10, 12)
"""Bits of a sample that HEVC has beside 8."""

_DECODER_BYTES = 16
"""For each pixel, beside its samples, as measured."""

_FAILURES = (ValueError, EOFError, SyntaxError, RuntimeError, OSError, struct.error)
"""The library's errors; ``SyntaxError`` is a kind that it does not read."""

_BT2020 = 9
_MATRICES = {_BT2020: 9}
"""By the number of primaries, that of how YCbCr is made of RGB (ITU-T H.273, table 4)."""
_BT601_MATRIX = 6


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open an HEIC file; see ``upres.formats.registry``."""
    with telling_of_damage(path, struct.error), path.open("rb") as file:
        if any(box.kind == b"moov" for box in boxes(file)):
            raise InputError(
                f"{path}: a film or a burst, which upres does not read as a picture: save the "
                "picture that you want by itself"
            )
    opened = _open(path)
    if not len(opened):
        raise InputError(f"{path}: this picture is damaged or truncated: it has no picture")
    if len(opened) > 1:
        raise InputError(f"{path}: has {len(opened)} pictures; upres takes files of one")
    # Its size is that of the picture upright, as the library gives it.
    (width, height), told = opened.size, opened.info
    if opened.premultiplied_alpha:
        raise InputError(
            f"{path}: its colours are multiplied by alpha, which upres does not read: convert it "
            "to .png"
        )
    bits, chroma = int(told["bit_depth"]), int(told.get("chroma") or 0)
    grey = not chroma
    dtype = np.dtype(np.uint8 if bits <= 8 else np.uint16)
    carried = described(
        path,
        exif_block=told.get("exif") or b"",
        packet=(told.get("xmp") or b"").rstrip(b"\0"),
        profile=told.get("icc_profile") or b"",
        bits_per_sample=bits,
        heif_chroma=chroma,
    )
    numbers = told.get("nclx_profile")
    if numbers:
        image, meaning = with_meaning(
            carried.image, int(numbers["color_primaries"]), int(numbers["transfer_characteristics"])
        )
        carried = dataclasses.replace(carried, image=image, meaning=meaning)
    alpha = opened.has_alpha
    info = RasterInfo(
        height=height,
        width=width,
        bands=bands_of_picture(dtype, colours=1 if grey else 3, alpha=alpha),
        dtype=dtype,
        name=str(path),
    )

    def decode() -> NDArray[Any]:
        with telling_of_damage(path, *_FAILURES):
            pixels = np.asarray(_open(path))
        pixels = pixels[:, :width]  # rows may be longer in memory
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        if grey and pixels.shape[2] > 2:  # grey with alpha comes as RGB
            pixels = pixels[:, :, [0, 3] if alpha else [0]]
        return scaled(pixels, bits)

    taken = _DECODER_BYTES + 2 * len(info.bands) * dtype.itemsize
    return [WholeSource(info, carried, decode, decoder_bytes=taken)]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of an HEIC file; see ``upres.formats.registry``.

    Raises ``OutputError`` if the library that is installed has no encoder.
    """
    if not pillow_heif.libheif_info()["HEIF"]:
        raise OutputError(
            f"{path}: the pillow-heif that is installed cannot write HEIC: choose .avif"
        )
    return VipsSink(path, _encode, quality=quality, any_colours=True)


def _open(path: Path) -> Any:
    with telling_of_damage(path, *_FAILURES):
        return pillow_heif.open_heif(
            path.read_bytes(), convert_hdr_to_8bit=False, hdr_to_16bit=False
        )


def _encode(picture: Picture, path: Path) -> None:
    image, carried = picture.image, picture.carried
    pixels: NDArray[Any] = image.numpy().reshape(image.height, image.width, image.bands)
    mode, bits = ("L", "LA", "RGB", "RGBA")[image.bands - 1], 8
    if pixels.dtype == np.uint16:
        bits = int(picture.find("bits-per-sample", _DEPTHS[-1]))
        bits = bits if bits in _DEPTHS else _DEPTHS[-1]
        most = (1 << bits) - 1
        pixels = ((pixels.astype(np.uint32) * 2 * most + 65535) // (2 * 65535)).astype(np.uint16)
        mode += f";{bits}"
    options: dict[str, Any] = {}
    if picture.exif:
        options["exif"] = picture.exif
    if packet := picture.field("xmp-data"):
        options["xmp"] = packet
    if profile := picture.field("icc-profile-data"):
        options |= {"icc_profile": profile, "save_nclx_profile": False}
    elif carried.meaning:
        primaries, transfer = carried.meaning[:2]
        options |= {
            "color_primaries": primaries,
            "transfer_characteristics": transfer,
            "matrix_coefficients": _MATRICES.get(primaries, _BT601_MATRIX),
            "full_range_flag": 1,
        }
    coarse = is_420(carried.segments) or picture.find("heif-chroma", 0) == 420
    try:
        pillow_heif.encode(
            mode,
            (image.width, image.height),
            np.ascontiguousarray(pixels).tobytes(),
            path,
            quality=picture.quality or LEAST_QUALITY,
            chroma=420 if coarse else 444,
            bit_depth=bits,
            **options,
        )
    except _FAILURES as error:
        raise OutputError(f"{path}: cannot write this picture: {error}") from None
