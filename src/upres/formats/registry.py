"""Which formats there are: a row each, and a module each, which does all input and output."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from upres.engine.machine import machine_memory
from upres.errors import InputError, OutputError, needs_extra
from upres.raster.info import SAMPLE_TYPES, RasterInfo
from upres.raster.source import Sink, Source


@dataclass(frozen=True)
class Format:
    """A format of files: how it is recognised, and what it can hold."""

    name: str
    """In small letters: ``jpeg``."""
    suffixes: tuple[str, ...]
    """In small letters, the customary one first; those of files that are read and written."""
    signature: bytes
    """A regular expression that a file's first ``HEAD_BYTES`` match from their start."""
    module: str
    """Where it is read and written: the name of a module in ``upres.formats`` that has
    ``open_pages(path, *, keep_cmyk)`` and, if it is written, ``create_sink(path, *, quality, pages,
    content_bytes)``."""
    extra: str | None = None
    """The extra of upres that the module's libraries are in."""
    types: tuple[str, ...] = ()
    """Types of samples that it holds, the least first; none of a format that is only read."""
    alpha: bool = False
    cmyk: bool = False
    grey: bool = True
    others: bool = False
    """Whether it holds bands that are no colours."""
    any_range: bool = False
    """Whether samples may lie outside of [0, 1], or of their type's range."""
    linear: bool = False
    """Whether its samples are proportional to light."""
    frames: bool = False
    pages: bool = False
    longest_side: int | None = None
    """Most pixels of a side."""
    encoder_bytes: int = 0
    """Memory for each pixel of an encoder that wants a whole frame at once, as measured."""

    @property
    def writes(self) -> bool:
        """Whether files of it are written."""
        return bool(self.types)


HEAD_BYTES = 256

FORMATS = (
    Format(
        "png",
        (".png",),
        rb"\x89PNG\r\n\x1a\n",
        "image.png",
        types=("uint8", "uint16"),
        alpha=True,
    ),
    Format(
        "jpeg",
        (".jpg", ".jpeg"),
        rb"\xff\xd8",
        "image.jpeg",
        types=("uint8",),
        cmyk=True,
        longest_side=65535,
    ),
    Format(
        "webp",
        (".webp",),
        rb"RIFF.{4}WEBP",
        "image.webp",
        types=("uint8",),
        alpha=True,
        frames=True,
        longest_side=16383,
        encoder_bytes=8,
    ),
    Format(
        "tiff",
        (".tif", ".tiff"),
        rb"II[*+]\0|MM\0[*+]",
        "image.tiff",
        types=SAMPLE_TYPES,
        alpha=True,
        cmyk=True,
        others=True,
        any_range=True,
        pages=True,
    ),
    Format(
        "avif",
        (".avif",),
        rb".{4}ftyp(?:.{4})*?avi[fs]",
        "image.avif",
        types=("uint8", "uint16"),
        alpha=True,
        longest_side=16384,
        encoder_bytes=34,
    ),
    Format(
        "gif",
        (".gif",),
        rb"GIF8[79]a",
        "image.gif",
        types=("uint8",),
        alpha=True,
        frames=True,
        longest_side=65535,
        encoder_bytes=12,
    ),
    Format(
        "bmp",
        (".bmp", ".dib"),
        # The size of the header that follows tells it from other things that begin with BM.
        rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0",
        "image.bmp",
        types=("uint8",),
        alpha=True,
        longest_side=2**31 - 1,
    ),
    Format(
        "pnm",
        (".ppm", ".pgm", ".pnm"),
        rb"P[2356][\s#]",
        "image.netpbm",
        types=("uint8", "uint16"),
    ),
    Format("pbm", (".pbm",), rb"P[14][\s#]", "image.netpbm"),
    Format(
        "pam",
        (".pam",),
        rb"P7\n",
        "image.netpbm",
        types=("uint8", "uint16"),
        alpha=True,
        cmyk=True,
        others=True,
    ),
    Format(
        "pfm",
        (".pfm",),
        rb"P[Ff]\s",
        "image.pfm",
        types=("float32",),
        any_range=True,
        linear=True,
    ),
    Format(
        "exr",
        (".exr",),
        rb"\x76\x2f\x31\x01",
        "image.exr",
        extra="formats",
        types=("float16", "float32"),
        alpha=True,
        others=True,
        any_range=True,
        linear=True,
        longest_side=2**30,
    ),
    Format(
        "hdr",
        (".hdr", ".pic"),
        rb"#\?(?:RADIANCE|RGBE)[\r\n]",
        "image.hdr",
        types=("float32",),
        any_range=True,
        linear=True,
    ),
)

SUFFIXES = tuple(suffix for row in FORMATS for suffix in row.suffixes)
"""Of the files that are read, in lower case."""

