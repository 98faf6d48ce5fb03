"""BMP, against Pillow, Netpbm and ImageMagick."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import pyvips
from contract import check_refused_in_one_line, read
from numpy.typing import NDArray

import upres
from upres.errors import InputError, OutputError
from upres.formats.metadata.carried import Carried, nothing_carried
from upres.formats.registry import create_sink, open_pages, recognised
from upres.raster.info import RasterInfo, Role, bands_of

Array = NDArray[Any]

RGB: tuple[Role, ...] = ("red", "green", "blue")


def waves(bands: int, height: int = 37, width: int = 53) -> Array:
    y, x, band = np.ogrid[:height, :width, :bands]
    return np.round(np.sin(x / (5 + band) + y / 7) * 127 + 128).astype(np.uint8)


def by_pillow(path: Path, mode: str | None = None) -> Array:
    with PIL.Image.open(path) as image:
        pixels = np.asarray(image.convert(mode) if mode else image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def written(path: Path, pixels: Array, *roles: Role, carried: object = None) -> None:
    info = RasterInfo(*pixels.shape[:2], bands_of(roles, 0.0, 255.0), np.dtype(np.uint8))
    with create_sink(path) as sink:
        sink.begin(info, carried)
        for top in range(0, len(pixels), 10):
            sink.write(0, top, 0, (pixels[top : top + 10] / 255).astype(np.float32))
        sink.commit(replace=True)


def made(
    pixels: bytes,
    *,
    width: int,
    height: int,
    bits: int,
    compression: int = 0,
    extra: bytes = b"",
    colours: bytes = b"",
    size: int = 40,
) -> bytes:
    """A file, by Microsoft's description; ``extra`` is what newer headers have more."""
    info = struct.pack(
        *("<IiiHHIIiiII", size, width, height, 1, bits, compression, len(pixels)),
        *(3000, 6000, len(colours) // 4, 0),
    )
    start = 14 + len(info) + len(extra) + len(colours)
    head = struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start)
    return head + info + extra + colours + pixels


def filled(rows: Array) -> bytes:
    """Rows of bytes, the last first, each filled up to whole words."""
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))[::-1].tobytes()


@pytest.mark.parametrize("width", [1, 7, 8, 9, 31, 32, 53])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_what_pillow_writes_is_read(tmp_path: Path, mode: str, width: int) -> None:
    path = tmp_path / "in.bmp"
    image = PIL.Image.fromarray(waves(3, width=width)).convert(mode)
    image.save(path)
    info, samples = read(path)
    expected = by_pillow(path, "L" if mode in "1L" else "RGB")
    np.testing.assert_array_equal(samples, expected)
    assert len(info.bands) == (1 if mode in "1L" else 3)


