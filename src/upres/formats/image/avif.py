"""AVIF, with its animations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyvips

from upres.errors import InputError
from upres.formats.image import avif_chroma
from upres.formats.image.avif_sequence import AvifSequenceSource
from upres.formats.image.avif_sequence_sink import AvifSequenceSink
from upres.formats.image.either import still_or_moving
from upres.formats.image.vips import LOADERS, VipsSource
from upres.formats.image.vips_sink import Picture, VipsSink, save
from upres.formats.metadata import avif_colours, avif_items, exif
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.raster.source import Sink, Source

_QUALITY = 90
_MOST_BITS = 12


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open an AVIF file; see ``upres.formats.registry``."""
    with path.open("rb") as file:
        animated = file.read(12)[4:] == b"ftypavis"
    if animated:
        return [AvifSequenceSource(path)]
    items = avif_items.read(path)
    if len(items.pictures) > 1:
        raise InputError(f"{path}: has {len(items.pictures)} pictures; upres takes files of one")
    facts = Carried(nothing_carried().image, extras=tuple(items.extras))
    chroma = avif_chroma.of_properties(items.coded)
    return [
        VipsSource(
            path,
            LOADERS["avif"],
            source=(lambda: chroma.as_planes(path.read_bytes())) if chroma else None,
            facts=facts,
            colour_numbers=items.colour_numbers,
            to_rgb=chroma.to_rgb if chroma else None,
        )
    ]


def create_sink(path: Path, *, quality: int | None, pages: int, content_bytes: int) -> Sink:
    """A sink of an AVIF file; see ``upres.formats.registry``."""
    return still_or_moving(
        lambda: VipsSink(path, _encode, quality=quality, any_colours=True),
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
    meaning = picture.carried.meaning
    if meaning and not avif_colours.tell(path, meaning[0], meaning[1]):
        raise pyvips.Error("its colours cannot be told")
    if picture.carried.path is not None:
        light = avif_items.read(picture.carried.path).light
        if light and not avif_colours.add(path, light):
            picture.not_kept.append("light level")
