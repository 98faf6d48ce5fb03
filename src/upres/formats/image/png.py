"""PNG, with all that its chunks say of colours, text and size, and its animations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from upres.errors import InputError
from upres.formats.image.apng import ApngSource
from upres.formats.image.apng_sink import ApngSink
from upres.formats.image.either import still_or_moving
from upres.formats.image.vips import LOADERS, VipsSource
from upres.formats.image.vips_sink import Picture, VipsSink, save
from upres.formats.metadata import density, png_chunks, png_kept
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.formats.trailing import trailing
from upres.raster.source import Sink, Source


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a PNG file; see ``upres.formats.registry``."""
    chunks = tuple(png_chunks.read(path))
    end = png_chunks.end(chunks)
    # libvips is content with the pixels, and text may stand behind them.
    if chunks and (end is None or end > path.stat().st_size):
        raise InputError(f"{path}: this picture is damaged or truncated: it has no end")
    source = VipsSource(
        path,
        LOADERS["png"],
        keep_cmyk=keep_cmyk,
        facts=Carried(
            nothing_carried().image,
            chunks=chunks,
            density=density.of_png(chunks),
            extras=trailing(path, end),
        ),
        # libvips sees EXIF and XMP before the pixels.
        blocks=png_chunks.embedded(chunks),
        colour_numbers=png_chunks.colour_numbers(chunks),
    )
    return [ApngSource(path, source, chunks) if png_chunks.is_animated(chunks) else source]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of a PNG file; see ``upres.formats.registry``."""
    return still_or_moving(
        lambda: VipsSink(path, _encode, quality=quality, any_colours=True, meanwhile=True),
        lambda: ApngSink(path, _encode),
    )


def _encode(picture: Picture, path: Path) -> None:
    carried, image = picture.carried, picture.image
    depth = 16 if image.format == "ushort" else 8
    # A file that was read with a palette would be written with one again.
    save(
        image,
        "pngsave",
        path,
        keep=picture.keep,
        palette=False,
        bitdepth=depth,
        # Of enlarged photographs the smallest file for its time: a quarter smaller than by the
        # defaults, and faster. To try all filters gains nothing.
        compression=3,
        filter="avg",
    )
    result = png_kept.Result(
        image.width,
        image.height,
        image.bands,
        depth,
        carried.orientation,
    )
    fitted, untrue = png_kept.fitted(carried.chunks, result)
    picture.not_kept.extend(untrue)
    if any(c.kind in png_chunks.TEXT and c.content is None for c in carried.chunks):
        picture.not_kept.append("damaged or very long text")
    size = density.for_png(carried.upright_density, carried.resolution)
    png_chunks.rewrite(
        path,
        added=png_chunks.kept(carried.chunks, turned=carried.orientation != 1) + fitted,
        comments=carried.comments,
        meaning=carried.meaning,
        exif=picture.exif_block,
        iptc=picture.field("iptc-data"),
        size=density.as_phys(size) if size else b"",
    )
