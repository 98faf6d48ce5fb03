"""Writes an enlarged picture in the format that its file's suffix names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from upres.engine.machine import machine_memory
from upres.enlarging.options import Options
from upres.errors import OutputError
from upres.files import full_disk
from upres.formats.image import gif, png_chunks
from upres.formats.image.jpeg import LONGEST_SEGMENT, add_header, add_segments, is_420
from upres.formats.image.opening import DTYPES
from upres.formats.image.picture import Photo, first_line
from upres.formats.metadata import comments, exif, gain_map, iptc, tiff_exif, xmp
from upres.formats.metadata.carrying import with_metadata
from upres.formats.registry import OUTPUT_SUFFIXES
from upres.raster.spool import Spool

JPEG = (".jpg", ".jpeg")
TIFF = (".tif", ".tiff")
ANIMATED = (".gif", ".webp")

_LONGEST_SIDE = {".jpg": 65535, ".jpeg": 65535, ".webp": 16383, ".gif": 65535, ".avif": 16384}
_ENCODER_BYTES = {".webp": 8, ".gif": 12, ".avif": 34}
"""What encoders that want a whole frame at once take for each pixel, as measured."""
_LEAST_JPEG_QUALITY = 95
_AVIF_QUALITY = 90
_ALL, _ALL_BUT_EXIF = "all", "xmp:iptc:icc:other"
"""What of an image's metadata is written."""

_BIGTIFF_BYTES = 2**32 - 2**24
"""TIFF's addresses end at 4 GiB; some room is left for what is not pixels."""
_OPTIMISED_PIXELS = 2**24
"""Above that, the memory that JPEG's optimal Huffman tables take is not worth it."""


def check_suffix(path: Path) -> None:
    """Raise ``OutputError`` if ``path`` names no format that can be written."""
    if path.suffix.lower() not in OUTPUT_SUFFIXES:
        raise OutputError(f"{path}: cannot write this format; name it {', '.join(OUTPUT_SUFFIXES)}")


def check_output(path: Path, photo: Photo, *, height: int, width: int) -> None:
    """Raise ``OutputError`` if ``path``'s format cannot hold ``photo`` at that size."""
    check_suffix(path)
    suffix = path.suffix.lower()
    limit = _LONGEST_SIDE.get(suffix)
    if limit is not None and max(height, width) > limit:
        raise OutputError(
            f"{path}: the result, {width}x{height}, is more than the {limit} pixels a side "
            f"that {suffix} can hold: choose .png or .tif with --output"
        )
    needed = height * width * _ENCODER_BYTES.get(suffix, 0)
    memory = machine_memory() if needed else None
    if memory is not None and needed > memory // 2:
        raise OutputError(
            f"{path}: to write {width}x{height} pixels as {suffix} takes about {needed:,} bytes "
            f"of memory, more than half of this machine's {memory:,}: choose .png, .jpg or .tif, "
            "which take little, with --output"
        )
    if photo.alpha and suffix in JPEG:
        raise OutputError(
            f"{path}: {suffix} cannot hold the picture's transparency: choose .png, .webp or .tif"
        )
    if photo.frames > 1 and suffix not in ANIMATED:
        raise OutputError(
            f"{path}: {suffix} cannot hold the picture's {photo.frames} frames: "
            "choose .gif or .webp"
        )
    if photo.cmyk and suffix not in (*JPEG, *TIFF):
        raise OutputError(f"{path}: {suffix} cannot hold CMYK: choose .jpg or .tif")
    if photo.meaning and suffix != ".png":
        raise OutputError(
            f"{path}: {suffix} cannot hold the picture's colours, which are no sRGB and have no "
            f"profile (CICP {photo.meaning[0]}, {photo.meaning[1]}): choose .png"
        )
    if suffix not in TIFF and (
        photo.low < 0 or (photo.high != 1 and photo.dtype not in (np.uint8, np.uint16))
    ):
        raise OutputError(
            f"{path}: {suffix} cannot hold samples from {photo.low:g} to {photo.high:g}: "
            "choose .tif"
        )


