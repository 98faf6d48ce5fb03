"""The source and the sink of GeoTIFF do what all others do."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import rasterio
from contract import Array, FileSourceTests, SinkTests, info_of, waves
from geotiffs import UTM, write

from upres.formats.metadata.carried import Carried
from upres.formats.registry import create_sink, open_pages
from upres.raster.source import Sink


class TestGeoTiffSource(FileSourceTests):
    suffix = ".tif"

    def stored(self, path: Path) -> Array:
        samples = waves(1, 50, 70, 5, np.uint16, 9000)
        write(path, np.moveaxis(samples[0], 2, 0))
        return samples


class TestMaskedSource(FileSourceTests):
    """The mask is a band after the others."""

    suffix = ".tif"

    def stored(self, path: Path) -> Array:
        samples = waves(1, 50, 70, 3)
        samples[:, :, :, 2] = np.where(samples[:, :, :, 2] > 99, 255, 0)
        write(path, np.moveaxis(samples[0, :, :, :2], 2, 0))
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
            file.write_mask(samples[0, :, :, 2])
        return samples

    @pytest.mark.parametrize("part", [0.3, 0.6])
    def test_what_is_truncated_is_refused_in_one_line(self, tmp_path: Path, part: float) -> None:
        super().test_what_is_truncated_is_refused_in_one_line(tmp_path, part)


class TestGeoTiffSink(SinkTests):
    suffix = ".tif"
    info = dataclasses.replace(
        info_of(40, 56, *["other"] * 5, dtype=np.int16, high=9000), colours="none"
    )
    cog = False

    def sink(self, target: Path) -> Sink:
        return create_sink(target, cog=self.cog)

    def begun(self, sink: Sink) -> None:
        sink.begin(self.info, self.carried())

    def carried(self) -> Carried:
        """That of a source of the same size."""
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            path = write(Path(folder, "in.tif"), np.zeros((5, 40, 56), np.int16), nodata=-1)
            (source,) = open_pages(path)
        assert isinstance(source.carried, Carried)
        return source.carried

    def read(self, path: Path) -> Array:
        with rasterio.open(path) as file:
            assert file.crs == UTM["crs"]
            samples: Array = file.read()
        return np.moveaxis(samples, 0, 2)[None]

    def test_what_another_source_carries_is_not_looked_at(self, tmp_path: Path) -> None:
        """It is what makes the result a GeoTIFF: see ``test_geotiff``."""


class TestCogSink(TestGeoTiffSink):
    cog = True
