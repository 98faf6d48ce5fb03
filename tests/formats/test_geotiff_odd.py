"""GeoTIFFs of odd kinds, by the judgement of GDAL's programs and of tifffile."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from geotiffs import changed, enlarged, info, needs, read, waves, write
from rasterio.rpc import RPC

import fakes
from upres.enlarging.options import Options
from upres.errors import InputError, UsageError


@pytest.mark.parametrize("crs", ["EPSG:32633", None])
def test_a_transform_of_1_to_1_is_one(tmp_path: Path, crs: str | None) -> None:
    needs("gdal_translate")
    plain = tmp_path / "plain.tif"
    tifffile.imwrite(plain, waves(1).astype(np.uint8)[0])
    path, corners = tmp_path / "in.tif", ["-a_ullr", "0", "0", "60", "40"]
    words = ["-a_srs", crs] if crs else []
    subprocess.run(["gdal_translate", "-q", *words, *corners, plain, path], check=True)
    before, after = info(path), info(enlarged(path))
    assert after["geoTransform"] == [0.0, 0.5, 0.0, 0.0, 0.0, 0.5]
    assert after["cornerCoordinates"] == before["cornerCoordinates"]


def test_a_reference_system_that_geotiff_cannot_hold_is_told(tmp_path: Path) -> None:
    turned = "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180"
    path = write(tmp_path / "in.tif", waves(1).astype(np.uint8), crs=turned)
    assert info(path)["coordinateSystem"]["wkt"]  # from the file beside it
    lost = fakes.enlarge_file(path, tmp_path / "out.tif")
    assert lost == ("coordinate reference system",)
    assert not info(tmp_path / "out.tif").get("coordinateSystem")
    assert fakes.enlarge_file(write(path, read(path)), tmp_path / "known.tif") == ()


@pytest.mark.parametrize("own", [True, False])
def test_a_cog_keeps_words_of_other_domains_or_tells(tmp_path: Path, own: bool) -> None:
    path = write(tmp_path / "in.tif", waves(2).astype(np.uint8))
    with changed(path) as file:
        file.update_tags(ns="SENSOR", NAME="MSI")
        file.update_tags(2, ns="CENTRE", NANOMETRES="665")
        if own:
            file.update_tags(2, QUALITY="good")
    lost = fakes.enlarge_file(path, tmp_path / "out.tif", cog=True)
    after = info(tmp_path / "out.tif")
    assert after["bands"][1]["metadata"].get("", {}).get("QUALITY") == ("good" if own else None)
    if own:
        assert lost == ("metadata called SENSOR", "metadata called CENTRE")
        assert "SENSOR" not in after["metadata"]
    else:
        assert lost == ()
        assert after["metadata"]["SENSOR"] == {"NAME": "MSI"}
        assert after["bands"][1]["metadata"]["CENTRE"] == {"NANOMETRES": "665"}


def test_grey_whose_white_is_0_is_no_classes(tmp_path: Path) -> None:
    samples = waves(1).astype(np.uint8)
    path = write(tmp_path / "in.tif", samples, photometric="MINISWHITE")
    result = enlarged(path, consistent=True)
    assert info(result)["metadata"]["IMAGE_STRUCTURE"]["MINISWHITE"] == "YES"
    assert "colorTable" not in info(result)["bands"][0]
    repeated = samples.repeat(2, 1).repeat(2, 2)
    assert (read(result) != repeated).any()


def test_values_of_no_data_that_differ_by_band_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "in.tif", waves(2).astype(np.uint8))
    value = '<PAMRasterBand band="2"><NoDataValue>9</NoDataValue></PAMRasterBand>'
    beside = path.with_name("in.tif.aux.xml")
    beside.write_text(f"<PAMDataset>{value}</PAMDataset>", "utf-8")
    assert [band.get("noDataValue") for band in info(path)["bands"]] == [None, 9]
    with pytest.raises(InputError, match="different values of no data: gdalwarp -dstnodata"):
        enlarged(path)
    both = f"<PAMDataset>{value}{value.replace('2', '1', 1)}</PAMDataset>"
    beside.write_text(both, "utf-8")
    assert [band["noDataValue"] for band in info(enlarged(path))["bands"]] == [9, 9]


@pytest.mark.parametrize("space", ["CMYK", "CIELAB"])
def test_colours_that_gdal_makes_others_of_are_refused(tmp_path: Path, space: str) -> None:
    bands = 4 if space == "CMYK" else 3
    path = write(tmp_path / "in.tif", waves(bands).astype(np.uint8), photometric=space)
    with pytest.raises(InputError, match=f"its colours are {space}.*gdal_translate"):
        enlarged(path)


def test_an_orientation_is_told_and_a_resolution_grows(tmp_path: Path) -> None:
    path = tmp_path / "in.tif"
    place = [(33550, "d", 3, (10.0, 10.0, 0.0), False), (33922, "d", 6, (0.0,) * 6, False)]
    samples = waves(3).astype(np.uint8).transpose(1, 2, 0)
    for side, lost in ((1, ()), (6, ("orientation",))):
        tags = [*place, (274, "H", 1, side, False)]
        tifffile.imwrite(path, samples, photometric="rgb", resolution=(300, 200), extratags=tags)
        target = tmp_path / f"{side}.tif"
        assert fakes.enlarge_file(path, target) == lost
        with tifffile.TiffFile(target) as file:
            page = file.pages[0]
            assert page.get_resolution("INCH") == (600, 400)
            assert page.shape == (80, 120, 3)


@pytest.mark.parametrize("kind", ["RPB", "RPCTXT"])
def test_polynomials_beside_a_file_are_read(tmp_path: Path, kind: str) -> None:
    needs("gdal_translate")
    path = write(tmp_path / "whole.tif", waves(1).astype(np.uint8), crs=None, transform=None)
    one, first = [1.0, *[0.0] * 19], [0.0, 1.0, *[0.0] * 18]
    terms = {"line_num_coeff": first, "line_den_coeff": one}
    terms |= {"samp_num_coeff": first, "samp_den_coeff": one}
    sizes = {"height_off": 0.0, "height_scale": 9.0, "lat_off": 1.0, "lat_scale": 0.1}
    sizes |= {"long_off": 2.0, "long_scale": 0.1, "line_off": 20.0, "line_scale": 20.0}
    with changed(path) as file:
        file.rpcs = RPC(**sizes, **terms, samp_off=30.0, samp_scale=30.0)
    command = ["gdal_translate", "-q", "-co", "PROFILE=BASELINE", "-co", f"{kind}=YES"]
    subprocess.run([*command, path, tmp_path / "in.tif"], check=True)
    (tmp_path / "in.tif.aux.xml").unlink(missing_ok=True)
    after = info(enlarged(tmp_path / "in.tif"))["metadata"]["RPC"]
    assert (float(after["LINE_OFF"]), float(after["SAMP_SCALE"])) == (40.5, 60)


def test_a_value_of_no_data_beside_a_plain_tiff_is_read(tmp_path: Path) -> None:
    path = tmp_path / "in.tif"
    samples = waves(1).astype(np.uint8)
    samples[0, 5:20, 7:30] = 3
    tifffile.imwrite(path, samples[0])
    value = '<PAMRasterBand band="1"><NoDataValue>3</NoDataValue></PAMRasterBand>'
    path.with_name("in.tif.aux.xml").write_text(f"<PAMDataset>{value}</PAMDataset>", "utf-8")
    result = enlarged(path)
    assert info(result)["bands"][0]["noDataValue"] == 3
    np.testing.assert_array_equal(read(result) == 3, (samples == 3).repeat(2, 1).repeat(2, 2))


def test_a_mask_beside_a_plain_tiff_is_read(tmp_path: Path) -> None:
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, waves(1).astype(np.uint8)[0])
    shown = np.full((40, 60), 255, np.uint8)
    shown[5:20, 7:30] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), changed(path) as file:
        file.write_mask(shown)
    assert path.with_name("in.tif.msk").exists()
    with changed(enlarged(path)) as result:
        np.testing.assert_array_equal(result.read_masks(1), shown.repeat(2, 0).repeat(2, 1))


def test_a_copy_tells_of_the_files_beside(tmp_path: Path) -> None:
    path = write(tmp_path / "in.tif", waves(1).astype(np.uint8))
    target = tmp_path / "out.tif"
    assert fakes.enlarge_file(path, target, width=20, larger="copy") == ()
    assert target.read_bytes() == path.read_bytes()
    path.with_suffix(".tfw").write_text("1\n0\n0\n-1\n0\n0\n", "ascii")
    assert fakes.enlarge_file(path, target, width=20, larger="copy") == ("in.tfw",)


def test_a_model_that_removes_faults_of_jpeg_is_not_made_to_agree(tmp_path: Path) -> None:
    path = write(tmp_path / "in.tif", waves(3).astype(np.uint8), compress="jpeg")
    opened = fakes.open_file(path, model=fakes.fake_model(halo=2, name="photo"))
    assert opened.plans[0].preserves == "nothing"
    assert opened.why.startswith("reduced again it differs from its input: model photo")
    with pytest.raises(InputError, match="a consistent result keeps them"):
        fakes.open_file(path, model=fakes.fake_model(halo=2, name="photo"), consistent=True)


def test_a_far_value_of_no_data_does_not_stop_the_check(tmp_path: Path) -> None:
    samples = waves(1) + 6_378_137
    samples[0, 5:15, 5:15] = -1e300
    path = write(tmp_path / "in.tif", samples, nodata=-1e300)
    opened = fakes.open_file(path, check=True, model=fakes.fake_model(halo=2))
    agreement = opened.write(tmp_path / "out.tif").agreement
    assert agreement is not None
    assert agreement.decibels > 100


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint8", 0),
        ("uint8", 100),
        ("uint16", None),
        ("uint16", 65535),
        ("int16", -32768),
        ("float32", np.nan),
    ],
)
def test_means_are_kept_if_asked_for(tmp_path: Path, dtype: str, nodata: float | None) -> None:
    # Samples beside the ends of the type, where shares of the room that is left are given.
    ends = (np.iinfo(dtype) if dtype != "float32" else np.finfo("float16")).max
    samples = np.clip(waves(3, most=1.4 * float(ends)) - 0.2 * float(ends), 1, float(ends) - 1)
    samples = samples.astype(dtype)
    samples[samples == nodata] += 1
    gone = np.zeros(samples.shape, np.bool_)
    if nodata is not None:
        gone[1, 5:20, 7:30] = True
        samples[gone] = nodata
    path = write(tmp_path / "in.tif", samples, nodata=nodata)
    result = read(enlarged(path, keep_means=True)).astype(np.float64)
    means = result.reshape(3, 40, 2, 60, 2).mean((2, 4))
    rounding = 0 if dtype != "float32" else 1e-6 * float(ends)
    np.testing.assert_allclose(means[~gone], samples[~gone], rtol=0, atol=rounding)
    missing = np.isnan(result) if dtype == "float32" else result == nodata
    np.testing.assert_array_equal(missing, gone.repeat(2, 1).repeat(2, 2))
    assert (result != read(enlarged(path, "_other.tif"))).any()


def test_means_are_kept_of_whole_factors_of_measurements_only(tmp_path: Path) -> None:
    path = write(tmp_path / "in.tif", waves(1).astype(np.uint8))
    with pytest.raises(InputError, match=r"150x100 is no whole number of times 60x40"):
        fakes.open_file(path, scale=2.5, keep_means=True)
    plain = tmp_path / "plain.tif"
    tifffile.imwrite(plain, waves(1).astype(np.uint8)[0])
    with pytest.raises(InputError, match="the means of a picture are not kept"):
        fakes.open_file(plain, keep_means=True)
    for other in ({"consistent": False}, {"labels": True}, {"palette": "keep"}):
        with pytest.raises(UsageError, match=r"keep_means or .*, not both"):
            Options(keep_means=True, **other)  # type: ignore[arg-type]
