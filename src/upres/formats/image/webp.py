"""WebP, with its animations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from upres.formats.image.vips import LOADERS, VipsSource
from upres.formats.image.vips_sink import LEAST_QUALITY, Picture, VipsSink, save
from upres.formats.metadata import exif
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.raster.source import Sink, Source


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a WebP file; see ``upres.formats.registry``."""
    frames, lossless = _facts(path)
    facts = Carried(nothing_carried().image, lossless=lossless)
    return [VipsSource(path, LOADERS["webp"], animated=frames > 1, facts=facts)]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of a WebP file; see ``upres.formats.registry``."""
    return VipsSink(path, _encode, quality=quality)


def _encode(picture: Picture, path: Path) -> None:
    if picture.field("icc-profile-data") and picture.image.bands < 3:
        picture = picture.to_srgb()  # it has no profiles of grey
    lossless = picture.quality is None and picture.carried.lossless
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
    if picture.exif:
        exif.replace_in_webp(path, picture.exif_block)


def _facts(path: Path) -> tuple[int, bool]:
    """How many frames a file has, and whether its first is stored without loss.

    Source: WebP Container Specification (RFC 9649), section 2.7.
    """
    frames, lossless = 0, None
    with path.open("rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            kind, length = head[:4], int.from_bytes(head[4:], "little")
            if kind in (b"VP8 ", b"VP8L") and lossless is None:
                lossless = kind == b"VP8L"
            after = file.tell() + length + length % 2
            if kind == b"ANMF":
                frames += 1
                if lossless is None:
                    # A frame's own chunks follow 16 bytes about its place and time.
                    file.seek(16, 1)
                    continue
            file.seek(after)
    return max(1, frames), bool(lossless)
