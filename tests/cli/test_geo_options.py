"""The options of GeoTIFF, and the line that a machine without its packages gets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile

from running import upres

PROFILE = {
    "driver": "GTiff",
    "height": 20,
    "width": 30,
    "count": 1,
    "dtype": "uint8",
    "crs": "EPSG:32633",
    "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 4_600_000),
}


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    path = tmp_path / "in.tif"
    with rasterio.open(path, "w", **PROFILE) as file:
        file.write(np.random.default_rng(1).choice([3, 90, 200], (1, 20, 30)).astype(np.uint8))
    return path


def test_the_options_decide_what_becomes_of_a_raster(
    tmp_path: Path, classes: Path, model_file: Path
) -> None:
    command = ("enlarge", classes.name, "--model", model_file, "--scale", 2, "--output")
    plain, cog, labels, free = (tmp_path / f"{n}.tif" for n in ("plain", "cog", "labels", "free"))
    for target, *options in (
        (plain,),
        (cog, "--format", "cog"),
        (labels, "--labels"),
        (free, "--no-consistent"),
    ):
        result = upres(*command, target.name, *options, cwd=tmp_path)
        assert (result.returncode, result.stderr) == (0, f"wrote {target.name}\n")
    with rasterio.open(cog) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    samples = {path: rasterio.open(path).read() for path in (plain, cog, labels, free)}
    np.testing.assert_array_equal(samples[cog], samples[plain])
    assert (samples[free] != samples[plain]).any()
    assert set(np.unique(samples[labels])) == {3, 90, 200}
    result = upres(*command, "x.tif", "--labels", "--consistent", cwd=tmp_path)
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    result = upres("enlarge", classes.name, "--format", "cog", "-o", "x.png", cwd=tmp_path)
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)


def test_words_of_gdal_that_are_no_text_are_not_shown(tmp_path: Path, model_file: Path) -> None:
    path = tmp_path / "in.tif"
    with rasterio.open(path, "w", **PROFILE) as file:
        file.update_tags(TITLE="a scene")
        file.write(np.zeros((1, 20, 30), np.uint8))
    whole = path.read_bytes()
    assert b'name="TITLE"' in whole
    # GDAL quotes it, as it is no attribute of XML.
    path.write_bytes(whole.replace(b"name=", b"na\xb5\xb5 "))
    command = ("enlarge", path.name, "--model", model_file, "--scale", 2, "--output", "out.tif")
    result = upres(*command, cwd=tmp_path)
    assert result.stderr == "wrote out.tif\nout.tif: not kept: text that is no UTF-8\n"


def test_without_the_extra_it_is_refused_in_one_line(classes: Path) -> None:
    """And a plain TIFF file is not."""
    plain = classes.with_name("plain.tif")
    tifffile.imwrite(plain, np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    code = "import sys; sys.modules['rasterio'] = None; from upres.cli.main import main; main()"
    for path, code_expected, said in (
        (classes, 1, "reading GEOTIFF files needs more packages: pip install 'upres[geo]'"),
        (plain, 0, "wrote"),
    ):
        command = [sys.executable, "-c", code, "enlarge", str(path), "--scale", "2"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == code_expected
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1
