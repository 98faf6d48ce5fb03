"""PBM, PGM, PPM and PAM, against Pillow and Netpbm's own programs."""

from __future__ import annotations

import shutil
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
from upres.formats.registry import create_sink, open_pages, recognised
from upres.raster.info import RasterInfo, Role, bands_of
from upres.raster.pixels import to_bands

Array = NDArray[Any]


def roles(info: RasterInfo) -> list[str]:
    return [band.role for band in info.bands]


def waves(most: int, bands: int, height: int = 37, width: int = 53) -> Array:
    y, x, band = np.ogrid[:height, :width, :bands]
    wave = np.sin(x / (5 + band) + y / 7) * 0.5 + 0.5
    return np.round(wave * most).astype(np.uint8 if most < 256 else np.uint16)


def stored(pixels: Array, magic: int, most: int) -> bytes:
    """A file in bytes or in numbers, as its manual page says."""
    height, width, _ = pixels.shape
    head = f"P{magic}\n# a comment, 5 6 7\n{width} {height}\n{most}\n".encode()
    if magic > 3:
        return head + pixels.astype(">u2" if most > 255 else np.uint8).tobytes()
    return head + b"\n".join(
        b" ".join(b"%d" % v for v in row) for row in pixels.reshape(height, -1)
    )


def written(path: Path, pixels: Array, *names: Role, most: float) -> None:
    info = RasterInfo(*pixels.shape[:2], bands_of(names, 0.0, most), pixels.dtype)
    with create_sink(path) as sink:
        sink.begin(info, None)
        sink.write(0, 0, 0, to_bands(pixels, info.bands))
        sink.commit(replace=True)


def netpbm(*command: str | Path) -> bytes:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"needs {command[0]}")
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.mark.parametrize("most", [15, 100, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize(("magic", "bands"), [(2, 1), (5, 1), (3, 3), (6, 3)])
def test_samples_and_the_largest_one_are_read(
    tmp_path: Path, magic: int, bands: int, most: int
) -> None:
    pixels = waves(most, bands)
    path = tmp_path / "in.xyz"
    path.write_bytes(stored(pixels, magic, most))
    info, samples = read(path)
    np.testing.assert_array_equal(samples, pixels)
    assert roles(info) == (["grey"] if bands == 1 else ["red", "green", "blue"])
    assert {(band.low, band.high) for band in info.bands} == {(0, most)}


@pytest.mark.parametrize("magic", [1, 4])
@pytest.mark.parametrize("width", [8, 9, 15, 53])
def test_bits_are_read_as_grey(tmp_path: Path, magic: int, width: int) -> None:
    black = np.random.default_rng(1).random((11, width)) < 0.4
    path = tmp_path / "in.pbm"
    PIL.Image.fromarray(~black).convert("1").save(path)
    assert path.read_bytes()[:2] == b"P4"
    if magic == 1:
        path.write_bytes(netpbm("pnmtoplainpnm", path))
        assert path.read_bytes()[:2] == b"P1"
    _, samples = read(path)
    np.testing.assert_array_equal(samples[:, :, 0], np.where(black, 0, 255))


def test_bits_need_nothing_between_them_and_comments_may_be_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "in.pbm"
    path.write_bytes(b"P1 #a\n#b\n3 #c\n2\n0110 #1 1 1\n 1\n0")
    assert read(path)[1].tolist() == [[[255], [0], [0]], [[255], [0], [255]]]
    path.write_bytes(b"P2\n3 2\n9\n0 1 2 # 5 6\n7 8\n9")
    assert read(path)[1].ravel().tolist() == [0, 1, 2, 7, 8, 9]


def test_long_texts_are_read_in_parts(tmp_path: Path) -> None:
    pixels = waves(65535, 3, 400, 400)
    path = tmp_path / "in.ppm"
    for comment in (b"", b"# 9 9 9\n"):
        content = stored(pixels, 3, 65535)
        assert len(content) > 2**21
        path.write_bytes(content.replace(b"\n", b"\n" + comment))
        np.testing.assert_array_equal(read(path)[1], pixels)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("GRAYSCALE", ["grey"]),
        ("GRAYSCALE_ALPHA", ["grey", "alpha"]),
        ("RGB", ["red", "green", "blue"]),
        ("RGB_ALPHA", ["red", "green", "blue", "alpha"]),
        ("CMYK", ["ink"] * 4),
        ("HEIGHT", ["other"] * 2),
    ],
)
@pytest.mark.parametrize("most", [200, 1000])
def test_pam_is_read_and_written(
    tmp_path: Path, kind: str, expected: list[Role], most: int
) -> None:
    pixels = waves(most, len(expected))
    head = f"P7\n#c\nHEIGHT 37\nWIDTH 53\nDEPTH {len(expected)}\nMAXVAL {most}\nTUPLTYPE {kind}\n"
    path, result = tmp_path / "in.pam", tmp_path / "out.pam"
    samples = pixels.astype(">u2" if most > 255 else np.uint8).tobytes()
    path.write_bytes(head.encode() + b"ENDHDR\n" + samples)
    info, got = read(path)
    np.testing.assert_array_equal(got, pixels)
    assert roles(info) == expected
    (source,) = open_pages(path)
    with create_sink(result) as sink:
        sink.begin(info, source.carried)
        sink.write(0, 0, 0, to_bands(pixels, info.bands))
        sink.commit(replace=True)
    content = result.read_bytes()
    assert f"TUPLTYPE {kind}\nENDHDR\n".encode() in content
    assert f"MAXVAL {most}\n".encode() in content
    assert content.endswith(samples)
    if "ink" not in expected:
        told = f"PAM, 53 by 37 by {len(expected)} maxval {most}\n    Tuple type: {kind}\n"
        assert told in netpbm("pamfile", result).decode()


