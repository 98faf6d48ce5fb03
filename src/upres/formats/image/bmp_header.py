"""The words of a BMP file before its pixels; see ``upres.formats.image.bmp`` for the source."""

from __future__ import annotations

import dataclasses
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from upres.errors import InputError
from upres.formats.metadata.carried import OF_PALETTE, Carried, fewer_bits, nothing_carried
from upres.raster.info import Role

BYTES = (0xFF0000, 0xFF00, 0xFF)
"""Where red, green and blue are in 32 bits, usually."""

_FIVES = (0x7C00, 0x3E0, 0x1F)
_FILE_HEAD = 14
_V5 = 124
_SRGB, _WINDOWS, _EMBEDDED = b"BGRs", b" niW", b"DEBM"
"""Colour spaces, as bytes of numbers that were meant to be read as text."""
_LONGEST_PROFILE = 2**26
_RGB, _RLE8, _RLE4, _FIELDS, _ALPHA_FIELDS = 0, 1, 2, 3, 6


@dataclass(frozen=True)
class BmpHeader:
    """The kind of the pixels, and their place."""

    width: int
    height: int
    top_down: bool
    bits: int
    """Of a pixel."""
    start: int
    run_bits: int
    """Of numbers in run lengths; 0 where there are none."""
    masks: tuple[int, int, int]
    alpha_mask: int
    palette: NDArray[np.uint8] | None
    """Colours x 3, or x 1 if all are grey."""
    dots: tuple[int, int]
    """Pixels in a metre, across and down; 0 if it does not say."""
    profile: bytes

    @property
    def row_bytes(self) -> int:
        """Of a row, which is filled up to whole words."""
        return (self.width * self.bits + 31) // 32 * 4

    @property
    def roles(self) -> tuple[Role, ...]:
        """Of the samples that are read."""
        if self.palette is not None and self.palette.shape[1] == 1:
            return ("grey",)
        colours: tuple[Role, ...] = ("red", "green", "blue")
        return (*colours, "alpha") if self.alpha_mask else colours


def read(path: Path) -> BmpHeader:
    """A file's header; raises ``InputError`` if it is damaged, or of a kind that is not read."""
    with path.open("rb") as file:
        head = file.read(_FILE_HEAD + _V5 + 16 + 4 * 256)
        try:
            return _parsed(path, head, file)
        except (struct.error, IndexError):
            raise damaged(path, "its header is not whole") from None


