"""The size of pixels in microscopes' TIFF files: ImageJ's descriptions, and OME-XML.

Both tell how large a pixel is under the microscope, in their description and by a resolution whose
unit only that knows. Sources: the OME model 2016-06 (Pixels); ImageJ's TiffEncoder and FileInfo.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from upres.errors import InputError
from upres.formats.metadata.tiff_tags import (
    NO_UNIT,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    Entry,
)

_IMAGEJ = b"ImageJ="
_OME = re.compile(rb"<(?:\w+:)?OME[\s>]")
_PIXELS = re.compile(rb"<(?:\w+:)?Pixels\b[^>]*>")
_SIDE = re.compile(rb"\b(Physical)?Size([XY])(\s*=\s*[\"'])([^\"']*)")
_OTHER_FILES = re.compile(rb"<(?:\w+:)?BinaryOnly\b|\bFileName\s*=\s*[\"']([^\"']*)")
_SHAPES = re.compile(rb"<(?:\w+:)?ROI[\s>]")
_STACK = re.compile(rb"^images=(\d+)", re.MULTILINE)
_RATIONAL, _SHORT = 5, 3
_MOST = 2**32 - 1


def is_measured(description: bytes) -> bool:
    """Whether a description is one of those that tell the size of pixels."""
    return description.startswith(_IMAGEJ) or bool(_OME.search(description))


def check(path: Path, description: bytes, height: int, width: int, *, pages: int) -> None:
    """Raise ``InputError`` if a description tells of more than can be kept right.

    It is that of a page of ``height`` x ``width``, the first of ``pages``.
    """
    problem = ""
    if description.startswith(_IMAGEJ):
        stack = _STACK.search(description)
        if stack and pages < int(stack[1]) < 10**9:
            problem = f"its {int(stack[1])} images are stored as {pages} of TIFF's pages"
    elif _OME.search(description):
        files = set(_OTHER_FILES.findall(description))
        sizes = {_size(pixels) for pixels in _PIXELS.findall(description)}
        if len(files) > 1 or b"" in files:
            problem = "its OME-XML tells of several files"
        elif _SHAPES.search(description):
            problem = "its OME-XML has regions (ROI), whose places would not fit"
        elif sizes - {(width, height)}:
            problem = "its OME-XML tells of other sizes than the page has"
    if problem:
        raise InputError(f"{path}: {problem}, which upres would not keep: save its images as TIFF")


def fitting(description: bytes, *, height: int, width: int) -> bytes:
    """A description for pages that have become ``height`` x ``width``.

    In OME-XML sizes become those, and a pixel's physical size as much less; ImageJ tells no sizes.
    """
    sides = {b"X": width, b"Y": height}

    def fit(pixels: re.Match[bytes]) -> bytes:
        old = dict(zip((b"X", b"Y"), _size(pixels[0]), strict=True))

        def side(found: re.Match[bytes]) -> bytes:
            physical, axis, between, value = found.groups()
            new = b"%d" % sides[axis]
            if physical:
                try:
                    new = repr(float(value) * old[axis] / sides[axis]).encode()
                except ValueError:
                    new = value
            return (physical or b"") + b"Size" + axis + between + new

        return _SIDE.sub(side, pixels[0])

    return _PIXELS.sub(fit, description) if _OME.search(description) else description


def density(entries: Sequence[Entry], description: bytes) -> tuple[int, ...]:
    """A page's resolution, as ``Carried.tiff_density``, where it has no unit, or a microscope's."""
    values = {tag: held for tag, _, _, held in entries if isinstance(held, bytes)}
    unit = int.from_bytes(values.get(RESOLUTION_UNIT, b"\2"), "little")
    if unit != NO_UNIT and not is_measured(description):
        return ()
    found = [values.get(tag, b"") for tag in (X_RESOLUTION, Y_RESOLUTION)]
    if any(len(value) != 8 for value in found):
        return ()
    numbers = struct.unpack("<4I", b"".join(found))
    return (*numbers, unit) if all(numbers) else ()


def resized(
    density: tuple[int, ...], across: tuple[int, int], down: tuple[int, int]
) -> list[Entry]:
    """The tags of a resolution, each side's having become so many times as much."""
    tags: list[Entry] = [(RESOLUTION_UNIT, _SHORT, 1, struct.pack("<H", density[4]))]
    for tag, over, under, (new, old) in (
        (X_RESOLUTION, density[0], density[1], across),
        (Y_RESOLUTION, density[2], density[3], down),
    ):
        value = Fraction(over * new, under * old)
        if max(value.numerator, value.denominator) > _MOST:
            value = value.limit_denominator(max(1, int(_MOST / max(Fraction(1), value))))
        whole = min(value.numerator, _MOST), value.denominator
        tags.append((tag, _RATIONAL, 1, struct.pack("<2I", *whole)))
    return tags


def _size(pixels: bytes) -> tuple[int, int]:
    """Width and height by an element ``Pixels``; 0 of a side that is no number."""
    told = {
        axis: int(value) if value.isdigit() else 0
        for physical, axis, _, value in _SIDE.findall(pixels)
        if not physical
    }
    return told.get(b"X", 0), told.get(b"Y", 0)