def test_black_and_white_becomes_grey(tmp_path: Path) -> None:
    path = tmp_path / "in.pam"
    head = b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 2\nMAXVAL 1\nTUPLTYPE BLACKANDWHITE_ALPHA\nENDHDR\n"
    path.write_bytes(head + b"\1\0\0\1")
    info, samples = read(path)
    assert samples.tolist() == [[[255, 0], [0, 255]]]
    assert roles(info) == ["grey", "alpha"]


@pytest.mark.parametrize("most", [100, 255, 1023, 65535])
@pytest.mark.parametrize(("suffix", "bands"), [(".pgm", 1), (".ppm", 3), (".pnm", 1), (".pnm", 3)])
def test_what_is_written_is_what_netpbm_reads(
    tmp_path: Path, suffix: str, bands: int, most: int
) -> None:
    pixels, path = waves(most, bands), tmp_path / f"out{suffix}"
    names: tuple[Role, ...] = ("grey",) if bands == 1 else ("red", "green", "blue")
    written(path, pixels, *names, most=most)
    plain = netpbm("pnmtoplainpnm", path).split()
    assert plain[0] == (b"P2" if bands == 1 else b"P3")
    assert list(map(int, plain[1:4])) == [53, 37, most]
    np.testing.assert_array_equal(np.array(plain[4:], int), pixels.ravel())


def test_grey_in_a_ppm_is_a_colour(tmp_path: Path) -> None:
    pixels, path = waves(255, 1), tmp_path / "out.ppm"
    written(path, pixels, "grey", most=255)
    with PIL.Image.open(path) as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), np.repeat(pixels, 3, 2))


def test_the_largest_sample_is_kept_by_an_enlargement_and_fills_the_range_elsewhere(
    tmp_path: Path,
) -> None:
    path = tmp_path / "in.pgm"
    path.write_bytes(stored(np.full((20, 30, 1), 1023, np.uint16), 5, 1023))
    upres.enlarge_file(path, tmp_path / "out.pgm", scale=2, model="fast")
    info, samples = read(tmp_path / "out.pgm")
    assert (info.bands[0].high, samples.shape) == (1023, (40, 60, 1))
    assert samples[10:30, 10:50].min() > 1015
    upres.enlarge_file(path, tmp_path / "out.png", scale=2, model="fast")
    png = pyvips.Image.new_from_file(str(tmp_path / "out.png")).numpy()
    assert png.dtype == np.uint16
    assert png[10:30, 10:50].min() > 65000


def test_opaque_alpha_of_another_largest_sample_is_opaque_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "in.pam"
    head = b"P7\nWIDTH 9\nHEIGHT 9\nDEPTH 2\nMAXVAL 300\nTUPLTYPE GRAYSCALE_ALPHA\nENDHDR\n"
    path.write_bytes(head + np.full((9, 9, 2), 300, ">u2").tobytes())
    for name in ("out.png", "out.pam"):
        upres.enlarge_file(path, tmp_path / name, scale=2, model="fast")
    png = pyvips.Image.new_from_file(str(tmp_path / "out.png")).numpy()
    assert (png[:, :, 1] == 65535).all()
    assert (read(tmp_path / "out.pam")[1][:, :, 1] == 300).all()


def test_colours_are_refused_in_a_pgm_and_alpha_in_a_ppm(tmp_path: Path) -> None:
    for suffix, names in ((".pgm", ("red", "green", "blue")), (".ppm", ("grey", "alpha"))):
        with pytest.raises(OutputError, match=rf"{suffix} cannot hold"):
            written(tmp_path / f"out{suffix}", waves(255, len(names)), *names, most=255)
    with pytest.raises(OutputError, match="cannot write this format"):
        create_sink(tmp_path / "out.pbm")
    assert not list(tmp_path.iterdir())


GOOD = stored(waves(255, 3), 6, 255)

DAMAGED = {
    "no sizes": b"P6\n53\n",
    "no pixels": b"P6\n0 37\n255\n",
    "too many bits": b"P6\n1 1\n65536\n" + bytes(6),
    "samples end early": GOOD[:-1],
    "numbers end early": stored(waves(255, 3), 3, 255)[:-9],
    "a word": b"P2\n2 1\n255\n1 x",
    "a bit of 2": b"P1\n2 1\n02",
    "a long number": b"P2\n2 1\n255\n1 " + b"9" * 3_000_000,
    "above the largest": b"P5\n2 1\n100\n\x64\x65",
    "numbers above the largest": b"P2\n2 1\n100\n100 101",
    "several": GOOD + GOOD,
    "several in numbers": b"P2\n1 1\n255\n1\nP2\n1 1\n255\n2\n",
    "pam without an end": b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 1\nMAXVAL 255\n",
    "pam without sizes": b"P7\nWIDTH 2\nHEIGHT x\nDEPTH 1\nMAXVAL 255\nENDHDR\n",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    check_refused_in_one_line(tmp_path / "in.ppm", DAMAGED[name])


def test_a_picture_that_is_too_large_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "in.ppm"
    for content in (b"P6\n2000000000 2000000000\n255\n", b"P3\n2000000000 2000000000\n255\n"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="more than the"):
            upres.enlarge_file(path, tmp_path / "out.ppm")


def test_signatures_take_no_texts() -> None:
    for head in (b"P7 332\n", b"P4ssword", b"P1", b"P8\n1 1\n", b"PF 1", b"Python"):
        row = recognised(head)
        assert row is None or row.name == "pfm", head
