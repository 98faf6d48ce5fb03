"""Photographs: JPEG, PNG, WebP and TIFF, through libvips, in blocks of rows."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# libvips would print its warnings, which name no file, straight to standard error.
os.environ.setdefault("VIPS_WARNING", "0")

import pyvips

from upres.engine import Float32Array
from upres.errors import InputError, OutputError
from upres.formats import replacing
from upres.inference import from_float, to_float

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")

_LOADERS = ("jpegload", "pngload", "webpload", "tiffload")
_DTYPES: dict[str, np.dtype[Any]] = {"uchar": np.dtype(np.uint8), "ushort": np.dtype(np.uint16)}
_LONGEST_SIDE = {".jpg": 65535, ".jpeg": 65535, ".webp": 16383}
_ROWS_AT_ONCE = 64
_SPOOL_BYTES = 2**28
"""An output that takes more than this is put together on disk, not in memory."""

# Loaders that libvips itself calls unsafe for files from strangers.
pyvips.block_untrusted_set(True)


@dataclass(frozen=True)
class Photo:
    """An open picture: upright, grey or RGB, perhaps with alpha; pixels not yet decoded."""

    path: Path
    height: int
    width: int
    channels: int
    """As ``upres.enlarge`` counts them; alpha that is opaque throughout is not counted."""
    opaque_alpha: bool
    dtype: np.dtype[Any]
    image: pyvips.Image

    def rows(self) -> Iterator[Float32Array]:
        """Decode from the top, in blocks of rows x width x channels, float32 in [0, 1].

        Raises ``InputError`` where the file turns out to be damaged or truncated.
        """
        region = pyvips.Region.new(self.image)
        for top in range(0, self.height, _ROWS_AT_ONCE):
            count = min(_ROWS_AT_ONCE, self.height - top)
            try:
                content = region.fetch(0, top, self.width, count)
            except pyvips.Error as error:
                raise _damaged(self.path, error) from None
            block = np.frombuffer(content, self.dtype)
            block = block.reshape(count, self.width, self.image.bands)
            yield to_float(block[:, :, : self.channels])


def open_photo(path: Path) -> Photo:
    """Open a picture file, whatever its name says it is.

    It is turned upright as its EXIF orientation says; CMYK is converted to sRGB by its
    own colour profile; RGB keeps its profile.

    Raises ``InputError`` if it is missing, not a picture of a known format, damaged, or
    of a kind that could not be written back whole (several pages or frames, samples other
    than 8 or 16 bit).
    """
    image = _load(path)
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1:
        raise InputError(f"{path}: has {pages} pages or frames; upres enlarges single pictures")
    if image.format not in _DTYPES:
        raise InputError(
            f"{path}: its samples are {image.format}; upres enlarges 8-bit and 16-bit pictures"
        )
    try:
        image = _normalise(image)
        opaque_alpha = image.hasalpha() and _is_opaque(path)
    except pyvips.Error as error:
        raise _damaged(path, error) from None
    return Photo(
        path=path,
        height=image.height,
        width=image.width,
        channels=image.bands - opaque_alpha,
        opaque_alpha=opaque_alpha,
        dtype=_DTYPES[image.format],
        image=image,
    )


def check_output(path: Path, *, height: int, width: int, alpha: bool) -> None:
    """Raise ``OutputError`` if ``path``'s format cannot hold such a picture."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise OutputError(f"{path}: cannot write this format; name it {', '.join(SUFFIXES)}")
    limit = _LONGEST_SIDE.get(suffix)
    if limit is not None and max(height, width) > limit:
        raise OutputError(
            f"{path}: the result, {width}x{height}, is more than the {limit} pixels a side "
            f"that {suffix} can hold: choose .png or .tif with --output"
        )
    if alpha and suffix in (".jpg", ".jpeg"):
        raise OutputError(
            f"{path}: {suffix} cannot hold the picture's transparency: choose .png, .webp or .tif"
        )


def write_photo(path: Path, rows: Iterable[Float32Array], like: Photo, *, scale: int) -> None:
    """Write blocks of rows, float32 in [0, 1], as the enlarged ``like``.

    The file gets ``like``'s bit depth (where the format has it), colour profile and
    metadata. It is written under a temporary name in the same folder and then renamed, so
    ``path`` never holds half a picture.

    Raises ``OutputError`` if it cannot be written; what ``rows`` raises passes through.
    """
    height, width = like.height * scale, like.width * scale
    bands = like.channels + like.opaque_alpha
    check_output(path, height=height, width=width, alpha=bands in (2, 4))
    with replacing(path) as temporary:
        pixels = _allocate((height, width, bands), like.dtype, path.parent)
        if like.opaque_alpha:
            pixels[:, :, -1] = np.iinfo(like.dtype).max
        top = 0
        for block in rows:
            pixels[top : top + len(block), :, : like.channels] = from_float(block, like.dtype)
            top += len(block)
        try:
            _save(_with_metadata(pixels, like.image), temporary)
        except pyvips.Error as error:
            raise OutputError(f"{path}: cannot write this picture: {_first_line(error)}") from None


