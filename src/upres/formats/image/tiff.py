"""TIFF, with all of its pages, each of its own size, kind and tags."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self

from upres.errors import InputError, OutputError, needs_extra
from upres.files import publish, temporary
from upres.formats.image import tiff_pages
from upres.formats.image.either import EitherSink
from upres.formats.image.vips import LOADERS, VipsSource
from upres.formats.image.vips_sink import Picture, VipsSink, save
from upres.formats.metadata import microscopy, tiff_exif
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.formats.metadata.tiff_tags import (
    EXTRA_SAMPLES,
    HEIGHT,
    PHOTOMETRIC,
    WIDTH,
    Entry,
    has_resolution,
    read_entries,
    read_header,
    read_numbers,
)
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array
from upres.raster.source import Sink, Source

_ORIENTATION = 274


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a TIFF file; see ``upres.formats.registry``. Smaller copies of pages are left out."""
    with _whole(path), path.open("rb") as file:
        pages = tiff_pages.full_pages(path, file)
        if list(pages) not in ([], [0]):
            return _Pages(path, pages, keep_cmyk)
        options = _said(path, file, None, len(pages) or 1)
    return [VipsSource(path, LOADERS["tiff"], keep_cmyk=keep_cmyk, **options)]


def _said(path: Path, file: BinaryIO, directory: int | None, pages: int) -> dict[str, Any]:
    """A page's own metadata, as options of ``VipsSource``; see ``tiff_exif.read``.

    The page is that whose ``directory`` is there, or the first of a file of one.
    """
    endian, big, start = read_header(file)
    start = directory or start
    entries = read_entries(file, endian, big, start, depth=0, largest=2**24)
    tags = read_numbers(file, directory)
    colours = tiff_pages.told_photometric(path, tags)
    tags = {PHOTOMETRIC: colours or 1} | tags
    tiff_pages.check_colours(path, tags)
    tiff_pages.check_place(path, (tag for tag, *_ in entries))
    exif = tiff_exif.read(file, directory)
    known = tiff_exif.description(exif)
    size = (tags.get(HEIGHT, 0), tags.get(WIDTH, 0))
    microscopy.check(path, known, *size, pages=pages)
    options = {
        "blocks": {"exif-data": exif},
        "has_resolution": has_resolution(tags) and not microscopy.is_measured(known),
        "extras": tiff_pages.extra_roles(path, entries, tags),
        "facts": dataclasses.replace(
            nothing_carried(),
            tiff_density=microscopy.density(entries, known),
            lossy=tiff_pages.lossy_compression(tags),
        ),
        "has_orientation": _ORIENTATION in tags,
    }
    if directory is not None or colours is not None:
        options["source"] = partial(tiff_pages.only, path, start, colours)
    return options


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Raise ``InputError`` where a file's directories are damaged."""
    try:
        yield
    except (OSError, struct.error):
        raise InputError(f"{path}: this picture is damaged or truncated") from None


class _Pages(Sequence[Source]):
    """The pages of a file, by their numbers in it, from 0: where their directories are."""

    def __init__(self, path: Path, pages: dict[int, int], keep_cmyk: bool) -> None:
        self._path, self._pages, self._keep_cmyk = path, list(pages.items()), keep_cmyk

    def __len__(self) -> int:
        return len(self._pages)

    def __getitem__(self, index: int) -> Source:  # type: ignore[override]
        number, directory = self._pages[index]
        try:
            with _whole(self._path):
                with self._path.open("rb") as file:
                    options = _said(self._path, file, directory, len(self))
                return VipsSource(
                    self._path,
                    LOADERS["tiff"],
                    keep_cmyk=self._keep_cmyk,
                    page=number + 1,
                    **options,
                )
        except InputError as error:
            raise InputError(f"{error.problem} (page {number + 1})", *error.remedies) from None


def create_sink(
    path: Path, *, quality: int | None, pages: int, content_bytes: int, cog: bool = False
) -> Sink:
    """A sink of a TIFF file, or of a GeoTIFF; see ``upres.formats.registry``."""
    bigtiff = tiff_pages.needs_bigtiff(content_bytes)

    def chosen(info: RasterInfo, carried: object) -> Sink:
        if isinstance(carried, Carried) and carried.place is not None:
            return geo_sink(path, cog=cog)
        if cog:
            raise OutputError(
                f"{path}: a Cloud Optimized GeoTIFF is made of a GeoTIFF only: choose .tif"
            )
        return VipsSink(path, partial(_encode, bigtiff))

    if pages > 1:
        return _PagesSink(path, pages, bigtiff=bigtiff)
    return EitherSink(chosen)


