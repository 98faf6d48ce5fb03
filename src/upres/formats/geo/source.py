"""GeoTIFF, read in blocks of rows."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from upres.errors import InputError
from upres.formats.geo.opening import Failed, data_set, gdal, reason
from upres.formats.geo.place import BandWords, Place, lasting
from upres.formats.metadata import names
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.formats.metadata.geotags import auxiliary, has_transform
from upres.formats.metadata.tiff_tags import read_entries, read_header, read_numbers
from upres.raster.info import SAMPLE_TYPES, Band, RasterInfo
from upres.raster.source import Rows, Source

BLOCK_BYTES = 2**24
"""Of the rows that are read at once, about; at least one row of the file's blocks is."""

LARGEST_BLOCK = 2**29
"""Bytes of a block of the file, which is decoded as a whole."""

MOST_REDUCED = 2**16
"""The largest factor of a smaller copy; a damaged file may tell any."""

_ASCII = 2
"""TIFF's type of text."""

_NOT_COPIED = ("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "RPC", "COLOR_PROFILE")
"""Domains of words that GDAL makes by itself."""

_CONVERTED = ("CMYK", "CIELAB")
"""Colours that GDAL makes others of, without a profile."""

_ORIENTATION = 274
"""TIFF's tag of the side that is up, which GDAL passes over."""

_ELSEWHERE = {"GEOLOCATION": "geolocation arrays", "EXIF": names.EXIF}
"""Domains that a result does not get."""

_BESIDE = {
    b"<GDALRasterAttributeTable": "attribute table",
    b"<CategoryNames": "category names",
    b"<Histograms": "",
}
"""Of the file beside it, the parts that are not read, by their names in messages."""


def open_pages(path: Path, *, keep_cmyk: bool = False) -> Sequence[Source]:
    """Open a GeoTIFF; see ``upres.formats.registry``. Bands of inks are bands like any."""
    return [GeoSource(path)]


class GeoSource:
    """A raster with a place on the map; see ``upres.raster.source``.

    Raises ``InputError`` if the file is damaged, or holds several rasters.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._reading() as dataset:
            self.place = _told(path, dataset)
            self.info = _info(path, dataset, self.place)
            extras = [names.PLACE, *_left_out(path, dataset)]
        self._rows = self._rows_at_once()
        self.carried = Carried(
            nothing_carried().image, path=path, extras=tuple(extras), place=self.place
        )

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        try:
            with gdal(), data_set(self.path) as dataset:
                yield dataset
        except UnicodeDecodeError:
            raise InputError(
                f"{self.path}: some of its words are no UTF-8, which upres does not read of a "
                "GeoTIFF: gdal_translate -co PROFILE=GeoTIFF makes a copy without them"
            ) from None
        except (*Failed, UnicodeEncodeError) as error:
            raise InputError(
                f"{self.path}: this picture is damaged or truncated: {reason(error)}"
            ) from None

    def _rows_at_once(self) -> int:
        """As many as blocks of the file have, as they are decoded as a whole."""
        height, width = self.place.storage["block"]
        bands, size = len(self.info.bands), self.info.dtype.itemsize
        if height * width * bands * size > LARGEST_BLOCK:
            raise InputError(
                f"{self.path}: its blocks, of {width}x{height} pixels, take too much memory to "
                "decode: gdal_translate -co TILED=YES makes a file of small ones"
            )
        row_bytes = self.info.width * bands * size
        whole: int = max(1, BLOCK_BYTES // (row_bytes * height)) * height
        return min(whole, max(1, 4 * BLOCK_BYTES // row_bytes))

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """The one frame, in blocks of rows."""
        yield self._blocks()

    def _blocks(self) -> Iterator[Rows]:
        masked, info = self.place.masked, self.info
        for top in range(0, info.height, self._rows):
            window = Window(0, top, info.width, min(self._rows, info.height - top))
            # Settings are a thread's own, and others may run before the next block is asked for.
            with self._reading() as dataset:
                samples = dataset.read(window=window)
                if masked:
                    mask = dataset.read_masks(1, window=window)
                    samples = np.concatenate([samples, mask[None].astype(info.dtype)])
            yield np.moveaxis(samples, 0, 2)


def _told(path: Path, dataset: Any) -> Place:
    if dataset.subdatasets:
        raise InputError(
            f"{path}: holds {len(dataset.subdatasets)} rasters: gdal_translate "
            "GTIFF_DIR:NUMBER:FILE makes a file of each"
        )
    if len(set(map(str, dataset.nodatavals))) > 1:
        raise InputError(
            f"{path}: its bands have different values of no data: gdalwarp -dstnodata VALUE makes "
            "a file of one value"
        )
    flags = dataset.mask_flag_enums
    masked = MaskFlags.per_dataset in flags[0] and MaskFlags.alpha not in flags[0]
    gcps, gcps_crs = dataset.gcps
    lies = not gcps and (not dataset.transform.is_identity or has_transform(path))
    profile = dataset.profile
    structure = dataset.tags(ns="IMAGE_STRUCTURE")
    space = structure.get("SOURCE_COLOR_SPACE")
    if space in _CONVERTED:
        raise InputError(
            f"{path}: its colours are {space}, which GDAL reads as RGB only: gdal_translate makes "
            "a file of these"
        )
    storage = {
        "block": dataset.block_shapes[0],
        "tiled": bool(profile.get("tiled")),
        "compress": str(structure.get("COMPRESSION", "none")).lower(),
        "interleave": profile.get("interleave", "pixel"),
        "white_is_0": structure.get("MINISWHITE") == "YES",
        "profile": dataset.tags(ns="COLOR_PROFILE").get("SOURCE_ICC_PROFILE"),
    }
    return Place(
        height=dataset.height,
        width=dataset.width,
        crs=dataset.crs,
        transform=(tuple(dataset.transform)[:6]) if lies else None,
        gcps=tuple(gcps),
        gcps_crs=gcps_crs,
        rpcs=dataset.rpcs,
        bands=tuple(_band(dataset, number) for number in dataset.indexes),
        tags=_words(dataset, 0),
        nodata=dataset.nodata,
        masked=masked,
        overviews=tuple(sorted({f for f in dataset.overviews(1) if 1 < f <= MOST_REDUCED})),
        storage=storage,
    )


def _band(dataset: Any, number: int) -> BandWords:
    at = number - 1
    try:
        palette = dataset.colormap(number)
    except ValueError:  # there is none
        palette = None
    # GDAL has colours for the numbers of a grey picture, too, if white is 0.
    if dataset.colorinterp[at] != ColorInterp.palette:
        palette = None
    return BandWords(
        description=dataset.descriptions[at],
        unit=dataset.units[at],
        scale=dataset.scales[at],
        offset=dataset.offsets[at],
        interpretation=dataset.colorinterp[at],
        palette=palette,
        tags=_words(dataset, number),
    )


def _words(dataset: Any, number: int) -> dict[str, dict[str, str]]:
    """By domain, of the file (0) or of a band, those that are true of other samples, too."""
    domains = [None, *dataset.tag_namespaces(number)]
    found = {}
    for domain in domains:
        if domain not in (*_NOT_COPIED, *_ELSEWHERE):
            found[domain or ""] = lasting(dataset.tags(number, ns=domain))
    return {domain: words for domain, words in found.items() if words}


def _has_other_text(path: Path) -> bool:
    """Whether some words are not in UTF-8, which rasterio takes all text for, and passes over."""
    with suppress(OSError, struct.error), path.open("rb") as file:
        endian, big, start = read_header(file)
        for _, kind, _, values in read_entries(file, endian, big, start, depth=0, largest=2**24):
            if kind == _ASCII and isinstance(values, bytes):
                try:
                    values.decode()
                except UnicodeDecodeError:
                    return True
    return False


def _left_out(path: Path, dataset: Any) -> list[str]:
    """Names of the items that are not read."""
    domains = dataset.tag_namespaces()
    beside = auxiliary(path)
    found = [name for domain, name in _ELSEWHERE.items() if domain in domains]
    if _has_other_text(path):
        found.append("text that is no UTF-8")
    with suppress(OSError, struct.error), path.open("rb") as file:
        if read_numbers(file).get(_ORIENTATION, 1) != 1:
            found.append("orientation")
    return found + [name for part, name in _BESIDE.items() if name and part in beside]


def _info(path: Path, dataset: Any, place: Place) -> RasterInfo:
    types = set(dataset.dtypes)
    if len(types) > 1 or not types <= set(SAMPLE_TYPES):
        raise InputError(
            f"{path}: its samples are {' and '.join(sorted(types))}, which upres does not take: "
            "gdal_translate -ot makes others of them"
        )
    dtype = np.dtype(types.pop())
    bands = [_role(dataset, number, words) for number, words in enumerate(place.bands, 1)]
    if place.masked:
        if any(band.role == "mask" for band in bands):
            raise InputError(
                f"{path}: has both a mask and alpha: gdal_translate -mask none drops one"
            )
        bands.append(Band("mask"))
    return RasterInfo(
        height=dataset.height,
        width=dataset.width,
        bands=tuple(bands),
        dtype=dtype,
        name=str(path),
        nodata=_exact(place.nodata, dtype),
        transform=place.transform,
        colours="none",
        preserves="bicubic",
    )


def _role(dataset: Any, number: int, words: BandWords) -> Band:
    """A band is classes if it has a palette, one bit, or says so; alpha is a mask."""
    name = words.description or ""
    own = words.tags.get("", {})
    if words.interpretation == ColorInterp.alpha:
        return Band("mask", name=name)
    bits = dataset.tags(number, ns="IMAGE_STRUCTURE").get("NBITS")
    thematic = own.get("LAYER_TYPE", "").lower() == "thematic"
    if words.palette is not None or bits == "1" or thematic:
        return Band("index", None, None, name)
    return Band("other", None, None, name, unbounded=True)


def _exact(nodata: float | None, dtype: np.dtype[Any]) -> float | None:
    """The value of no data as a sample has it; ``None`` if none can be that."""
    if nodata is None:
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return float(dtype.type(nodata))
    limits = np.iinfo(dtype)
    possible = limits.min <= nodata <= limits.max and nodata == int(nodata)
    return float(nodata) if possible else None
