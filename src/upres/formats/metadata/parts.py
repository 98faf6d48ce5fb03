"""The items that a picture's file says of itself, by name, and which of them a result lacks."""

from __future__ import annotations

from collections.abc import Iterable

from upres.formats.metadata import iptc, names, png_kept
from upres.formats.metadata.carried import Carried


def not_kept(carried: Carried, keeps: Iterable[str]) -> list[str]:
    """Names of what a picture's file has, and a format that ``keeps`` parts of these kinds lacks.

    What the result does without on purpose, such as a preview of the small picture, is no part.
    """
    kept = frozenset(keeps)
    lost = [name for name in _simple(carried) if name not in kept]
    if names.CHUNKS not in kept:
        lost += png_kept.names(carried.chunks)
    return list(dict.fromkeys(lost))


def _simple(carried: Carried) -> Iterable[str]:
    for field, name in (
        ("exif-data", names.EXIF),
        ("xmp-data", names.XMP),
        ("icc-profile-data", names.PROFILE),
    ):
        if carried.find(field):
            yield name
    blocks = carried.find("iptc-data")
    if isinstance(blocks, bytes):
        if iptc.has_captions(blocks):
            yield names.IPTC
        if iptc.has_others(blocks):
            yield names.PHOTOSHOP
    if carried.has_resolution:
        yield names.RESOLUTION
    if carried.density and carried.density.is_oblong:
        yield names.ASPECT
    if carried.comments:
        yield names.COMMENTS
    if png_kept.has_text(carried.chunks):
        yield names.TEXT
    yield from carried.extras
