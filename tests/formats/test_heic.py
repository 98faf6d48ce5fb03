"""HEIC: files of pillow-heif and of a phone, against ImageMagick and exiftool."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from contract import (
    Array,
    FileSourceTests,
    SinkTests,
    check_damage_in_one_line,
    info_of,
    taken,
    upright,
    waves,
)

from upres.errors import InputError, OutputError
from upres.formats.metadata.boxes import pack_box
from upres.formats.metadata.carried import Carried, described
from upres.formats.registry import create_sink, open_pages, recognised
from upres.raster.info import Role

pillow_heif = pytest.importorskip("pillow_heif")

pytestmark = pytest.mark.skipif(
    not pillow_heif.libheif_info()["HEIF"], reason="this pillow-heif has no encoder"
)

ROLES: dict[str, tuple[Role, ...]] = {
    "L": ("grey",),
    "LA": ("grey", "alpha"),
    "RGB": ("red", "green", "blue"),
    "RGBA": ("red", "green", "blue", "alpha"),
}
EXIF = b"II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\x04\0\0\0Cam\0\0\0\0\0"
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def smooth(mode: str, bits: int, height: int = 41, width: int = 63) -> Array:
    dtype = np.uint8 if bits == 8 else np.uint16
    return waves(1, height, width, len(ROLES[mode]), dtype, (1 << bits) - 1)[0]


def stored(path: Path, mode: str = "RGB", bits: int = 8, **options: Any) -> Array:
    samples = smooth(mode, bits)
    mode = mode if bits == 8 else f"{mode};{bits}"
    size = (samples.shape[1], samples.shape[0])
    options = {"quality": 100, "chroma": 444, "bit_depth": bits} | options
    pillow_heif.encode(mode, size, samples.tobytes(), path, **options)
    return samples


def written(
    path: Path, samples: Array, mode: str, *, quality: int | None = None, carried: object = None
) -> None:
    high = np.iinfo(samples.dtype).max
    info = info_of(*samples.shape[:2], *ROLES[mode], dtype=samples.dtype, high=high)
    with create_sink(path, quality=quality) as sink:
        sink.begin(info, carried)
        sink.write(0, 0, 0, (samples / high).astype(np.float32))
        sink.commit(replace=True)


def by_magick(path: Path, samples: Array) -> Array:
    """In another libheif, as 16 bits."""
    if shutil.which("convert") is None:
        pytest.skip("needs ImageMagick")
    kind = {1: "gray", 3: "rgb", 4: "rgba"}[samples.shape[2]]
    command = ["convert", str(path), "-depth", "16", "-endian", "LSB", f"{kind}:-"]
    content = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(content, "<u2").reshape(samples.shape)


class TestHeicSource(FileSourceTests):
    suffix = ".heic"
    tolerance = 5
    header_first = False

    def stored(self, path: Path) -> Array:
        return stored(path)[None]


class TestHeicSink(SinkTests):
    suffix = ".heic"
    tolerance = 6
    refused = (
        info_of(8, 8, "ink", "ink", "ink", "ink"),
        info_of(8, 8, "red", "green", "blue", "other"),
        info_of(8, 8, "red", "green", "blue", frames=3),
        info_of(16385, 8, "grey"),
    )

    def read(self, path: Path) -> Array:
        return np.asarray(pillow_heif.open_heif(path))[None]


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("mode", ROLES)
def test_every_depth_and_kind_is_read(tmp_path: Path, mode: str, bits: int) -> None:
    path = tmp_path / "in.heic"
    samples = stored(path, mode, bits) / ((1 << bits) - 1)
    (source,) = open_pages(path)
    assert [band.role for band in source.info.bands] == list(ROLES[mode])
    assert source.info.dtype == (np.uint8 if bits == 8 else np.uint16)
    result = taken(source, path)[0]
    high = source.info.bands[0].high
    assert high == np.iinfo(result.dtype).max
    assert np.abs(result / high - samples).max() < 5 / 255


@pytest.mark.parametrize("bits", [10, 12])
def test_white_is_white(tmp_path: Path, bits: int) -> None:
    path, most = tmp_path / "in.heic", (1 << bits) - 1
    white = np.full((16, 16), most, np.uint16)
    pillow_heif.encode(f"L;{bits}", (16, 16), white.tobytes(), path, quality=100, bit_depth=bits)
    (source,) = open_pages(path)
    assert taken(source, path).min() == 65535


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_what_is_written_other_programs_read(tmp_path: Path, mode: str, bits: int) -> None:
    path, samples = tmp_path / "out.heic", smooth(mode, bits)
    written(path, samples, mode, quality=100)
    expected = samples / np.iinfo(samples.dtype).max
    if mode != "RGBA":  # ImageMagick 6 leaves alpha out
        # On the average, as it makes chroma coarser.
        assert np.abs(by_magick(path, samples) / 65535 - expected).mean() < 0.01
    (source,) = open_pages(path)
    own = taken(source, path)[0] / np.iinfo(samples.dtype).max
    assert np.abs(own - expected).max() < 0.02
    assert int(source.carried.find("bits-per-sample")) == (8 if bits == 8 else 12)  # type: ignore[attr-defined]


def test_a_file_of_10_bits_becomes_one(tmp_path: Path) -> None:
    stored(tmp_path / "in.heic", "RGB", 10)
    (source,) = open_pages(tmp_path / "in.heic")
    written(tmp_path / "out.heic", smooth("RGB", 16), "RGB", carried=source.carried)
    assert pillow_heif.open_heif(tmp_path / "out.heic").info["bit_depth"] == 10


def test_quality_decides_how_much_is_lost(tmp_path: Path) -> None:
    sizes = []
    noise = np.random.default_rng(0).integers(0, 60, (200, 200, 3)).astype(np.uint8)
    for quality in (30, 80, 95):
        written(tmp_path / "out.heic", noise, "RGB", quality=quality)
        sizes.append((tmp_path / "out.heic").stat().st_size)
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] / 2
    written(tmp_path / "out.heic", noise, "RGB")
    assert (tmp_path / "out.heic").stat().st_size == sizes[2]


@pytest.mark.parametrize("chroma", [420, 444])
def test_chroma_stays_as_coarse_as_it_was(tmp_path: Path, chroma: int) -> None:
    stored(tmp_path / "in.heic", chroma=chroma)
    (source,) = open_pages(tmp_path / "in.heic")
    written(tmp_path / "out.heic", smooth("RGB", 8), "RGB", carried=source.carried)
    assert pillow_heif.open_heif(tmp_path / "out.heic").info["chroma"] == chroma


def test_profile_exif_xmp_and_resolution(tmp_path: Path) -> None:
    path = tmp_path / "out.heic"
    profile = pyvips.Operation.call("profile_load", "p3")
    told = described(path, exif_block=EXIF, packet=XMP, profile=profile, resolution=(5.0, 5.0))
    written(path, smooth("RGB", 8), "RGB", carried=told)
    (source,) = open_pages(path)
    carried = source.carried
    assert isinstance(carried, Carried)
    assert carried.find("icc-profile-data") == profile
    assert carried.find("xmp-data") == XMP
    assert carried.image.xres == pytest.approx(5)
    if not shutil.which("exiftool"):
        pytest.skip("needs exiftool")
    command = ["exiftool", "-json", "-G1", "-n", str(path)]
    said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[0]
    assert said["IFD0:Make"] == "Cam"
    assert said["IFD0:XResolution"] == pytest.approx(127)
    assert said["ICC-header:ColorSpaceData"] == "RGB "


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_once(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "in.heic"
    exif = EXIF[:8] + struct.pack("<HHHIHHI", 1, 274, 3, 1, orientation, 0, 0)
    samples = stored(path, exif=b"Exif\0\0" + exif)  # which makes pillow-heif write irot, imir
    expected = upright(samples, orientation)
    (source,) = open_pages(path)
    result = taken(source, path)[0]
    assert result.shape == expected.shape
    assert np.abs(result.astype(int) - expected).max() <= 5
    written(tmp_path / "out.heic", result, "RGB", carried=source.carried)
    (again,) = open_pages(tmp_path / "out.heic")
    assert np.abs(taken(again, path)[0].astype(int) - expected).max() <= 12


@pytest.mark.parametrize("numbers", [(9, 16), (9, 18), (1, 13), (12, 13)])
def test_colours_that_numbers_tell(tmp_path: Path, numbers: tuple[int, int]) -> None:
    path = tmp_path / "in.heic"
    primaries, transfer = numbers
    samples = stored(
        path,
        "RGB",
        10,
        color_primaries=primaries,
        transfer_characteristics=transfer,
        matrix_coefficients=9 if primaries == 9 else 6,
        full_range_flag=1,
    )
    (source,) = open_pages(path)
    carried = source.carried
    assert isinstance(carried, Carried)
    bright = primaries == 9
    assert carried.meaning == (bytes([primaries, transfer, 0, 1]) if bright else b"")
    assert bool(carried.find("icc-profile-data")) == (primaries == 12)
    # Written with the same numbers, or refused where there is no room for them.
    result = taken(source, path)[0]
    written(tmp_path / "out.heic", result, "RGB", carried=carried)
    (again,) = open_pages(tmp_path / "out.heic")
    assert again.carried.meaning == carried.meaning  # type: ignore[attr-defined]
    assert np.abs(taken(again, path)[0] / 65535 - samples / 1023).max() < 0.03
    if bright:
        with pytest.raises(OutputError, match=r"CICP 9, 1[68]\): choose \.png"):
            written(tmp_path / "out.webp", smooth("RGB", 8), "RGB", carried=carried)


def test_a_grid_is_one_picture(tmp_path: Path) -> None:
    path = tmp_path / "in.heic"
    samples = smooth("RGB", 8, 300, 200)
    pillow_heif.encode(
        "RGB", (200, 300), samples.tobytes(), path, quality=100, chroma=444, tile_size=128
    )
    (source,) = open_pages(path)
    assert np.abs(taken(source, path)[0].astype(int) - samples).max() <= 5


def test_several_pictures_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.heic"
    file = pillow_heif.HeifFile()
    for _ in range(3):
        file.add_frombytes("RGB", (63, 41), smooth("RGB", 8).tobytes())
    file.save(path)
    with pytest.raises(InputError, match=r"in\.heic: has 3 pictures; upres takes files of one"):
        open_pages(path)


def test_a_film_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.heic"
    path.write_bytes(pack_box(b"ftyp", b"hevc\0\0\0\0msf1hevc") + pack_box(b"moov", b""))
    with pytest.raises(InputError, match=r"in\.heic: a film or a burst"):
        open_pages(path)


@pytest.mark.parametrize(
    ("brands", "name"),
    [
        (b"heic\0\0\0\0mif1heic", "heic"),
        (b"heix\0\0\0\0mif1heix", "heic"),
        (b"mif1\0\0\0\0mif1heic", "heic"),
        (b"hevc\0\0\0\0msf1hevc", "heic"),
        (b"avif\0\0\0\0avifmif1", "avif"),
        (b"mif1\0\0\0\0mif1avif", "avif"),
        (b"isom\0\0\0\0mp42avc1", "video"),
    ],
)
def test_brands_tell_it_from_its_family(brands: bytes, name: str | None) -> None:
    row = recognised(pack_box(b"ftyp", brands))
    assert (row and row.name) == name


def test_a_picture_of_a_phone_is_read(shared_data: Path) -> None:
    path = shared_data / "inputs" / "faults" / "samplefilehub.heif"
    (source,) = open_pages(path)
    assert (source.info.width, source.info.height) == (640, 426)
    assert source.carried.find("exif-data")  # type: ignore[attr-defined]
    samples = taken(source, path)[0]
    # Chroma is made finer in other ways by other programs.
    assert np.abs(by_magick(path, samples) / 257.0 - samples).mean() < 1


@pytest.mark.parametrize("seed", range(3))
def test_damage_ends_in_one_line(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "in.heic"
    stored(path, "RGBA", exif=b"Exif\0\0" + EXIF)
    check_damage_in_one_line(path, path.read_bytes(), seed, head=600)
