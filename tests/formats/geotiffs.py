"""Makes GeoTIFFs for tests, and asks GDAL's programs about them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

import fakes
from fakes import fake_model

Array = NDArray[Any]

UTM = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500_000, 0, -20, 4_600_000)}


def needs(program: str) -> None:
    """Skip a test whose judge is not here; in CI it has to be."""
    if shutil.which(program) is None:
        assert not os.environ.get("CI"), f"{program} is missing"
        pytest.skip(f"needs {program}")


def waves(bands: int, height: int = 40, width: int = 60, most: float = 200) -> Array:
    """Smooth samples, bands x height x width."""
    band, y, x = np.ogrid[:bands, :height, :width]
    wave = np.sin(x / (5 + band) + y / (7 + band) + band)
    return np.asarray((wave * 0.4 + 0.5) * most)


def write(path: Path, samples: Array, **profile: Any) -> Path:
    """A GeoTIFF in UTM, unless ``profile`` says otherwise."""
    count, height, width = samples.shape
    given = {"height": height, "width": width, "count": count, "dtype": samples.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", **(given | UTM | profile)) as file:
            file.write(samples)
    return path


def changed(path: Path) -> Any:
    """A file that is there, open for changes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, "r+")


def read(path: Path) -> Array:
    """The samples of a file by another library than rasterio is not what is tested here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            samples: Array = file.read()
    return samples


def enlarged(path: Path, suffix: str = "_large.tif", **options: Any) -> Path:
    """Its result, by the fake."""
    target = path.with_name(path.stem + suffix)
    asked = {"model": fake_model(halo=2)} | options
    fakes.enlarge_file(path, target, **asked)
    return target


def info(path: Path) -> Any:
    """All that gdalinfo says of a file."""
    needs("gdalinfo")
    command = ["gdalinfo", "-json", "-mdd", "all", str(path)]
    found = subprocess.run(command, capture_output=True, check=True, text=True)
    return json.loads(found.stdout)


def places(path: Path, points: list[tuple[float, ...]], *options: str) -> list[list[float]]:
    """Where columns and rows are, by gdaltransform."""
    needs("gdaltransform")
    lines = "".join(" ".join(map(repr, point)) + "\n" for point in points)
    command = ["gdaltransform", *options, str(path)]
    found = subprocess.run(command, input=lines, capture_output=True, check=True, text=True)
    return [[float(v) for v in line.split()] for line in found.stdout.splitlines() if line]
