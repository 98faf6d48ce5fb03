"""GIF, with its animations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from upres.errors import InputError
from upres.formats.image.vips import LOADERS, VipsSource
from upres.formats.image.vips_sink import Picture, VipsSink, save
from upres.formats.metadata import gif_blocks
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.raster.source import Sink, Source


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a GIF file; see ``upres.formats.registry``."""
    blocks = gif_blocks.read(path)
    if not blocks.is_whole:
        # libvips would show the frames that are there.
        raise InputError(f"{path}: this picture is damaged or truncated: it ends within a block")
    facts = Carried(nothing_carried().image, comments=blocks.comments)
    source = VipsSource(
        path,
        LOADERS["gif"],
        animated=blocks.frames > 1,
        facts=facts,
        blocks={"xmp-data": blocks.xmp},
    )
    if (source.info.frames or 1) < blocks.frames:
        raise InputError(
            f"{path}: has {blocks.frames} frames, and only {source.info.frames} can be read: save "
            "it anew by another program"
        )
    return [source]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of a GIF file; see ``upres.formats.registry``."""
    return VipsSink(path, _encode, quality=quality)


def _encode(picture: Picture, path: Path) -> None:
    packet = picture.field("xmp-data")
    if picture.field("icc-profile-data"):
        picture = picture.to_srgb()  # it has no profiles
    # Equal frames are kept, so that timing stays as it was.
    save(
        picture.image,
        "gifsave",
        path,
        keep=picture.keep,
        keep_duplicate_frames=True,
    )
    gif_blocks.add(path, picture.carried.comments, packet)
