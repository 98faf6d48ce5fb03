"""GIF, with its animations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from upres.errors import InputError
from upres.formats.image.gif_source import UNIT, GifSource
from upres.formats.image.vips import LOADERS, VipsSource
from upres.formats.image.vips_sink import Picture, VipsSink, save
from upres.formats.metadata import gif_blocks, timing
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.formats.trailing import trailing
from upres.raster.source import Sink, Source


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a GIF file; see ``upres.formats.registry``."""
    blocks = gif_blocks.read(path)
    if not blocks.is_whole:
        # libvips would show the frames that are there.
        raise InputError(f"{path}: this picture is damaged or truncated: it has no end")
    facts = Carried(
        nothing_carried().image, comments=blocks.comments, extras=trailing(path, blocks.end)
    )
    still = VipsSource(path, LOADERS["gif"], facts=facts, blocks={"xmp-data": blocks.xmp})
    return [GifSource(path, still, blocks)]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of a GIF file; see ``upres.formats.registry``."""
    return VipsSink(path, _encode, quality=quality, longest_frame=65535 * UNIT)


def _encode(picture: Picture, path: Path) -> None:
    packet = picture.field("xmp-data")
    if picture.field("icc-profile-data"):
        picture = picture.to_srgb()  # it has no profiles
    if picture.carried.frames > 1:
        # To the nearest unit, each by itself: where some were shorter than others, browsers would
        # show those of one unit for ten.
        units = timing.nearest(timing.seconds(picture.carried), UNIT)
        picture = picture.with_numbers("delay", [10 * count for count in units])
    # Equal frames are kept, so that timing stays as it was.
    save(
        picture.image,
        "gifsave",
        path,
        keep=picture.keep,
        keep_duplicate_frames=True,
    )
    gif_blocks.add(path, picture.carried.comments, packet)
