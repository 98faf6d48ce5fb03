"""WebP, with its animations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from upres.formats.image.vips import LOADERS, VipsSource
from upres.formats.image.vips_sink import LEAST_QUALITY, Picture, VipsSink, save
from upres.formats.metadata import exif, timing
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.formats.trailing import trailing
from upres.raster.source import Sink, Source

_PIXELS = (b"VP8 ", b"VP8L")
_UNIT = Fraction(1, 1000)
"""Of a second, in which WebP tells for how long a frame is shown."""
_LONGEST, _SHORTEST = 2**24 - 1, 10
"""Units that can be told, and those for which libvips writes 100."""


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a WebP file; see ``upres.formats.registry``."""
    frames, lossless = _facts(path)
    with path.open("rb") as file:
        end = 8 + int.from_bytes(file.read(8)[4:], "little")
    extras = trailing(path, end + end % 2)
    facts = Carried(nothing_carried().image, lossless=lossless, extras=extras)
    return [VipsSource(path, LOADERS["webp"], animated=frames > 1, facts=facts)]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of a WebP file; see ``upres.formats.registry``."""
    return VipsSink(path, _encode, quality=quality, longest_frame=_LONGEST * _UNIT)


def _encode(picture: Picture, path: Path) -> None:
    if picture.field("icc-profile-data") and picture.image.bands < 3:
        picture = picture.to_srgb()  # it has no profiles of grey
    lossless = picture.quality is None and picture.carried.lossless
    factor = 1
    if picture.carried.frames > 1:
        delays = timing.in_units(timing.seconds(picture.carried), _UNIT)
        factor = _factor(delays)
        # One more than is too short, where factors change nothing.
        spared = _SHORTEST + 1 if factor > 1 else 0
        picture = picture.with_numbers("delay", [factor * d or spared for d in delays])
    save(
        picture.image,
        "webpsave",
        path,
        keep=picture.keep,
        Q=picture.quality or LEAST_QUALITY,
        lossless=lossless,
        # Near enough to nothing is not nothing: keep colour under transparency, too.
        exact=lossless,
    )
    if factor > 1:
        _divide_durations(path, factor)
    if picture.exif:
        exif.replace_in_webp(path, picture.exif_block)


def _factor(delays: Sequence[int]) -> int:
    """By which to multiply delays so that libvips does not take one for too short; 1 for nothing.

    It puts equal frames together and adds their delays, so that afterwards nobody could tell
    which was which; the sum of multiples is the multiple of the sum.
    """
    if min(delays) > _SHORTEST:
        return 1
    factor = min(1000, _LONGEST // max(1, *delays))
    # Else the addition to delays of 0 would count.
    return factor if factor > 10 * _SHORTEST else 1


def _divide_durations(path: Path, factor: int) -> None:
    """Divide the time for which a file's frames are shown."""
    with path.open("r+b") as file:
        for kind, start, _ in list(_chunks(file)):
            if kind == b"ANMF":
                file.seek(start + 12)  # behind the frame's place and size
                duration = int.from_bytes(file.read(3), "little") // factor
                file.seek(start + 12)
                file.write(duration.to_bytes(3, "little"))


def _facts(path: Path) -> tuple[int, bool]:
    """How many frames a file has, and whether its first is stored without loss."""
    frames, lossless = 0, None
    with path.open("rb") as file:
        for kind, start, length in _chunks(file):
            if kind == b"ANMF":
                frames += 1
                if lossless is None:
                    # A frame's own chunks follow 16 bytes about its place and time.
                    inner = (k for k, *_ in _chunks(file, start + 16, start + length))
                    lossless = next((k for k in inner if k in _PIXELS), b"") == b"VP8L"
            elif kind in _PIXELS and lossless is None:
                lossless = kind == b"VP8L"
    return max(1, frames), bool(lossless)


def _chunks(file: BinaryIO, start: int = 12, end: int = 2**32) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and length of the content of the chunks that follow each other from ``start``.

    Source: WebP Container Specification (RFC 9649), sections 2.3 and 2.7.
    """
    while start < end:
        file.seek(start)
        head = file.read(8)
        if len(head) < 8:
            return
        length = int.from_bytes(head[4:], "little")
        yield head[:4], start + 8, length
        start += 8 + length + length % 2
