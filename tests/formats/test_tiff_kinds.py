"""TIFF files of kinds that are easily taken for others: further bands, maps, microscopes."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import fakes
from upres.errors import InputError, OutputError
from upres.formats.registry import open_pages

Array = NDArray[Any]


def waves(height: int, width: int, bands: int, dtype: Any = np.uint8, most: float = 200) -> Array:
    """Smooth samples; of each band others."""
    y, x, band = np.ogrid[:height, :width, :bands]
    wave = 0.5 + 0.5 * np.sin(x / (5 + band) + y / (4 + band / 2) + band)
    return (wave * most).astype(dtype)


def enlarged(folder: Path, **options: Any) -> Path:
    target = folder / "out.tif"
    fakes.enlarge_file(folder / "in.tif", target, **options)
    return target


def is_near(result: Array, samples: Array) -> None:
    """That the result is the samples, each now four."""
    small = result.astype(float).reshape(*samples.shape[:2], -1, samples.shape[-1])
    height, width, bands = samples.shape
    small = result.astype(float).reshape(height, 2, width, 2, bands).mean((1, 3))
    assert np.abs(small - samples).mean() < 0.03 * (float(samples.max()) - float(samples.min()))


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
@pytest.mark.parametrize("count", [1, 2, 5, 9])
@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_bands_that_nothing_is_known_of_are_no_alpha(
    tmp_path: Path, dtype: str, count: int, photometric: str, planar: str
) -> None:
    colours = 3 if photometric == "rgb" else 1
    if planar == "separate" and colours + count == 2:
        pytest.skip("is refused, see below")
    samples = waves(40, 50, colours + count, dtype)
    samples[5:20, 5:20, colours:] = 0
    kept = {"photometric": photometric, "planarconfig": planar}
    stored = samples if planar == "contig" else np.moveaxis(samples, 2, 0)
    tifffile.imwrite(tmp_path / "in.tif", stored, extrasamples=[0] * count, **kept)
    target = enlarged(tmp_path)
    with tifffile.TiffFile(target) as file:
        (page,) = file.pages
        assert page.extrasamples == (0,) * count
        assert page.photometric == {"rgb": 2, "minisblack": 1}[photometric]
        assert page.dtype == samples.dtype
        is_near(page.asarray(), samples)
    # Nothing was made of colours where another band is 0.
    alone = tmp_path / "alone"
    alone.mkdir()
    tifffile.imwrite(alone / "in.tif", samples[:, :, :colours].squeeze(), photometric=photometric)
    expected = tifffile.imread(enlarged(alone)).reshape(80, 100, colours)
    np.testing.assert_array_equal(tifffile.imread(target)[:, :, :colours], expected)


@pytest.mark.parametrize(("kinds", "roles"), [([2, 0], "ao"), ([0, 2], "oa"), ([2, 2], "ao")])
def test_alpha_beside_other_bands_stays_in_its_place(
    tmp_path: Path, kinds: list[int], roles: str
) -> None:
    samples = waves(40, 50, 5)
    tifffile.imwrite(tmp_path / "in.tif", samples, photometric="rgb", extrasamples=kinds)
    (source,) = open_pages(tmp_path / "in.tif")
    names = {"a": "alpha", "o": "other"}
    assert [b.role for b in source.info.bands[3:]] == [names[role] for role in roles]
    with tifffile.TiffFile(enlarged(tmp_path)) as file:
        (page,) = file.pages
        assert page.extrasamples == tuple(2 if role == "a" else 0 for role in roles)
        is_near(page.asarray()[:, :, 3:], samples[:, :, 3:])


@pytest.mark.parametrize("place", [3, 4])
def test_opaque_alpha_beside_another_band_stays_in_its_place(tmp_path: Path, place: int) -> None:
    samples = waves(40, 50, 5)
    samples[:, :, place] = 255
    kinds = [2 if band == place else 0 for band in (3, 4)]
    tifffile.imwrite(tmp_path / "in.tif", samples, photometric="rgb", extrasamples=kinds)
    with tifffile.TiffFile(enlarged(tmp_path)) as file:
        (page,) = file.pages
        assert page.extrasamples == tuple(kinds)
        is_near(page.asarray(), samples)


def test_one_band_that_the_file_does_not_tell_of_is_alpha(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", waves(40, 50, 4), photometric="rgb", extrasamples=[0])
    content = (tmp_path / "in.tif").read_bytes()
    assert content.count(struct.pack("<HHI", 338, 3, 1)) == 1
    (tmp_path / "in.tif").write_bytes(  # the tag becomes one that nobody knows
        content.replace(struct.pack("<HHI", 338, 3, 1), struct.pack("<HHI", 337, 3, 1))
    )
    (source,) = open_pages(tmp_path / "in.tif")
    assert source.info.bands[3].role == "alpha"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_no_format_that_cannot_hold_such_bands_drops_them(tmp_path: Path, suffix: str) -> None:
    tifffile.imwrite(tmp_path / "in.tif", waves(40, 50, 4), photometric="rgb", extrasamples=[0])
    with pytest.raises(OutputError, match=r"bands that are no colours: choose \.tif"):
        fakes.enlarge_file(tmp_path / "in.tif", tmp_path / f"out{suffix}")
    assert not (tmp_path / f"out{suffix}").exists()


@pytest.mark.parametrize(
    ("photometric", "kinds"), [("miniswhite", [0]), ("rgb", [0, 1]), ("rgb", [1, 0])]
)
def test_bands_that_would_be_changed_on_the_way_are_refused(
    tmp_path: Path, photometric: str, kinds: list[int]
) -> None:
    bands = len(kinds) + (3 if photometric == "rgb" else 1)
    tifffile.imwrite(
        tmp_path / "in.tif", waves(40, 50, bands), photometric=photometric, extrasamples=kinds
    )
    with pytest.raises(InputError, match=r"in.tif: its .* convert it to one whose"):
        open_pages(tmp_path / "in.tif")


@pytest.mark.parametrize(("photometric", "bands"), [("minisblack", 2), ("miniswhite", 2)])
def test_grey_in_planes_that_would_be_mixed_up_is_refused(
    tmp_path: Path, photometric: str, bands: int
) -> None:
    stored = np.moveaxis(waves(40, 50, bands), 2, 0)
    tifffile.imwrite(
        tmp_path / "in.tif",
        stored,
        photometric=photometric,
        planarconfig="separate",
        extrasamples=[2] * (bands - 1),
    )
    with pytest.raises(InputError, match="its 2 bands are stored in planes"):
        open_pages(tmp_path / "in.tif")


PLACES: list[tuple[int, Any, int, Any]] = [
    (33550, "d", 3, (10.0, 10.0, 0.0)),
    (33922, "d", 6, (0.0, 0.0, 0.0, 500000.0, 4600000.0, 0.0)),
    (34264, "d", 16, tuple(map(float, range(16)))),
    (34735, "H", 4, (1, 1, 0, 0)),
    (42112, "s", 0, "<GDALMetadata></GDALMetadata>"),
    (42113, "s", 0, "-9999"),
]


@pytest.mark.parametrize("tag", PLACES, ids=lambda tag: str(tag[0]))
def test_a_page_with_a_place_on_a_map_is_refused(tmp_path: Path, tag: Any) -> None:
    """A file of one is a GeoTIFF, and several are none that is read."""
    code, kind, count, value = tag
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        for own in ([], [(code, kind, count, value, True)]):
            writer.write(waves(40, 50, 3), photometric="rgb", extratags=own)
    with pytest.raises(InputError, match=r"some have a place on the map.*GTIFF_DIR") as caught:
        [page.info for page in open_pages(tmp_path / "in.tif")]
    assert "\n" not in str(caught.value)


OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


def test_ome_xml_tells_the_new_sizes_and_keeps_axes(tmp_path: Path) -> None:
    stack = np.stack([waves(41, 53, 6, np.uint16, 4000)]).transpose(0, 3, 1, 2)
    stack = stack.reshape(2, 3, 41, 53)
    tifffile.imwrite(
        tmp_path / "in.tif",
        stack,
        ome=True,
        photometric="minisblack",
        resolution=(20000, 10000),
        resolutionunit="CENTIMETER",
        metadata={
            "axes": "ZCYX",
            "PhysicalSizeX": 0.5,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": 1.0,
            "PhysicalSizeYUnit": "µm",
            "PhysicalSizeZ": 3.0,
        },
    )
    with tifffile.TiffFile(enlarged(tmp_path)) as file:
        (series,) = file.series
        assert (series.kind, series.axes, series.shape) == ("ome", "ZCYX", (2, 3, 82, 106))
        pages = [stack[z, c] for z in range(2) for c in range(3)]
        for result, small in zip(series.asarray().reshape(6, 82, 106), pages, strict=True):
            is_near(result[:, :, None], small[:, :, None])
        pixels = ElementTree.fromstring(file.ome_metadata or "").find(f"{OME}Image/{OME}Pixels")
        assert pixels is not None
        told = {name: pixels.get(name) for name in ("SizeX", "SizeY", "SizeZ", "SizeC")}
        assert told == {"SizeX": "106", "SizeY": "82", "SizeZ": "2", "SizeC": "3"}
        sides = [float(pixels.get(f"PhysicalSize{axis}") or 0) for axis in "XYZ"]
        assert sides == [0.25, 0.5, 3.0]
        assert pixels.get("PhysicalSizeXUnit") == "µm"
        resolution = [file.pages[0].tags[tag].value for tag in (282, 283, 296)]
        assert [a / b for a, b in resolution[:2]] == [40000, 20000]
        assert resolution[2] == 3


def test_ome_xml_by_a_factor_that_is_not_whole(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "in.tif",
        waves(40, 50, 1)[:, :, 0],
        ome=True,
        metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5},
    )
    with tifffile.TiffFile(enlarged(tmp_path, scale=1.25)) as file:
        assert file.series[0].shape == (50, 63)
        pixels = ElementTree.fromstring(file.ome_metadata or "").find(f"{OME}Image/{OME}Pixels")
        assert pixels is not None
        assert float(pixels.get("PhysicalSizeX") or 0) == pytest.approx(0.5 * 50 / 63)
        assert float(pixels.get("PhysicalSizeY") or 0) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b'SizeX="50"', b'SizeX="51"'), "other sizes"),
        ((b"</OME>", b'<ROI ID="ROI:0"></ROI></OME>'), "regions"),
        ((b"<TiffData ", b'<TiffData><UUID FileName="b.tif">u</UUID></TiffData><TiffData '), ""),
    ],
)
def test_ome_xml_that_would_not_be_right_is_refused(
    tmp_path: Path, change: tuple[bytes, bytes], message: str
) -> None:
    picture = waves(40, 50, 1)[:, :, 0]
    tifffile.imwrite(tmp_path / "plain.tif", picture, ome=True, metadata={"axes": "YX"})
    text = tifffile.tiffcomment(tmp_path / "plain.tif").encode().replace(*change)
    tifffile.imwrite(tmp_path / "in.tif", picture, description=text, metadata=None)
    if not message:  # one file is named, and it may be this one
        open_pages(tmp_path / "in.tif")
        text = text.replace(
            b"<TiffData ", b'<TiffData><UUID FileName="c.tif">v</UUID></TiffData><TiffData ', 1
        )
        tifffile.imwrite(tmp_path / "in.tif", picture, description=text, metadata=None)
        message = "several files"
    with pytest.raises(InputError, match=message):
        open_pages(tmp_path / "in.tif")


@pytest.mark.parametrize("resolution", [(2.0, 2.0), (2.5, 7.25), (1 / 3, 1 / 3)])
def test_imagej_s_resolution_is_in_its_own_unit(
    tmp_path: Path, resolution: tuple[float, float]
) -> None:
    stack = waves(40, 50, 6, np.uint16, 60000).transpose(2, 0, 1).reshape(2, 3, 40, 50)
    tifffile.imwrite(
        tmp_path / "in.tif",
        stack,
        imagej=True,
        resolution=resolution,
        metadata={"axes": "ZCYX", "unit": "um", "spacing": 3.0},
    )
    with tifffile.TiffFile(enlarged(tmp_path)) as file:
        assert (file.series[0].axes, file.series[0].shape) == ("ZCYX", (2, 3, 80, 100))
        assert (file.imagej_metadata or {})["unit"] == "um"
        assert (file.imagej_metadata or {})["spacing"] == 3.0
        tags = file.pages[0].tags
        found = [tags[tag].value[0] / tags[tag].value[1] for tag in (282, 283)]
        assert found == pytest.approx([2 * side for side in resolution], rel=1e-6)
        assert tags[296].value == 1


def test_a_stack_of_imagej_in_one_page_is_refused(tmp_path: Path) -> None:
    text = "ImageJ=1.54f\nimages=12\nslices=12\n"
    tifffile.imwrite(
        tmp_path / "in.tif", waves(40, 50, 1)[:, :, 0], description=text, metadata=None
    )
    with pytest.raises(InputError, match="its 12 images are stored as 1 of TIFF's pages"):
        open_pages(tmp_path / "in.tif")


def test_a_resolution_without_a_unit_is_a_ratio_and_stays(tmp_path: Path) -> None:
    picture = waves(40, 50, 3)
    tifffile.imwrite(tmp_path / "in.tif", picture, resolution=(3, 2), resolutionunit="NONE")
    with tifffile.TiffFile(enlarged(tmp_path)) as file:
        tags = file.pages[0].tags
        assert [tags[tag].value for tag in (282, 283, 296)] == [(3, 1), (2, 1), 1]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(("bands", "kind"), [(1, 1), (3, 2)])
@pytest.mark.parametrize("pages", [1, 2])
def test_without_a_word_on_colours_they_are_grey_or_rgb(
    tmp_path: Path, order: Any, big: bool, bands: int, kind: int, pages: int
) -> None:
    samples = waves(40, 50, bands)
    path = tmp_path / "in.tif"
    with tifffile.TiffWriter(path, byteorder=order, bigtiff=big) as writer:
        for _ in range(pages):
            writer.write(samples.squeeze(), photometric="rgb" if kind == 2 else "minisblack")
    entry = struct.pack(order + ("HHQ" if big else "HHI"), 262, 3, 1)
    other = struct.pack(order + ("HHQ" if big else "HHI"), 65000, 3, 1)
    content = path.read_bytes()
    assert content.count(entry) == pages
    path.write_bytes(content.replace(entry, other))
    with tifffile.TiffFile(enlarged(tmp_path)) as file:
        assert [page.photometric for page in file.pages] == [kind] * pages
        for page in file.pages:
            is_near(page.asarray().reshape(80, 100, bands), samples)


@pytest.mark.parametrize("pages", [1, 2])
@pytest.mark.parametrize("tag", [270, 315, 33432])
def test_text_is_kept_byte_for_byte(tmp_path: Path, tag: int, pages: int) -> None:
    text = b"caf\xe9 \xff\xfe of \xc3\xa9t\xc3\xa9\0"
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        for _ in range(pages):
            writer.write(
                waves(40, 50, 3),
                photometric="rgb",
                metadata=None,
                extratags=[(tag, 2, len(text), text, True)],
            )
    with tifffile.TiffFile(enlarged(tmp_path)) as file:
        for page in file.pages:
            held = page.tags[tag]
            file.filehandle.seek(held.valueoffset)
            assert file.filehandle.read(held.count) == text


def test_jpeg_of_the_old_kind_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", waves(40, 50, 3), photometric="rgb")
    content = (tmp_path / "in.tif").read_bytes()
    plain, old = (struct.pack("<HHIH", 259, 3, 1, number) for number in (1, 6))
    assert content.count(plain) == 1
    (tmp_path / "in.tif").write_bytes(content.replace(plain, old))
    with pytest.raises(InputError, match=r"JPEG as TIFF 6\.0 had it"):
        open_pages(tmp_path / "in.tif")


def test_the_files_that_were_reported(tmp_path: Path, shared_data: Path) -> None:
    folder = shared_data / "inputs" / "faults"
    with pytest.raises(InputError, match=re.escape("ojpeg-tile.tif")):
        open_pages(folder / "ojpeg-tile.tif")
    for name, extras in (("nir0.tif", (0,)), ("10ct_32bit_128.tiff", ())):
        target = tmp_path / name
        fakes.enlarge_file(folder / name, target)
        with tifffile.TiffFile(target) as file:
            assert file.pages[0].extrasamples == extras
            small = tifffile.imread(folder / name)
            is_near(
                file.asarray().reshape(2 * small.shape[0], 2 * small.shape[1], -1),
                small.reshape(*small.shape[:2], -1),
            )


@pytest.mark.parametrize("keep_cmyk", [True, False])
def test_a_plate_beside_inks_is_no_alpha(tmp_path: Path, keep_cmyk: bool) -> None:
    samples = waves(40, 50, 5)
    samples[:10, :, 4] = 0
    tifffile.imwrite(tmp_path / "in.tif", samples, photometric="separated", extrasamples=[0])
    with tifffile.TiffFile(enlarged(tmp_path, cmyk=keep_cmyk)) as file:
        (page,) = file.pages
        assert (page.photometric, page.extrasamples) == (5 if keep_cmyk else 2, (0,))
        is_near(page.asarray()[:, :, -1:], samples[:, :, 4:])
        if keep_cmyk:
            is_near(page.asarray(), samples)


@pytest.mark.parametrize("kind", ["uint16", "int16", "uint32", "int32", "float16", "float32"])
def test_a_result_is_of_its_picture_s_type_and_float16_of_float32(
    tmp_path: Path, kind: str
) -> None:
    pixels = np.linspace(3, 30000, 24 * 30).reshape(24, 30).astype(kind)
    tifffile.imwrite(tmp_path / "in.tif", pixels)
    result = tifffile.imread(enlarged(tmp_path))
    assert result.dtype == (np.float32 if kind == "float16" else pixels.dtype)
    assert pixels.min() <= result.min()
    assert result.max() <= pixels.max()


@pytest.mark.parametrize("kind", ["int64", "uint64", "float64"])
def test_samples_of_64_bits_are_refused(tmp_path: Path, kind: str) -> None:
    tifffile.imwrite(tmp_path / "in.tif", np.ones((24, 30), kind))
    with pytest.raises(InputError, match="samples are of more than 32 bits, which upres does not"):
        enlarged(tmp_path)
