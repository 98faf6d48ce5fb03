"""The file decides for the model: JPEG that has lost much goes through ``photo`` first."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import pyvips
from numpy.typing import NDArray

import fakes
from fakes import FakeBackend, write_fake_model
from upres.enlarging.compressed import CLEAN_QUALITY
from upres.enlarging.options import Options
from upres.enlarging.plan import Plan, plan
from upres.errors import InputError
from upres.formats.image.vips import read_rgb8
from upres.formats.metadata.jpeg_segments import jpeg_quality, jpeg_segments
from upres.models import Shipped, shipped_models
from upres.raster.info import RasterInfo, bands_of
from upres.raster.resize import bicubic

QUALITIES = [10, 24, 50, 75, 90, 97, 100]


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("subsampling", [0, 2])
def test_quality_of_pillow_s_files(tmp_path: Path, quality: int, subsampling: int) -> None:
    image = PIL.Image.new("RGB", (8, 8))
    image.save(tmp_path / "x.jpg", quality=quality, subsampling=subsampling)
    assert jpeg_quality(jpeg_segments(tmp_path / "x.jpg")) == quality


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("interlace", [False, True])
def test_quality_of_libvips_files(
    tmp_path: Path, picture: NDArray[np.uint8], quality: int, interlace: bool
) -> None:
    path = tmp_path / "x.jpg"
    image = pyvips.Image.new_from_array(picture)
    image.jpegsave(str(path), Q=quality, interlace=interlace)
    assert jpeg_quality(jpeg_segments(path)) == quality


def test_quality_of_tables_of_two_bytes_a_value(tmp_path: Path) -> None:
    """As cjpeg writes them at quality 10: five times the table at 50, up to 605."""
    PIL.Image.new("L", (8, 8)).save(tmp_path / "x.jpg", quality=50)
    content = (tmp_path / "x.jpg").read_bytes()
    at = content.index(b"\xff\xdb\x00\x43\x00") + 5
    table = np.frombuffer(content[at : at + 64], np.uint8).astype(">u2") * 5
    assert table.max() == 605
    colour = b"\x01" + bytes([99] * 64)  # a table of another number, first
    segment = b"\xff\xdb" + (2 + 65 + 129).to_bytes(2, "big")
    segment += colour + b"\x10" + table.astype(">u2").tobytes()
    (tmp_path / "x.jpg").write_bytes(content[: at - 5] + segment + content[at + 64 :])
    assert jpeg_quality(jpeg_segments(tmp_path / "x.jpg")) == 10


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"\xff\xd8\xff\xdb\x00\x43\x00\x10\x0b"])
def test_no_quality_of_damaged_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    assert jpeg_quality(jpeg_segments(tmp_path / "x.jpg")) is None


def test_no_quality_of_other_files(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    assert jpeg_quality(jpeg_segments(tmp_path / "x.png")) is None


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    """Models that are called as the shipped ones are, of these scales."""
    folder = tmp_path_factory.mktemp("shipped")
    for name, scales in {"fast": (2, 3, 4), "photo": (1, 2, 3, 4)}.items():
        for scale in scales:
            write_fake_model(folder / f"{name}-x{scale}.onnx", name=name, scale=scale)
    return shipped_models(folder)


def without(shipped: Shipped, name: str, scale: int) -> Shipped:
    """The same models, but for one scale of one."""
    left = {other: path for other, path in shipped[name].items() if other != scale}
    return {**shipped, name: left}


def save(folder: Path, quality: int | None, picture: NDArray[np.uint8]) -> Path:
    """A JPEG of that quality, or a PNG."""
    image = pyvips.Image.new_from_array(picture)
    if quality is None:
        image.pngsave(str(folder / "x.png"))
        return folder / "x.png"
    image.jpegsave(str(folder / "x.jpg"), Q=quality)
    return folder / "x.jpg"


def planned(quality: int | None, shipped: Shipped, **asked: Any) -> Plan:
    """The plan for a small picture, of a JPEG file of that quality or of another file."""
    bands = bands_of(("red", "green", "blue"), 0, 255)
    info = RasterInfo(45, 61, bands, np.dtype(np.uint8), jpeg_quality=quality)
    return plan(info, Options(**asked), FakeBackend(), shipped=shipped)


def labels(plan: Plan) -> list[str]:
    return [model.label for model in plan.models]


LOW, HIGH = min(CLEAN_QUALITY.values()) - 1, max(CLEAN_QUALITY.values())


def test_every_scale_of_photo_has_its_quality() -> None:
    assert shipped_models()["photo"].keys() == CLEAN_QUALITY.keys()


@pytest.mark.parametrize(
    ("quality", "asked", "expected"),
    [
        (LOW, {}, ["photo x4"]),
        (LOW, {"scale": 2}, ["photo x2"]),
        (LOW, {"scale": 1}, ["photo x1"]),
        (HIGH, {"scale": 1}, ["fast x2"]),
        (LOW, {"scale": 3}, ["photo x3"]),
        (LOW, {"scale": 4}, ["photo x4"]),
        (LOW, {"scale": 5}, ["photo x2", "fast x3"]),
        (LOW, {"scale": 8}, ["photo x2", "fast x4"]),
        (LOW, {"scale": 9}, ["photo x3", "fast x3"]),
        (LOW, {"scale": 17}, ["photo x2", "fast x3", "fast x3"]),
        (LOW, {"width": 61}, ["photo x1"]),
        (HIGH - 1, {}, ["photo x4"]),
        (HIGH - 1, {"scale": 2}, ["fast x2"]),
        (HIGH, {}, ["fast x4"]),
        (HIGH, {"scale": 3}, ["fast x3"]),
        (HIGH, {"scale": 5}, ["fast x2", "fast x3"]),
        (None, {"scale": 3}, ["fast x3"]),
        (LOW, {"model": "fast", "scale": 3}, ["fast x3"]),
        (LOW, {"model": "fast", "scale": 5}, ["fast x2", "fast x3"]),
        (HIGH, {"model": "photo", "scale": 3}, ["photo x3"]),
        (None, {"model": "photo", "scale": 5}, ["photo x2", "photo x3"]),
    ],
)
def test_the_models_that_are_chosen(
    shipped: Shipped, quality: int | None, asked: dict[str, Any], expected: list[str]
) -> None:
    assert labels(planned(quality, shipped, **asked)) == expected


@pytest.mark.parametrize(
    ("quality", "asked", "why"),
    [
        (LOW, {"scale": 2}, "photo is to remove the faults of JPEG.*consistent='force' makes"),
        (LOW, {"scale": 8}, "photo is to remove"),
        (None, {"model": "photo", "scale": 2}, "photo is to remove"),
        (LOW, {"model": "fast", "scale": 3}, f"JPEG of quality {LOW} has faults.*'force' makes"),
    ],
)
def test_a_consistent_result_of_what_jpeg_has_changed_is_refused_unless_forced(
    shipped: Shipped, quality: int | None, asked: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        planned(quality, shipped, consistent=True, **asked)
    assert planned(quality, shipped, consistent="force", **asked).consistent
    assert not planned(quality, shipped, **asked).consistent
    for clean in (None, HIGH):
        assert planned(clean, shipped, consistent=True, scale=asked["scale"]).consistent


def test_a_file_tells_its_quality_and_is_told_why(
    tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    low, high = save(tmp_path, 62, picture), tmp_path / "high.jpg"
    pyvips.Image.new_from_array(picture).jpegsave(str(high), Q=HIGH)
    opened = fakes.open_file(low, model=None, scale=2)
    assert labels(opened.plans[0]) == ["photo x2"]
    assert opened.why == "model photo: JPEG of quality 62"
    assert fakes.open_file(high, model=None).why == f"model fast: JPEG of quality {HIGH}"
    assert fakes.open_file(save(tmp_path, None, picture), model=None).why == ""
    assert fakes.open_file(low, model="photo").why == ""


def test_photo_of_one_scale_serves_where_it_can(shipped: Shipped) -> None:
    only_x2 = without(without(shipped, "photo", 4), "photo", 3)
    assert labels(planned(62, only_x2, scale=1.5)) == ["photo x2"]
    assert labels(planned(62, only_x2, scale=7)) == ["photo x2", "fast x4"]
    assert labels(planned(62, only_x2, scale=9)) == ["fast x3", "fast x3"]
    made = planned(62, only_x2)
    assert labels(made) == ["fast x4"]
    assert made.why == "model fast: JPEG of quality 62, but photo has no scale for this"


def test_without_photo_all_is_fast_s(shipped: Shipped) -> None:
    made = planned(30, {"fast": shipped["fast"]}, scale=5)
    assert labels(made) == ["fast x2", "fast x3"]
    assert made.why == ""


def test_the_size_is_fast_s_largest(shipped: Shipped) -> None:
    made = planned(62, without(shipped, "fast", 4))
    assert (made.height, made.width) == (3 * 45, 3 * 61)
    assert labels(made) == ["photo x3"]


def test_x3_is_x4_reduced(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    path = save(tmp_path, 62, picture)
    fakes.enlarge_file(path, tmp_path / "out.png", model=fakes.fake_model(scale=4), scale=3)
    height, width = picture.shape[:2]
    floats = read_rgb8(path).astype(np.float32) / 255
    large = fakes.enlarge_array(floats, model=fakes.fake_model(scale=4))
    reduced = bicubic(large, size=(3 * height, 3 * width))
    after = read_rgb8(tmp_path / "out.png").astype(float)
    assert np.abs(after - np.clip(reduced, 0, 1) * 255).max() <= 1


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """``upres enlarge``."""
    return subprocess.Popen(
        [sys.executable, "-m", "upres", "enlarge", *arguments],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )


def command(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and standard error."""
    process = start(folder, *arguments)
    told = process.communicate(timeout=300)[1]
    return process.returncode, told


