"""JPEG 2000: codestreams of imagecodecs and Pillow, against Pillow, ImageMagick and exiftool."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
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
    waves,
)

from upres.errors import InputError
from upres.formats.metadata import jp2_boxes
from upres.formats.metadata.boxes import boxes, pack_box
from upres.formats.metadata.carried import Carried, described
from upres.formats.registry import create_sink, open_pages
from upres.raster.info import Role

imagecodecs = pytest.importorskip("imagecodecs")

ROLES: dict[int, tuple[Role, ...]] = {
    1: ("grey",),
    2: ("grey", "alpha"),
    3: ("red", "green", "blue"),
    4: ("red", "green", "blue", "alpha"),
}
EXIF = b"II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\x04\0\0\0Cam\0\0\0\0\0"
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def smooth(bands: int, bits: int = 8, height: int = 75, width: int = 91) -> Array:
    dtype = np.uint8 if bits <= 8 else np.uint16
    return waves(1, height, width, bands, dtype, (1 << bits) - 1)[0]


def codestream(samples: Array, **options: Any) -> bytes:
    options = {"codecformat": "J2K", "reversible": True, "planar": False} | options
    content: bytes = imagecodecs.jpeg2k_encode(
        samples[:, :, 0] if samples.shape[2] == 1 else samples, **options
    )
    return content


def tiled(samples: Array, tile: int, **options: Any) -> bytes:
    """A codestream of Pillow's, in tiles, which is the same library by another way."""
    file = io.BytesIO()
    image = PIL.Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)
    image.save(file, "JPEG2000", tile_size=(tile, tile), no_jp2=True, **options)
    return file.getvalue()


def file_of(content: bytes, *, header: bytes, after: bytes = b"") -> bytes:
    """A JP2 file made by hand."""
    start = pack_box(b"jP  ", b"\r\n\x87\n") + pack_box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return start + pack_box(b"jp2h", header) + after + pack_box(b"jp2c", content)


def ihdr(samples: Array, bits: int = 8) -> bytes:
    return pack_box(b"ihdr", struct.pack(">IIH4B", *samples.shape, bits - 1, 7, 0, 0))


def colr(number: int = 16) -> bytes:
    return pack_box(b"colr", struct.pack(">3BI", 1, 0, 0, number))


def written(
    path: Path, samples: Array, *, quality: int | None = None, carried: object = None
) -> None:
    high = np.iinfo(samples.dtype).max
    info = info_of(*samples.shape[:2], *ROLES[samples.shape[2]], dtype=samples.dtype, high=high)
    with create_sink(path, quality=quality) as sink:
        sink.begin(info, carried)
        sink.write(0, 0, 0, (samples / high).astype(np.float32))
        sink.commit(replace=True)


def exact(path: Path, **told: Any) -> Carried:
    """What a source of a lossless picture carries."""
    facts = described(path, **told)
    return Carried(facts.image, path=path, lossless=True)


class TestJp2Source(FileSourceTests):
    suffix = ".jp2"
    header_first = False

    def stored(self, path: Path) -> Array:
        samples = smooth(3)
        PIL.Image.fromarray(samples).save(path)
        return samples[None]


class TestTiledSource(TestJp2Source):
    suffix = ".j2k"

    def stored(self, path: Path) -> Array:
        samples = smooth(3)
        path.write_bytes(tiled(samples, 32))
        return samples[None]


class TestJp2Sink(SinkTests):
    suffix = ".jp2"
    tolerance = 18
    refused = (
        info_of(8, 8, "ink", "ink", "ink", "ink"),
        info_of(8, 8, "red", "green", "blue", "other"),
        info_of(8, 8, "red", "green", "blue", frames=3),
    )

    def read(self, path: Path) -> Array:
        with PIL.Image.open(path) as image:
            return np.asarray(image)[None]


class TestCodestreamSink(TestJp2Sink):
    suffix = ".j2k"


