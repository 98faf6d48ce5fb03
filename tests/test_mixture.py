"""The second validation set, the measure of sharpness, and the page that compares pictures."""

from __future__ import annotations

import csv
import importlib
import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
COLUMNS = ["id", "package", "path", "kind", "licence", "holder", "shrink", "quality"]
COLUMNS.append("in_present_pack")


@pytest.fixture(scope="module")
def on_path() -> Iterator[None]:
    if not BENCHMARKS.is_dir():
        pytest.skip("needs benchmarks/, which a source distribution does not have")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield


@pytest.fixture(scope="module")
def camera(on_path: None) -> ModuleType:
    return importlib.import_module("camera")


@pytest.fixture(scope="module")
def mixture(on_path: None) -> ModuleType:
    return importlib.import_module("mixture")


@pytest.fixture(scope="module")
def spectrum(on_path: None) -> ModuleType:
    return importlib.import_module("spectrum")


def row(number: int, **values: str) -> dict[str, str]:
    plain = dict.fromkeys(COLUMNS, "") | {"kind": "photo", "shrink": "1", "licence": "CC0"}
    return plain | {"id": f"{number:010x}"} | values


def picture(side: int, seed: int) -> pyvips.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return pyvips.Image.new_from_array(noise)


def test_pictures_are_held_out_by_name_whatever_the_order(camera: ModuleType) -> None:
    rows = [row(number) for number in range(100)]
    chosen = camera.held_out(rows)
    assert len(chosen) == camera.HELD_OUT["photographs"]
    assert camera.held_out(reversed(rows)) == chosen
    # More pictures of other names push none but the last ones out.
    more = camera.held_out([*rows, row(100)])
    assert len([each for each in more if each in chosen]) >= len(chosen) - 1


@pytest.mark.parametrize(
    "values",
    [{"shrink": "2"}, {"quality": "94"}, {"in_present_pack": "train-0.tar"}, {"kind": "space"}],
)
def test_what_is_shrunk_compressed_known_or_no_photograph_is_not_held_out(
    camera: ModuleType, values: dict[str, str]
) -> None:
    assert camera.held_out([row(0, **values), row(1, quality="95")]) == [row(1, quality="95")]


def test_crops_are_ranked_by_their_detail(camera: ModuleType) -> None:
    image = np.full((128, 256, 3), 128, np.uint8)
    image[64:, 192:] = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    most, least = camera.crops(image, 64, (0, 1))
    np.testing.assert_array_equal(most, image[64:, 192:])
    assert np.ptp(least) == 0


def test_the_set_is_the_same_each_time_and_training_has_none_of_it(
    camera: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, pool = tmp_path / "inputs", tmp_path / "pool"
    inputs.mkdir()
    pool.mkdir()
    for seed, name in enumerate((*camera.CAMERAS, camera.PAINTING)):
        picture(800, seed).write_to_file(str(inputs / name))
    rows = [row(number) for number in range(16)]
    with (pool / "PICTURES.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    crop = picture(512, 9).pngsave_buffer()
    names = [f"{each['id']}_{number}.png" for each in rows for number in (0, 1)]
    with tarfile.open(pool / "train-0.tar", "w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(crop)
            archive.addfile(member, io.BytesIO(crop))
    for output in ("a", "b"):
        arguments = ["--pool", str(pool), "--inputs", str(inputs)]
        output_arguments = ["--output", str(tmp_path / output)]
        monkeypatch.setattr(sys, "argv", ["camera.py", *arguments, *output_arguments])
        camera.main()
    for name in ("valid-camera.tar", "train-pool.tar", "held-out.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    with tarfile.open(tmp_path / "a" / "train-pool.tar") as archive:
        left = archive.getnames()
    with (tmp_path / "a" / "held-out.csv").open(newline="") as file:
        held = [name for each in csv.DictReader(file) for name in each["crops"].split()]
    assert sorted([*left, *held]) == names
    assert len(held) == 2 * camera.HELD_OUT["photographs"]
    with tarfile.open(tmp_path / "a" / "valid-camera.tar") as archive:
        assert len(archive.getnames()) == 4 * len(camera.CAMERAS) + 1 + len(held) // 2


def test_the_repository_lists_what_the_rule_chose(camera: ModuleType) -> None:
    path = BENCHMARKS.parent / "recipes" / "mixture" / "held-out.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    drawings = [each for each in rows if each["package"] in camera.DRAWINGS]
    assert len(drawings) == camera.HELD_OUT["drawings"]
    assert len(rows) == sum(camera.HELD_OUT.values())
    assert all(each["licence"] and each["crops"] for each in rows)


def noise(exponent: float, seed: int, side: int = 512) -> NDArray[np.uint8]:
    """A grey picture whose power falls as the frequency to that exponent."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = np.inf
    phases = np.exp(2j * np.pi * np.random.default_rng(seed).random(frequency.shape))
    grey = np.fft.irfft2(frequency ** (exponent / 2) * phases, s=(side, side))
    levels = (grey - grey.mean()) / grey.std() * 30 + 128
    return np.repeat(levels.clip(0, 255).round().astype(np.uint8)[:, :, None], 3, 2)


@pytest.mark.parametrize("exponent", [-2.0, -3.0])
def test_the_slope_is_that_of_the_noise(spectrum: ModuleType, exponent: float) -> None:
    falls = [spectrum.fall(noise(exponent, seed)) for seed in range(6)]
    assert np.mean([fall.slope for fall in falls]) == pytest.approx(exponent, abs=0.1)
    # Between the bands' middles power falls by the frequencies' ratio to that exponent.
    ratio = 10 * exponent * np.log10(0.4375 / 0.1875)
    assert np.mean([fall.fine for fall in falls]) == pytest.approx(ratio, abs=0.5)


def test_a_text_replaces_what_stood_in_its_place_alone(mixture: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x -->\nold\n<!-- end -->\n<!-- y -->\nkept\n<!-- end -->\n")
    mixture.fill("x", "new", page)
    mixture.fill("x", "newer\\1", page)
    assert page.read_text() == (
        "a\n<!-- x -->\nnewer\\1\n<!-- end -->\n<!-- y -->\nkept\n<!-- end -->\n"
    )
    with pytest.raises(ValueError, match="has 0 places for 'z'"):
        mixture.fill("z", "new", page)


def test_scores_are_split_by_where_pictures_come_from(mixture: ModuleType) -> None:
    psnr = {"nikon-half-0": 30.0, "pool-ab": 32.0, "pool-cd": 36.0, "painting": 38.0}
    images = [{"image": f"{name}.png", "psnr": value} for name, value in psnr.items()]
    method: dict[str, Any] = {"method": "fast x2", "mean": {"psnr": 34.0}, "images": images}
    evaluation = {"sets": [{"set": "valid-camera", "methods": [method]}]}
    assert mixture.scores(evaluation, {"pool-cd"}) == {
        "fast x2": {
            "valid-camera": 34.0,
            "cameras": 30.0,
            "pool's photographs": 32.0,
            "drawings": 37.0,
        }
    }


def test_the_page_has_a_place_for_every_table(mixture: ModuleType) -> None:
    text = mixture.PAGE.read_text("utf-8")
    assert text.count("<!-- end -->") == 2
    for name in ("sharpness", "comparison"):
        assert text.count(f"<!-- {name} -->") == 1
