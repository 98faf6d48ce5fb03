"""OpenEXR, against the official library's other way to read and write it, and ImageMagick."""

from __future__ import annotations

import shutil
import struct
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

import upres
from upres.errors import InputError, OutputError
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.formats.registry import create_sink, open_pages
from upres.raster.info import RasterInfo, Role, bands_of

OpenEXR = pytest.importorskip("OpenEXR")

Array = NDArray[Any]


def planes(
    names: str, height: int = 41, width: int = 57, dtype: Any = np.float16
) -> dict[str, Any]:
    y, x = np.ogrid[:height, :width]
    return {
        name: ((np.sin(x / (5 + i) + y / 7) + 1) * 3).astype(dtype) for i, name in enumerate(names)
    }


def box(left: int, top: int, right: int, bottom: int) -> tuple[Array, Array]:
    return np.array([left, top], np.int32), np.array([right, bottom], np.int32)


def put(path: Path, channels: dict[str, Any], **header: Any) -> None:
    OpenEXR.File(dict(header), dict(channels)).write(str(path))  # it changes both


def got(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return dict(file.header()), {n: c.pixels.copy() for n, c in file.channels().items()}


def read(path: Path) -> tuple[RasterInfo, Array]:
    (source,) = open_pages(path)
    (frame,) = [np.concatenate(list(rows)) for rows in source.frames(path)]
    assert frame.dtype == source.info.dtype
    return source.info, frame


def enlarge(source: Path, target: Path, scale: float = 2) -> None:
    upres.enlarge_file(source, target, scale=scale, model="fast", precision="fp32")


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("compression", range(10))
def test_samples_are_read_and_written_by_every_compression(
    tmp_path: Path, compression: int, dtype: Any
) -> None:
    path, result = tmp_path / "in.exr", tmp_path / "out.exr"
    kind = OpenEXR.Compression(compression)
    put(path, planes("RGB", 300, 70, dtype), compression=kind)
    stored = got(path)[1]
    info, samples = read(path)
    assert [band.role for band in info.bands] == ["red", "green", "blue"]
    assert (info.dtype, info.colours) == (dtype, "linear")
    np.testing.assert_array_equal(samples, np.stack([stored[n] for n in "RGB"], 2))
    (source,) = open_pages(path)
    with create_sink(result) as sink:
        sink.begin(info, source.carried)
        for top in range(0, 300, 90):
            sink.write(0, top, 0, samples[top : top + 90].astype(np.float32))
        sink.commit(replace=True)
    header, written = got(result)
    assert header["compression"] == kind
    assert written["R"].dtype == dtype
    lossy = compression in (5, 6, 7, 8, 9)
    for number, name in enumerate("RGB"):
        error = np.abs(written[name].astype(float) - samples[:, :, number]).max()
        assert error <= (0.1 if lossy else 0), name


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        ("Y", ["grey"]),
        ("YA", ["grey", "alpha"]),
        ("RGBA", ["red", "green", "blue", "alpha"]),
        ("RGBAZ", ["red", "green", "blue", "alpha", "other"]),
        ("ZN", ["other", "other"]),
    ],
)
def test_channels_have_their_roles_and_keep_names_and_types(
    tmp_path: Path, names: str, roles: list[str]
) -> None:
    path, result = tmp_path / "in.exr", tmp_path / "out.exr"
    channels = planes(names)
    if "A" in names:
        channels["A"] = np.clip(channels["A"] / 4, 0, 1).astype(np.float16)
        for name in set(names) & set("RGBY"):
            channels[name] *= channels["A"]
    if "Z" in names:
        channels["Z"] = channels["Z"].astype(np.float32) * 1e8
    put(path, channels)
    info, _ = read(path)
    assert [band.role for band in info.bands] == roles
    enlarge(path, result)
    _, written = got(result)
    assert written.keys() == set(names)
    for name, plane in written.items():
        assert plane.dtype == channels[name].dtype
        assert plane.shape == (82, 114)
        most = float(channels[name].max())
        near = plane.astype(float).reshape(41, 2, 57, 2).mean((1, 3)) - channels[name]
        assert np.abs(near).mean() < 0.02 * most, name


def test_alpha_that_is_opaque_throughout_stays_a_channel(tmp_path: Path) -> None:
    channels = {**planes("RGB"), "A": np.ones((41, 57), np.float16)}
    put(tmp_path / "in.exr", channels)
    enlarge(tmp_path / "in.exr", tmp_path / "out.exr")
    assert (got(tmp_path / "out.exr")[1]["A"] == 1).all()