def carried(path: Path, header: BmpHeader) -> Carried:
    """All that goes from a file to its result's, beside samples."""
    image = nothing_carried().image
    if min(header.dots) > 0:
        image = image.copy(xres=header.dots[0] / 1000, yres=header.dots[1] / 1000)
    if header.profile:
        image = image.copy()
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", header.profile)
    few = fewer_bits(header.bits // 3 if header.bits == 16 else header.bits)
    if header.palette is not None and header.palette.shape[1] == 3:
        few = OF_PALETTE
    return dataclasses.replace(nothing_carried(), image=image, path=path, lossy=few)


def file_bytes(height: int, width: int, channels: int) -> int:
    """Bytes of a file, at most, without a profile."""
    return height * ((width * channels + 3) // 4 * 4) + _FILE_HEAD + _V5 + 1024


def packed(height: int, width: int, channels: int, carried: Carried) -> tuple[bytes, bytes]:
    """The bytes before and after the pixels of a file of 8, 24 or 32 bits.

    Alpha or a profile need the fifth version of the header; else it is the first, which all read.
    """
    profile = carried.find("icc-profile-data")
    profile = profile if isinstance(profile, bytes) else b""
    fifth = channels == 4 or bool(profile)
    palette = b"".join(bytes([i, i, i, 0]) for i in range(256)) if channels == 1 else b""
    info_bytes = _V5 if fifth else 40
    start = _FILE_HEAD + info_bytes + len(palette)
    pixels = height * ((width * channels + 3) // 4 * 4)
    dots = (0, 0)
    if carried.has_resolution:
        dots = (round(carried.image.xres * 1000), round(carried.image.yres * 1000))
    info = struct.pack(
        "<IiiHHIIiiII",
        *(info_bytes, width, height, 1, 8 * channels, _FIELDS if channels == 4 else _RGB),
        *(pixels, *dots, len(palette) // 4, 0),
    )
    if fifth:
        masks = (*BYTES, 0xFF000000) if channels == 4 else (0, 0, 0, 0)
        place = (info_bytes + len(palette) + pixels, len(profile)) if profile else (0, 0)
        space = _EMBEDDED if profile else _SRGB
        # Of photographs, as is the intent that is called 4.
        info += struct.pack("<4I4s36s3I4I", *masks, space, b"", 0, 0, 0, 4, *place, 0)
    total = start + pixels + len(profile)
    return struct.pack("<2sIHHI", b"BM", total, 0, 0, start) + info + palette, profile


def damaged(path: Path, reason: str) -> InputError:
    """The error of a file that cannot be read further."""
    return InputError(f"{path}: this picture is damaged or truncated: {reason}")


def _parsed(path: Path, head: bytes, file: Any) -> BmpHeader:
    start, size = struct.unpack_from("<II", head, 10)
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", head, 18)
        compression, dots, used = _RGB, (0, 0), 0
    else:
        width, height, _, bits, compression, _, *dots_, used = struct.unpack_from(
            "<iiHHIIiiI", head, 18
        )
        dots = (dots_[0], dots_[1])
    top_down, height = height < 0, abs(height)
    if width < 1 or height < 1:
        raise InputError(f"{path}: says that it has {width}x{height} pixels")
    run_bits = {_RLE8: 8, _RLE4: 4}.get(compression, 0) if size != 64 else 0
    known = {_RGB: (1, 2, 4, 8, 16, 24, 32), _FIELDS: (16, 32), _ALPHA_FIELDS: (16, 32)}
    known |= {_RLE8: (8,), _RLE4: (4,)}
    if (
        bits not in known.get(compression, ())
        or (size == 64 and compression)
        or (run_bits and top_down)
    ):
        raise InputError(
            f"{path}: its compression is number {compression}, of {bits} bits, which upres does "
            "not read: convert it to PNG"
        )
    after = _FILE_HEAD + size
    masks, alpha = (BYTES if bits == 32 else _FIVES), 0
    if compression in (_FIELDS, _ALPHA_FIELDS):
        # Of the first version, they follow the header; later ones have them in the same place.
        masks = struct.unpack_from("<3I", head, 54)
        if size >= 56 or compression == _ALPHA_FIELDS:
            (alpha,) = struct.unpack_from("<I", head, 66)
        after += 0 if size >= 52 else 12 if compression == _FIELDS else 16
        if not all(_is_run(mask, bits) for mask in masks) or (alpha and not _is_run(alpha, bits)):
            raise damaged(path, "its masks of colours have no sense")
    elif bits == 32 and size >= 108:
        (alpha,) = struct.unpack_from("<I", head, 66)
        alpha = alpha if alpha == 0xFF000000 else 0
    palette = None
    if bits <= 8:
        entry = 3 if size == 12 else 4
        room = max(0, start - after) // entry
        count = min(used or 2**bits, 2**bits, room if room else 2**bits)
        file.seek(after)
        colours = np.frombuffer(file.read(count * entry), np.uint8)
        if len(colours) < count * entry:
            raise damaged(path, "its palette is not whole")
        palette = colours.reshape(count, entry)[:, 2::-1]
        if (palette == palette[:, :1]).all():
            palette = palette[:, :1]
    masks = (masks[0], masks[1], masks[2])
    profile = b""
    if size == _V5 and head[_FILE_HEAD + 56 : _FILE_HEAD + 60] == _EMBEDDED:
        place, length = struct.unpack_from("<II", head, _FILE_HEAD + 112)
        if length <= _LONGEST_PROFILE:
            file.seek(_FILE_HEAD + place)
            profile = file.read(length)
            profile = profile if len(profile) == length else b""
    return BmpHeader(
        width, height, top_down, bits, start, run_bits, masks, alpha, palette, dots, profile
    )


def _is_run(mask: int, bits: int) -> bool:
    """Whether the bits that are set follow each other."""
    low = mask & -mask
    return 0 < mask < 2**bits and (mask + low) & mask == 0
