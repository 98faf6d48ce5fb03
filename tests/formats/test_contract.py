"""What a picture is and says, before and after, over every real file that is at hand."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from upres.formats.image.opening import examined, open_photo

from upres.card import ModelCard
from upres.enlarging.files import open_file
from upres.enlarging.options import Options
from upres.formats.image.vips import Photo
from upres.formats.metadata.jpeg_segments import is_420, jpeg_quality, jpeg_segments
from upres.training.export import export_onnx
from upres.training.networks import Plain

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


@pytest.fixture(scope="module")
def repeater(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that repeats each pixel, as a network does before it is trained."""
    path = tmp_path_factory.mktemp("models") / "repeater-x2.onnx"
    network = Plain(scale=2, features=8, blocks=1)
    export_onnx(network, ModelCard(name="repeater", scale=2, halo=network.halo), path)
    return path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_is_lost(path: Path, tmp_path: Path, repeater: Path) -> None:
    source = examined(open_photo(path))
    target = tmp_path / f"out{path.suffix}"
    # As many pixels as before: the network's, reduced again.
    open_file(path, Options(model=str(repeater), scale=1)).write(target)
    # Between an animation's frames, what stays is stored as transparent.
    result = examined(open_photo(target))
    size = (source.width, source.height, source.frames)
    assert (result.width, result.height, result.frames) == size
    assert (result.colours, result.alpha, result.dtype) == (
        source.colours,
        source.alpha,
        source.dtype,
    )
    assert result.orientation == 1
    for name in KEPT:
        if source.image.get_typeof(name) and not source.cmyk:
            converted = pyvips.Image.new_from_file(str(path)).interpretation == "cmyk"
            assert converted or result.image.get(name) == source.image.get(name), name
    assert result.image.xres == pytest.approx(source.image.xres, rel=0.01)
    if source.jpeg_quality is not None:
        assert (jpeg_quality(jpeg_segments(target)) or 0) >= max(95, source.jpeg_quality)
        assert is_420(jpeg_segments(target)) == is_420(jpeg_segments(path))
    # Half of an 8-bit level; GIF has 256 colours, and converted inks lie at the gamut's edge.
    drift = {"newtonscradle.gif": 4, "pil_sample_cmyk.jpg": 1}.get(path.name, 0.5)
    np.testing.assert_allclose(mean(result), mean(source), atol=drift / 255)
    if shutil.which("exiftool"):
        expected, got = said(path), said(target)
        for tag, value in expected.items():
            assert got.get(tag) == pytest.approx(value), tag


def mean(photo: Photo) -> NDArray[np.float32]:
    """Of each channel, in [0, 1]; colours count by their alpha."""
    sums = []
    for frame in photo.blocks():
        for block in frame:
            values = photo.to_float(block)
            if photo.alpha:
                values[:, :, :-1] *= values[:, :, -1:]
            sums.append(values.sum((0, 1), np.float64))
    total: NDArray[np.float32] = np.sum(sums, 0)
    return total / (photo.frames * photo.height * photo.width)
