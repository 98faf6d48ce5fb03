"""GeoTIFF: its place on the map, its words and its samples come out right."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
import tifffile
from geotiffs import UTM, changed, enlarged, info, places, read, waves, write
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

import fakes
from fakes import fake_model
from upres.enlarging.options import Options
from upres.errors import InputError, OutputError
from upres.formats import table
from upres.formats.registry import open_pages, recognised
from upres.raster.resize import bicubic

CORNERS = [(0.0, 0.0), (60.0, 0.0), (0.0, 40.0), (60.0, 40.0), (17.5, 23.25)]


def grown(points: list[tuple[float, float]], factor: float) -> list[tuple[float, ...]]:
    return [(x * factor, y * factor) for x, y in points]


@pytest.mark.parametrize("scale", [2, 2.5])
@pytest.mark.parametrize("area_or_point", ["Area", "Point"])
@pytest.mark.parametrize(
    "transform",
    [
        UTM["transform"],
        rasterio.Affine(10, 3, 500_000, 4, -20, 4_600_000),
        rasterio.Affine(8, 0, 500_000, 0, 8, 4_600_000),
    ],
    ids=["north up", "rotated", "south up"],
)
def test_the_ground_stays_where_it_is(
    tmp_path: Path, scale: float, transform: Any, area_or_point: str
) -> None:
    path = write(tmp_path / "in.tif", waves(1).astype(np.uint8), transform=transform)
    with changed(path) as file:
        file.update_tags(AREA_OR_POINT=area_or_point)
    result = enlarged(path, scale=scale)
    np.testing.assert_allclose(
        places(result, grown(CORNERS, scale)), places(path, list(CORNERS)), rtol=0, atol=1e-6
    )
    before, after = info(path), info(result)
    assert after["metadata"][""]["AREA_OR_POINT"] == area_or_point
    for corner, place in before["cornerCoordinates"].items():
        np.testing.assert_allclose(after["cornerCoordinates"][corner], place, atol=1e-6)
    # By the tags, and not by GDAL: the first tie point is that of a corner, or of a centre.
    with tifffile.TiffFile(result) as file:
        tags = file.pages[0].geotiff_tags
    if transform.is_rectilinear and transform.e < 0:
        half = 0.5 if area_or_point == "Point" else 0.0
        column, row, _, x, y, _ = tags["ModelTiepoint"]
        expected = transform @ ((column + half) / scale, (row + half) / scale)
        np.testing.assert_allclose((x, y), expected, atol=1e-6)


@pytest.mark.parametrize(
    "crs",
    [
        "EPSG:4326",
        "EPSG:3857",
        "+proj=utm +zone=25 +south +ellps=GRS80 +towgs84=1,2,3,0,0,0,0 +units=m",
        "EPSG:32633+5773",
        "+proj=laea +lat_0=52 +lon_0=10 +x_0=4321000 +y_0=3210000 +ellps=GRS80",
    ],
)
def test_the_reference_system_stays(tmp_path: Path, crs: str) -> None:
    path = write(tmp_path / "in.tif", waves(1).astype(np.uint8), crs=crs)
    result = enlarged(path)
    before, after = (info(file)["coordinateSystem"]["wkt"] for file in (path, result))
    assert after == before
    assert pyproj.CRS(after) == pyproj.CRS(before)


def test_control_points_grow_with_the_raster(tmp_path: Path) -> None:
    points = [
        GroundControlPoint(row, col, 15 + col / 500 + row / 5000, 41 - row / 400, 7, id=str(row))
        for row, col in ((0, 0), (0, 60), (40, 0), (40, 60), (13.5, 20.25))
    ]
    samples = waves(2).astype(np.uint16)
    path = write(tmp_path / "in.tif", samples, gcps=points, crs="EPSG:4326", transform=None)
    result = enlarged(path)
    before, after = (info(file)["gcps"]["gcpList"] for file in (path, result))
    for old, new in zip(before, after, strict=True):
        assert (new["pixel"], new["line"]) == (old["pixel"] * 2, old["line"] * 2)
        assert (new["x"], new["y"], new["z"]) == (old["x"], old["y"], old["z"])
    np.testing.assert_allclose(
        places(result, grown(CORNERS, 2)), places(path, list(CORNERS)), rtol=0, atol=1e-9
    )


def test_control_points_need_no_reference_system(tmp_path: Path) -> None:
    samples = waves(1)[0].astype(np.uint8)
    points = np.array([(0, 0, 5, 9), (60, 0, 8, 9), (7, 40, 5.5, 2)], np.float64)
    tie = np.insert(points, [2, 4], 0.0, axis=1).ravel()
    tags = [(33922, "d", 18, tuple(map(float, tie)), True)]
    tifffile.imwrite(tmp_path / "in.tif", samples, extratags=tags)
    found = info(enlarged(tmp_path / "in.tif"))["gcps"]["gcpList"]
    assert [(p["pixel"], p["line"], p["x"], p["y"]) for p in found] == [
        (0, 0, 5, 9),
        (120, 0, 8, 9),
        (14, 80, 5.5, 2),
    ]


def test_text_that_is_no_utf_8_is_told(tmp_path: Path) -> None:
    samples = waves(1)[0].astype(np.uint8)
    tags = [(42113, "s", 0, "0", True), (270, "s", 0, b"caf\xe9", True)]
    tifffile.imwrite(tmp_path / "in.tif", samples, extratags=tags, metadata=None)
    lost = fakes.enlarge_file(tmp_path / "in.tif", tmp_path / "out.tif")
    assert list(lost) == ["text that is no UTF-8"]


def test_rational_polynomials_grow_with_the_raster(tmp_path: Path) -> None:
    def polynomial(**terms: float) -> list[float]:
        return [terms.get(f"t{number}", 0.0) for number in range(20)]

    rpcs = RPC(
        height_off=100, height_scale=500, lat_off=41, lat_scale=0.1, long_off=15, long_scale=0.1,
        line_off=19.5, line_scale=20, samp_off=29.5, samp_scale=30,
        line_num_coeff=polynomial(t2=-1, t3=0.01, t4=0.02), line_den_coeff=polynomial(t0=1),
        samp_num_coeff=polynomial(t1=1, t3=0.02, t5=0.01), samp_den_coeff=polynomial(t0=1),
    )  # fmt: skip
    path = write(
        tmp_path / "in.tif", waves(1).astype(np.uint8), rpcs=rpcs, crs=None, transform=None
    )
    result = enlarged(path, scale=4, model=fake_model(scale=4, halo=2))
    found = info(result)["metadata"]["RPC"]
    told = [float(found[name]) for name in ("LINE_OFF", "SAMP_OFF", "LINE_SCALE", "SAMP_SCALE")]
    assert told == [(19.5 + 0.5) * 4 - 0.5, (29.5 + 0.5) * 4 - 0.5, 80, 120]
    # The same ground, at a height.
    ground = [(x, y, 230.0) for x, y in CORNERS]
    before = places(path, ground, "-rpc")
    after = places(result, [(x * 4, y * 4, 230.0) for x, y in CORNERS], "-rpc")
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)


def test_words_stay_and_statistics_go(tmp_path: Path) -> None:
    samples = waves(5).astype(np.int16)
    path = write(tmp_path / "in.tif", samples, nodata=-32768, compress="lzw", tiled=True)
    with changed(path) as file:
        file.descriptions = ["B02", "B03", None, "B08", "Überdeckung"]
        file.scales, file.offsets = [0.0001, 1, 2, 1, 0.5], [-0.1, 0, 0, 3, 0]
        file.units = ["1", None, "m", None, "K"]
        kinds = rasterio.enums.ColorInterp
        file.colorinterp = [kinds.blue, kinds.green, kinds.red, kinds.undefined, kinds.gray]
        file.update_tags(SENSOR="MSI", TIFFTAG_DATETIME="2024:08:24 10:00:00", NOTE="a < b & c")
        file.update_tags(ns="ACQUISITION", CLOUDS="3")
        file.update_tags(ns="xml:XMP", **{"<x:xmpmeta a": "'1'><!-- b --></x:xmpmeta>"})
        file.update_tags(2, WAVELENGTH="560", STATISTICS_MEAN="1", STATISTICS_VALID_PERCENT="9")
    subprocess.run(["gdal_edit.py", "-stats", str(path)], capture_output=True, check=False)
    result = enlarged(path)
    before, after = info(path), info(result)
    for old, new in zip(before["bands"], after["bands"], strict=True):
        for name in ("type", "colorInterpretation", "description", "unit", "scale", "offset"):
            assert new.get(name) == old.get(name), name
        assert new["noDataValue"] == -32768
    assert after["bands"][1]["metadata"][""] == {"WAVELENGTH": "560"}
    assert "STATISTICS" not in str(after)
    wanted = {"SENSOR": "MSI", "TIFFTAG_DATETIME": "2024:08:24 10:00:00", "NOTE": "a < b & c"}
    assert wanted.items() <= after["metadata"][""].items()
    assert after["metadata"]["ACQUISITION"] == {"CLOUDS": "3"}
    assert after["metadata"]["xml:XMP"] == before["metadata"]["xml:XMP"]
    structure = after["metadata"]["IMAGE_STRUCTURE"]
    assert (structure["COMPRESSION"], structure["INTERLEAVE"]) == ("LZW", "PIXEL")
    assert after["bands"][0]["block"] == before["bands"][0]["block"] == [256, 256]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif", "in_large.tif"]


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "int16", "int32", "uint32", "float32", "float64"]
)
def test_values_of_any_size_stay_themselves(tmp_path: Path, dtype: str) -> None:
    """Beyond 10,000, below 0 and a few far ones: reduced again, they are those of the input."""
    kind = np.dtype(dtype)
    samples = waves(2, most=200 if dtype == "uint8" else 12_000)
    if kind.kind != "u":
        samples -= 5000
    samples[0, 20, 30] = 255 if dtype == "uint8" else 20_000
    path = write(tmp_path / "in.tif", samples.astype(dtype))
    result = read(enlarged(path))
    assert result.dtype == kind
    given = read(path).astype(np.float64)
    back = np.stack([bicubic(band.astype(np.float64), size=(40, 60)) for band in result])
    # Whole numbers are rounded, which the reduction sees a part of.
    tolerance = 0.01 if kind.kind == "f" else 1.0
    beside = np.zeros((40, 60), bool)
    if kind.kind == "u":  # where ripples below 0 are cut off
        beside[12:29, 22:39] = True
    np.testing.assert_allclose(back[:, ~beside], given[:, ~beside], rtol=0, atol=tolerance)
    assert result.max() >= given.max()


def test_spectra_and_indices_of_the_reduction_are_those_of_the_input(tmp_path: Path) -> None:
    """By the formulas of Rouse and others (NDVI, 1974) and of Kruse and others (angle, 1993)."""

    def ndvi(samples: NDArray[Any]) -> NDArray[Any]:
        red, infrared = samples[2], samples[3]
        return np.asarray((infrared - red) / (infrared + red))

    path = write(tmp_path / "in.tif", waves(4, most=0.3).astype(np.float32) + 0.05)
    given, result = (read(file).astype(np.float64) for file in (path, enlarged(path)))
    back = np.stack([bicubic(band, size=(40, 60)) for band in result])
    np.testing.assert_allclose(ndvi(back), ndvi(given), rtol=0, atol=1e-6)
    lengths = np.linalg.norm(back, axis=0) * np.linalg.norm(given, axis=0)
    cosines = np.clip((back * given).sum(0) / lengths, -1, 1)
    assert np.degrees(np.arccos(cosines)).max() < 1e-3
    free = read(enlarged(path, "_free.tif", consistent=False)).astype(np.float64)
    back = np.stack([bicubic(band, size=(40, 60)) for band in free])
    assert np.abs(ndvi(back) - ndvi(given)).max() > 1e-3


def test_each_band_goes_by_itself_and_none_by_its_place(tmp_path: Path) -> None:
    samples = waves(4).astype(np.uint16)
    profile = {"photometric": "RGB", "alpha": "unspecified"}
    path = write(tmp_path / "in.tif", samples, **profile)
    (source,) = open_pages(path)
    assert [band.role for band in source.info.bands] == ["other"] * 4
    turned = write(tmp_path / "turned.tif", samples[[3, 1, 0, 2]])
    np.testing.assert_array_equal(read(enlarged(turned)), read(enlarged(path))[[3, 1, 0, 2]])


def test_classes_keep_their_numbers_and_colours(tmp_path: Path) -> None:
    numbers = np.random.default_rng(3).choice([0, 7, 11, 250], (1, 40, 60)).astype(np.uint8)
    path = write(tmp_path / "in.tif", numbers, nodata=250, photometric="palette")
    with changed(path) as file:
        file.write_colormap(1, {0: (1, 2, 3, 255), 7: (200, 0, 0, 255), 11: (0, 9, 0, 255)})
    result = enlarged(path)
    np.testing.assert_array_equal(read(result), numbers.repeat(2, 1).repeat(2, 2))
    before, after = info(path), info(result)
    assert after["bands"][0]["colorTable"] == before["bands"][0]["colorTable"]
    # Without a palette, it is for the user to say.
    plain = write(tmp_path / "plain.tif", numbers.astype(np.int32))
    assert set(np.unique(read(enlarged(plain)))) != set(np.unique(numbers))
    np.testing.assert_array_equal(
        read(enlarged(plain, labels=True)), numbers.repeat(2, 1).repeat(2, 2)
    )
    thematic = write(tmp_path / "thematic.tif", numbers)
    with changed(thematic) as file:
        file.update_tags(1, LAYER_TYPE="thematic")
    np.testing.assert_array_equal(read(enlarged(thematic)), numbers.repeat(2, 1).repeat(2, 2))


@pytest.mark.parametrize("scale", [2, 3.5])
def test_masks_and_alpha_are_those_of_the_nearest(tmp_path: Path, scale: float) -> None:
    samples, shown = waves(3).astype(np.uint8), np.full((40, 60), 255, np.uint8)
    shown[5:20, 10:33] = 0
    path = write(tmp_path / "in.tif", samples)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), changed(path) as file:
        file.write_mask(shown)
    alpha = np.concatenate([samples, shown[None]])
    alpha[3, 30:, 40:] = 128
    other = write(tmp_path / "alpha.tif", alpha, photometric="RGB", alpha="YES")
    rows, columns = (
        ((np.arange(int(length * scale)) + 0.5) / scale).astype(int) for length in (40, 60)
    )
    with rasterio.open(enlarged(path, scale=scale)) as file:
        np.testing.assert_array_equal(file.read_masks(2), shown[rows][:, columns])
        assert file.count == 3
    by_mask = read(path.with_name("in_large.tif"))
    result = read(enlarged(other, scale=scale))
    np.testing.assert_array_equal(result[3], alpha[3][rows][:, columns])
    assert info(path.with_name("alpha_large.tif"))["bands"][3]["colorInterpretation"] == "Alpha"
    there = shown[rows][:, columns] > 0
    np.testing.assert_array_equal(by_mask[:, there], result[:3, there])
    # What is hidden has no part in it.
    samples[:, shown == 0] = 255
    with changed(path) as file:
        file.write(samples)
    np.testing.assert_array_equal(read(enlarged(path, scale=scale))[:, there], by_mask[:, there])


def test_no_data_stays_where_it_is(tmp_path: Path) -> None:
    samples = waves(2, most=900).astype(np.float32)
    gone = np.zeros((2, 40, 60), bool)
    gone[0, 3:17, 5:30], gone[1, 30:, 50:] = True, True
    first = samples[:0]
    for name, nodata in (("nan", np.nan), ("low", -3.4028234663852886e38), ("far", -9999.0)):
        given = np.where(gone, np.float32(nodata), samples)
        path = write(tmp_path / f"{name}.tif", given, nodata=nodata)
        result = read(enlarged(path))
        missing = np.isnan(result) if name == "nan" else result == np.float32(nodata)
        np.testing.assert_array_equal(missing, gone.repeat(2, 1).repeat(2, 2))
        assert -50 < result[~missing].min() < result[~missing].max() < 950
        if name != "nan":
            np.testing.assert_array_equal(result[~missing], first)
        first = result[~missing]
    # A value that no sample of the type can be harms nothing.
    odd = [(42113, "s", 0, "-9999", True)]
    tifffile.imwrite(tmp_path / "odd.tif", samples[0].astype(np.uint8), extratags=odd)
    np.testing.assert_array_equal(
        read(enlarged(tmp_path / "odd.tif")),
        read(enlarged(write(tmp_path / "even.tif", samples[:1].astype(np.uint8)))),
    )


def test_smaller_copies_are_made_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "in.tif", waves(2, 300, 200).astype(np.uint8), tiled=True)
    with changed(path) as file:
        file.build_overviews([2, 4], rasterio.enums.Resampling.average)
    result = enlarged(path)
    before, after = (info(file)["bands"][1]["overviews"] for file in (path, result))
    assert [o["size"] for o in after] == [[2 * s for s in o["size"]] for o in before]
    with rasterio.open(result) as whole, rasterio.open(result, overview_level=0) as half:
        mean = whole.read().reshape(2, 300, 2, 200, 2).mean((2, 4))
        np.testing.assert_allclose(half.read(), mean, atol=0.5)


@pytest.mark.parametrize("kind", ["plain", "palette", "nodata", "mask"])
def test_a_cog_is_valid(tmp_path: Path, kind: str) -> None:
    rio_cogeo = pytest.importorskip("rio_cogeo.cogeo")
    samples = waves(1 if kind == "palette" else 3, 700, 610).astype(np.uint8)
    samples[:, 40:90, 40:90] = 0
    profile: dict[str, Any] = {"compress": "zstd"}
    profile |= {"photometric": "palette"} if kind == "palette" else {}
    profile |= {"nodata": 0} if kind == "nodata" else {}
    path = write(tmp_path / "in.tif", samples, **profile)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), changed(path) as file:
        file.update_tags(SENSOR="MSI")
        if kind == "palette":
            file.write_colormap(1, {n: (n, 0, 255 - n, 255) for n in range(256)})
        if kind == "mask":
            file.write_mask(samples[0] != 0)
    plain, cog = enlarged(path), enlarged(path, "_cog.tif", cog=True)
    valid, errors, warned = rio_cogeo.cog_validate(cog, strict=True)
    assert (valid, errors, warned) == (True, [], [])
    np.testing.assert_array_equal(read(cog), read(plain))
    before, after = info(plain), info(cog)
    assert after["metadata"]["IMAGE_STRUCTURE"]["COMPRESSION"] == "ZSTD"
    assert after["metadata"][""]["SENSOR"] == "MSI"
    for name in ("geoTransform", "coordinateSystem", "size"):
        assert after[name] == before[name]
    for old, new in zip(before["bands"], after["bands"], strict=True):
        for name in ("noDataValue", "colorTable", "colorInterpretation"):
            assert new.get(name) == old.get(name)
    with rasterio.open(plain) as first, rasterio.open(cog) as second:
        np.testing.assert_array_equal(second.read_masks(1), first.read_masks(1))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif", "in_cog.tif", "in_large.tif"]


@pytest.mark.parametrize("compress", ["packbits", "deflate", "zstd", "lzw", "jpeg", "none"])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_compression_stays_or_loses_nothing(tmp_path: Path, compress: str, interleave: str) -> None:
    own = {"interleave": interleave} | ({} if compress == "none" else {"compress": compress})
    path = write(tmp_path / "in.tif", waves(3).astype(np.uint8), **own)
    structure = info(enlarged(path))["metadata"]["IMAGE_STRUCTURE"]
    expected = "DEFLATE" if compress == "jpeg" else compress.upper()
    assert structure.get("COMPRESSION", "NONE") == expected
    assert structure["INTERLEAVE"] == interleave.upper()


def test_windows_are_as_the_whole_is_to_the_byte(tmp_path: Path) -> None:
    samples = waves(2, 150, 180, 4000).astype(np.uint16)
    samples[:, 60:90, 70:130] = 0
    path = write(tmp_path / "in.tif", samples, nodata=0, tiled=True)
    made = []
    for pixels in (10**6, 3000):
        target = tmp_path / f"{pixels}.tif"
        backend = fakes.FakeBackend(window_pixels=pixels)
        fakes.files.open_file(path, fakes.asking(), backend=backend).write(target)
        made.append(target.read_bytes())
    assert made[0] == made[1]


def test_what_is_no_single_raster_of_ours_is_refused_in_one_line(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "pages.tif") as writer:
        for page in np.zeros((3, 20, 30), np.uint8):
            writer.write(page, extratags=[(42113, "s", 0, "0", True)])
    write(tmp_path / "complex.tif", np.zeros((1, 20, 30), np.complex64))
    whole = write(tmp_path / "whole.tif", waves(1, 200, 300).astype(np.uint8)).read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[:20_000])
    for name, text in (
        ("pages", "holds 3 rasters.*GTIFF_DIR"),
        ("complex", "complex64, which upres does not take"),
        ("cut", "damaged or truncated"),
    ):
        with pytest.raises(InputError, match=text) as caught:
            enlarged(tmp_path / f"{name}.tif")
        assert str(caught.value).startswith(str(tmp_path / f"{name}.tif"))
        assert "\n" not in str(caught.value)
    untold = waves(1).astype(np.float32)
    untold[0, 3:9] = np.finfo(np.float32).min
    with pytest.raises(InputError, match=r"some samples are -3\.40282e\+38.*-a_nodata"):
        enlarged(write(tmp_path / "untold.tif", untold))
    path = write(tmp_path / "in.tif", waves(3).astype(np.uint8), nodata=0)
    for suffix, text in ((".png", "choose .tif"), (".jpg", "choose .tif"), (".exr", "choose .tif")):
        with pytest.raises(OutputError, match=text):
            enlarged(path, f"_large{suffix}")
    with pytest.raises(OutputError, match=r"GeoTIFF is called .tif"):
        enlarged(write(tmp_path / "all.tif", waves(1).astype(np.uint8)), "_large.pam", cog=True)
    tifffile.imwrite(tmp_path / "photo.tif", np.zeros((9, 9, 3), np.uint8), photometric="rgb")
    with pytest.raises(OutputError, match="made of a GeoTIFF only"):
        enlarged(tmp_path / "photo.tif", cog=True)


def test_a_place_that_a_format_has_no_place_for_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "in.tif", waves(5).astype(np.uint8))
    lost = fakes.enlarge_file(path, tmp_path / "out.pam")
    assert list(lost) == ["georeference"]
    assert list(fakes.enlarge_file(path, tmp_path / "out.tif")) == []


def test_it_is_recognised_by_its_tags_or_the_file_beside_it(tmp_path: Path) -> None:
    def format_of(path: Path) -> str:
        row = recognised(path.read_bytes()[: table.HEAD_BYTES], path)
        assert row is not None
        return row.name

    tifffile.imwrite(tmp_path / "photo.tif", np.zeros((9, 9, 3), np.uint8), photometric="rgb")
    assert format_of(tmp_path / "photo.tif") == "tiff"
    (tmp_path / "photo.tfw").write_text("2\n0\n0\n-2\n10\n20\n")
    assert format_of(tmp_path / "photo.tif") == "geotiff"
    result = enlarged(tmp_path / "photo.tif")
    # A world file tells the centre of the first pixel.
    assert info(result)["geoTransform"] == [9, 1, 0, 21, 0, -1]
    assert format_of(write(tmp_path / "map.tif", waves(1).astype(np.uint8))) == "geotiff"


def test_a_plain_tiff_of_many_bands_is_none(tmp_path: Path) -> None:
    """Of any type, range and number of bands, NaN included: by libvips."""
    for dtype in ("int16", "int32", "float32"):
        samples = np.moveaxis(waves(6, most=3000), 0, 2).astype(dtype) - 700
        if dtype == "float32":
            samples[5:9, 7:20, 2] = np.nan
        tifffile.imwrite(
            tmp_path / "in.tif", samples, photometric="minisblack", extrasamples=[0] * 5
        )
        (source,) = open_pages(tmp_path / "in.tif")
        assert [band.role for band in source.info.bands] == ["grey", *["other"] * 5]
        result = tifffile.imread(enlarged(tmp_path / "in.tif"))
        assert (result.shape, result.dtype) == ((80, 120, 6), samples.dtype)
        np.testing.assert_array_equal(np.isnan(result), np.isnan(samples).repeat(2, 0).repeat(2, 1))
        # The fake's mean is the input's, but for borders.
        np.testing.assert_allclose(np.nanmean(result), np.nanmean(samples), rtol=0.05)


@pytest.mark.parametrize("suffix", [".tif", ".pam"])
def test_classes_of_a_plain_picture_are_repeated(tmp_path: Path, suffix: str) -> None:
    """In whatever type, and with alpha as it would be without."""
    for dtype in ("uint8", "uint16"):
        numbers = np.random.default_rng(3).choice([0, 7, 11, 250], (40, 60)).astype(dtype)
        tifffile.imwrite(tmp_path / "in.tif", numbers, photometric="minisblack")
        result = enlarged(tmp_path / "in.tif", f"_large{suffix}", labels=True)
        if suffix == ".tif":
            made = tifffile.imread(result)
        else:
            _, _, content = result.read_bytes().partition(b"ENDHDR\n")
            stored = np.dtype(dtype).newbyteorder(">")
            made = np.frombuffer(content, stored).reshape(80, 120)
        np.testing.assert_array_equal(made, numbers.repeat(2, 0).repeat(2, 1))
    with pytest.raises(OutputError, match="cannot hold bands that are no colours"):
        enlarged(tmp_path / "in.tif", "_large.png", labels=True)


REAL = {
    "geotiff/L7_ETMs.tif": 6,
    "geotiff/olinda_dem_utm25s.tif": 1,
    "geotiff/sent2_L2A_2024-08-24.tif": 4,
    "geotiff/RGB.byte.tif": 3,
    "faults/dem_nodata.tif": 1,
    "faults/geotiff_small.tif": 3,
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_keep_all(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data / "inputs" / name
    result = tmp_path / "out.tif"
    model = fake_model(halo=2)
    opened = fakes.files.open_file(path, Options(model=model, scale=2), backend=fakes.FakeBackend())
    assert opened.plans[0].preserves == "bicubic"
    opened.write(result)
    before, after = info(path), info(result)
    assert len(after["bands"]) == REAL[name]
    systems = [said.get("coordinateSystem", {}).get("wkt") for said in (before, after)]
    if name == "faults/geotiff_small.tif":
        # Whether WGS 84 is a datum or an ensemble of them depends on the version of PROJ.
        systems = [pyproj.CRS(system).to_epsg() for system in systems]
        assert systems[0] == 32633
    assert systems[0] == systems[1]
    assert after["size"] == [2 * side for side in before["size"]]
    for corner, place in before["cornerCoordinates"].items():
        scale = 2 if "coordinateSystem" not in before else 1
        np.testing.assert_allclose(
            after["cornerCoordinates"][corner], np.multiply(place, scale), rtol=1e-12
        )
    for old, new in zip(before["bands"], after["bands"], strict=True):
        for key in ("type", "noDataValue", "description", "colorInterpretation"):
            assert str(new.get(key)) == str(old.get(key))
        assert len(new.get("overviews", [])) == len(old.get("overviews", []))
    given, made = read(path), read(result)
    nodata = before["bands"][0].get("noDataValue")
    if nodata is not None:
        np.testing.assert_array_equal(
            missing(made, nodata), missing(given, nodata).repeat(2, 1).repeat(2, 2)
        )


def missing(samples: NDArray[Any], nodata: Any) -> NDArray[np.bool_]:
    value = float(nodata)
    return np.asarray(np.isnan(samples) if np.isnan(value) else samples == value)


def test_a_large_result_is_a_bigtiff(tmp_path: Path) -> None:
    """The sink is asked, as the result would take minutes."""
    from upres.formats.geo import sink as module

    path = write(tmp_path / "in.tif", waves(1).astype(np.uint8))
    (source,) = open_pages(path)
    for size, big in (((40, 60), False), ((60_000, 75_000), True)):
        info_of = source.info.resized(*size)
        encoder = module._Encoder(tmp_path / "out.tif", info_of, source.carried, cog=False)
        assert encoder._profile(for_copying=False)["BIGTIFF"] == ("YES" if big else "NO")
