"""GIF, with its animations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from upres.formats.image.vips import LOADERS, VipsSource, load
from upres.formats.image.vips_sink import Picture, VipsSink
from upres.formats.metadata import gif_blocks
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.raster.source import Sink, Source


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a GIF file; see ``upres.formats.registry``."""
    first = load(path, LOADERS["gif"])
    frames = int(first.get("n-pages")) if first.get_typeof("n-pages") else 1
    comments, _ = gif_blocks.read(path)
    facts = Carried(nothing_carried().image, comments=tuple(comments))
    return [VipsSource(path, LOADERS["gif"], animated=frames > 1, facts=facts)]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of a GIF file; see ``upres.formats.registry``."""
    return VipsSink(path, _encode, quality=quality)


def _encode(picture: Picture, path: Path) -> None:
    packet = picture.field("xmp-data")
    if picture.field("icc-profile-data"):
        picture = picture.to_srgb()  # it has no profiles
    # Equal frames are kept, so that timing stays as it was.
    picture.image.gifsave(
        os.fsencode(path),  # pyvips takes str for UTF-8
        keep=picture.keep,
        keep_duplicate_frames=True,
    )
    gif_blocks.add(path, list(picture.carried.comments), packet)
