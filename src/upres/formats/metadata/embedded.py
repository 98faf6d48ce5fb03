"""Blocks of EXIF, XMP and IPTC in a picture's file that libvips does not find, or not whole."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from io import BytesIO

import pyvips

from upres.formats.metadata import xmp
from upres.formats.metadata.density import Density
from upres.formats.metadata.exif import PREFIX
from upres.formats.metadata.tiff_tags import has_resolution, read_numbers, read_resolution

_ORIENTATION = 274
_IN_SEGMENTS = ("exif-data", "iptc-data")


def completed(
    image: pyvips.Image,
    loader: str,
    blocks: Mapping[str, bytes],
    told: bool,
    density: Density | None = None,
) -> pyvips.Image:
    """``image``, which ``loader`` has opened, with the ``blocks`` that it lacks, by libvips' names.

    ``told`` says whether the file tells the size of pixels other than by EXIF, and ``density`` is
    that of a header that libvips may not heed. Of a JPEG file, EXIF counts more.
    """
    resolution = density.per_millimetre if density else None
    # Of several segments, libvips sees the first.
    lacking = {
        name: block
        for name, block in blocks.items()
        if block and (name in _IN_SEGMENTS or not image.get_typeof(name))
    }
    block = lacking.get("exif-data") or _exif(image)
    # libvips takes a resolution without a unit for one by the millimetre, and none for 72 dpi.
    by_exif = has_resolution(_tags(block))
    if resolution and not (by_exif and loader == "jpegload"):
        across, down = resolution
    elif not (told or (loader != "tiffload" and by_exif)):
        across, down = 1.0, 1.0
    else:
        across, down = image.xres, image.yres
        if loader in ("webpload", "heifload"):
            # libvips does not look for it there.
            with suppress(struct.error):
                across, down = read_resolution(_opened(block)) or (across, down)
    if not lacking and (across, down) == (image.xres, image.yres):
        return image
    # One copy, as metadata of an image that libvips may share must not change, and each takes time.
    image = image.copy(xres=across, yres=down)
    for name, content in lacking.items():
        image.set_type(pyvips.GValue.blob_type, name, content)
    return image


def orientation(image: pyvips.Image, loader: str, *, has_tag: bool) -> int:
    """How ``image``, which ``loader`` has opened, is to be turned, by EXIF's numbers.

    EXIF's own word counts, or that of TIFF's tags, else that of XMP; 1, upright, if none is there.
    AVIF has its own way to turn a picture, libvips has followed it, and then the others do not
    count (ISO/IEC 23008-12, annex A.2.1). ``has_tag`` is whether a TIFF file has its tag.
    """
    if loader == "heifload":
        return 1
    tags = _tags(_exif(image))
    told = [tags.get(_ORIENTATION)]
    # Of TIFF without the tag, libvips says 1, too; of damaged EXIF it may read more.
    if (has_tag if loader == "tiffload" else not tags) and image.get_typeof("orientation"):
        told.append(int(image.get("orientation")))
    if image.get_typeof("xmp-data"):
        told.append(xmp.orientation(image.get("xmp-data")))
    return next((number for number in told if number and 1 <= number <= 8), 1)


@lru_cache(maxsize=2)
def _tags(exif: bytes) -> dict[int, int]:
    """Of a block of EXIF: among libvips' fields are some that the block does not have."""
    with suppress(struct.error):
        return read_numbers(_opened(exif))
    return {}


def _exif(image: pyvips.Image) -> bytes:
    """The image's block of EXIF; nothing if it has none."""
    return image.get("exif-data") if image.get_typeof("exif-data") else b""


def _opened(exif: bytes) -> BytesIO:
    return BytesIO(exif.removeprefix(PREFIX))