@pytest.mark.parametrize("bits", [1, 4, 8, 24])
@pytest.mark.parametrize("version", ["-windows", "-os2"])
def test_what_netpbm_writes_is_read(tmp_path: Path, bits: int, version: str) -> None:
    if shutil.which("ppmtobmp") is None:
        pytest.skip("needs ppmtobmp")
    path, source = tmp_path / "in.bmp", tmp_path / "in.ppm"
    levels = {1: 1, 4: 15, 8: 5, 24: 255}[bits]
    pixels = np.round(waves(3 if bits > 4 else 1) / 255 * levels) * (255 // levels)
    pixels = np.broadcast_to(pixels, (37, 53, 3)).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(source)
    command = ["ppmtobmp", version, f"-bpp={bits}", str(source)]
    path.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    _, samples = read(path)
    np.testing.assert_array_equal(np.broadcast_to(samples, (37, 53, 3)), pixels)


def test_a_picture_may_begin_at_its_top(tmp_path: Path) -> None:
    path, pixels = tmp_path / "in.bmp", waves(3)
    rows = pixels[:, :, ::-1].reshape(37, -1)
    content = filled(rows[::-1])
    path.write_bytes(made(content, width=53, height=-37, bits=24))
    np.testing.assert_array_equal(read(path)[1], pixels)
    np.testing.assert_array_equal(by_pillow(path), pixels)


@pytest.mark.parametrize(
    ("bits", "masks"),
    [
        (16, None),
        (16, (0xF800, 0x7E0, 0x1F)),
        (16, (0x7C00, 0x3E0, 0x1F)),
        (32, None),
        (32, (0xFF0000, 0xFF00, 0xFF)),
        (32, (0xFF000000, 0xFF0000, 0xFF00)),
        (32, (0xFF, 0xFF00, 0xFF0000)),
    ],
)
def test_bits_are_where_the_masks_say(
    tmp_path: Path, bits: int, masks: tuple[int, int, int] | None
) -> None:
    path, pixels = tmp_path / "in.bmp", waves(3)
    where = masks or ((0x7C00, 0x3E0, 0x1F) if bits == 16 else (0xFF0000, 0xFF00, 0xFF))
    words, expected = np.zeros((37, 53), np.uint32), np.empty_like(pixels)
    for number, mask in enumerate(where):
        shift = (mask & -mask).bit_length() - 1
        most = mask >> shift
        values = pixels[:, :, number].astype(np.uint32) * (most + 1) // 256
        words |= (values << shift).astype(np.uint32)
        expected[:, :, number] = np.floor(values * 255 / most + 0.5)
    content = filled(words.astype(f"<u{bits // 8}").view(np.uint8).reshape(37, -1))
    extra = struct.pack("<3I", *masks) if masks else b""
    compression = 3 if masks else 0
    path.write_bytes(
        made(content, width=53, height=37, bits=bits, compression=compression, extra=extra)
    )
    _, samples = read(path)
    np.testing.assert_array_equal(samples, expected)
    if masks and masks[0] == 0xFF:
        return  # Pillow does not take these
    # It does not round.
    assert np.abs(by_pillow(path).astype(int) - samples).max() <= 1


def test_of_ten_bits_eight_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "in.bmp"
    words = np.array([[1023 << 20 | 512 << 10 | 3]], "<u4")
    masks = struct.pack("<3I", 1023 << 20, 1023 << 10, 1023)
    content = made(words.tobytes(), width=1, height=1, bits=32, compression=3, extra=masks)
    path.write_bytes(content)
    assert read(path)[1].tolist() == [[[255, 128, 1]]]


# Run lengths: of each file, what it shows, from the top.

RUNS = {
    "runs": (8, b"\3\1\2\2\0\0\5\3\0\1", [[3, 3, 3, 3, 3], [1, 1, 1, 2, 2]]),
    "as they are": (8, b"\0\3\1\2\3\0\2\4\0\0\5\0\0\1", [[0] * 5, [1, 2, 3, 4, 4]]),
    "further": (8, b"\1\1\0\2\2\1\2\3\0\1", [[0, 0, 0, 3, 3], [1, 0, 0, 0, 0]]),
    "no end": (8, b"\5\1\0\0\5\2", [[2] * 5, [1] * 5]),
    "pairs": (4, b"\5\x12\0\0\4\x33\1\x40\0\1", [[3, 3, 3, 3, 4], [1, 2, 1, 2, 1]]),
    "pairs as they are": (4, b"\0\5\x12\x34\x50\0\0\0\5\x66\0\1", [[6] * 5, [1, 2, 3, 4, 5]]),
}


@pytest.mark.parametrize("name", RUNS)
def test_run_lengths_are_read(tmp_path: Path, name: str) -> None:
    bits, content, numbers = RUNS[name]
    path = tmp_path / "in.bmp"
    palette = np.arange(64, dtype=np.uint8).reshape(16, 4) * 4
    path.write_bytes(
        made(
            content,
            width=5,
            height=2,
            bits=bits,
            compression=1 if bits == 8 else 2,
            colours=palette.tobytes(),
        )
    )
    np.testing.assert_array_equal(read(path)[1], palette[:, 2::-1][np.array(numbers)])
    if name != "no end":
        np.testing.assert_array_equal(by_pillow(path, "RGB"), read(path)[1])


def test_run_lengths_of_imagemagick_are_read(tmp_path: Path) -> None:
    if shutil.which("convert") is None:
        pytest.skip("needs ImageMagick")
    path, source = tmp_path / "in.bmp", tmp_path / "in.png"
    pixels = np.zeros((40, 60), np.uint8)
    pixels[5:20, 10:50], pixels[22:30, :7] = 255, 120
    PIL.Image.fromarray(pixels).convert("P").save(source)
    command = ["convert", str(source), "-type", "Palette", "-compress", "RLE", f"BMP3:{path}"]
    subprocess.run(command, check=True)
    assert path.read_bytes()[30] == 1, "else this is no test of run lengths"
    np.testing.assert_array_equal(read(path)[1][:, :, 0], pixels)


# Alpha, profiles, resolution.


def test_alpha_is_kept_where_a_newer_header_says_that_there_is_such(tmp_path: Path) -> None:
    path, pixels = tmp_path / "out.bmp", waves(4)
    written(path, pixels, *RGB, "alpha")
    info, samples = read(path)
    np.testing.assert_array_equal(samples, pixels)
    assert info.bands[3].role == "alpha"
    np.testing.assert_array_equal(by_pillow(path), pixels)
    if shutil.which("convert"):
        other = tmp_path / "out.png"
        subprocess.run(["convert", str(path), f"PNG32:{other}"], check=True)
        np.testing.assert_array_equal(by_pillow(other, "RGBA"), pixels)


def test_what_imagemagick_writes_with_alpha_is_read(tmp_path: Path) -> None:
    if shutil.which("convert") is None:
        pytest.skip("needs ImageMagick")
    source, path = tmp_path / "in.png", tmp_path / "in.bmp"
    PIL.Image.fromarray(waves(4)).save(source)
    subprocess.run(["convert", str(source), str(path)], check=True)
    info, samples = read(path)
    assert info.bands[-1].role == "alpha"
    np.testing.assert_array_equal(samples, waves(4))


def test_a_fourth_byte_without_a_mask_is_no_alpha(tmp_path: Path) -> None:
    path, pixels = tmp_path / "in.bmp", waves(4)
    content = filled(pixels[:, :, [2, 1, 0, 3]].reshape(37, -1))
    path.write_bytes(made(content, width=53, height=37, bits=32))
    np.testing.assert_array_equal(read(path)[1], pixels[:, :, :3])


def test_grey_with_alpha_becomes_colours(tmp_path: Path) -> None:
    path, pixels = tmp_path / "out.bmp", waves(2)
    written(path, pixels, "grey", "alpha")
    np.testing.assert_array_equal(by_pillow(path), pixels[:, :, [0, 0, 0, 1]])


@pytest.mark.parametrize(("bands", "roles"), [(1, ("grey",)), (3, RGB)])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 53])
def test_what_is_written_is_what_pillow_reads(
    tmp_path: Path, bands: int, roles: tuple[Role, ...], width: int
) -> None:
    path, pixels = tmp_path / "out.bmp", waves(bands, width=width)
    written(path, pixels, *roles)
    np.testing.assert_array_equal(by_pillow(path), pixels)
    with PIL.Image.open(path) as image:
        assert image.mode == ("L" if bands == 1 else "RGB")