@pytest.mark.parametrize("suffix", [".jp2", ".j2k", ".jpx"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("bands", ROLES)
def test_what_is_lossless_is_read_and_written_so(
    tmp_path: Path, bands: int, bits: int, suffix: str
) -> None:
    path, samples = tmp_path / "in.j2k", smooth(bands, bits)
    path.write_bytes(codestream(samples))
    (source,) = open_pages(path)
    assert [band.role for band in source.info.bands] == list(ROLES[bands])
    np.testing.assert_array_equal(taken(source, path)[0], samples)
    target = tmp_path / f"out{suffix}"
    written(target, samples, carried=source.carried)
    other = imagecodecs.jpeg2k_decode(target.read_bytes())
    np.testing.assert_array_equal(other.reshape(samples.shape), samples)
    (again,) = open_pages(target)
    assert again.info.bands == source.info.bands
    assert again.carried.lossless  # type: ignore[attr-defined]


@pytest.mark.parametrize(("bands", "bits"), [(1, 16), (3, 8), (4, 8)])
def test_a_large_picture_is_written_in_tiles(tmp_path: Path, bands: int, bits: int) -> None:
    # Of 1024 pixels, the last of which are narrow and low: these have fewer resolutions.
    noise = np.random.default_rng(0).normal(0, 0.01, (1060, 1100, bands))
    most = (1 << bits) - 1
    samples = (smooth(bands, bits, 1060, 1100) / most + noise).clip(0, 1) * most
    samples = np.round(samples).astype(np.uint8 if bits == 8 else np.uint16)
    path = tmp_path / "out.jp2"
    written(path, samples, carried=exact(path))
    other = imagecodecs.jpeg2k_decode(path.read_bytes())
    np.testing.assert_array_equal(other.reshape(samples.shape), samples)
    with path.open("rb") as file:
        facts = jp2_boxes.read_facts(file)
        assert jp2_boxes.read_siz(file, facts).tiles == (2, 2)
    (source,) = open_pages(path)
    np.testing.assert_array_equal(taken(source, path)[0], samples)
    written(path, samples, quality=90)
    (source,) = open_pages(path)
    error = (taken(source, path)[0] / most - samples / most) ** 2
    assert -10 * np.log10(error.mean()) == pytest.approx(44, abs=1.5)
    other = imagecodecs.jpeg2k_decode(path.read_bytes()).reshape(samples.shape)
    np.testing.assert_array_equal(other, taken(source, path)[0])


@pytest.mark.parametrize("options", [{}, {"irreversible": True}])
@pytest.mark.parametrize("offset", [(0, 0), (5, 11)])
def test_tiles_are_read_one_by_one(
    tmp_path: Path, offset: tuple[int, int], options: dict[str, Any]
) -> None:
    path, samples = tmp_path / "in.j2k", smooth(3)
    path.write_bytes(tiled(samples, 32, offset=offset, **options))
    (source,) = open_pages(path)
    expected = np.asarray(PIL.Image.open(path))
    result = taken(source, path)[0]
    np.testing.assert_array_equal(result, expected)
    assert source.carried.lossless == (not options)  # type: ignore[attr-defined]
    # A block of rows is one row of tiles.
    assert len(list(next(iter(source.frames(path))))) > 2


@pytest.mark.parametrize("bits", [1, 4, 10, 12, 14])
def test_other_depths_fill_their_range(tmp_path: Path, bits: int) -> None:
    path, samples = tmp_path / "in.j2k", smooth(1, bits)
    path.write_bytes(codestream(samples, bitspersample=bits))
    (source,) = open_pages(path)
    high = 255 if bits <= 8 else 65535
    result = taken(source, path)[0]
    assert source.info.bands[0].high == high
    np.testing.assert_array_equal(result, np.round(samples / ((1 << bits) - 1) * high))
    if bits > 8:  # and they come back as they were
        target = tmp_path / "out.jp2"
        written(target, result, carried=source.carried)
        other = imagecodecs.jpeg2k_decode(target.read_bytes())
        np.testing.assert_array_equal(other.reshape(samples.shape), samples)


@pytest.mark.parametrize("bits", [8, 16])
def test_other_programs_read_it(tmp_path: Path, bits: int) -> None:
    if shutil.which("convert") is None:
        pytest.skip("needs ImageMagick")
    path, samples = tmp_path / "out.jp2", smooth(3, bits)
    written(path, samples, carried=exact(path))
    command = ["convert", str(path), "-depth", "16", "-endian", "LSB", "rgb:-"]
    content = subprocess.run(command, capture_output=True, check=True).stdout
    result = np.frombuffer(content, "<u2").reshape(samples.shape)
    np.testing.assert_array_equal(result, samples.astype("<u2") * (257 if bits == 8 else 1))


def test_profile_exif_xmp_and_resolution(tmp_path: Path) -> None:
    path = tmp_path / "out.jp2"
    profile = pyvips.Operation.call("profile_load", "p3")
    told = exact(path, exif_block=EXIF, packet=XMP, profile=profile, resolution=(5.0, 2.5))
    samples = smooth(3)
    written(path, samples, carried=told)
    (source,) = open_pages(path)
    carried = source.carried
    assert isinstance(carried, Carried)
    # The samples stay as the profile has them.
    np.testing.assert_array_equal(taken(source, path)[0], samples)
    assert carried.find("icc-profile-data") == profile
    assert carried.find("xmp-data") == XMP
    assert (carried.image.xres, carried.image.yres) == pytest.approx((5, 2.5))
    with PIL.Image.open(path) as image:
        assert image.info["dpi"] == pytest.approx((127, 63.5))
    if not shutil.which("exiftool"):
        pytest.skip("needs exiftool")
    command = ["exiftool", "-json", "-G1", "-n", str(path)]
    said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[0]
    assert said["IFD0:Make"] == "Cam"
    assert said["IFD0:XResolution"] == pytest.approx(127)
    assert said["ICC-header:ColorSpaceData"] == "RGB "
    assert said["Jpeg2000:CaptureXResolution"] == pytest.approx(5000)


def test_a_bare_codestream_gets_colours_without_a_profile(tmp_path: Path) -> None:
    path, samples = tmp_path / "out.j2k", np.full((32, 32, 3), (200, 100, 60), np.uint8)
    profile = pyvips.Operation.call("profile_load", "p3")
    written(path, samples, carried=exact(path, profile=profile))
    image = pyvips.Image.new_from_array(samples).copy(interpretation="srgb")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    expected = image.icc_transform("srgb", embedded=True).numpy()
    np.testing.assert_array_equal(imagecodecs.jpeg2k_decode(path.read_bytes()), expected)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_it_is_turned_once(tmp_path: Path, orientation: int) -> None:
    path, samples = tmp_path / "in.jp2", smooth(3)
    exif = EXIF[:8] + struct.pack("<HHHIHHI", 1, 274, 3, 1, orientation, 0, 0)
    after = pack_box(b"uuid", jp2_boxes.EXIF_ID + exif)
    path.write_bytes(file_of(codestream(samples), header=ihdr(samples) + colr(), after=after))
    expected = np.rot90(samples, {1: 0, 3: 2, 6: -1}[orientation])
    (source,) = open_pages(path)
    np.testing.assert_array_equal(taken(source, tmp_path / "out.jp2")[0], expected)
    written(tmp_path / "out.jp2", expected, carried=source.carried)
    (again,) = open_pages(tmp_path / "out.jp2")
    np.testing.assert_array_equal(taken(again, path)[0], expected)
    with (tmp_path / "out.jp2").open("rb") as file:
        kinds = [box.kind for box in boxes(file)]
    assert kinds == [b"jP  ", b"ftyp", b"jp2h", b"uuid", b"jp2c"]


def cdef(*entries: tuple[int, int, int]) -> bytes:
    parts = b"".join(struct.pack(">3H", *entry) for entry in entries)
    return pack_box(b"cdef", struct.pack(">H", len(entries)) + parts)


KINDS = {
    "a palette": (3, colr() + pack_box(b"pclr", b"\0\1\3\7\7\7abc"), "of a palette"),
    "YCbCr": (3, colr(18), "neither RGB nor grey"),
    "a fourth": (4, colr(), "has 4 channels"),
    "a fourth of no kind": (4, colr() + cdef((3, 65535, 65535)), "has 4 channels|multiplied"),
    "premultiplied": (4, colr() + cdef((3, 2, 0)), "multiplied by alpha"),
    "another order": (3, colr() + cdef((0, 0, 3), (1, 0, 2), (2, 0, 1)), "another order"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_could_not_be_written_back_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "in.jp2"
    bands, header, told = KINDS[kind]
    samples = smooth(bands)
    path.write_bytes(file_of(codestream(samples), header=ihdr(samples) + header))
    with pytest.raises(InputError, match=rf"in\.jp2: .*(?:{told}).*: convert it to"):
        open_pages(path)


def test_several_pictures_and_signed_samples_are_refused(tmp_path: Path) -> None:
    path, samples = tmp_path / "in.jp2", smooth(3)
    content = file_of(codestream(samples), header=ihdr(samples) + colr())
    path.write_bytes(content + pack_box(b"jp2c", codestream(samples)))
    with pytest.raises(InputError, match="has 2 pictures"):
        open_pages(path)
    path.write_bytes(codestream(samples.astype(np.int16)))
    with pytest.raises(InputError, match="may be below zero"):
        open_pages(path)


def test_a_picture_of_too_many_tiles_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "in.j2k"
    content = bytearray(codestream(smooth(3)))
    struct.pack_into(">8I", content, 8, 2**31, 2**31, 0, 0, 1, 1, 0, 0)
    path.write_bytes(content)
    with pytest.raises(InputError, match="more tiles than there are numbers for"):
        open_pages(path)


@pytest.mark.parametrize("seed", range(3))
def test_damage_ends_in_one_line(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "in.jp2"
    samples = smooth(3)
    content = file_of(tiled(samples, 32), header=ihdr(samples) + colr())
    check_damage_in_one_line(path, content, seed, head=250, times=80)
