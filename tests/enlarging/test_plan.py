"""The plan: one pure function of what a raster is and of what is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import FakeBackend, write_fake_model
from upres.engine.backends import default_backend
from upres.enlarging.options import Options
from upres.enlarging.plan import plan, stages
from upres.errors import InputError, UpresError
from upres.raster.info import Band, RasterInfo, bands_of

RGB = bands_of(("red", "green", "blue"), 0, 255)
PICTURE = RasterInfo(200, 300, RGB, np.dtype(np.uint8), name="picture.png")


def jpeg(quality: int) -> RasterInfo:
    return replace(PICTURE, name="picture.jpg", jpeg_quality=quality)


@pytest.mark.parametrize(
    ("info", "asked", "models", "size", "why"),
    [
        (PICTURE, {}, ["fast x4"], (800, 1200), ""),
        (PICTURE, {"scale": 2}, ["fast x2"], (400, 600), ""),
        (PICTURE, {"scale": 1}, ["fast x2"], (200, 300), ""),
        (PICTURE, {"scale": 2.5}, ["fast x3"], (500, 750), ""),
        (PICTURE, {"scale": 6}, ["fast x2", "fast x3"], (1200, 1800), ""),
        (PICTURE, {"scale": 17}, ["fast x2", "fast x3", "fast x3"], (3400, 5100), ""),
        (PICTURE, {"width": 301}, ["fast x2"], (201, 301), ""),
        (PICTURE, {"height": 401}, ["fast x3"], (401, 602), ""),
        (PICTURE, {"fit": (640, 480)}, ["fast x3"], (427, 640), ""),
        (PICTURE, {"model": "best", "scale": 3}, ["best x3"], (600, 900), ""),
        (jpeg(97), {"scale": 2}, ["fast x2"], (400, 600), "model fast: JPEG of quality 97"),
        (jpeg(60), {"scale": 2}, ["photo x2"], (400, 600), "model photo: JPEG of quality 60"),
        (jpeg(95), {"scale": 4}, ["photo x4"], (800, 1200), "model photo: JPEG of quality 95"),
        (jpeg(95), {"scale": 2}, ["fast x2"], (400, 600), "model fast: JPEG of quality 95"),
        (jpeg(60), {"scale": 8}, ["photo x2", "fast x4"], (1600, 2400), "model photo: JPEG of q"),
        (jpeg(60), {"scale": 3}, ["photo x3"], (600, 900), "model photo: JPEG of quality 60"),
        (jpeg(60), {"scale": 2, "model": "fast"}, ["fast x2"], (400, 600), ""),
    ],
)
def test_cases(
    info: RasterInfo, asked: dict[str, Any], models: list[str], size: tuple[int, int], why: str
) -> None:
    made = plan(info, Options(precision="fp32", **asked))
    assert [model.label for model in made.models] == models
    assert (made.height, made.width) == size
    assert made.why.startswith(why)
    assert bool(made.why) == bool(why)
    assert made.pixels == size[0] * size[1]
    assert plan(info, Options(precision="fp32", **asked)) == made


@pytest.mark.parametrize(
    ("info", "asked", "message"),
    [
        (PICTURE, {"width": 299}, "picture.png: the picture, 300x200, is larger already"),
        (PICTURE, {"scale": 2, "max_pixels": 10}, "picture.png: would become 600x400 pixels, mor"),
        (replace(PICTURE, frames=9), {"max_pixels": 9 * 960_000 - 1}, "1200x800 pixels times 9"),
        (replace(PICTURE, page=4), {"fit": (9, 9)}, r"larger already than asked for \(page 4\)$"),
        (PICTURE, {"model": "quick"}, "no model is called 'quick': shipped are balanced"),
        (PICTURE, {"model": "fast", "precision": "fp8"}, "no precision is called 'fp8'"),
    ],
)
def test_cases_that_are_refused(info: RasterInfo, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UpresError, match=message) as caught:
        plan(info, Options(**asked))
    assert "--" not in str(caught.value)


def test_what_would_do_is_data() -> None:
    with pytest.raises(InputError) as caught:
        plan(PICTURE, Options(max_pixels=10))
    (remedy,) = caught.value.remedies
    assert (remedy.option, remedy.value, remedy.effect) == ("max_pixels", None, "allows more")
    assert caught.value.code == "input"


def test_disk_is_for_one_frame_and_the_result() -> None:
    frame = 800 * 1200 * 3
    alone = plan(PICTURE, Options(scale=4)).disk
    assert 2 * frame <= alone <= 2 * frame + 2**21
    few, many = (plan(replace(PICTURE, frames=n), Options(scale=4)).disk for n in (2, 100))
    assert many - few == 98 * frame
    # What lies between two models is in float32.
    between = plan(PICTURE, Options(scale=8)).disk - plan(PICTURE, Options(scale=4)).disk
    assert between == 4 * 400 * 600 * 3 + 2 * 3 * frame


def test_what_is_compared_takes_the_picture_and_some_rows_on_disk() -> None:
    plain = plan(PICTURE, Options(scale=4))
    for asked in (Options(scale=4, consistent=True), Options(scale=4, check=True)):
        more = plan(PICTURE, asked)
        assert 4 * 200 * 300 * 3 < more.disk - plain.disk < 4 * 3 * (200 * 300 + 2 * 800 * 1200)
        assert plain.seconds < more.seconds < 2 * plain.seconds
        assert plain.memory < more.memory < plain.memory + 3 * 4 * 3 * 800 * 1200
        assert (more.consistent, more.check) == (bool(asked.consistent), asked.check)
    tall = replace(PICTURE, height=20_000)
    extra = plan(tall, Options(scale=4, check=True)).disk - plan(tall, Options(scale=4)).disk
    assert extra < 1.1 * 4 * 3 * tall.pixels + 2**22


def test_memory_does_not_grow_with_the_picture() -> None:
    large = replace(PICTURE, height=30_000, width=20_000)
    huge = replace(PICTURE, height=300_000, width=20_000)
    asked = Options(scale=2, max_pixels=10**11)
    assert plan(large, asked).memory == plan(huge, asked).memory
    assert plan(PICTURE, asked).memory < plan(large, asked).memory < 700 * 2**20


def test_time_goes_by_pixels_and_passes() -> None:
    asked = Options(scale=2, precision="fp32")
    one = plan(PICTURE, asked).seconds
    assert one > 0
    assert plan(replace(PICTURE, height=400), asked).seconds == pytest.approx(2 * one)
    assert plan(replace(PICTURE, frames=7), asked).seconds == pytest.approx(7 * one)
    scene = replace(PICTURE, bands=bands_of(["other"] * 3))
    assert 2.5 * one < plan(scene, asked).seconds <= 3 * one
    best = plan(PICTURE, Options(scale=2, model="best", precision="fp32")).seconds
    balanced = plan(PICTURE, Options(scale=2, model="balanced", precision="fp32")).seconds
    assert 7 < best / balanced <= 8


def test_opaque_alpha_costs_nothing() -> None:
    alpha = Band("alpha", 0, 255)
    shown = replace(PICTURE, bands=(*RGB, alpha))
    opaque = replace(PICTURE, bands=(*RGB, replace(alpha, constant=True)))
    assert shown.alpha == 3
    assert opaque.alpha is None
    asked = Options(scale=2)
    assert plan(opaque, asked).seconds < plan(shown, asked).seconds


def scales(factor: float | None) -> list[int]:
    return [m.card.scale for m in stages("fast", factor, "auto", default_backend())]


def test_stages_are_few_and_no_larger_than_needed() -> None:
    assert scales(None) == [4]
    assert scales(1) == scales(1.2) == scales(2) == [2]
    assert scales(2.5) == scales(3) == [3]
    assert scales(3.01) == [4]
    assert scales(4.5) == scales(6) == [2, 3]
    assert scales(7) == scales(8) == [2, 4]
    assert scales(9) == [3, 3]
    assert scales(16) == [4, 4]
    assert scales(17) == [2, 3, 3]


def test_a_model_by_path_is_repeated(tmp_path: Path) -> None:
    path = write_fake_model(tmp_path / "mine.onnx", scale=2).path
    assert [m.path for m in stages(path, 5, "auto", FakeBackend())] == [path] * 3
    assert [m.path for m in stages(path, 1.5, "auto", FakeBackend())] == [path]