OUTPUT_SUFFIXES = tuple(suffix for row in FORMATS if row.writes for suffix in row.suffixes)
"""Of the files that can be written."""


def recognised(head: bytes) -> Format | None:
    """The format of a file that begins so, whatever its name; ``None`` of another."""
    for row in FORMATS:
        if re.match(row.signature, head, re.DOTALL):
            return row
    return None


def called(suffix: str) -> Format | None:
    """The format of files with that suffix; ``None`` where there is none."""
    return next((row for row in FORMATS if suffix.lower() in row.suffixes), None)


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a file, whatever its name says it is, and read its headers only: a source for each page.

    Most files have one page; the frames of an animation are one source. A page is opened each time
    that it is asked for, as there may be more of them than files can be open.

    CMYK is converted to sRGB by its own colour profile unless ``keep_cmyk``; RGB keeps its
    profile.

    Raises ``InputError`` if it is missing, of no known format, damaged, or of a kind that could
    not be written back whole, ``MissingExtraError`` if its format needs an extra.
    """
    head = read_head(path)
    row = recognised(head)
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
    path: Path, *, quality: int | None = None, pages: int = 1, content_bytes: int = 0
) -> Sink:
    """A sink that writes a file of the format that ``path``'s suffix names.

    ``quality`` is that of lossy formats, 1 to 100; ``None`` is the source's, if it tells one. A
    sink of several ``pages`` is begun once for each; together they have ``content_bytes`` of
    samples.

    Raises ``OutputError`` if no format that is written has that suffix.
    """
    row = output_format(path)
    maker: Callable[..., Sink] = _module(row, "writing").create_sink
    return maker(path, quality=quality, pages=pages, content_bytes=content_bytes)


def output_format(path: Path) -> Format:
    """The format that ``path``'s suffix names; raises ``OutputError`` if none can be written."""
    row = called(path.suffix)
    if row is None or not row.writes:
        raise OutputError(f"{path}: cannot write this format; name it {', '.join(OUTPUT_SUFFIXES)}")
    return row


def check_output(path: Path, info: RasterInfo, *, pages: int = 1) -> None:
    """Raise ``OutputError`` if the format that ``path``'s suffix names cannot hold a raster.

    Alpha counts if it is known to vary: before its samples are looked at, leave it out.
    """
    row, suffix = output_format(path), path.suffix.lower()
    if row.longest_side is not None and max(info.height, info.width) > row.longest_side:
        raise OutputError(
            f"{path}: the result, {info.width}x{info.height}, is more than the "
            f"{row.longest_side} pixels a side that {suffix} can hold: choose .png or .tif"
        )
    needed = info.pixels * row.encoder_bytes
    memory = machine_memory() if needed else None
    if memory is not None and needed > memory // 2:
        raise OutputError(
            f"{path}: to write {info.width}x{info.height} pixels as {suffix} takes about "
            f"{needed:,} bytes of memory, more than half of this machine's {memory:,}: choose "
            ".png, .jpg or .tif, which take little"
        )
    if info.alpha is not None and not row.alpha:
        others = _that(lambda row: row.alpha)
        raise OutputError(
            f"{path}: {suffix} cannot hold the picture's transparency: choose {others}"
        )
    if (info.frames or 2) > 1 and not row.frames:
        count = f"{info.frames} frames" if info.frames else "frames"
        others = _that(lambda row: row.frames)
        raise OutputError(f"{path}: {suffix} cannot hold the picture's {count}: choose {others}")
    if pages > 1 and not row.pages:
        raise OutputError(f"{path}: {suffix} cannot hold the file's {pages} pages: choose .tif")
    if info.colours == "linear" and not row.linear:
        others = _that(lambda row: row.linear)
        raise OutputError(f"{path}: {suffix} cannot hold linear light: choose {others}")
    if info.find("ink") and not row.cmyk:
        raise OutputError(f"{path}: {suffix} cannot hold CMYK: choose .jpg or .tif")
    if info.find("other", "index") and not row.others:
        raise OutputError(f"{path}: {suffix} cannot hold bands that are no colours: choose .tif")
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


def _that(holds: Callable[[Format], bool]) -> str:
    """The suffixes of the formats that can be written and hold something, as a choice."""
    *most, last = (row.suffixes[0] for row in FORMATS if row.writes and holds(row))
    return f"{', '.join(most)} or {last}" if most else last


def _module(row: Format, doing: str) -> Any:
    """The module of a format; raises ``MissingExtraError`` if its libraries are not there."""
    name = f"upres.formats.{row.module}"
    if row.extra is None:
        return import_module(name)
    with needs_extra(f"{doing} {row.name.upper()} files", row.extra):
        return import_module(name)
