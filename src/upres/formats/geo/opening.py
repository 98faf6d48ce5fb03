"""GDAL, with a small cache, nothing written beside a file, and errors of one line."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError

CACHE_BYTES = 2**26
"""Of blocks that are decoded; GDAL would take a twentieth of the machine's memory."""

Failed = (RasterioError, CPLE_BaseError)
"""The errors of rasterio, and those of GDAL that it lets through."""


@contextmanager
def gdal(**settings: Any) -> Iterator[None]:
    """GDAL's settings for a while, in this thread.

    Masks and overviews are written into the file itself, and nothing beside it.
    """
    usual = {
        "GDAL_CACHEMAX": CACHE_BYTES,
        "GDAL_TIFF_INTERNAL_MASK": True,
        "TIFF_USE_OVR": False,
    }
    with rasterio.Env(**(usual | settings)):
        yield


@contextmanager
def data_set(path: Path, mode: str = "r", **profile: Any) -> Iterator[Any]:
    """A TIFF file as rasterio's data set. Other kinds of files are not looked for.

    Raises ``Failed``.
    """
    # An absolute path is never taken for an address of one of GDAL's other file systems.
    name = os.path.abspath(path)
    with warnings.catch_warnings():
        # A raster without a place is no mistake here.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        given = {"driver": "GTiff"} | profile
        dataset = rasterio.open(name, mode, **given)
    with dataset:
        yield dataset


def reason(error: BaseException) -> str:
    """The words of an error, in one line."""
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