def sample_type(path: Path, photo: Photo) -> np.dtype[Any]:
    """What samples of ``photo`` are in ``path``'s format."""
    suffix = path.suffix.lower()
    if suffix in TIFF:
        return photo.dtype
    deep = suffix in (".png", ".avif") and photo.dtype != np.uint8
    return np.dtype(np.uint16 if deep else np.uint8)


def needs_bigtiff(content: int) -> bool:
    """Whether a TIFF file with so many bytes of pixels, not compressed, has to be a BigTIFF."""
    return content > _BIGTIFF_BYTES


def save(
    spool: Spool, path: Path, photo: Photo, options: Options, target: Path, *, bigtiff: bool
) -> None:
    """Encode the enlarged ``photo``, all its frames one below the other, into ``path``.

    Raises ``OutputError``, naming ``target``, if that cannot be done.
    """
    suffix = target.suffix.lower()
    try:
        image, tags = with_metadata(
            _pixels(spool, photo, suffix),
            photo,
            interpretation=_interpretation(photo, spool.dtype),
            suffix=suffix,
        )
        if suffix in (*ANIMATED, ".avif"):
            image = _with_profile_that_fits(image, suffix)
        captions, packet = (_field(image, name, b"") for name in ("iptc-data", "xmp-data"))
        said = comments.read(photo.path, photo.segments)
        light = None
        if suffix in JPEG:
            light = gain_map.read(photo.path, photo.segments, photo.orientation)
        if light and packet:
            packet = light.fitting_xmp(packet)
            image.set_type(pyvips.GValue.blob_type, "xmp-data", packet)
        segments = xmp.extended(photo.segments) + comments.to_segments(said)
        # What libvips would leave out, or write a part of.
        if suffix in TIFF:
            image.remove("iptc-data")
        if suffix in JPEG and len(packet) > xmp.LONGEST:
            image.remove("xmp-data")
            segments += xmp.split(packet)
        if suffix in JPEG and len(captions) > LONGEST_SEGMENT:
            image.remove("iptc-data")
            segments += iptc.split(captions)
        # Where there is none, libvips makes one, with a resolution that nobody has told.
        known = photo.image.get_typeof("exif-data") or photo.has_resolution
        keep = _ALL if known else _ALL_BUT_EXIF
        _save(image, path, suffix, photo, options, bigtiff, keep)
        match suffix:
            case ".jpg" | ".jpeg":
                if keep != _ALL and not photo.cmyk:
                    add_header(path)
                add_segments(path, segments)
            case ".png":
                if not photo.has_resolution:
                    png_chunks.remove_size(path)
                own = png_chunks.kept(photo.chunks, turned=photo.orientation != 1)
                png_chunks.add(path, own, said, photo.meaning)
            case ".gif":
                gif.add(path, said, packet)
        if suffix in TIFF and (tags or captions or not photo.has_resolution):
            tiff_exif.add(path, tags, captions, unit=photo.has_resolution)
        elif suffix not in TIFF and tags:
            block = tiff_exif.for_jpeg(tags) if suffix in JPEG else tags
            exif.replace(path, block.removeprefix(exif.PREFIX))
        if light:  # last, as it tells how long the picture before it is
            gain_map.add(path, light)
    except pyvips.Error as error:
        # Its words may lack that the disk is full: there is one place for those of all threads.
        cause = full_disk(target.parent) or error
        raise OutputError(f"{target}: cannot write this picture: {first_line(error)}") from cause


def _pixels(spool: Spool, photo: Photo, suffix: str) -> pyvips.Image:
    image = spool.image()
    if photo.opaque_alpha and suffix not in JPEG:
        kind = next(name for name, dtype in DTYPES.items() if dtype == spool.dtype)
        most = photo.alpha_high if spool.dtype == photo.dtype else np.iinfo(spool.dtype).max
        image = image.bandjoin_const([most]).cast(kind)
    return image


