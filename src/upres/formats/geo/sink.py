"""GeoTIFF, written block by block from a spool, plain or as a Cloud Optimized GeoTIFF."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window

from upres.errors import OutputError
from upres.files import full_disk, temporary
from upres.formats.geo.opening import Failed, data_set, gdal, reason
from upres.formats.geo.place import Place
from upres.formats.image.rows_sink import RowsSink
from upres.formats.image.tiff_pages import needs_bigtiff
from upres.formats.metadata.carried import Carried
from upres.raster.info import RasterInfo
from upres.raster.pixels import Float32Array, from_bands
from upres.raster.spool import Spool

WRITTEN_BYTES = 2**24
"""Of the rows that are written at once, about; at least one row of blocks is."""

WRITTEN_STRIP_BYTES = 2**17

KEPT_COMPRESSIONS = ("none", "deflate", "lzw", "zstd", "lzma", "packbits")
"""Those that a result has as its input does; any other becomes ``deflate``."""

COG_COMPRESSIONS = ("none", "deflate", "lzw", "zstd", "lzma")
"""The same of Cloud Optimized GeoTIFFs."""

_PREDICTED = ("deflate", "lzw", "zstd")

TILE = 512


def create_sink(target: Path, *, cog: bool) -> RowsSink:
    """A sink of a raster that has a place, as a source of a GeoTIFF carries it."""
    return RowsSink(target, partial(_Encoder, cog=cog))


class _Encoder:
    """See ``upres.formats.image.rows_sink``."""

    def __init__(self, target: Path, info: RasterInfo, carried: Carried, *, cog: bool) -> None:
        assert isinstance(carried.place, Place)
        self._target, self._info, self._cog = target, info, cog
        self._place = carried.place.resized(info.height, info.width)
        self.channels, self.dtype = len(info.varying), info.dtype

    def samples(self, block: Float32Array) -> NDArray[Any]:
        return from_bands(block, self._info.varying, self.dtype, self._info.nodata)

    def encode(self, path: Path, spool: Spool) -> list[str]:
        try:
            if self._cog:
                with temporary(self._target, ".tif") as plain, gdal(GDAL_PAM_ENABLED=False):
                    self._write(plain, spool, for_copying=True)
                    self._build_overviews(plain, self._cog_factors())
                    self._copy(plain, path)
            else:
                with gdal(GDAL_PAM_ENABLED=False):
                    self._write(path, spool)
                    self._build_overviews(path, list(self._place.overviews))
            with gdal(GDAL_PAM_ENABLED=False), data_set(path) as dataset:
                return _lost(self._place, dataset)
        except (*Failed, UnicodeError) as error:
            cause = full_disk(self._target.parent)
            if cause is not None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise OutputError(
                f"{self._target}: cannot write this picture: {reason(error)}"
            ) from None

    def _write(self, path: Path, spool: Spool, *, for_copying: bool = False) -> None:
        place, info = self._place, self._info
        count = len(place.bands)
        with data_set(path, "w", **self._profile(for_copying=for_copying)) as dataset:
            self._tell(dataset)
            rows = self._rows_at_once(dataset.block_shapes[0][0])
            for top in range(0, info.height, rows):
                block = spool.part(top, min(rows, info.height - top), 0, info.width)
                window = Window(0, top, info.width, len(block))
                planes = np.ascontiguousarray(np.moveaxis(block, 2, 0))
                dataset.write(planes[:count], window=window)
                if place.masked:
                    shown = np.where(planes[count] != 0, np.uint8(255), np.uint8(0))
                    dataset.write_mask(shown, window=window)

    def _rows_at_once(self, unit: int) -> int:
        row_bytes = self._info.width * self.channels * self.dtype.itemsize
        return max(1, WRITTEN_BYTES // (row_bytes * unit)) * unit

    def _profile(self, *, for_copying: bool) -> dict[str, Any]:
        place, info = self._place, self._info
        storage = place.storage
        profile: dict[str, Any] = {
            "height": info.height,
            "width": info.width,
            "count": len(place.bands),
            "dtype": self.dtype.name,
            "nodata": place.nodata,
            "BIGTIFF": "YES" if needs_bigtiff(self._bytes()) else "NO",
            "interleave": storage["interleave"],
            "photometric": self._photometric(),
        }
        if place.gcps:
            profile |= {"gcps": list(place.gcps), "crs": place.gcps_crs or rasterio.CRS()}
        else:
            transform = None if place.transform is None else rasterio.Affine(*place.transform)
            profile |= {"crs": place.crs, "transform": transform}
        if storage["profile"]:
            profile["SOURCE_ICC_PROFILE"] = storage["profile"]
        if place.rpcs is not None:
            profile["rpcs"] = place.rpcs
        if for_copying:
            return profile | {"tiled": True, "blockxsize": TILE, "blockysize": TILE}
        if storage["tiled"]:
            height, width = storage["block"]
            profile |= {"tiled": True, "blockxsize": width, "blockysize": height}
        else:  # GDAL's own strips are short, and compress by a half less
            row_bytes = info.width * self.channels * self.dtype.itemsize
            profile["blockysize"] = min(info.height, max(1, WRITTEN_STRIP_BYTES // row_bytes))
        kind = _lossless(storage["compress"], KEPT_COMPRESSIONS)
        if kind != "none":
            profile["compress"] = kind
        if kind in _PREDICTED and info.find("other"):
            profile["predictor"] = 3 if self.dtype.kind == "f" else 2
        return profile

    def _bytes(self) -> int:
        """Of the samples, not compressed, with smaller copies and a mask."""
        content = self._info.pixels * self.channels * self.dtype.itemsize
        return content * 4 // 3 if self._place.overviews or self._cog else content

    def _photometric(self) -> str:
        kinds = [band.interpretation for band in self._place.bands]
        if self._place.bands[0].palette is not None:
            return "PALETTE"
        if kinds[:3] == [ColorInterp.red, ColorInterp.green, ColorInterp.blue]:
            return "RGB"
        return "MINISWHITE" if self._place.storage["white_is_0"] else "MINISBLACK"

    def _tell(self, dataset: Any) -> None:
        """Put the words into a file, before its samples: GDAL would put later ones beside it."""
        place = self._place
        dataset.colorinterp = [band.interpretation for band in place.bands]
        dataset.scales = [band.scale for band in place.bands]
        dataset.offsets = [band.offset for band in place.bands]
        for number, band in enumerate(place.bands, 1):
            if band.description:
                dataset.set_band_description(number, band.description)
            if band.unit:
                dataset.set_band_unit(number, band.unit)
            if band.palette is not None:
                dataset.write_colormap(number, band.palette)
            for domain, words in band.tags.items():
                dataset.update_tags(number, **_given(domain, words))
        for domain, words in place.tags.items():
            dataset.update_tags(**_given(domain, words))

    @property
    def _resampling(self) -> Resampling:
        return Resampling.average if self._info.find("other") else Resampling.nearest

    def _build_overviews(self, path: Path, factors: list[int]) -> None:
        if factors:
            with data_set(path, "r+") as dataset:
                dataset.build_overviews(factors, self._resampling)

    def _cog_factors(self) -> list[int]:
        """Of smaller copies, down to one that is a tile. GDAL would make them in a file of its own,
        whose name no clearing up would know.
        """
        factors = [2]
        while max(self._info.height, self._info.width) > TILE * factors[-1]:
            factors.append(2 * factors[-1])
        return factors if max(self._info.height, self._info.width) > TILE else []

    def _copy(self, plain: Path, path: Path) -> None:
        """Have GDAL order a file's blocks for reading over a network, smaller copies first."""
        kind = _lossless(self._place.storage["compress"], COG_COMPRESSIONS)
        rasterio.shutil.copy(
            os.path.abspath(plain),
            os.path.abspath(path),
            driver="COG",
            COMPRESS=kind.upper(),
            PREDICTOR="YES" if kind in _PREDICTED and self._info.find("other") else "NO",
            # Words of other domains are copied by this only, and bands' own ones without it only.
            COPY_SRC_MDD="AUTO" if any("" in band.tags for band in self._place.bands) else "YES",
            BLOCKSIZE=TILE,
            BIGTIFF="YES" if needs_bigtiff(self._bytes()) else "NO",
            OVERVIEWS="FORCE_USE_EXISTING",
            NUM_THREADS=1,
        )


def _lost(place: Place, dataset: Any) -> list[str]:
    """Short names of what a file lacks that was written of a place: GeoTIFF cannot hold all."""
    lost = []
    crs = place.gcps_crs if place.gcps else place.crs
    if crs and crs != (dataset.gcps[1] if place.gcps else dataset.crs):
        lost.append("coordinate reference system")
    numbered = {0: place.tags} | {n: band.tags for n, band in enumerate(place.bands, 1)}
    for number, tags in numbered.items():
        lost += [
            f"metadata called {domain}"
            for domain in tags.keys() - {"", *dataset.tag_namespaces(number)}
        ]
    return list(dict.fromkeys(lost))


def _lossless(compression: str, known: tuple[str, ...]) -> str:
    """The same compression, or one that loses nothing either."""
    return compression if compression in known else "deflate"


def _given(domain: str, words: Any) -> dict[str, str]:
    """Words as rasterio takes them, which writes each as NAME=VALUE.

    A text in XML is one word that is called as its domain. It has such a sign somewhere.
    """
    if domain.startswith("xml:"):
        name, _, value = words[domain].partition("=")
        words = {name: value}
    return {"ns": domain, **words} if domain else dict(words)
