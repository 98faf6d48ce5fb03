"""JPEG XL: the library's own files, and those of cjxl, against imagecodecs' other binding."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
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
from upres.formats.metadata import jxl_header
from upres.formats.metadata.boxes import boxes, pack_box
from upres.formats.metadata.carried import described
from upres.formats.registry import create_sink, open_pages
from upres.raster.info import Role

imagecodecs = pytest.importorskip("imagecodecs")
pyjpegxl = pytest.importorskip("pyjpegxl")

ROLES: dict[int, tuple[Role, ...]] = {
    1: ("grey",),
    2: ("grey", "alpha"),
    3: ("red", "green", "blue"),
    4: ("red", "green", "blue", "alpha"),
}
MOST = {"uint8": 255, "uint16": 65535, "float32": 1}
EXIF = b"II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\x04\0\0\0Cam\0\0\0\0\0"
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def smooth(bands: int, dtype: str, height: int = 45, width: int = 61) -> Array:
    samples = waves(1, height, width, bands, np.float64, 1e6)[0] / 1e6 * MOST[dtype]
    return samples.astype(dtype) if dtype == "float32" else np.round(samples).astype(dtype)


def profile(name: str) -> bytes:
    content: bytes = pyvips.Operation.call("profile_load", name)
    return content


def lossless(path: Path, samples: Array, **options: Any) -> None:
    path.write_bytes(imagecodecs.jpegxl_encode(samples, lossless=True, **options))


def written(path: Path, samples: Array, *, quality: int | None = None, **told: Any) -> Any:
    """Written by upres, all else than samples told by ``told``."""
    facts = {name: told.pop(name) for name in ("lossless", "meaning") if name in told}
    carried = described(path, **told)
    carried = type(carried)(**{**vars(carried), **facts})
    high = MOST[samples.dtype.name]
    info = info_of(*samples.shape[:2], *ROLES[samples.shape[2]], dtype=samples.dtype, high=high)
    with create_sink(path, quality=quality) as sink:
        sink.begin(info, carried)
        sink.write(0, 0, 0, (samples / high).astype(np.float32))
        sink.commit(replace=True)
    return carried


def by_others(path: Path, bands: int) -> Array:
    samples: Array = imagecodecs.jpegxl_decode(path.read_bytes())
    return samples.reshape(*samples.shape[:2], bands)


def header(path: Path) -> jxl_header.JxlHeader:
    content = path.read_bytes()
    if content[:2] != b"\xff\x0a":
        file = BytesIO(content)
        content = next(box.read(file) for box in boxes(file) if box.kind == b"jxlc")
    return jxl_header.parse(content[: jxl_header.HEADER_BYTES])


class TestJxlSource(FileSourceTests):
    suffix = ".jxl"
    header_first = False

    def stored(self, path: Path) -> Array:
        samples = smooth(3, "uint8")
        lossless(path, samples, usecontainer=True)
        return samples[None]


class TestJxlSink(SinkTests):
    suffix = ".jxl"
    tolerance = 32  # in blue, where eyes do not see it
    refused = (
        info_of(8, 8, "ink", "ink", "ink", "ink"),
        info_of(8, 8, "red", "green", "blue", "other"),
        info_of(8, 8, "red", "green", "blue", frames=3),
    )

    def read(self, path: Path) -> Array:
        return by_others(path, 3)[None]


@pytest.mark.parametrize("dtype", MOST)
@pytest.mark.parametrize("bands", ROLES)
def test_what_is_lossless_is_read_and_written_so(tmp_path: Path, dtype: str, bands: int) -> None:
    path, samples = tmp_path / "in.jxl", smooth(bands, dtype)
    lossless(path, samples if bands > 1 else samples[:, :, 0])
    (source,) = open_pages(path)
    assert [band.role for band in source.info.bands] == list(ROLES[bands])
    np.testing.assert_array_equal(taken(source, path)[0], samples)
    assert source.carried.lossless  # type: ignore[attr-defined]
    target = tmp_path / "out.jxl"
    written(target, samples, lossless=True)
    np.testing.assert_array_equal(by_others(target, bands), samples)
    # Told to be sRGB, as pyjpegxl's own floating point and imagecodecs' 16 bits are not.
    assert header(target).colour.transfer == jxl_header.SRGB_TRANSFER


@pytest.mark.parametrize("dtype", MOST)
def test_quality_asks_for_loss(tmp_path: Path, dtype: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, (200, 300, 3))
    unit = (smooth(3, "float32", 200, 300) + noise).clip(0, 1) * MOST[dtype]
    samples = unit.astype(dtype) if dtype == "float32" else np.round(unit).astype(dtype)
    sizes = []
    for quality, most in ((50, 0.05), (90, 0.03), (99, 0.02)):
        path = tmp_path / f"{quality}.jxl"
        written(path, samples, quality=quality, lossless=True)
        error = np.abs(by_others(path, 3).astype(float) - samples).mean() / MOST[dtype]
        assert error < most, quality
        sizes.append(path.stat().st_size)
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("dtype", MOST)
@pytest.mark.parametrize("name", ["p3", "srgb"])
def test_a_profile_goes_into_the_codestream(tmp_path: Path, name: str, dtype: str) -> None:
    path, samples = tmp_path / "out.jxl", smooth(4, dtype)
    written(path, samples, profile=profile(name), lossless=True)
    np.testing.assert_array_equal(by_others(path, 4), samples)
    assert header(path).colour.has_profile
    (source,) = open_pages(path)
    assert source.carried.find("icc-profile-data") == profile(name)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(taken(source, path)[0], samples)
    assert pyjpegxl.probe(path.read_bytes()).icc == profile(name)


def test_a_profile_unlike_what_decoders_expect_is_kept_byte_for_byte(tmp_path: Path) -> None:
    # Of another maker, version and platform, and of an odd length.
    content = bytearray(profile("p3"))
    content[4:8], content[40:44], content[80:84] = b"abcd", b"SUNW", b"wxyz"
    content[8:12] = b"\x02\x10\0\0"
    content += bytes(range(256)) * 3 + b"!"
    content[:4] = struct.pack(">I", len(content))
    path = tmp_path / "out.jxl"
    written(path, smooth(3, "uint8"), profile=bytes(content), lossless=True)
    assert pyjpegxl.probe(path.read_bytes()).icc == bytes(content)


def test_with_a_quality_colours_are_converted_to_srgb(tmp_path: Path) -> None:
    path = tmp_path / "out.jxl"
    samples = np.full((32, 32, 3), (200, 100, 60), np.uint8)
    written(path, samples, profile=profile("p3"), quality=98)
    image = pyvips.Image.new_from_array(samples).copy(interpretation="srgb")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile("p3"))
    expected = image.icc_transform("srgb", embedded=True).numpy()
    assert np.abs(by_others(path, 3).astype(int) - expected).max() <= 2
    assert not header(path).colour.has_profile
    with pytest.raises(OutputError, match="without loss only: quality must be left out"):
        written(path, smooth(3, "float32"), profile=profile("p3"), quality=90)


def test_exif_xmp_and_size(tmp_path: Path) -> None:
    path = tmp_path / "out.jxl"
    written(
        path,
        smooth(3, "uint8"),
        exif_block=EXIF,
        packet=XMP,
        resolution=(5.0, 5.0),
        profile=profile("p3"),
    )
    (source,) = open_pages(path)
    assert XMP in source.carried.find("xmp-data")  # type: ignore[attr-defined]
    assert source.carried.image.xres == pytest.approx(5)  # type: ignore[attr-defined]
    if not shutil.which("exiftool"):
        pytest.skip("needs exiftool")
    command = ["exiftool", "-json", "-G1", "-n", str(path)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[0]
    assert told["IFD0:Make"] == "Cam"
    assert told["IFD0:XResolution"] == pytest.approx(127)


def turned(path: Path, orientation: int) -> Array:
    """A file whose header says so: its fields are put there by hand, as no encoder here does."""
    samples = smooth(3, "uint8")
    codestream = imagecodecs.jpegxl_encode(samples, lossless=True)
    told = header_bits(codestream)
    place = told.find("00", 0)  # not all as usual, no further fields
    assert codestream[:2] == b"\xff\x0a"
    start = size_bits(codestream)
    assert told[start : start + 2] == "00", place
    fields = "01"  # not all as usual, further fields
    fields += f"{orientation - 1:03b}"[::-1] + "000"
    after = told[start + 2 :]
    parsed = jxl_header.parse(codestream[:4096])
    # After the colours: tone mapping, which is as usual.
    end = parsed.places[1] - start - 2
    last = parsed.places[2] - start - 2
    bits = told[:start] + fields + after[:end] + "1" + after[end:last]
    bits += "0" * (-len(bits) % 8)
    head = int(bits[::-1], 2).to_bytes(len(bits) // 8, "little")
    path.write_bytes(head + codestream[-(-parsed.places[2] // 8) :])
    return samples


def header_bits(codestream: bytes) -> str:
    return "".join(f"{byte:08b}"[::-1] for byte in codestream[:64])


def size_bits(codestream: bytes) -> int:
    """How many bits come before the image's metadata: 16, and those of its size."""
    bits = jxl_header._Bits(codestream[:64])
    bits.take(16)
    jxl_header._size(bits)
    return bits.at


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_once(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "in.jxl"
    samples = turned(path, orientation)
    expected = upright(samples, orientation)
    # EXIF may say it, too, and counts no more.
    exif = EXIF[:8] + struct.pack("<HHHIHHI", 1, 274, 3, 1, orientation, 0, 0)
    content = path.read_bytes()
    signature = pack_box(b"JXL ", b"\r\n\x87\n") + pack_box(b"ftyp", b"jxl \0\0\0\0jxl ")
    path.write_bytes(signature + pack_box(b"Exif", bytes(4) + exif) + pack_box(b"jxlc", content))
    (source,) = open_pages(path)
    np.testing.assert_array_equal(taken(source, path)[0], expected)
    assert source.carried.orientation == 1  # type: ignore[attr-defined]


def test_an_animation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.jxl"
    frames = np.stack([smooth(3, "uint8"), smooth(3, "uint8")[::-1]])
    path.write_bytes(imagecodecs.jpegxl_encode(frames, lossless=True))
    with pytest.raises(InputError, match=r"in\.jxl: an animated JPEG XL, .* convert it to"):
        open_pages(path)


def test_colours_told_by_numbers(tmp_path: Path) -> None:
    # imagecodecs tells 16 bits to be linear light: that is what the profile says.
    path = tmp_path / "in.jxl"
    lossless(path, smooth(3, "uint16"))
    (source,) = open_pages(path)
    linear = source.carried.find("icc-profile-data")  # type: ignore[attr-defined]
    grey = pyvips.Image.new_from_array(np.full((1, 1, 3), 32768, np.uint16))
    grey = grey.copy(interpretation="rgb16")
    grey.set_type(pyvips.GValue.blob_type, "icc-profile-data", linear)
    seen = grey.icc_transform("srgb", embedded=True).numpy().ravel()
    assert seen.tolist() == pytest.approx(
        [48193] * 3, abs=20
    )  # half of the light, by IEC 61966-2-1
    # Of 8 bits, they are sRGB, which needs no profile.
    lossless(path, smooth(3, "uint8"))
    (source,) = open_pages(path)
    assert source.carried.find("icc-profile-data") is None  # type: ignore[attr-defined]


def test_colours_that_only_numbers_tell_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"CICP 9, 16\): choose \.png"):
        written(tmp_path / "out.jxl", smooth(3, "uint16"), meaning=bytes([9, 16, 0, 1]))


@pytest.mark.skipif(shutil.which("cjxl") is None, reason="needs cjxl (libjxl-tools)")
def test_what_cjxl_makes_of_a_jpeg_is_no_lossless_picture(tmp_path: Path) -> None:
    jpeg, path = tmp_path / "in.jpg", tmp_path / "in.jxl"
    PIL.Image.fromarray(smooth(3, "uint8")).save(jpeg, quality=80)
    subprocess.run(["cjxl", str(jpeg), str(path)], capture_output=True, check=True)
    (source,) = open_pages(path)
    assert not source.carried.lossless  # type: ignore[attr-defined]


def test_a_header_is_told_without_decoding(tmp_path: Path) -> None:
    path = tmp_path / "in.jxl"
    lossless(path, smooth(4, "uint16", 300, 200))
    told = header(path)
    assert (told.height, told.width, told.bits, len(told.extras)) == (300, 200, 16, 1)
    assert told.may_be_lossless


@pytest.mark.parametrize("seed", range(3))
def test_damage_ends_in_one_line(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "in.jxl"
    written(path, smooth(3, "uint8"), profile=profile("p3"), exif_block=EXIF)
    content = path.read_bytes()
    check_damage_in_one_line(path, content, seed, head=len(content))
