"""JPEG's density and segments: kept JPEG to JPEG, and what is not true any more is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import fakes
from running import upres
from upres.formats.metadata.jpeg_segments import jpeg_segments

JFIF = b"JFIF\0\1\2"


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def jfif(unit: int, x: int, y: int) -> bytes:
    told = bytes([unit]) + x.to_bytes(2, "big") + y.to_bytes(2, "big")
    return segment(0xE0, JFIF + told + b"\0\0")


def jpeg(
    path: Path, *segments: bytes, mode: str = "RGB", trailer: bytes = b"", **options: Any
) -> Path:
    """A JPEG file that has those segments in the place of its own of applications."""
    ramp = np.linspace(0, 255, 16 * 12 * 3).astype(np.uint8).reshape(12, 16, 3)
    PIL.Image.fromarray(ramp).convert(mode).save(path, "JPEG")
    own = list(jpeg_segments(path))
    content = path.read_bytes()
    start = next(s.start for s in own if not 0xE0 <= s.marker <= 0xEF)
    kept = b"" if mode != "CMYK" else segment(0xEE, own[0].content)
    path.write_bytes(b"\xff\xd8" + b"".join(segments) + kept + content[start:] + trailer)
    return path


def enlarged(path: Path, name: str = "out.jpg", **options: Any) -> tuple[Path, list[str]]:
    lost = fakes.enlarge_file(path, path.with_name(name), **options)
    return path.with_name(name), list(lost)


def of_kind(path: Path, marker: int) -> list[bytes]:
    return [content for _, kind, content in jpeg_segments(path) if kind == marker]


def exif(**tags: Any) -> bytes:
    block = PIL.Image.Exif()
    for tag, value in tags.items():
        block[int(tag.removeprefix("tag"))] = value
    return segment(0xE1, block.tobytes())


@pytest.mark.parametrize("unit", [0, 1, 2])
@pytest.mark.parametrize(("x", "y"), [(1, 2), (72, 72), (300, 150), (65535, 1)])
@pytest.mark.parametrize("with_exif", [False, True])
def test_density_is_kept_in_its_unit(
    tmp_path: Path, unit: int, x: int, y: int, with_exif: bool
) -> None:
    more = [exif(tag270="a description")] if with_exif else []
    path = jpeg(tmp_path / "in.jpg", jfif(unit, x, y), *more)
    with PIL.Image.open(path) as before, PIL.Image.open(enlarged(path)[0]) as after:
        assert before.info["jfif_density"] == (x, y)
        expected = (x, y) if unit or x != y else (1, 1)  # without a unit, squares are squares
        found = (after.info.get("jfif_unit", 0), after.info.get("jfif_density", (1, 1)))
        assert found == (unit, expected)


@pytest.mark.parametrize("unit", [1, 2])
def test_density_goes_to_png(tmp_path: Path, unit: int) -> None:
    target, lost = enlarged(jpeg(tmp_path / "in.jpg", jfif(unit, 127, 254)), "out.png")
    assert lost == []
    per_metre = [each * {1: 1 / 0.0254, 2: 100}[unit] for each in (127, 254)]
    with PIL.Image.open(target) as after:
        dots = [each / 0.0254 for each in after.info["dpi"]]
    assert dots == pytest.approx(per_metre, abs=0.6)


def test_a_density_of_nothing_is_none(tmp_path: Path) -> None:
    target, _ = enlarged(jpeg(tmp_path / "in.jpg", jfif(1, 0, 0)))
    with PIL.Image.open(target) as after:
        assert after.info.get("jfif_unit", 0) == 0


def test_a_turned_picture_s_density_is_turned(tmp_path: Path) -> None:
    tags = exif(tag274=6, tag282=100.0, tag283=200.0, tag296=2)
    target, _ = enlarged(jpeg(tmp_path / "in.jpg", jfif(1, 100, 200), tags))
    with PIL.Image.open(target) as after:
        assert after.size == (24, 32)
        assert after.info["jfif_density"] == (200, 100)
        told = after.getexif()
        assert (told[282], told[283], told[296]) == (200, 100, 2)


MAKERS = [
    segment(0xE0, b"\x49\x49\x1a\0\0\0HEAPJPGM" + bytes(40)),  # CIFF, Canon's
    segment(0xE1, b"FLIR\0\1\0\0" + bytes(range(200))),
    segment(0xE1, b"QVCI\0" + bytes(30)),
    segment(0xE2, b"FPXR\0" + bytes(20)),
    segment(0xE3, b"Meta\0\0II*\0" + bytes(20)),
    segment(0xE5, b"RMETA\0" + bytes(10)),
    segment(0xE6, b"GoPro\0" + bytes(11)),
    segment(0xE7, b"\x1aQualcomm Camera Attributes" + bytes(5)),
    segment(0xEA, b"\0" * 64),
    segment(0xEC, b"Ducky\0\1\0\4\0\0\0\x50"),
    segment(0xED, b"Adobe_CM\0" + bytes(8)),
    segment(0xEF, b"TEXT\0" + bytes(65000)),
]


@pytest.mark.parametrize("number", range(len(MAKERS)))
def test_maker_s_segments_are_kept(tmp_path: Path, number: int) -> None:
    path = jpeg(tmp_path / "in.jpg", jfif(1, 72, 72), MAKERS[number])
    target, lost = enlarged(path)
    assert target.read_bytes().count(MAKERS[number]) == 1
    assert lost == []
    assert enlarged(path, "out.png")[1] == ["maker's data"]
    with PIL.Image.open(target) as opened:
        opened.load()


def test_all_of_them_are_kept_in_their_order(tmp_path: Path) -> None:
    path = jpeg(tmp_path / "in.jpg", jfif(1, 72, 72), *MAKERS)
    target, lost = enlarged(path)
    assert lost == []
    content = target.read_bytes()
    places = [content.find(each) for each in MAKERS]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("mode", ["CMYK", "RGB", "L"])
def test_adobe_s_segment_is_not_doubled(tmp_path: Path, mode: str) -> None:
    adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0\1") if mode == "RGB" else b""
    path = jpeg(tmp_path / "in.jpg", adobe, mode=mode)
    with PIL.Image.open(path) as before:
        before.load()
    target, lost = enlarged(path, cmyk=mode == "CMYK")
    adobes = [content for content in of_kind(target, 0xEE) if content.startswith(b"Adobe")]
    assert len(adobes) == (1 if mode == "CMYK" else 0)
    assert lost == []
    with PIL.Image.open(target) as after, PIL.Image.open(path) as before:
        assert after.mode == before.mode
        means = [np.asarray(image, float).mean((0, 1)) for image in (before, after)]
    assert np.abs(means[0] - means[1]).max() < 3


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (segment(0xEB, b"JP\0\1" + bytes(40)), "content credentials"),
        (segment(0xEB, b"HDR_RI ver=11\n" + bytes(40)), "JPEG-HDR"),
        (segment(0xE8, b"SPIFF\0\1\2" + bytes(22)), "SPIFF header"),
    ],
)
def test_what_is_wrong_of_other_pixels_is_left_out_and_told(
    tmp_path: Path, content: bytes, name: str
) -> None:
    target, lost = enlarged(jpeg(tmp_path / "in.jpg", jfif(1, 72, 72), content))
    assert content not in target.read_bytes()
    assert lost == [name]


def test_previews_are_left_out_without_a_word(tmp_path: Path) -> None:
    preview = segment(0xE0, b"JFXX\0\x10" + bytes(100))
    target, lost = enlarged(jpeg(tmp_path / "in.jpg", jfif(1, 72, 72), preview))
    assert (of_kind(target, 0xE0)[0][:5], len(of_kind(target, 0xE0)), lost) == (b"JFIF\0", 1, [])


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_film_behind_the_picture_is_told(tmp_path: Path, suffix: str) -> None:
    path = jpeg(
        tmp_path / "in.jpg", jfif(1, 72, 72), trailer=b"\0\0\0\x18ftypmp42" + bytes(99) + b"x"
    )
    assert enlarged(path, f"out.{suffix}")[1] == ["data behind the picture"]
    padded = jpeg(tmp_path / "padded.jpg", jfif(1, 72, 72), trailer=bytes(99))
    assert enlarged(padded, f"out.{suffix}")[1] == []


def test_further_pictures_are_told(tmp_path: Path) -> None:
    image = PIL.Image.new("RGB", (12, 10), (90, 9, 200))
    image.save(tmp_path / "in.mpo", save_all=True, append_images=[image, image])
    (tmp_path / "in.mpo").rename(tmp_path / "in.jpg")
    assert enlarged(tmp_path / "in.jpg")[1] == ["further pictures"]


def test_exif_in_several_segments_is_one(tmp_path: Path) -> None:
    whole = PIL.Image.Exif()
    whole[270] = "x" * 200
    block = whole.tobytes()
    parts = segment(0xE1, block[:100]) + segment(0xE1, b"Exif\0\0" + block[100:])
    target, _ = enlarged(jpeg(tmp_path / "in.jpg", jfif(1, 72, 72), parts))
    with PIL.Image.open(target) as after:
        assert after.getexif()[270] == "x" * 200


def test_long_exif_that_jpeg_has_no_room_for_is_told(tmp_path: Path) -> None:
    long = PIL.Image.Exif()
    long[270], long[315] = "x" * 70000, "an artist"
    PIL.Image.new("RGB", (12, 10)).save(tmp_path / "in.png", exif=long)
    target, lost = enlarged(tmp_path / "in.png")
    assert lost == ["long values of EXIF"]
    with PIL.Image.open(target) as after:
        assert after.getexif()[315] == "an artist"


@pytest.mark.parametrize("cut", [600])
def test_a_damaged_file_gets_upres_own_line_alone(tmp_path: Path, cut: int) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / "in.jpg", quality=95)
    content = bytearray((tmp_path / "in.jpg").read_bytes())
    content[cut : cut + 4] = b"\xff\x01\xff\xdb"
    (tmp_path / "in.jpg").write_bytes(content)
    _has_its_own_line_alone(tmp_path / "in.jpg", tmp_path)


def test_the_shared_files_that_were_wrong_are_right(tmp_path: Path, shared_data: Path) -> None:
    faults = shared_data / "inputs" / "faults"
    target = tmp_path / "sony.jpg"
    assert fakes.enlarge_file(faults / "sony-powershota5.jpg", target) == ()
    (_, ciff, _) = of_kind(faults / "sony-powershota5.jpg", 0xE0)
    assert ciff in of_kind(target, 0xE0)
    fakes.enlarge_file(faults / "jfif_unit_cm.jpg", tmp_path / "cm.jpg")
    with PIL.Image.open(tmp_path / "cm.jpg") as after:
        assert (after.info["jfif_unit"], after.info["jfif_density"]) == (2, (1, 2))
        assert after.getexif()[270] == "firstsecond"
    _has_its_own_line_alone(faults / "oss-fuzz-36829.jpeg", tmp_path)


def _has_its_own_line_alone(path: Path, folder: Path) -> None:
    """That the command says one line, which names the file, and the library nothing."""
    run = upres("enlarge", path, "-s", "2", "-o", folder / "out.png", cwd=folder)
    assert run.returncode in (0, 1)
    lines = run.stderr.splitlines()
    assert len(lines) == 1
    assert str(path) in lines[0] or "wrote" in lines[0]
    code = "import sys, upres\ntry: upres.enlarge_file(sys.argv[1], sys.argv[2], scale=2)\n"
    code += "except upres.UpresError as error: print(error)"
    command = [sys.executable, "-c", code, str(path), str(folder / "again.png")]
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert again.stderr == ""