def test_profile_and_resolution_are_kept(tmp_path: Path) -> None:
    path, again = tmp_path / "out.bmp", tmp_path / "again.bmp"
    profile = bytes(pyvips.Operation.call("profile_load", "p3"))
    image = nothing_carried().image.copy(xres=3, yres=6)
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    written(path, waves(3), *RGB, carried=Carried(image))
    np.testing.assert_array_equal(by_pillow(path), waves(3))
    with PIL.Image.open(path) as opened:
        assert opened.info["dpi"] == pytest.approx((76.2, 152.4))
    upres.enlarge_file(path, again, scale=2, model="fast")
    (source,) = open_pages(again)
    carried = source.carried
    assert isinstance(carried, Carried)
    assert carried.find("icc-profile-data") == profile
    assert (carried.image.xres, carried.image.yres) == (3, 6)
    # And another format takes them over.
    upres.enlarge_file(path, tmp_path / "out.png", scale=1, model="fast")
    png = pyvips.Image.new_from_file(str(tmp_path / "out.png"))
    assert png.get("icc-profile-data") == profile
    assert (round(png.xres), round(png.yres)) == (3, 6)
    if shutil.which("exiftool"):
        command = ["exiftool", "-s3", "-PixelsPerMeterX", "-PixelsPerMeterY", str(again)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert told.split() == ["3000", "6000"]


def test_what_it_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.bmp cannot hold CMYK"):
        written(tmp_path / "out.bmp", waves(4), "ink", "ink", "ink", "ink")
    large = RasterInfo(40_000, 40_000, bands_of(RGB, 0.0, 255.0), np.dtype(np.uint8))
    with (
        pytest.raises(OutputError, match="more than a BMP file can have"),
        create_sink(tmp_path / "out.bmp") as sink,
    ):
        sink.begin(large, None)
    assert not list(tmp_path.iterdir())


GREYS = bytes(np.repeat(np.arange(256, dtype=np.uint8), 4))
RUN = made(b"\5\1\0\0\5\3\0\1", width=5, height=2, bits=8, compression=1, colours=GREYS)

DAMAGED = {
    "header cut": RUN[:40],
    "palette cut": RUN[:400],
    "run lengths cut": RUN[:-3],
    "run lengths beyond a row": RUN.replace(b"\5\3\0\1", b"\x09\3\0\1"),
    "rows beyond the last": RUN.replace(b"\0\0\5\3", b"\0\2\0\7\1\1"),
    "samples cut": made(bytes(1000), width=53, height=37, bits=24),
    "no width": made(b"", width=0, height=37, bits=24),
    "five bits": made(bytes(100), width=2, height=2, bits=5),
    "jpeg inside": made(bytes(100), width=2, height=2, bits=24, compression=4),
    "masks of holes": made(
        bytes(16), width=2, height=2, bits=32, compression=3, extra=struct.pack("<3I", 5, 0, 9)
    ),
    "a colour too many": made(b"\3\0\0\0", width=1, height=1, bits=8, colours=GREYS[:8]),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    check_refused_in_one_line(tmp_path / "in.bmp", DAMAGED[name])


def test_the_run_lengths_that_are_damaged_above_are_right_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "in.bmp"
    path.write_bytes(RUN)
    assert read(path)[1][:, :, 0].tolist() == [[3] * 5, [1] * 5]


@pytest.mark.parametrize(("bits", "compression"), [(24, 0), (8, 1)])
def test_a_picture_that_is_too_large_is_refused_by_its_header(
    tmp_path: Path, bits: int, compression: int
) -> None:
    path = tmp_path / "in.bmp"
    path.write_bytes(
        made(
            bytes(100),
            width=2**30,
            height=2**30,
            bits=bits,
            compression=compression,
            colours=GREYS if bits == 8 else b"",
        )
    )
    with pytest.raises(InputError, match="more than the"):
        upres.enlarge_file(path, tmp_path / "out.bmp")


def test_signatures_take_nothing_else() -> None:
    assert recognised(b"BM is how this text begins, and it is no picture") is None
    for head in (b"#?RGBEX\n", b"#? RADIANCE\n", b"v/1\2", b"#!/bin/sh\n"):
        assert recognised(head) is None, head
    assert recognised(b"#?RGBE\n").name == "hdr"  # type: ignore[union-attr]