def test_the_command_says_which_and_why(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    save(tmp_path, 62, picture)
    save(tmp_path, None, picture)
    code, told = command(tmp_path, "x.jpg", "x.png")
    assert (code, told.splitlines()) == (
        0,
        [
            "wrote x_x4.jpg (model photo: JPEG of quality 62)",
            "wrote x_x4.png",
            "upres: 2 done",
        ],
    )
    named = command(tmp_path, "x.jpg", "--model", "fast", "--scale", "2")
    assert named == (0, "wrote x_x2.jpg\n")
    assert command(tmp_path, "x.jpg", "--scale", "3", "--quiet") == (0, "")
    assert read_rgb8(tmp_path / "x_x3.jpg").shape == (135, 183, 3)


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    (tmp_path / "in").mkdir()
    for number in range(40):
        path = tmp_path / "in" / f"{number}.jpg"
        pyvips.Image.new_from_array(picture).jpegsave(str(path), Q=60 + number)
    assert command(tmp_path, "in", "-o", "whole")[0] == 0
    process = start(tmp_path, "in", "-o", "out")
    assert process.stderr is not None
    process.stderr.readline()
    process.kill()
    process.communicate()
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert len(names) == 40
    assert not all((tmp_path / "out" / name).exists() for name in names), "else this sees nothing"
    code, told = command(tmp_path, "in", "-o", "out", "--model", "fast", "--resume")
    assert code == 2
    # Which variant that is, the processor decides.
    assert re.search(r"model was (fast\S*), or as the picture decides, not \1$", told.strip())
    assert command(tmp_path, "in", "-o", "out", "--resume")[0] == 0
    for name in names:
        whole, out = tmp_path / "whole" / name, tmp_path / "out" / name
        assert whole.read_bytes() == out.read_bytes()
