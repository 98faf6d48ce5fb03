"""PNG, with all that its chunks say of colours, text and size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from upres.errors import InputError
from upres.formats.image.vips import LOADERS, VipsSource
from upres.formats.image.vips_sink import Picture, VipsSink, save
from upres.formats.metadata import png_chunks
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.formats.metadata.exif import PREFIX
from upres.raster.source import Sink, Source


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a PNG file; see ``upres.formats.registry``."""
    chunks = tuple(png_chunks.read(path))
    if png_chunks.is_animated(chunks):
        raise InputError(
            f"{path}: an animated PNG, of which upres would lose all but the first frame: "
            "convert it to .webp or .gif"
        )
    exif, packet = png_chunks.embedded(chunks)
    source = VipsSource(
        path,
        LOADERS["png"],
        keep_cmyk=keep_cmyk,
        facts=Carried(nothing_carried().image, chunks=chunks),
        # libvips sees those before the pixels.
        blocks={"exif-data": exif and PREFIX + exif, "xmp-data": packet},
        has_resolution=png_chunks.has_size(chunks),
    )
    return [source]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of a PNG file; see ``upres.formats.registry``."""
    return VipsSink(path, _encode, quality=quality, any_colours=True)


def _encode(picture: Picture, path: Path) -> None:
    carried, image = picture.carried, picture.image
    # A file that was read with a palette would be written with one again.
    save(
        image,
        "pngsave",
        path,
        keep=picture.keep,
        palette=False,
        bitdepth=16 if image.format == "ushort" else 8,
        # Of enlarged photographs the smallest file for its time: a quarter smaller than by the
        # defaults, and faster. To try all filters gains nothing.
        compression=3,
        filter="avg",
    )
    png_chunks.rewrite(
        path,
        added=png_chunks.kept(carried.chunks, turned=carried.orientation != 1),
        comments=carried.comments,
        meaning=carried.meaning,
        exif=picture.exif_block,
        size=carried.has_resolution,
    )