def read_rgb8(source: Path | bytes, *, name: str | None = None) -> NDArray[np.uint8]:
    """A picture as height x width x 3, uint8, alpha dropped and grey repeated.

    ``source`` is a file, or its content (``name`` then names it in errors). No colour
    profile is applied. Raises ``InputError`` if it cannot be read.
    """
    path = Path(name or "picture") if isinstance(source, bytes) else source
    try:
        image = _load(path, source if isinstance(source, bytes) else None)
        if image.interpretation == "cmyk":
            image = _normalise(image)
        if image.format != "uchar" or image.interpretation != "srgb":
            image = image.colourspace("srgb")
        pixels: NDArray[np.uint8] = image[:3].numpy()
    except pyvips.Error as error:
        raise _damaged(path, error) from None
    return pixels


def _load(path: Path, content: bytes | None = None) -> pyvips.Image:
    if content is None:
        try:
            if path.stat().st_size == 0:
                raise InputError(f"{path}: the file is empty")
            path.open("rb").close()
        except OSError as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
            raise InputError(f"{path}: cannot read this picture: {reason}") from None
    # Lenient loading would fill what a truncated file lacks with grey.
    options = {"access": "sequential", "fail_on": "error"}
    try:
        if content is None:
            image = pyvips.Image.new_from_file(str(path), **options)
        else:
            image = pyvips.Image.new_from_buffer(content, "", **options)
    except pyvips.Error as error:
        if "not a known" in error.detail or "not in a known" in error.detail:
            raise InputError(
                f"{path}: not a picture in a format that upres reads (JPEG, PNG, WebP, TIFF)"
            ) from None
        raise _damaged(path, error) from None
    loader = str(image.get("vips-loader")).removesuffix("_buffer")
    if loader not in _LOADERS:
        kind = loader.removesuffix("load").upper()
        raise InputError(f"{path}: {kind} files are not handled; convert it to PNG or TIFF")
    return image


def _normalise(image: pyvips.Image) -> pyvips.Image:
    """Upright, and grey or RGB, perhaps with alpha."""
    image = image.autorot()
    if image.interpretation == "cmyk":
        # By the embedded profile where there is one, else by a common press profile.
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk")
    elif image.interpretation not in ("b-w", "grey16", "srgb", "rgb16"):
        image = image.colourspace("srgb")
    return image


def _is_opaque(path: Path) -> bool:
    # A pass of its own, as the picture is read only once, from top to bottom.
    alpha = _load(path).autorot()[-1]
    return bool(alpha.min() == np.iinfo(_DTYPES[alpha.format]).max)


def _allocate(shape: tuple[int, int, int], dtype: np.dtype[Any], folder: Path) -> NDArray[Any]:
    if int(np.prod(shape)) * dtype.itemsize <= _SPOOL_BYTES:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(dir=folder, prefix=".upres-") as file:
        return np.memmap(file, dtype, "w+", shape=shape)


def _with_metadata(pixels: NDArray[Any], source: pyvips.Image) -> pyvips.Image:
    image = pyvips.Image.new_from_array(pixels, interpretation=source.interpretation)
    # A copy, as metadata of an image that libvips may share must not change.
    image = image.copy(xres=source.xres, yres=source.yres)
    # The preview inside is of the small picture.
    basic = {*image.get_fields(), "jpeg-thumbnail-data"}
    for name in source.get_fields():
        if name not in basic and not name.startswith("vips-"):
            image.set_type(source.get_typeof(name), name, source.get(name))
    if image.get_typeof("exif-data"):
        # The pixels are upright already, but the EXIF block still says how to turn them.
        image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    return image


def _save(image: pyvips.Image, path: Path) -> None:
    match path.suffix.lower():
        case ".jpg" | ".jpeg":
            image.jpegsave(str(path), Q=95, subsample_mode="off", optimize_coding=True)
        case ".png":
            # A file that was read with a palette would be written with one again.
            image.pngsave(str(path), palette=False, bitdepth=16 if image.format == "ushort" else 8)
        case ".webp":
            image.webpsave(str(path), Q=95)
        case _:
            image.tiffsave(
                str(path),
                compression="deflate",
                predictor="horizontal",
                bigtiff=image.width * image.height * image.bands * 2 > 2**31,
            )


def _damaged(path: Path, error: pyvips.Error) -> InputError:
    return InputError(f"{path}: this picture is damaged or truncated: {_first_line(error)}")


def _first_line(error: pyvips.Error) -> str:
    lines = [line for line in str(error.detail).splitlines() if line.strip()]
    return lines[0] if lines else str(error.message)