def geo_sink(path: Path, *, cog: bool) -> Sink:
    """A sink of a GeoTIFF; raises ``MissingExtraError`` without the libraries for that."""
    with needs_extra("writing GEOTIFF files", "geo"):
        from upres.formats.geo.sink import create_sink
    return create_sink(path, cog=cog)


class _PagesSink:
    """A sink of several pages, which is begun for each; see ``upres.raster.source.Sink``."""

    def __init__(self, target: Path, count: int, *, bigtiff: bool) -> None:
        self._target, self._count, self._bigtiff = target, count, bigtiff
        self._stack = ExitStack()
        self._page: VipsSink | None = None
        self._number = 0
        self._not_kept: list[str] = []

    @property
    def not_kept(self) -> Sequence[str]:
        return tuple(dict.fromkeys(self._not_kept))

    def begin(self, info: RasterInfo, carried: object) -> None:
        if self._page is None:
            self._path = self._stack.enter_context(temporary(self._target, self._target.suffix))
            self._file = self._stack.enter_context(self._path.open("r+b"))
            self._pointer = tiff_pages.begin(self._file, big=self._bigtiff)
        else:
            self._append()
        self._page = VipsSink(self._target, partial(_encode, self._bigtiff))
        self._page.begin(info, carried)

    def write(self, frame: int, top: int, left: int, block: Float32Array) -> None:
        assert self._page is not None
        self._page.write(frame, top, left, block)

    def commit(self, *, replace: bool) -> None:
        self._append()
        self._file.close()  # an open file cannot be replaced everywhere
        publish(self._path, self._target, replace=replace)

    def _append(self) -> None:
        """Put the page that has been written to the others."""
        assert self._page is not None
        with self._page as page:
            self._pointer = tiff_pages.append(
                self._file, page.encoded(), self._pointer, number=self._number, count=self._count
            )
        self._not_kept += self._page.not_kept
        self._number += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._page is not None:
            self._page.__exit__(*exception)
        self._stack.close()


def _encode(bigtiff: bool, picture: Picture, path: Path) -> None:
    captions = picture.field("iptc-data")
    if captions:  # which libvips would leave out
        picture = picture.without("iptc-data")
    tile = [int(picture.find(f"tile-{side}", 0)) for side in ("width", "height")]
    tiles = {"tile": True, "tile_width": tile[0], "tile_height": tile[1]} if all(tile) else {}
    save(
        picture.image,
        "tiffsave",
        path,
        keep=picture.keep,
        compression="deflate",
        # Few programs read the predictor that there is for floating point.
        predictor="none" if picture.image.format == "float" else "horizontal",
        bigtiff=bigtiff,
        **tiles,
    )
    resolution = picture.carried.has_resolution
    tags = _tags(picture)
    if picture.exif or captions or tags or not resolution:
        tiff_exif.add(path, picture.exif, captions, unit=resolution, tags=tags)


def _tags(picture: Picture) -> list[Entry]:
    """Tags that libvips would write otherwise, or not at all."""
    tags: list[Entry] = []
    extras = picture.info.bands[-(picture.image.bands - _colours(picture.info)) :]
    if picture.image.bands > _colours(picture.info) and any(b.role != "alpha" for b in extras):
        kinds = [2 if band.role == "alpha" else 0 for band in extras]
        tags.append((EXTRA_SAMPLES, 3, len(kinds), struct.pack(f"<{len(kinds)}H", *kinds)))
    known = tiff_exif.description(picture.exif)
    height, width = picture.image.height, picture.image.width
    if microscopy.is_measured(known):
        text = microscopy.fitting(known, height=height, width=width) + b"\0"
        tags.append((tiff_exif.DESCRIPTION, tiff_exif.ASCII, len(text), text))
    if picture.carried.tiff_density:
        source = picture.carried.image
        sides = (width, source.width), (height, source.height)
        if not microscopy.is_measured(known):
            sides = (1, 1), (1, 1)
        tags += microscopy.resized(picture.carried.tiff_density, *sides)
    return tags


def _colours(info: RasterInfo) -> int:
    return 4 if info.find("ink") else 3 if info.colour_bands else 1
