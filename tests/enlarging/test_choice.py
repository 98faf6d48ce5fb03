"""The file decides for the model: JPEG that has lost much goes through ``photo`` first."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import pyvips
import torch
from numpy.typing import NDArray

from upres.card import ModelCard
from upres.enlarging.api import enlarge
from upres.enlarging.files import enlarge_to, open_file
from upres.enlarging.options import Options
from upres.enlarging.plan import CLEAN_QUALITY
from upres.formats.image.vips import read_rgb8
from upres.formats.metadata.jpeg_segments import jpeg_quality, jpeg_segments
from upres.models import read_model, shipped_models
from upres.raster.resize import bicubic
from upres.training.export import export_onnx
from upres.training.networks import Plain

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
def photo_networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models x2 and x4 in a folder, called as the shipped ones for JPEG are."""
    folder = tmp_path_factory.mktemp("photo")
    torch.manual_seed(3)
    for scale in (2, 4):
        network = Plain(scale=scale, features=8, blocks=1)
        torch.nn.init.normal_(network.tail.weight, std=0.05)
        card = ModelCard(name="photo", scale=scale, halo=network.halo, degradation="photo")
        export_onnx(network, card, folder / f"photo-x{scale}.onnx")
    return folder


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of shipped models in which there is none but fast."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    for path in shipped_models()["fast"].values():
        shutil.copy(path, folder)
    monkeypatch.setattr("upres.models.SHIPPED", folder)
    shipped_models.cache_clear()
    yield folder
    shipped_models.cache_clear()


@pytest.fixture
def with_photo(shipped: Path, photo_networks: Path) -> Path:
    for path in photo_networks.iterdir():
        shutil.copy(path, shipped)
    shipped_models.cache_clear()
    return shipped


def save(folder: Path, quality: int | None, picture: NDArray[np.uint8]) -> Path:
    """A JPEG of that quality, or a PNG."""
    image = pyvips.Image.new_from_array(picture)
    if quality is None:
        image.pngsave(str(folder / "x.png"))
        return folder / "x.png"
    image.jpegsave(str(folder / "x.jpg"), Q=quality)
    return folder / "x.jpg"


def labels(path: Path, options: Options) -> list[str]:
    opened = open_file(path, options)
    return [model.label for model in opened.plans[0].models]


LOW, HIGH = min(CLEAN_QUALITY.values()) - 1, max(CLEAN_QUALITY.values())


def test_every_scale_of_photo_has_its_quality() -> None:
    assert shipped_models()["photo"].keys() == CLEAN_QUALITY.keys()


@pytest.mark.parametrize(
    ("quality", "options", "expected"),
    [
        (LOW, Options(), ["photo x4"]),
        (LOW, Options(scale=2), ["photo x2"]),
        (LOW, Options(scale=1), ["photo x2"]),
        (LOW, Options(scale=3), ["photo x4"]),
        (LOW, Options(scale=4), ["photo x4"]),
        (LOW, Options(scale=5), ["photo x2", "fast x3"]),
        (LOW, Options(scale=8), ["photo x2", "fast x4"]),
        (LOW, Options(scale=9), ["photo x4", "fast x3"]),
        (LOW, Options(scale=17), ["photo x2", "fast x3", "fast x3"]),
        (LOW, Options(width=61), ["photo x2"]),
        (HIGH - 1, Options(), ["photo x4"]),
        (HIGH - 1, Options(scale=2), ["fast x2"]),
        (HIGH, Options(), ["fast x4"]),
        (HIGH, Options(scale=3), ["fast x3"]),
        (HIGH, Options(scale=5), ["fast x2", "fast x3"]),
        (None, Options(scale=3), ["fast x3"]),
        (LOW, Options(model="fast", scale=3), ["fast x3"]),
        (LOW, Options(model="fast", scale=5), ["fast x2", "fast x3"]),
        (HIGH, Options(model="photo", scale=3), ["photo x4"]),
        (None, Options(model="photo", scale=5), ["photo x2", "photo x4"]),
    ],
)
def test_the_models_that_are_chosen(
    tmp_path: Path,
    with_photo: Path,
    picture: NDArray[np.uint8],
    quality: int | None,
    options: Options,
    expected: list[str],
) -> None:
    assert labels(save(tmp_path, quality, picture), options) == expected


def test_why(tmp_path: Path, with_photo: Path, picture: NDArray[np.uint8]) -> None:
    low, high = save(tmp_path, 62, picture), tmp_path / "high.jpg"
    pyvips.Image.new_from_array(picture).jpegsave(str(high), Q=HIGH)
    assert open_file(low, Options()).why == "model photo: JPEG of quality 62"
    assert open_file(high, Options()).why == f"model fast: JPEG of quality {HIGH}"
    assert open_file(save(tmp_path, None, picture), Options()).why == ""
    assert open_file(low, Options(model="photo")).why == ""


