"""The tags by which a TIFF file has a place on the map, or GDAL's words on its samples.

Source: OGC 19-008 (GeoTIFF 1.1), and GDAL's page on its GTiff driver.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

from upres.formats.metadata.tiff_tags import read_header, read_tags

PLACE_TAGS = frozenset({33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113, 50844})
"""Scale, tie points, transformation, GeoTIFF's keys, GDAL's metadata, its value of no data, and
rational polynomials."""

_TRANSFORMS = (frozenset({33550, 33922}), frozenset({34264}))
"""The tags that, together, lead from pixels to places."""

_WORLD_FILES = (".tfw", ".tifw", ".wld")

_POLYNOMIALS = (".RPB", ".rpb", "_RPC.TXT", "_rpc.txt")
"""Endings of files of rational polynomials, in place of the suffix."""

_AUXILIARY, _MASK, _OVERVIEWS = ".aux.xml", ".msk", ".ovr"
"""Those of GDAL's own files, behind the suffix."""

_IN_AUXILIARY = (
    *(b"<GeoTransform", b"<SRS", b"<GCPList", b"<GeodataXform", b'domain="RPC"'),
    *(b"<NoDataValue", b"<MaskFlags"),
)
"""Parts of that file by which a raster has a place, or missing samples."""

_MOST = 2**20


def is_geotiff(path: Path) -> bool:
    """Whether a TIFF file has a place on the map, or GDAL's tags, in it or in a file beside it."""
    with suppress(OSError, struct.error), path.open("rb") as file:
        endian, big, start = read_header(file)
        if not PLACE_TAGS.isdisjoint(read_tags(file, endian, big, start)):
            return True
    words = {path.name + ending for ending in (_AUXILIARY, _OVERVIEWS)}
    if any(beside.name not in words for beside in files_beside(path)):
        return True
    return any(part in auxiliary(path) for part in _IN_AUXILIARY)


def files_beside(path: Path) -> list[Path]:
    """The files beside a TIFF file that are parts of its raster: its place, mask, and the like."""
    return [each for each in names_beside(path) if each.is_file()]


def names_beside(path: Path) -> list[Path]:
    """The names that such files may have."""
    stems = [path.with_suffix(suffix) for suffix in _WORLD_FILES]
    stems += [path.with_name(path.stem + ending) for ending in _POLYNOMIALS]
    stems += [path.with_name(path.name + end) for end in (_AUXILIARY, _MASK, _OVERVIEWS)]
    return stems


def has_transform(path: Path) -> bool:
    """Whether a TIFF file, or one beside it, leads from pixels to places, be it by 1 to 1.

    GDAL gives that transform of files without any, too.
    """
    with suppress(OSError, struct.error), path.open("rb") as file:
        endian, big, start = read_header(file)
        tags = set(read_tags(file, endian, big, start))
        if any(needed <= tags for needed in _TRANSFORMS):
            return True
    if any(path.with_suffix(suffix).is_file() for suffix in _WORLD_FILES):
        return True
    return b"<GeoTransform" in auxiliary(path)


def auxiliary(path: Path) -> bytes:
    """The beginning of the file beside it in which GDAL keeps the words that a TIFF has no place
    for; nothing if there is none.
    """
    with suppress(OSError), path.with_name(path.name + _AUXILIARY).open("rb") as file:
        return file.read(_MOST)
    return b""
