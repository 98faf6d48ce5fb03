"""JPEG XL, in its container and as a bare codestream.

Source: ISO/IEC 18181-2 (container).
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyjpegxl
import pyvips
from numpy.typing import NDArray

from upres.errors import InputError, OutputError, Remedy
from upres.formats.image.vips_sink import LEAST_QUALITY, Picture, VipsSink
from upres.formats.image.whole import WholeSource, bands_of_picture, telling_of_damage
from upres.formats.metadata import jxl_header
from upres.formats.metadata.boxes import boxes, pack_box
from upres.formats.metadata.carried import Carried, described
from upres.formats.metadata.colour import with_meaning
from upres.formats.metadata.jxl_header import HEADER_BYTES, JxlHeader
from upres.raster.info import RasterInfo
from upres.raster.source import Sink, Source

_SIGNATURE = pack_box(b"JXL ", b"\r\n\x87\n")
_TYPE = pack_box(b"ftyp", b"jxl \0\0\0\0jxl ")
_LEVEL_10 = pack_box(b"jxll", b"\x0a")
"""Says that it takes a decoder for more than 8 bits."""

_DECODER_BYTES = 24
"""For each pixel, beside its samples, as measured."""

_CICP = {
    jxl_header.SRGB_PRIMARIES: 1,
    jxl_header.BT2100: 9,
    jxl_header.P3: 12,
}
"""ITU-T H.273's numbers of primaries whose white is D65, by JPEG XL's."""

_FARTHEST = 15.0
"""The library takes larger distances for qualities."""


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a JPEG XL file; see ``upres.formats.registry``."""
    with telling_of_damage(path, struct.error), path.open("rb") as file:
        start = file.read(HEADER_BYTES)
        recompressed = False
        if start[:2] != b"\xff\x0a":
            parts = {}
            for box in boxes(file):
                recompressed |= box.kind == b"jbrd"
                if box.kind in (b"jxlc", b"jxlp"):
                    parts[box.start] = box.read(file, HEADER_BYTES)[4 * (box.kind == b"jxlp") :]
            start = b"".join(parts.values())[:HEADER_BYTES]
        header = jxl_header.parse(start)
    _check_kind(path, header)
    with telling_of_damage(path, RuntimeError, ValueError):
        told = pyjpegxl.probe(path.read_bytes())
    carried = _carried(path, header, told)
    carried = dataclasses.replace(carried, lossless=header.may_be_lossless and not recompressed)
    dtype = np.dtype(np.float32 if header.is_float else np.uint8 if header.bits <= 8 else np.uint16)
    height, width = header.height, header.width
    if header.orientation >= 5:  # the library gives it upright
        height, width = width, height
    bands = bands_of_picture(
        dtype, colours=1 if header.colour.space == jxl_header.GREY else 3, alpha=bool(header.extras)
    )
    info = RasterInfo(
        height=height,
        width=width,
        bands=bands,
        dtype=dtype,
        name=str(path),
    )

    def decode() -> NDArray[Any]:
        with telling_of_damage(path, RuntimeError, ValueError):
            _, pixels = pyjpegxl.decode_to_numpy(path.read_bytes(), dtype=dtype.name)
        return pixels

    taken = _DECODER_BYTES + len(bands) * dtype.itemsize
    return [WholeSource(info, carried, decode, decoder_bytes=taken)]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of a JPEG XL file; see ``upres.formats.registry``."""
    return VipsSink(path, _encode, quality=quality)


def _check_kind(path: Path, header: JxlHeader) -> None:
    """Raise ``InputError`` for a file that could not be written back whole."""
    problem = ""
    if header.animated:
        problem = "an animated JPEG XL, which upres does not read: convert it to .webp or .gif"
    elif header.colour.space not in (jxl_header.RGB, jxl_header.GREY):
        problem = "its colours are neither RGB nor grey, which upres does not read: convert it"
    elif [extra.kind for extra in header.extras] not in ([], [jxl_header.ALPHA]):
        problem = (
            "has channels beside colours and one alpha, which upres would not keep: remove them"
        )
    elif any(extra.premultiplied for extra in header.extras):
        problem = (
            "its colours are multiplied by alpha, which upres does not read: convert it to .png"
        )
    elif header.bits > 16 and not header.is_float:
        problem = (
            f"its samples are of {header.bits} bits, which upres does not read: convert it to 16"
        )
    if problem:
        raise InputError(f"{path}: {problem}")


def _carried(path: Path, header: JxlHeader, told: pyjpegxl.Metadata) -> Carried:
    """Its metadata; its orientation counts no more, as the library turns it."""
    colour = header.colour
    primaries = _CICP.get(colour.primaries) if colour.white == jxl_header.D65 else None
    bright = colour.transfer in (jxl_header.PQ, jxl_header.HLG)
    named = primaries is not None and (
        bright
        or (primaries == 1 and colour.transfer == jxl_header.BT709_TRANSFER)
        or colour.transfer == jxl_header.SRGB_TRANSFER
    )
    if bright and not named:
        raise InputError(
            f"{path}: its colours are brighter than a screen's, and have primaries of their own, "
            "which upres does not read: convert it to one with a colour profile"
        )
    # The library makes a profile of colours that are told by numbers, too.
    profile = told.icc or b""
    exif = told.exif or b""
    start = min((at for at in (exif.find(b"II*\0"), exif.find(b"MM\0*")) if at >= 0), default=None)
    carried = described(
        path,
        exif_block=b"" if start is None else exif[start:],
        packet=told.xmp or b"",
        profile=b"" if named else profile,
    )
    if not named or colour.has_profile or primaries is None or colour.transfer is None:
        return carried
    image, meaning = with_meaning(carried.image, primaries, colour.transfer)
    return dataclasses.replace(carried, image=image, meaning=meaning)


def _encode(picture: Picture, path: Path) -> None:
    profile = picture.field("icc-profile-data")
    lossless = picture.quality is None and (
        picture.carried.lossless or bool(profile and not _is_srgb(picture))
    )
    if profile and not lossless:
        if picture.image.format == "float":
            raise OutputError(
                f"{path}: floating-point samples with a colour profile are written to .jxl without "
                "loss only",
                Remedy("quality", "must be left out"),
            )
        # A lossy codestream's colours are told by numbers, if it is to be read by all.
        picture, profile = picture.to_srgb(), b""
    image = picture.image
    pixels = image.numpy().reshape(image.height, image.width, image.bands)
    if pixels.dtype == np.float32 and not lossless:
        pixels = _linear(pixels, alpha=picture.info.alpha is not None)  # as the library takes it
    try:
        content = pyjpegxl.encode_from_numpy(
            np.ascontiguousarray(pixels),
            lossless=lossless,
            quality=0.0 if lossless else _distance(picture.quality or LEAST_QUALITY),
            speed=pyjpegxl.EncoderSpeed.Hare,
        )
        codestream = _codestream(content)
        if profile or pixels.dtype == np.float32:
            codestream = jxl_header.with_colours(codestream, profile)
    except (RuntimeError, ValueError, struct.error) as error:
        raise OutputError(f"{path}: cannot write this picture: {error}") from None
    packet = picture.field("xmp-data")
    parts = [_SIGNATURE, _TYPE]
    if pixels.dtype != np.uint8:
        parts.append(_LEVEL_10)
    if picture.exif:
        parts.append(pack_box(b"Exif", bytes(4) + picture.exif_block))
    if packet:
        parts.append(pack_box(b"xml ", packet))
    with path.open("wb") as file:
        for part in (*parts, pack_box(b"jxlc", codestream)):
            file.write(part)


def _codestream(content: bytes) -> bytes:
    """The codestream of a file that the library has made."""
    if content[:2] == b"\xff\x0a":
        return content
    file = BytesIO(content)
    return b"".join(
        box.read(file, len(content))[4 * (box.kind == b"jxlp") :]
        for box in boxes(file)
        if box.kind in (b"jxlc", b"jxlp")
    )


def _distance(quality: int) -> float:
    """How far from the picture the result may be: eyes just do not see 1.

    A quality gives files of about the size that JPEG has at it, as libjxl's own
    ``JxlEncoderDistanceFromQuality`` does.
    """
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return min(_FARTHEST, 53 / 3000 * quality**2 - 23 / 20 * quality + 25)


def _linear(pixels: NDArray[np.float32], *, alpha: bool) -> NDArray[np.float32]:
    """Samples of sRGB as light (IEC 61966-2-1); alpha stays."""
    result = np.where(
        pixels <= 0.04045, pixels / 12.92, ((np.maximum(pixels, 0) + 0.055) / 1.055) ** 2.4
    ).astype(np.float32)
    if alpha:
        result[:, :, -1] = pixels[:, :, -1]
    return result


def _is_srgb(picture: Picture) -> bool:
    """Whether the picture's profile makes the same of colours as sRGB, within two levels."""
    image = picture.image
    if image.bands < 3:
        return False
    steps = np.arange(0, 256, 51, dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(len(steps), -1, 3)
    probe = pyvips.Image.new_from_array(cube).copy(interpretation="srgb")
    probe.set_type(pyvips.GValue.blob_type, "icc-profile-data", picture.field("icc-profile-data"))
    try:
        seen = probe.icc_transform("srgb", embedded=True).numpy()
    except pyvips.Error:
        return False
    return bool(np.abs(seen.astype(int) - cube).max() <= 2)
