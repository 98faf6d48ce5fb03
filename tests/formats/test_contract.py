"""What a picture is and says, before and after, over every real file that is at hand."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

import fakes
from upres.enlarging.measuring import measured
from upres.formats.metadata.carried import Carried
from upres.formats.metadata.jpeg_segments import is_420, jpeg_quality, jpeg_segments
from upres.formats.registry import open_pages
from upres.raster.info import Band, RasterInfo
from upres.raster.pixels import to_bands

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "inputs" / "photo"
FILES = sorted(PHOTOS.iterdir()) if PHOTOS.is_dir() else []

pytestmark = pytest.mark.skipif(not FILES, reason="needs ../shared/data/inputs")

KEPT = ("icc-profile-data", "loop", "delay", "gif-loop")
"""Of libvips' fields, those that come out as they went in."""

# Of the tags, those that tell of the file, of how it is stored, and of its size and previews.
GROUPS = ("ExifIFD:", "GPS:", "IFD0:", "XMP-", "IPTC:", "PNG:", "File:Comment", "GIF:Comment")
PASSED_OVER = (
    *("Size", "Width", "Height", "Length", "Thumbnail", "Preview", "Offset", "Orientation"),
    *("Compression", "Planar", "StripByte", "RowsPer", "BitsPer", "SamplesPer", "Tile"),
    *("Photometric", "Predictor", "SubfileType", "PageNumber", "ExtraSamples", "Resolution"),
    *("YCbCr", "ColorType", "BitDepth", "Interlace", "Filter", "Palette", "Transparency"),
    *(
        "ExifVersion",
        "FlashpixVersion",
        "ComponentsConfiguration",
        "SampleFormat",
        "FillOrder",
    ),
    *("BackgroundColor", "PixelUnits", "PixelsPerUnit", "SRGBRendering", "ProfileName", "ColorMap"),
)


def said(path: Path) -> dict[str, Any]:
    """What exiftool reads, by group and tag."""
    command = ["exiftool", "-json", "-G1", "-a", "-n", str(path)]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[0]
    return {
        tag: value
        for tag, value in found.items()
        if tag.startswith(GROUPS) and not any(part in tag for part in PASSED_OVER)
    }


REPEATER = fakes.fake_model("repeater", halo=0)
"""Repeats each pixel, as a network does before it is trained."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_is_lost(path: Path, tmp_path: Path) -> None:
    source, before = examined(path, tmp_path)
    target = tmp_path / f"out{path.suffix}"
    # As many pixels as before: the network's, reduced again.
    fakes.open_file(path, model=REPEATER, scale=1).write(target)
    # Between an animation's frames, what stays is stored as transparent.
    result, after = examined(target, tmp_path)
    size = (source.width, source.height, source.frames)
    assert (result.width, result.height, result.frames) == size
    assert (stored(result), result.dtype) == (stored(source), source.dtype)
    assert after.orientation == 1
    for name in KEPT:
        if before.find(name) is not None:
            converted = pyvips.Image.new_from_file(str(path)).interpretation == "cmyk"
            assert converted or after.find(name) == before.find(name), name
    assert after.image.xres == pytest.approx(before.image.xres, rel=0.01)
    if source.jpeg_quality is not None:
        assert (jpeg_quality(jpeg_segments(target)) or 0) >= max(95, source.jpeg_quality)
        assert is_420(jpeg_segments(target)) == is_420(jpeg_segments(path))
    # Half of an 8-bit level; GIF has 256 colours, and converted inks lie at the gamut's edge.
    drift = {"newtonscradle.gif": 4, "pil_sample_cmyk.jpg": 1}.get(path.name, 0.5)
    np.testing.assert_allclose(mean(target, tmp_path), mean(path, tmp_path), atol=drift / 255)
    if shutil.which("exiftool"):
        expected, got = said(path), said(target)
        for tag, value in expected.items():
            assert got.get(tag) == pytest.approx(value), tag


def stored(info: RasterInfo) -> list[Band]:
    """The bands that vary, without the least and the largest sample, which pixels may change."""
    return [dataclasses.replace(band, least=None, most=None) for band in info.varying]


def examined(path: Path, folder: Path) -> tuple[RasterInfo, Carried]:
    """A file's info, with what only its samples tell, and what it says of itself."""
    (source,) = open_pages(path)
    assert isinstance(source.carried, Carried)
    return measured(source, folder / "x"), source.carried


def mean(path: Path, folder: Path) -> NDArray[np.float64]:
    """Of each band that varies, in [0, 1]; colours count by their alpha."""
    (source,) = open_pages(path)
    info = measured(source, folder / "x")
    sums, count = [], 0
    for frame in source.frames(folder / "x"):
        for block in frame:
            values = to_bands(block[:, :, : len(info.varying)], info.varying)
            if info.alpha is not None:
                values[:, :, :-1] *= values[:, :, -1:]
            sums.append(values.sum((0, 1), np.float64))
            count += values.shape[0] * values.shape[1]
    total: NDArray[np.float64] = np.sum(sums, 0)
    return total / count
