"""Blocks of EXIF, XMP and IPTC in a picture's file that libvips does not find, or not whole."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import pyvips

from upres.formats import gif, iptc, jpeg, png_chunks, tiff_exif
from upres.formats.exif import PREFIX
from upres.formats.tiff import read_entries, read_header

_ORIENTATION = 274


def completed(image: pyvips.Image, path: Path, loader: str, directory: int | None) -> pyvips.Image:
    """``image``, which ``loader`` has opened from ``path``, with the blocks that it lacks.

    ``directory`` is where the page's is in a file of several, or ``None``.
    """
    found: dict[str, bytes | None] = {}
    told = False
    match loader:
        case "tiffload":
            found = {"exif-data": tiff_exif.read(path, directory)}
            told = tiff_exif.has_resolution(path, directory)
        case "pngload":
            # libvips sees what comes before the pixels.
            exif, packet = png_chunks.read_embedded(path)
            found = {"exif-data": exif and PREFIX + exif, "xmp-data": packet}
            told = png_chunks.has_size(path)
        case "gifload":
            found = {"xmp-data": gif.read(path)[1]}
        case "jpegload":
            told = jpeg.has_resolution(path)
            # libvips sees the first segment.
            if captions := iptc.whole(path):
                image = _with(image, "iptc-data", captions)
    for name, block in found.items():
        if block and not image.get_typeof(name):
            image = _with(image, name, block)
            if name == "exif-data" and not image.get_typeof("orientation"):
                image.set_type(pyvips.GValue.gint_type, "orientation", _orientation(block))
    # libvips takes a resolution without a unit for one by the millimetre, and none for 72 dpi.
    told = told or bool(image.get_typeof("exif-ifd0-XResolution"))
    return image if told else image.copy(xres=1, yres=1)


def _with(image: pyvips.Image, name: str, block: bytes) -> pyvips.Image:
    # A copy, as metadata of an image that libvips may share must not change.
    image = image.copy()
    image.set_type(pyvips.GValue.blob_type, name, block)
    return image


def _orientation(exif: bytes) -> int:
    """What a block of EXIF says of it, 1 if nothing."""
    file = BytesIO(exif.removeprefix(PREFIX))
    try:
        endian, big, start = read_header(file)
        for tag, _, _, values in read_entries(file, endian, big, start, depth=0):
            if tag == _ORIENTATION and isinstance(values, bytes):
                return int.from_bytes(values[:2], "little")
    except struct.error:
        pass
    return 1
