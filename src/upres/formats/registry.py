"""Files of all formats: each is found in the table, and its module does all input and output."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from upres.engine.machine import machine_memory
from upres.errors import InputError, OutputError, needs_extra
from upres.formats.suffixes import OTHER_SUFFIXES
from upres.formats.table import (
    FORMATS,
    HEAD_BYTES,
    OUTPUT_SUFFIXES,
    SUFFIXES,
    Format,
)
from upres.raster.info import RasterInfo
from upres.raster.source import Sink, Source

__all__ = [
    "FORMATS",
    "HEAD_BYTES",
    "OTHER_SUFFIXES",
    "OUTPUT_SUFFIXES",
    "SUFFIXES",
    "Format",
    "called",
    "check_output",
    "create_sink",
    "open_pages",
    "output_format",
    "read_head",
    "recognised",
    "sample_type",
    "suffix_in",
    "suffix_of_name",
]


_LONG_SUFFIXES = tuple(suffix for suffix in SUFFIXES if suffix.count(".") > 1)

_BY_SUFFIX = {suffix: row for row in reversed(FORMATS) for suffix in row.suffixes}


def recognised(head: bytes, path: Path | None = None) -> Format | None:
    """The format of a file that begins so; without its ``path``, of the plainest that does."""
    for row in FORMATS:
        if re.match(row.signature, head, re.DOTALL) and (
            row.holds is None or (path is not None and row.holds(path))
        ):
            return row
    return None


def called(suffix: str) -> Format | None:
    """The format of files with that suffix; ``None`` where there is none."""
    return _BY_SUFFIX.get(suffix.lower())


def suffix_in(path: PurePath) -> str:
    """The suffix of a file's name, in small letters: its last, or ``.nii.gz``."""
    return suffix_of_name(path.name)


def suffix_of_name(name: str) -> str:
    """The same of a name alone: lists of stores have millions, and paths take long to make."""
    name = name.lower()
    if name.endswith(_LONG_SUFFIXES):
        return next(filter(name.endswith, _LONG_SUFFIXES))
    dot = name.rfind(".")
    return name[dot:] if 0 < dot < len(name) - 1 else ""


def open_pages(
    path: Path, *, keep_cmyk: bool = False, row: Format | None = None
) -> Sequence[Source]:
    """Open a file, whatever its name says it is, and read its headers only: a source for each page.

    Most files have one page; the frames of an animation are one source. A page is opened each time
    that it is asked for, as there may be more of them than files can be open.

    CMYK is converted to sRGB by its own colour profile unless ``keep_cmyk``; RGB keeps its
    profile. ``row`` is the file's format, where that is known already.

    Raises ``InputError`` if it is missing, of no known format, damaged, or of a kind that could
    not be written back whole, ``MissingExtraError`` if its format needs an extra.
    """
    row = row or recognised(read_head(path), path)
    if row is None:
        known = ", ".join(dict.fromkeys(row.name.upper() for row in FORMATS))
        raise InputError(f"{path}: not a picture in a format that upres reads ({known})")
    opener: Callable[..., Sequence[Source]] = _module(row, "reading").open_pages
    return opener(path, keep_cmyk=keep_cmyk)


def read_head(path: Path) -> bytes:
    """The first bytes of a file.

    Raises ``InputError`` if a file is missing, empty, a pipe, or cannot be read.
    """
    try:
        if path.is_fifo() or path.is_socket():
            raise InputError(f"{path}: a pipe can be read once only: give it as standard input")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"{path}: cannot read this picture: {reason}") from None
    if not head:
        raise InputError(f"{path}: the file is empty")
    return head


def create_sink(
    path: Path,
    *,
    quality: int | None = None,
    pages: int = 1,
    content_bytes: int = 0,
    cog: bool = False,
) -> Sink:
    """A sink that writes a file of the format that ``path``'s suffix names.

    ``quality`` is that of lossy formats, 1 to 100; ``None`` is the source's, if it tells one. A
    sink of several ``pages`` is begun once for each; together they have ``content_bytes`` of
    samples. ``cog`` asks for a Cloud Optimized GeoTIFF.

    Raises ``OutputError`` if no format that is written has that suffix, or it is none of a COG.
    """
    row = output_format(path)
    maker: Callable[..., Sink] = _module(row, "writing").create_sink
    layout = {"cog": True} if cog else {}
    if cog and row.name != "tiff":
        raise OutputError(f"{path}: a Cloud Optimized GeoTIFF is called .tif")
    return maker(path, quality=quality, pages=pages, content_bytes=content_bytes, **layout)


def output_format(path: Path) -> Format:
    """The format that ``path``'s suffix names; raises ``OutputError`` if none can be written."""
    row = called(suffix_in(path))
    if row is None or not row.writes:
        raise OutputError(f"{path}: cannot write this format; name it {', '.join(OUTPUT_SUFFIXES)}")
    return row


