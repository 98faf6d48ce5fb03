"""Opens pictures through libvips: what they are, and their pixels in blocks of rows."""

from __future__ import annotations

import dataclasses
import os
import stat
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from upres.engine.machine import machine_memory
from upres.errors import InputError
from upres.formats.image import png_chunks, tiff_pages
from upres.formats.image.jpeg import jpeg_quality, jpeg_segments
from upres.formats.image.picture import Photo, damaged
from upres.formats.metadata.colour import with_meaning
from upres.formats.metadata.embedded import completed

ANIMATIONS = ("gifload", "webpload")
_LOADERS = ("jpegload", "pngload", "webpload", "tiffload", "heifload", "gifload")
DTYPES: dict[str, np.dtype[Any]] = {
    "uchar": np.dtype(np.uint8),
    "ushort": np.dtype(np.uint16),
    "short": np.dtype(np.int16),
    "uint": np.dtype(np.uint32),
    "int": np.dtype(np.int32),
    "float": np.dtype(np.float32),
}
"""libvips' names of the kinds of samples."""

_PLAIN = ("b-w", "grey16", "srgb", "rgb16", "scrgb", "rgb", "cmyk")


def open_photo(path: Path, *, keep_cmyk: bool = False, directory: int | None = None) -> Photo:
    """Open a picture file, whatever its name says it is, and read its header only.

    Of a TIFF file with several pages, that is the one whose ``directory`` is there, or the first.

    CMYK is converted to sRGB by its own colour profile unless ``keep_cmyk``; RGB keeps
    its profile; a palette becomes RGB, and 1 bit becomes 8-bit grey.

    Raises ``InputError`` if it is missing, not a picture of a known format, damaged, or
    of a kind that could not be written back whole.
    """
    first = load(path) if directory is None else _load_page(path, directory)
    pages = int(first.get("n-pages")) if first.get_typeof("n-pages") else 1
    loader = _loader(first)
    animated = pages > 1 and loader in ANIMATIONS
    if pages > 1 and loader not in (*ANIMATIONS, "tiffload"):
        raise InputError(f"{path}: has {pages} pictures; upres takes files of one such")
    segments, chunks = tuple(jpeg_segments(path)), tuple(png_chunks.read(path))
    if png_chunks.is_animated(chunks):
        raise InputError(
            f"{path}: an animated PNG, of which upres would lose all but the first frame: "
            "convert it to .webp or .gif"
        )
    if loader == "tiffload":
        tiff_pages.check_colours(path, directory)
    _check_memory(path, first)
    if first.format not in DTYPES:
        raise InputError(
            f"{path}: its samples are {first.format}, which upres does not take: convert them to "
            "8 or 16 bits"
        )
    image = load(path, n=-1) if animated else first
    image = completed(image, path, loader, directory=directory, segments=segments, chunks=chunks)
    orientation = int(image.get("orientation")) if image.get_typeof("orientation") else 1
    try:
        image, meaning = with_meaning(image, path, loader, chunks)
        image = _normalised(image, keep_cmyk)
    except pyvips.Error as error:
        raise damaged(path, error) from None
    alpha, bands = bool(image.hasalpha()), image.bands
    cmyk = image.interpretation == "cmyk"
    if bands - alpha not in ((4,) if cmyk else (1, 3)):
        raise InputError(
            f"{path}: has {bands} channels; upres takes grey, RGB and CMYK: split it into such"
        )
    height, width = image.get("page-height") if animated else image.height, image.width
    if orientation not in range(1, 9):
        orientation = 1
    if orientation >= 5:
        height, width = width, height
    dtype = DTYPES[image.format]
    most = np.iinfo(dtype).max if dtype.kind == "u" and dtype.itemsize < 4 else 1
    return Photo(
        path=path,
        height=height,
        width=width,
        frames=pages if animated else 1,
        pages=1 if animated else pages,
        directory=directory,
        cmyk=cmyk,
        colours=bands - alpha,
        alpha=alpha,
        opaque_alpha=False,
        dtype=dtype,
        low=0,
        high=most,
        alpha_high=most,
        orientation=orientation,
        meaning=meaning,
        jpeg_quality=jpeg_quality(segments),
        segments=segments,
        chunks=chunks,
        image=image,
    )


def _check_memory(path: Path, image: pyvips.Image) -> None:
    """Refuse what can only be decoded as a whole, and takes more than half of the memory."""
    if not image.get_typeof("interlaced"):
        return
    # Of progressive JPEG all coefficients, two bytes each; of interlaced PNG all samples.
    jpeg = _loader(image) == "jpegload"
    needed = (
        image.height * image.width * image.bands * (2 if jpeg or image.format != "uchar" else 1)
    )
    memory = machine_memory()
    if memory is not None and needed > memory // 2:
        kind = "a progressive JPEG" if jpeg else "an interlaced PNG"
        raise InputError(
            f"{path}: {kind}, whose {image.width}x{image.height} pixels take {needed:,} bytes to "
            f"decode, more than half of this machine's {memory:,}: convert it to one that is not"
        )


