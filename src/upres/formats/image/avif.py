"""AVIF, with its animations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from upres.errors import InputError
from upres.formats.image.avif_sequence import AvifSequenceSource
from upres.formats.image.avif_sequence_sink import AvifSequenceSink
from upres.formats.image.either import EitherSink
from upres.formats.image.vips import LOADERS, VipsSource
from upres.formats.image.vips_sink import Picture, VipsSink, save
from upres.formats.metadata import colour, exif
from upres.raster.source import Sink, Source

_QUALITY = 90
_MOST_BITS = 12


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open an AVIF file; see ``upres.formats.registry``."""
    with path.open("rb") as file:
        head = file.read(colour.AVIF_BYTES)
    if head[4:12] == b"ftypavis":
        return [AvifSequenceSource(path)]
    source = VipsSource(path, LOADERS["avif"], colour_numbers=colour.numbers_of_avif(head))
    count = source.carried.find("n-pages")
    if isinstance(count, int) and count > 1:
        raise InputError(f"{path}: has {count} pictures; upres takes files of one")
    return [source]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of an AVIF file; see ``upres.formats.registry``."""
    return EitherSink(
        lambda: VipsSink(path, _encode, quality=quality),
        lambda: AvifSequenceSink(path, _encode, quality=quality),
    )


def _encode(picture: Picture, path: Path) -> None:
    if picture.field("icc-profile-data") and picture.image.bands < 3:
        picture = picture.to_srgb()  # it has no profiles of grey
    deep = picture.image.format == "ushort"
    bits = int(picture.find("bits-per-sample", _MOST_BITS)) if deep else 8
    save(
        picture.image,
        "heifsave",
        path,
        keep=picture.keep,
        compression="av1",
        Q=picture.quality or _QUALITY,
        bitdepth=min(bits, _MOST_BITS),
        effort=3,  # the default, 4, takes eight times as long for as large a file
    )
    if picture.exif:
        exif.replace_in_avif(path, picture.exif_block)