def test_windows_grow_with_the_picture_and_attributes_stay(tmp_path: Path) -> None:
    path, result = tmp_path / "in.exr", tmp_path / "out.exr"
    said = {
        "owner": "a name",
        "chromaticities": (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329),
        "pixelAspectRatio": 2.0,
        "screenWindowWidth": 3.0,
        "exposure": 1.25,
        "worldToCamera": np.arange(16, dtype=np.float32).reshape(4, 4),
        "a name of more than thirty-one letters": "long",
        "views": ["left", "right"],
    }
    window, display = box(-3, 10, 53, 50), box(-10, 0, 89, 79)
    put(path, planes("RGB"), dataWindow=window, displayWindow=display, **said)
    enlarge(path, result, 3)
    header, written = got(result)
    assert written["R"].shape == (123, 171)
    for name, value in said.items():
        if name == "chromaticities":
            assert header[name] == pytest.approx(value)
        else:
            np.testing.assert_array_equal(header[name], value)
    np.testing.assert_array_equal(header["dataWindow"], box(-9, 30, 161, 152))
    np.testing.assert_array_equal(header["displayWindow"], box(-30, 0, 269, 239))
    # And as another program, of an older version, reads it.
    if shutil.which("identify"):
        command = ["identify", "-format", "%W %H %X %Y", str(result)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert told.split()[:2] == ["300", "240"] or told.split()[:2] == ["171", "123"]


def test_what_is_cut_off_by_the_display_window_is_enlarged_as_well(tmp_path: Path) -> None:
    path, result = tmp_path / "in.exr", tmp_path / "out.exr"
    window = box(5, 7, 61, 47)
    put(path, planes("RGB"), dataWindow=window, displayWindow=window)
    enlarge(path, result, 1.5)
    header, _ = got(result)
    for name in ("dataWindow", "displayWindow"):
        np.testing.assert_array_equal(header[name], box(8, 11, 93, 72))


def test_tiles_are_read(tmp_path: Path) -> None:
    path, result = tmp_path / "in.exr", tmp_path / "out.exr"
    tiles = OpenEXR.TileDescription()
    tiles.xSize, tiles.ySize = 16, 16
    put(path, planes("RGB"), type=OpenEXR.tiledimage, tiles=tiles)
    _, samples = read(path)
    np.testing.assert_array_equal(samples[:, :, 1], planes("RGB")["G"])
    enlarge(path, result)
    assert got(result)[1]["R"].shape == (82, 114)


def sink_of(path: Path, profile: bytes | None, pixels: Array, *names: Role) -> None:
    """Write gamma-encoded samples, given as 0 to 1."""
    info = RasterInfo(*pixels.shape[:2], bands_of(names, 0.0, 255.0), np.dtype(np.uint8))
    image = nothing_carried().image.copy()
    if profile:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    with create_sink(path) as sink:
        sink.begin(info, Carried(image))
        sink.write(0, 0, 0, pixels)
        sink.commit(replace=True)


@pytest.mark.parametrize("profile", [None, "srgb"])
def test_srgb_is_made_linear_and_multiplied_by_alpha(tmp_path: Path, profile: str | None) -> None:
    path = tmp_path / "out.exr"
    content = bytes(pyvips.Operation.call("profile_load", profile)) if profile else None
    pixels = np.random.default_rng(3).random((9, 8, 4)).astype(np.float32)
    sink_of(path, content, pixels, "red", "green", "blue", "alpha")
    _, written = got(path)
    light = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    for number, name in enumerate("RGB"):
        expected = light[:, :, number] * pixels[:, :, 3]
        np.testing.assert_allclose(written[name], expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(written["A"], pixels[:, :, 3], rtol=1e-3)


@pytest.mark.parametrize("suffix", [".exr", ".hdr", ".pfm"])
def test_another_profile_is_refused(tmp_path: Path, suffix: str) -> None:
    profile = bytes(pyvips.Operation.call("profile_load", "p3"))
    with pytest.raises(OutputError, match="colour profile is another"):
        sink_of(tmp_path / f"out{suffix}", profile, np.ones((4, 4, 1), np.float32), "grey")
    assert not list(tmp_path.iterdir())


def test_resolution_comes_from_other_formats(tmp_path: Path) -> None:
    image = pyvips.Image.black(20, 20, bands=3).copy(interpretation="srgb", xres=10, yres=10)
    image.pngsave(str(tmp_path / "in.png"))
    enlarge(tmp_path / "in.png", tmp_path / "out.exr")
    assert got(tmp_path / "out.exr")[0]["xDensity"] == pytest.approx(254)


def refused(path: Path, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        enlarge(path, path.with_name("out.exr"))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(path.parent.iterdir()) == [path]


def test_several_parts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.exr"
    parts = [OpenEXR.Part({"name": name}, planes("RGB")) for name in ("left", "right")]
    OpenEXR.File(parts).write(str(path))
    refused(path, "has several parts")


def test_deep_samples_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.exr"
    put(path, planes("RGB"))
    content = bytearray(path.read_bytes())
    content[5] |= 8  # the flag of files that are not images
    path.write_bytes(content)
    refused(path, "deep samples")


def test_whole_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.exr"
    put(path, {**planes("RGB"), "id": np.ones((41, 57), np.uint32)})
    refused(path, "its channel id has whole numbers")


def test_cryptomattes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.exr"
    put(path, planes("RGB"), **{"cryptomatte/12345/name": "objects"})
    refused(path, "cryptomatte")


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.exr"
    channels = planes("RGB")
    channels["G"][4, 5] = np.nan
    put(path, channels)
    refused(path, "infinite or not numbers")


@pytest.mark.parametrize("compression", [0, 3, 4, 9])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_what_is_truncated_is_refused(
    tmp_path: Path, compression: int, part: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.exr"
    put(path, planes("RGB", 100, 100), compression=OpenEXR.Compression(compression))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    refused(path, "damaged or truncated")
    assert capfd.readouterr().err == ""  # the library would tell it there


def test_whatever_byte_is_damaged_is_refused_or_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "in.exr"
    put(path, planes("RGB"))
    content = path.read_bytes()
    random = np.random.default_rng(5)
    for place in random.integers(0, 500, 200):
        damaged = bytearray(content)
        damaged[place] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        with suppress(InputError):
            (source,) = open_pages(path)
            if source.info.pixels < 2**20:
                read(path)


def test_a_picture_that_is_too_large_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "in.exr"
    put(path, planes("RGB"))
    content = path.read_bytes()
    size = struct.pack("<4i", 0, 0, 56, 40)
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, struct.pack("<4i", 0, 0, 2**30, 2**30)))
    refused(path, "more than the")


def test_other_formats_that_hold_light_are_named(tmp_path: Path) -> None:
    put(tmp_path / "in.exr", planes("RGBZ"))
    with pytest.raises(
        OutputError, match=r"\.hdr cannot hold bands that are no colours: choose \.exr"
    ):
        enlarge(tmp_path / "in.exr", tmp_path / "out.hdr")


def test_names_of_any_letters_are_kept(tmp_path: Path) -> None:
    put(tmp_path / "in.exr", {**planes("RGB"), "höhe.meter": planes("Z")["Z"]})
    enlarge(tmp_path / "in.exr", tmp_path / "out.exr")
    assert got(tmp_path / "out.exr")[1].keys() == {*"RGB", "höhe.meter"}


@pytest.mark.parametrize("suffix", [".hdr", ".pfm"])
def test_red_alone_is_no_picture_elsewhere(tmp_path: Path, suffix: str) -> None:
    put(tmp_path / "in.exr", planes("RG"))
    enlarge(tmp_path / "in.exr", tmp_path / "out.exr")
    assert got(tmp_path / "out.exr")[1].keys() == {*"RG"}
    with pytest.raises(OutputError, match=r"the picture has green, red: choose \.exr"):
        enlarge(tmp_path / "in.exr", tmp_path / f"out{suffix}")


@pytest.mark.parametrize("most", [1.0, 7.0])
def test_floats_of_a_tiff_are_light_only_within_one(tmp_path: Path, most: float) -> None:
    pixels = np.full((20, 20, 3), most, np.float32)
    pyvips.Image.new_from_array(pixels).tiffsave(str(tmp_path / "in.tif"))
    if most > 1:
        with pytest.raises(OutputError, match="samples beyond 0 to 1"):
            enlarge(tmp_path / "in.tif", tmp_path / "out.exr")
    else:
        enlarge(tmp_path / "in.tif", tmp_path / "out.exr")
        np.testing.assert_allclose(got(tmp_path / "out.exr")[1]["G"][15:25, 15:25], 1, rtol=0.02)
