"""Blocks of EXIF, XMP and IPTC in a picture's file that libvips does not find, or not whole."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO

import pyvips

from upres.formats.metadata.exif import PREFIX
from upres.formats.metadata.tiff_tags import has_resolution, read_numbers, read_resolution

_ORIENTATION = 274


def completed(
    image: pyvips.Image, loader: str, blocks: Mapping[str, bytes], told: bool
) -> pyvips.Image:
    """``image``, which ``loader`` has opened, with the ``blocks`` that it lacks, by libvips' names.

    ``told`` says whether the file tells the size of pixels other than by EXIF.
    """
    if loader in ("webpload", "heifload"):
        # libvips does not look for it there.
        with suppress(struct.error):
            if resolution := read_resolution(_exif(image)):
                image = image.copy(xres=resolution[0], yres=resolution[1])
    for name, block in blocks.items():
        # Of IPTC in several segments, libvips sees the first.
        if block and (name == "iptc-data" or not image.get_typeof(name)):
            image = _with(image, name, block)
            if name == "exif-data" and not image.get_typeof("orientation"):
                upright = _tags(image).get(_ORIENTATION, 1)
                image.set_type(pyvips.GValue.gint_type, "orientation", upright)
    # libvips takes a resolution without a unit for one by the millimetre, and none for 72 dpi.
    told = told or (loader != "tiffload" and has_resolution(_tags(image)))
    return image if told else image.copy(xres=1, yres=1)


def _with(image: pyvips.Image, name: str, block: bytes) -> pyvips.Image:
    # A copy, as metadata of an image that libvips may share must not change.
    image = image.copy()
    image.set_type(pyvips.GValue.blob_type, name, block)
    return image


def _tags(image: pyvips.Image) -> dict[int, int]:
    """Of the image's EXIF: among libvips' fields are some that the block does not have."""
    with suppress(struct.error):
        return read_numbers(_exif(image))
    return {}


def _exif(image: pyvips.Image) -> BytesIO:
    """The image's block of EXIF, without ``PREFIX``; nothing if it has none."""
    block = image.get("exif-data") if image.get_typeof("exif-data") else b""
    return BytesIO(block.removeprefix(PREFIX))