def _interpretation(photo: Photo, dtype: np.dtype[Any]) -> str:
    """What libvips calls the colours, as samples of ``dtype``."""
    deep = dtype == np.uint16
    if photo.cmyk:
        return "cmyk"
    if photo.colours == 1:
        return "grey16" if deep else "b-w"
    if dtype == np.float32:
        return "scrgb"
    return "rgb16" if deep else "srgb"


def _with_profile_that_fits(image: pyvips.Image, suffix: str) -> pyvips.Image:
    """GIF has no colour profiles, and WebP and AVIF have none of grey: convert to sRGB."""
    if image.get_typeof("icc-profile-data") and (suffix == ".gif" or image.bands < 3):
        depth = 16 if image.format == "ushort" else 8
        return image.icc_transform("srgb", embedded=True, depth=depth)
    return image


def _save(
    image: pyvips.Image,
    path: Path,
    suffix: str,
    photo: Photo,
    options: Options,
    bigtiff: bool,
    keep: str,
) -> None:
    name, quality = os.fsencode(path), options.quality  # pyvips takes str for UTF-8
    small = image.width * image.height <= _OPTIMISED_PIXELS
    source = photo.image
    match suffix:
        case ".jpg" | ".jpeg":
            image.jpegsave(
                name,
                keep=keep,
                Q=quality or max(_LEAST_JPEG_QUALITY, photo.jpeg_quality or 0),
                subsample_mode="on" if is_420(photo.segments) else "off",
                optimize_coding=small,
            )
        case ".png":
            # A file that was read with a palette would be written with one again.
            image.pngsave(
                name,
                keep=keep,
                palette=False,
                bitdepth=16 if image.format == "ushort" else 8,
                # Of enlarged photographs the smallest file for its time: a quarter smaller than
                # by the defaults, and faster. To try all filters gains nothing.
                compression=3,
                filter="avg",
            )
        case ".webp":
            lossless = quality is None and is_lossless_webp(photo.path)
            # Near enough to nothing is not nothing: keep colour under transparency, too.
            image.webpsave(
                name,
                keep=keep,
                Q=quality or _LEAST_JPEG_QUALITY,
                lossless=lossless,
                exact=lossless,
            )
        case ".avif":
            deep = image.format == "ushort"
            bits = _field(source, "bits-per-sample", 12) if deep else 8
            image.heifsave(
                name,
                keep=keep,
                compression="av1",
                Q=quality or _AVIF_QUALITY,
                bitdepth=min(bits, 12),
                effort=3,  # the default, 4, takes eight times as long for as large a file
            )
        case ".gif":
            # Equal frames are kept, so that timing stays as it was.
            image.gifsave(name, keep=keep, keep_duplicate_frames=True)
        case _:
            tile = [_field(source, f"tile-{side}", 0) for side in ("width", "height")]
            image.tiffsave(
                name,
                keep=keep,
                compression="deflate",
                # Few programs read the predictor that there is for floating point.
                predictor="none" if image.format == "float" else "horizontal",
                bigtiff=bigtiff,
                **{"tile": True, "tile_width": tile[0], "tile_height": tile[1]}
                if all(tile)
                else {},
            )


def _field(image: pyvips.Image, name: str, default: Any) -> Any:
    return image.get(name) if image.get_typeof(name) else default


def is_lossless_webp(path: Path) -> bool:
    """Whether a file is WebP, its first picture or frame stored without loss."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WEBP":
            return False
        while len(head := file.read(8)) == 8:
            kind, length = head[:4], int.from_bytes(head[4:], "little")
            if kind in (b"VP8 ", b"VP8L"):
                return kind == b"VP8L"
            # A frame's own chunks follow 16 bytes about its place and time.
            file.seek(16 if kind == b"ANMF" else length + length % 2, 1)
    return False