def test_photo_of_one_scale_serves_where_it_can(
    tmp_path: Path, with_photo: Path, picture: NDArray[np.uint8]
) -> None:
    (with_photo / "photo-x4.onnx").unlink()
    shipped_models.cache_clear()
    path = save(tmp_path, 62, picture)
    assert labels(path, Options(scale=1.5)) == ["photo x2"]
    assert labels(path, Options(scale=7)) == ["photo x2", "fast x4"]
    assert labels(path, Options(scale=9)) == ["fast x3", "fast x3"]
    assert labels(path, Options()) == ["fast x4"]
    assert open_file(path, Options()).why == (
        "model fast: JPEG of quality 62, but photo has no scale for this"
    )


def test_without_photo_all_is_fast_s(
    tmp_path: Path, shipped: Path, picture: NDArray[np.uint8]
) -> None:
    path = save(tmp_path, 30, picture)
    assert labels(path, Options(scale=5)) == ["fast x2", "fast x3"]
    assert open_file(path, Options()).why == ""
    enlarge_to(path, tmp_path / "out.png", Options(scale=2))
    np.testing.assert_array_equal(
        read_rgb8(tmp_path / "out.png"), enlarge(read_rgb8(path), scale=2)
    )


def test_the_size_is_fast_s_largest(
    tmp_path: Path, with_photo: Path, picture: NDArray[np.uint8]
) -> None:
    (with_photo / "fast-x4.onnx").unlink()
    shipped_models.cache_clear()
    path = save(tmp_path, 62, picture)
    assert open_file(path, Options()).plans[0].height == 3 * len(picture)
    assert labels(path, Options()) == ["photo x4"]


def test_x3_is_x4_reduced(tmp_path: Path, with_photo: Path, picture: NDArray[np.uint8]) -> None:
    path = save(tmp_path, 62, picture)
    enlarge_to(path, tmp_path / "out.png", Options(scale=3))
    height, width = picture.shape[:2]
    floats = read_rgb8(path).astype(np.float32) / 255
    large = enlarge(floats, model=read_model(with_photo / "photo-x4.onnx"))
    reduced = bicubic(large, size=(3 * height, 3 * width))
    after = read_rgb8(tmp_path / "out.png").astype(float)
    assert np.abs(after - np.clip(reduced, 0, 1) * 255).max() <= 1


COMMAND = """
import sys
from pathlib import Path
import upres.models
upres.models.SHIPPED = Path(sys.argv.pop(1))
from upres.cli.main import main
main()
"""


def start(folder: Path, shipped: Path, *arguments: str) -> subprocess.Popen[str]:
    """``upres enlarge``, with the models of another folder."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(shipped), "enlarge", *arguments],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )


def command(folder: Path, shipped: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and standard error."""
    process = start(folder, shipped, *arguments)
    told = process.communicate(timeout=300)[1]
    return process.returncode, told


def test_the_command_says_which_and_why(
    tmp_path: Path, with_photo: Path, picture: NDArray[np.uint8]
) -> None:
    save(tmp_path, 62, picture)
    save(tmp_path, None, picture)
    code, told = command(tmp_path, with_photo, "x.jpg", "x.png")
    assert (code, told.splitlines()) == (
        0,
        [
            "wrote x_x4.jpg (model photo: JPEG of quality 62)",
            "wrote x_x4.png",
            "upres: 2 done",
        ],
    )
    named = command(tmp_path, with_photo, "x.jpg", "--model", "fast", "--scale", "2")
    assert named == (0, "wrote x_x2.jpg\n")
    assert command(tmp_path, with_photo, "x.jpg", "--scale", "3", "--quiet") == (0, "")
    assert read_rgb8(tmp_path / "x_x3.jpg").shape == (135, 183, 3)


def test_a_killed_run_goes_on_to_the_same_bytes(
    tmp_path: Path, with_photo: Path, picture: NDArray[np.uint8]
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(40):
        path = tmp_path / "in" / f"{number}.jpg"
        pyvips.Image.new_from_array(picture).jpegsave(str(path), Q=60 + number)
    assert command(tmp_path, with_photo, "in", "-o", "whole")[0] == 0
    process = start(tmp_path, with_photo, "in", "-o", "out")
    assert process.stderr is not None
    process.stderr.readline()
    process.kill()
    process.communicate()
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert len(names) == 40
    assert not all((tmp_path / "out" / name).exists() for name in names), "else this sees nothing"
    code, told = command(tmp_path, with_photo, "in", "-o", "out", "--model", "fast", "--resume")
    assert code == 2
    assert "model was fast, or what the picture decides, not fast" in told
    assert command(tmp_path, with_photo, "in", "-o", "out", "--resume")[0] == 0
    for name in names:
        whole, out = tmp_path / "whole" / name, tmp_path / "out" / name
        assert whole.read_bytes() == out.read_bytes()