def check_output(
    path: Path,
    info: RasterInfo,
    *,
    pages: int = 1,
    memory_of: Callable[[], int | None] = machine_memory,
) -> None:
    """Raise ``OutputError`` if the format that ``path``'s suffix names cannot hold a raster.

    Alpha counts if it is known to vary: before its samples are looked at, leave it out.
    ``memory_of`` tells the bytes of memory of the machine that is to write it.
    """
    row, suffix = output_format(path), suffix_in(path)
    own = row.name if row.closed else ""
    if own != info.only_as:
        name = (info.only_as or own).upper()
        raise OutputError(
            f"{path}: {name} becomes {name} only, and is made of nothing else: choose "
            f"{_suffixes_for(info)}"
        )
    if row.longest_side is not None and max(info.height, info.width) > row.longest_side:
        raise OutputError(
            f"{path}: the result, {info.width}x{info.height}, is more than the "
            f"{row.longest_side} pixels a side that {suffix} can hold: choose .png or .tif"
        )
    needed = info.pixels * row.encoder_bytes
    memory = memory_of() if needed else None
    if memory is not None and needed > memory // 2:
        raise OutputError(
            f"{path}: to write {info.width}x{info.height} pixels as {suffix} takes about "
            f"{needed:,} bytes of memory, more than half of this machine's {memory:,}: choose "
            ".png, .jpg or .tif, which take little"
        )
    if info.alpha is not None and not row.alpha:
        others = _that(info, lambda row: row.alpha)
        raise OutputError(
            f"{path}: {suffix} cannot hold the picture's transparency: choose {others}"
        )
    if info.frames is not None and row.endless:
        raise OutputError(f"{path}: {suffix} is for videos, and this is a picture: choose .png")
    if info.frames is None and not row.endless:
        others = _that(info, lambda row: row.endless and row.writes)
        raise OutputError(f"{path}: {suffix} cannot hold a video: choose {others}")
    if (info.frames or 2) > 1 and not row.frames:
        count = f"{info.frames} frames" if info.frames else "frames"
        others = _that(info, lambda row: row.frames)
        raise OutputError(f"{path}: {suffix} cannot hold the picture's {count}: choose {others}")
    if pages > 1 and not row.pages:
        raise OutputError(f"{path}: {suffix} cannot hold the file's {pages} pages: choose .tif")
    if info.colours == "linear" and not row.linear:
        others = _that(info)
        raise OutputError(f"{path}: {suffix} cannot hold linear light: choose {others}")
    if info.find("ink") and not row.cmyk:
        raise OutputError(f"{path}: {suffix} cannot hold CMYK: choose .jpg or .tif")
    if (info.nodata is not None or info.mask is not None) and not row.gaps:
        raise OutputError(f"{path}: {suffix} cannot hold samples that are missing: choose .tif")
    if info.find("other", "index") and not row.others:
        others = _that(info, lambda row: row.others)
        raise OutputError(
            f"{path}: {suffix} cannot hold bands that are no colours: choose {others}"
        )
    if not row.any_range:
        for band in info.varying:
            low, high = band.low, band.high
            whole = 1.0 if info.dtype.kind != "u" or info.dtype.itemsize > 2 else None
            if low is None or high is None or band.role == "alpha":
                continue
            if low < 0 or (whole is not None and high != whole):
                raise OutputError(
                    f"{path}: {suffix} cannot hold samples from {low:g} to {high:g}: choose .tif"
                )


def sample_type(row: Format, info: RasterInfo) -> np.dtype[Any]:
    """The type of a raster's samples in a format: its own, or the nearest that is deep enough."""
    if info.dtype.name in row.types:
        return info.dtype
    types = [np.dtype(name) for name in row.types]
    deep = [dtype for dtype in types if dtype.itemsize >= info.dtype.itemsize]
    alike = [dtype for dtype in deep if dtype.kind == info.dtype.kind]
    return (alike or deep or types[-1:])[0]


def _suffixes_for(info: RasterInfo) -> str:
    """The suffixes of the one format that a raster may be stored in, or of a few."""
    row = next((row for row in FORMATS if row.name == info.only_as), None)
    return " or ".join(row.suffixes) if row else ".png or .tif"


def _that(info: RasterInfo, holds: Callable[[Format], bool] = lambda row: True) -> str:
    """The suffixes of the formats that can be written and hold something, as a choice."""
    light = info.colours == "linear"
    rows = [row for row in FORMATS if row.writes and not row.closed and holds(row)]
    rows = [row for row in rows if row.endless is (info.frames is None)]
    rows = [row for row in rows if row.linear or not light]
    *most, last = (row.suffixes[0] for row in rows)
    return f"{', '.join(most)} or {last}" if most else last


def _module(row: Format, doing: str) -> Any:
    """The module of a format; raises ``MissingExtraError`` if its libraries are not there."""
    name = f"upres.formats.{row.module}"
    if row.extra is None:
        return import_module(name)
    with needs_extra(f"{doing} {row.name.upper()} files", row.extra):
        return import_module(name)
