"""Radiance HDR and PFM, against ImageMagick and what their descriptions say."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract import check_refused_in_one_line, read
from numpy.typing import NDArray

import upres
from upres.errors import InputError, OutputError
from upres.formats.image.hdr import from_float, packed, to_float
from upres.formats.metadata.carried import nothing_carried
from upres.formats.registry import create_sink, open_pages
from upres.raster.info import RasterInfo, bands_of

Array = NDArray[Any]

HEAD = b"#?RADIANCE\n# made by hand\nEXPOSURE=2.5\nFORMAT=32-bit_rle_rgbe\n\n"


def light(height: int = 33, width: int = 47, most: float = 900) -> Array:
    y, x = np.mgrid[:height, :width]
    wave = np.stack([np.sin(x / (5 + i) + y / 7) + 1 for i in range(3)], 2) / 2
    result = (wave**6 * most).astype(np.float32)
    result[5:9, 10:25] = 0
    return result


def written(path: Path, pixels: Array, carried: object = None) -> None:
    """Write linear light."""
    roles = ("red", "green", "blue") if pixels.shape[2] == 3 else ("grey",)
    bands = bands_of(roles, min(0.0, float(pixels.min())), float(pixels.max()))
    info = RasterInfo(*pixels.shape[:2], bands, np.dtype(np.float32), colours="linear")
    with create_sink(path) as sink:
        sink.begin(info, carried)
        for top in range(0, len(pixels), 10):
            sink.write(0, top, 0, pixels[top : top + 10])
        sink.commit(replace=True)


def by_imagemagick(source: Path, target: str) -> None:
    if shutil.which("convert") is None:
        pytest.skip("needs ImageMagick")
    subprocess.run(["convert", str(source), "-depth", "32", target], check=True)


def pfm(pixels: Array, scale: float, order: str) -> bytes:
    height, width, bands = pixels.shape
    head = f"P{'F' if bands == 3 else 'f'}\n{width} {height}\n{scale}\n".encode()
    return head + pixels[::-1].astype(order).tobytes()


# Radiance HDR.


def test_rgbe_is_what_its_description_says() -> None:
    pixels = np.array([[128, 64, 32, 129], [255, 1, 0, 128], [9, 9, 9, 0]], np.uint8)
    expected = [[1, 0.5, 0.25], [255 / 256, 1 / 256, 0], [0, 0, 0]]
    np.testing.assert_array_equal(to_float(pixels), np.float32(expected))


def test_light_is_within_a_256th_of_the_brightest_of_three() -> None:
    random = np.random.default_rng(2)
    pixels = (10 ** random.uniform(-30, 30, (2000, 3))).astype(np.float32)
    pixels[:1000] = pixels[:1000, :1] * random.random((1000, 3)).astype(np.float32)
    back = to_float(from_float(pixels))
    # Half of a step, of which the brightest is at least 128.
    error = np.abs(back.astype(np.float64) - pixels).max(1) / pixels.max(1)
    assert error.max() <= 1 / 256
    np.testing.assert_array_equal(from_float(back), from_float(pixels))
    tiny = np.float32([[1e-40, 0, 0], [0, 0, 0]])
    assert not from_float(tiny).any()


@pytest.mark.parametrize("width", [3, 7, 8, 47, 300])
def test_what_is_written_is_what_imagemagick_reads(tmp_path: Path, width: int) -> None:
    path, target = tmp_path / "out.hdr", tmp_path / "out.pfm"
    pixels = light(33, width, 0.99)  # as it keeps no more than 1
    written(path, pixels)
    by_imagemagick(path, f"{target}")
    _, got = read(target)
    np.testing.assert_allclose(got, to_float(from_float(pixels)), atol=1 / 65535)


def test_what_imagemagick_writes_is_read(tmp_path: Path) -> None:
    source, path = tmp_path / "in.pfm", tmp_path / "in.hdr"
    pixels = light(33, 300, 0.99)
    source.write_bytes(pfm(pixels, -1.0, "<f4"))
    by_imagemagick(source, str(path))
    info, got = read(path)
    assert info.colours == "linear"
    step = 2.0 ** np.ceil(np.log2(np.maximum(pixels.max(2, keepdims=True), 1e-30))) / 256
    # ImageMagick rounds to 16 bits on the way.
    assert (np.abs(got - pixels) <= step + 1 / 65535).all()


@pytest.mark.parametrize("width", [5, 8, 200])
def test_rows_come_back_by_run_lengths_or_without(tmp_path: Path, width: int) -> None:
    path, pixels = tmp_path / "out.hdr", light(33, width)
    pixels[12] = pixels[12, 0]  # of equal pixels
    pixels = to_float(from_float(pixels))
    written(path, pixels)
    np.testing.assert_array_equal(read(path)[1], pixels)
    flat = tmp_path / "flat.hdr"
    head = HEAD + f"-Y 33 +X {width}\n".encode()
    flat.write_bytes(head + from_float(pixels).tobytes())
    np.testing.assert_array_equal(read(flat)[1], pixels)


def test_old_run_lengths_are_read(tmp_path: Path) -> None:
    path = tmp_path / "in.hdr"
    one, two = bytes([10, 20, 30, 128]), bytes([40, 50, 60, 129])
    # 300 pixels: one, 43 more of it, in two counts 256 more, of which the last row has none.
    row = one + b"\1\1\1\x2a" + two + b"\1\1\1\0" + b"\1\1\1\1"
    path.write_bytes(HEAD + b"-Y 2 +X 300\n" + row + two * 300)
    _, got = read(path)
    expected = np.frombuffer(one * 43 + two * 257 + two * 300, np.uint8).reshape(2, 300, 4)
    np.testing.assert_array_equal(got, to_float(expected))


@pytest.mark.parametrize(
    ("axes", "turned"),
    [
        (b"-Y 33 +X 47", lambda p: p),
        (b"-Y 33 -X 47", lambda p: p[:, ::-1]),
        (b"+Y 33 -X 47", lambda p: p[::-1, ::-1]),
        (b"+Y 33 +X 47", lambda p: p[::-1]),
        # Of a picture on its side, each row is a column of what is shown.
        (b"+X 33 -Y 47", lambda p: p.swapaxes(0, 1)),
        (b"-X 33 -Y 47", lambda p: p.swapaxes(0, 1)[:, ::-1]),
        (b"-X 33 +Y 47", lambda p: p.swapaxes(0, 1)[::-1, ::-1]),
        (b"+X 33 +Y 47", lambda p: p.swapaxes(0, 1)[::-1]),
    ],
)
def test_pictures_are_turned_upright(tmp_path: Path, axes: bytes, turned: Any) -> None:
    path, pixels = tmp_path / "in.hdr", light()
    path.write_bytes(HEAD + axes + b"\n" + from_float(pixels).tobytes())
    np.testing.assert_array_equal(read(path)[1], turned(to_float(from_float(pixels))))
    assert [name.name for name in tmp_path.iterdir()] == ["in.hdr"]


def test_an_enlargement_keeps_light_and_what_the_header_says(tmp_path: Path) -> None:
    path, result = tmp_path / "in.hdr", tmp_path / "out.hdr"
    pixels = to_float(from_float(np.full((30, 40, 3), (1000, 3, 0.5), np.float32)))
    path.write_bytes(HEAD + b"-Y 30 +X 40\n" + from_float(pixels).tobytes())
    upres.enlarge_file(path, result, scale=2, model="fast", precision="fp32")
    content = result.read_bytes()
    assert content.startswith(b"#?RADIANCE\n# made by hand\nEXPOSURE=2.5\nFORMAT=32-bit_rle_rgbe\n")
    got = read(result)[1][20:40, 20:60]
    np.testing.assert_allclose(got[:, :, 0], 1000, rtol=0.03)
    np.testing.assert_allclose(got[:, :, 1], 3, atol=4)  # a step beside 1000 is 4


def test_equal_bytes_are_counted() -> None:
    assert packed(np.frombuffer(b"aaaaab", np.uint8)) == b"\x85a\x01b"
    assert packed(np.frombuffer(b"abc" + b"d" * 300, np.uint8)) == b"\x03abc\xffd\xffd\xaed"
    assert packed(np.arange(130, dtype=np.uint8))[:1] == b"\x80"


def test_grey_becomes_three_equal_colours(tmp_path: Path) -> None:
    pixels = to_float(from_float(light()))[:, :, :1]
    written(tmp_path / "out.hdr", pixels)
    expected = to_float(from_float(np.repeat(pixels, 3, 2)))
    np.testing.assert_array_equal(read(tmp_path / "out.hdr")[1], expected)


def test_light_below_zero_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"below 0: choose \.exr or \.pfm"):
        written(tmp_path / "out.hdr", light() - 1)


def test_another_kind_of_colours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.hdr"
    path.write_bytes(HEAD.replace(b"rgbe", b"xyze") + b"-Y 1 +X 1\nabcd")
    with pytest.raises(InputError, match="its colours are 32-bit_rle_xyze"):
        open_pages(path)


ROW = b"\2\2\0\x09" + (b"\x89a") * 4
assert len(ROW) == 12

DAMAGED_HDR = {
    "no sizes": HEAD,
    "no blank line": HEAD[:-1] + b"-Y 1 +X 9\n" + ROW,
    "no rows": HEAD + b"-Y 0 +X 9\n",
    "two of an axis": HEAD + b"-Y 1 +Y 9\n" + ROW,
    "a row short": HEAD + b"-Y 2 +X 9\n" + ROW,
    "a row cut": HEAD + b"-Y 1 +X 9\n" + ROW[:-1],
    "a run too long": HEAD + b"-Y 1 +X 9\n" + ROW.replace(b"\x89", b"\x8a"),
    "a run of none": HEAD + b"-Y 1 +X 9\n" + ROW[:4] + b"\0" * 90,
    "flat pixels cut": HEAD + b"-Y 2 +X 3\n" + bytes(23),
    "an old run of nothing": HEAD + b"-Y 1 +X 3\n\1\1\1\3" + bytes(12),
    "an old run too long": HEAD + b"-Y 1 +X 3\nabcd\1\1\1\3" + bytes(12),
}


@pytest.mark.parametrize("name", DAMAGED_HDR)
def test_a_damaged_hdr_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    check_refused_in_one_line(tmp_path / "in.hdr", DAMAGED_HDR[name])


def test_the_row_that_is_damaged_above_is_right_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "in.hdr"
    path.write_bytes(HEAD + b"-Y 1 +X 9\n" + ROW)
    pixel = to_float(np.full((1, 9, 4), ord("a"), np.uint8))
    np.testing.assert_array_equal(read(path)[1], pixel)


@pytest.mark.parametrize("suffix", [".hdr", ".pfm"])
def test_pictures_that_are_too_large_are_refused_by_their_headers(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"in{suffix}"
    heads = {".hdr": HEAD + b"-Y 99999999 +X 99999999\n", ".pfm": b"PF\n99999999 99999999\n-1\n"}
    path.write_bytes(heads[suffix] + bytes(100))
    with pytest.raises(InputError, match="more than the"):
        upres.enlarge_file(path, tmp_path / f"out{suffix}")


# PFM.


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize(("scale", "order"), [(-1.0, "<f4"), (1.0, ">f4"), (-0.25, "<f4")])
def test_pfm_is_read_in_either_order_of_bytes(
    tmp_path: Path, bands: int, scale: float, order: str
) -> None:
    path, pixels = tmp_path / "in.pfm", light()[:, :, :bands] - 2
    path.write_bytes(pfm(pixels, scale, order))
    info, got = read(path)
    np.testing.assert_array_equal(got, pixels)
    assert (len(info.bands), info.colours) == (bands, "linear")
    (source,) = open_pages(path)
    written(tmp_path / "out.pfm", pixels, source.carried)
    # As it was, the last row first, in this order of bytes.
    expected = pfm(pixels, -abs(scale), "<f4")
    assert (tmp_path / "out.pfm").read_bytes() == expected


def test_pfm_is_what_netpbm_takes(tmp_path: Path) -> None:
    if shutil.which("pfmtopam") is None:
        pytest.skip("needs pfmtopam")
    path, pixels = tmp_path / "out.pfm", light(most=1)
    written(path, pixels)
    pam = subprocess.run(["pfmtopam", "-maxval=65535", path], capture_output=True, check=True)
    (tmp_path / "out.pam").write_bytes(pam.stdout)
    _, got = read(tmp_path / "out.pam")
    assert np.abs(got / 65535 - pixels).max() < 1 / 65535


@pytest.mark.parametrize(
    "content",
    [
        b"PF\n3 2\n0\n" + bytes(72),
        b"PF\n3 2\nnan\n" + bytes(72),
        b"PF\n3 2\n1e999\n" + bytes(72),
        b"PF\n3 2\n--1\n" + bytes(72),
        b"Pf\n0 2\n-1\n",
        b"PF\n3\n",
        b"PF\n3 2\n-1\n" + bytes(71),
    ],
)
def test_a_damaged_pfm_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    check_refused_in_one_line(tmp_path / "in.pfm", content)


@pytest.mark.parametrize(("source", "target"), [(".pfm", ".hdr"), (".hdr", ".pfm")])
def test_light_goes_from_one_format_to_another(tmp_path: Path, source: str, target: str) -> None:
    pixels = to_float(from_float(np.tile(np.float32([[[40, 2, 0.125]]]), (20, 20, 1))))
    written(tmp_path / f"in{source}", pixels)
    out = tmp_path / f"out{target}"
    upres.enlarge_file(tmp_path / f"in{source}", out, scale=2, model="fast", precision="fp32")
    middle = read(out)[1][15:25, 15:25]
    np.testing.assert_allclose(
        middle, np.broadcast_to(pixels[0, 0], middle.shape), rtol=0.05, atol=0.25
    )


def test_srgb_becomes_light(tmp_path: Path) -> None:
    info = RasterInfo(4, 4, bands_of(("red", "green", "blue"), 0.0, 65535.0), np.dtype(np.uint16))
    for suffix in (".hdr", ".pfm"):
        path = tmp_path / f"out{suffix}"
        with create_sink(path) as sink:
            sink.begin(info, nothing_carried())
            sink.write(0, 0, 0, np.full((4, 4, 3), 0.5, np.float32))
            sink.commit(replace=True)
        np.testing.assert_allclose(read(path)[1], 0.21404, rtol=0.004)