def examined(photo: Photo) -> Photo:
    """The picture, with what only its pixels tell, for which they are all decoded once.

    That is whether its alpha is opaque throughout, and for samples other than 8 and 16
    bit their range: [0, 1] where all lie within, else as far as they go; of alpha, from 0 to 1
    or as far as it goes.

    Raises ``InputError`` if the picture is damaged, or has samples that are no numbers.
    """
    measured = photo.dtype.kind != "u" or photo.dtype.itemsize == 4
    if not photo.alpha and not measured:
        return photo
    low, high, alpha_high = photo.low, photo.high, photo.alpha_high
    opaque = photo.alpha
    for frame in photo.blocks():
        for block in frame:
            if measured:
                colours = block[:, :, : photo.colours]
                low, high = min(low, float(colours.min())), max(high, float(colours.max()))
                if photo.alpha:
                    alpha_high = max(alpha_high, float(block[:, :, -1].max()))
                if not np.isfinite(block).all():
                    raise InputError(f"{photo.path}: some samples are infinite or not numbers")
            # Once something is transparent, that is settled.
            opaque = opaque and bool((block[:, :, -1] == photo.alpha_high).all())
            if not opaque and not measured:
                break
    # A sequential picture can be read once only.
    again = open_photo(photo.path, keep_cmyk=photo.cmyk, directory=photo.directory)
    return dataclasses.replace(
        again,
        low=low,
        high=high,
        alpha_high=alpha_high,
        alpha=photo.alpha and not opaque,
        opaque_alpha=opaque,
    )


def load(path: Path, content: bytes | None = None, **options: Any) -> pyvips.Image:
    """Open a file, or its content, for one pass from the top; ``options`` choose pages.

    Raises ``InputError`` if it is missing, damaged, or not in a format that upres reads.
    """
    if content is None:
        check_readable(path)
    return _loaded(path, content, options)


def check_readable(path: Path) -> None:
    """Raise ``InputError`` if a file is missing, empty, a pipe, or cannot be read."""
    try:
        status = path.stat()
        if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
            raise InputError(f"{path}: a pipe can be read once only: give it as standard input")
        if status.st_size == 0:
            raise InputError(f"{path}: the file is empty")
        path.open("rb").close()
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"{path}: cannot read this picture: {reason}") from None


def _load_page(path: Path, directory: int) -> pyvips.Image:
    """Open one page of a TIFF file as ``load`` does the first."""
    try:
        return _loaded(path, tiff_pages.only(path, directory), {})
    except (OSError, struct.error):
        raise InputError(f"{path}: this picture is damaged or truncated") from None


def _loaded(
    path: Path, content: bytes | pyvips.Source | None, options: dict[str, Any]
) -> pyvips.Image:
    unknown = InputError(
        f"{path}: not a picture in a format that upres reads (JPEG, PNG, WebP, TIFF, AVIF, GIF)"
    )
    # What it said about the file before must not be taken for this one's.
    pyvips.vips_lib.vips_error_clear()
    # Lenient loading would fill what a truncated file lacks with grey.
    options |= {"access": "sequential", "fail_on": "error"}
    try:
        if content is None:
            # Not new_from_file, which takes no name that is not UTF-8.
            name = os.fsencode(path)
            found = pyvips.vips_lib.vips_foreign_find_load(name)
            if found == pyvips.ffi.NULL:
                with path.open("rb") as file:
                    animated = file.read(12)[4:] == b"ftypavis"
                if animated:
                    raise InputError(
                        f"{path}: an animated AVIF, which upres does not read: convert it to .webp "
                        "or .gif"
                    )
                raise unknown
            image = pyvips.Operation.call(pyvips.ffi.string(found).decode(), name, **options)
        elif isinstance(content, bytes):
            image = pyvips.Image.new_from_buffer(content, "", **options)
        else:
            image = pyvips.Image.new_from_source(content, "", **options)
    except pyvips.Error as error:
        if "not a known" in error.detail or "not in a known" in error.detail:
            raise unknown from None
        raise damaged(path, error) from None
    loader = _loader(image)
    if loader not in _LOADERS:
        kind = loader.removesuffix("load").upper()
        raise InputError(f"{path}: {kind} files are not handled; convert it to PNG or TIFF")
    return image


def _loader(image: pyvips.Image) -> str:
    """What libvips reads a picture with, wherever it reads it from."""
    return str(image.get("vips-loader")).removesuffix("_buffer").removesuffix("_source")


def _normalised(image: pyvips.Image, keep_cmyk: bool = False) -> pyvips.Image:
    """Grey, RGB, or CMYK where that is kept, perhaps with alpha."""
    interpretation = image.interpretation
    if interpretation == "cmyk" and not keep_cmyk:
        # By the embedded profile where there is one, else by a common press profile.
        return image.icc_transform(
            "srgb", embedded=True, input_profile="cmyk", depth=16 if image.format == "ushort" else 8
        )
    if interpretation not in _PLAIN:
        return image.colourspace("srgb" if image.format == "uchar" else "rgb16")
    return image


def read_rgb8(source: Path | bytes, *, name: str | None = None) -> NDArray[np.uint8]:
    """A picture as height x width x 3, uint8, alpha dropped and grey repeated.

    ``source`` is a file, or its content (``name`` then names it in errors). No colour
    profile is applied. Raises ``InputError`` if it cannot be read.
    """
    path = Path(name or "picture") if isinstance(source, bytes) else source
    try:
        image = _normalised(load(path, source if isinstance(source, bytes) else None))
        if image.format != "uchar" or image.interpretation != "srgb":
            image = image.colourspace("srgb")
        pixels: NDArray[np.uint8] = image[:3].numpy()
    except pyvips.Error as error:
        raise damaged(path, error) from None
    return pixels
