"""JPEG, with all that its segments say, and the gain map of an Ultra HDR photograph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from upres.formats.image.vips import LOADERS, VipsSource
from upres.formats.image.vips_sink import LEAST_QUALITY, Picture, VipsSink, save
from upres.formats.metadata import (
    comments,
    density,
    gain_map,
    iptc,
    jpeg_kept,
    names,
    tiff_exif,
    xmp,
)
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.formats.metadata.exif import PREFIX
from upres.formats.metadata.jpeg_segments import (
    LONGEST_SEGMENT,
    Segment,
    is_420,
    jpeg_segments,
    rewrite,
)
from upres.formats.trailing import FURTHER_PICTURES, trailing
from upres.raster.source import Sink, Source

_OPTIMISED_PIXELS = 2**24
"""Above that, the memory that optimal Huffman tables take is not worth it."""


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a JPEG file; see ``upres.formats.registry``."""
    segments = tuple(jpeg_segments(path))
    facts = Carried(
        nothing_carried().image,
        comments=tuple(comments.of_segments(segments)),
        segments=segments,
        density=density.of_jpeg(segments),
        extras=tuple(_extras(path, segments)),
    )
    return [
        VipsSource(
            path,
            LOADERS["jpeg"],
            keep_cmyk=keep_cmyk,
            facts=facts,
            blocks={
                "iptc-data": iptc.whole(segments),
                "exif-data": jpeg_kept.whole_exif(segments),
            },
        )
    ]


def _extras(path: Path, segments: Sequence[Segment]) -> Iterator[str]:
    """Names of what is in the file beside the picture and what describes it."""
    others = gain_map.others(segments)
    if others and gain_map.read(path, segments, 1):
        yield names.GAIN_MAP
        others = others[1:]
    if others:
        yield FURTHER_PICTURES
    elif not gain_map.others(segments):
        yield from trailing(path, jpeg_kept.end(path, segments))
    if jpeg_kept.makers(segments):
        yield names.MAKERS
    yield from jpeg_kept.untrue(segments)


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of a JPEG file; see ``upres.formats.registry``."""
    return VipsSink(path, _encode, quality=quality, meanwhile=True)


def _encode(picture: Picture, path: Path) -> None:
    carried, packet = picture.carried, picture.field("xmp-data")
    light = None
    if carried.path is not None:
        light = gain_map.read(carried.path, carried.segments, carried.orientation)
    if light and packet:
        packet = light.fitting_xmp(packet)
        picture = picture.with_field("xmp-data", packet)
    captions = picture.field("iptc-data")
    segments = jpeg_kept.makers(carried.segments)
    segments += xmp.extended(carried.segments) + comments.to_segments(carried.comments)
    # libvips would leave these out, or write a part of them.
    if len(packet) > xmp.LONGEST:
        picture = picture.without("xmp-data")
        segments += xmp.split(packet)
    if len(captions) > LONGEST_SEGMENT:
        picture = picture.without("iptc-data")
        segments += iptc.split(captions)
    image = picture.image
    save(
        image,
        "jpegsave",
        path,
        keep=picture.keep,
        Q=picture.quality or max(LEAST_QUALITY, carried.jpeg_quality or 0),
        subsample_mode="on" if is_420(carried.segments) else "off",
        optimize_coding=image.width * image.height <= _OPTIMISED_PIXELS,
    )
    size = density.for_jpeg(carried.upright_density, carried.resolution)
    cmyk = bool(picture.info.find("ink"))
    block = tiff_exif.for_jpeg(picture.exif).removeprefix(PREFIX) if picture.exif else b""
    if len(block) < len(picture.exif_block):
        picture.not_kept.append("long values of EXIF")
    rewrite(
        path,
        # libvips writes one only where there is no EXIF.
        header=(picture.keep != "all" or carried.density is not None) and not cmyk,
        density=density.as_jfif(size) if size else b"",
        exif=PREFIX + block if block else b"",
        segments=segments,
        second=(light.segments, light.content) if light else None,
    )
