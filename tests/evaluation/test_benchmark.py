from __future__ import annotations

import atexit
import csv
import dataclasses
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from rich.console import Console

import upres
from upres.card import CARD_KEY, Model, ModelCard, SetScore, write_card
from upres.cli.main import main
from upres.engine.machine import usable_processors
from upres.errors import InputError, MissingExtraError, ModelError, OutputError, UsageError
from upres.evaluation.benchmark import (
    Enlarger,
    Evaluation,
    ImageResult,
    MethodResult,
    evaluate,
)
from upres.evaluation.datasets import Pair, find_pairs, read_pair
from upres.evaluation.record import record_scores
from upres.evaluation.tables import table, write_csv, write_json
from upres.models import read_model
from upres.raster.metrics import PROTOCOL
from upres.raster.resize import bicubic

Rgb8 = NDArray[np.uint8]


@cache
def file() -> Path:
    """Of a model that repeats pixels; nothing in it is counted."""
    path = Path(tempfile.mkdtemp()) / "fake.onnx"
    atexit.register(shutil.rmtree, path.parent)
    make_onnx(path, None)
    return path


def model(scale: int = 2, name: str = "fake") -> Model:
    return Model(file(), ModelCard(name=name, scale=scale, halo=0, parameter_count=0))


def repeat(image: Rgb8, model: Model) -> Rgb8:
    """The cheapest enlarger there is."""
    return image.repeat(model.card.scale, 0).repeat(model.card.scale, 1)


def write(path: Path, image: Rgb8) -> Rgb8:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyvips.Image.new_from_array(image).write_to_file(str(path))
    return image


def noise(height: int, width: int, seed: int = 0) -> Rgb8:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def flat(height: int, width: int, level: int) -> Rgb8:
    return np.full((height, width, 3), level, np.uint8)


# Set and scale to PSNR of bicubic, as in the tables of VDSR, EDSR, RCAN and others.
PUBLISHED = {
    ("Set5", 2): 33.66,
    ("Set5", 3): 30.39,
    ("Set5", 4): 28.42,
    ("Set14", 2): 30.24,
    ("Set14", 3): 27.55,
    ("Set14", 4): 26.00,
    ("B100", 4): 25.96,
}


@pytest.mark.parametrize(("dataset", "scale"), PUBLISHED)
def test_bicubic_scores_as_published(bench: Path, dataset: str, scale: int) -> None:
    result = evaluate([model(scale)], [bench / dataset], enlarge=repeat)
    first, last = result.sets[0], result.sets[-1]
    assert first.dataset == dataset
    assert first.lr_from_files == (dataset != "B100")
    row = last.methods[0]
    assert row.method == "bicubic"
    assert len(row.images) == {"Set5": 5, "Set14": 14, "B100": 100}[dataset]
    assert row.means.psnr == pytest.approx(PUBLISHED[dataset, scale], abs=0.02)
    if dataset == "Set14":
        # The published rows compare grey levels of "bridge", which are its luma's times
        # 255 / 219; see the module's docstring.
        assert last.dataset == "Set14 (grey as grey)"
        difference = first.methods[0].means.psnr - row.means.psnr
        assert difference == pytest.approx(20 * math.log10(255 / 219) / 14, abs=1e-6)
    else:
        assert len(result.sets) == 1


@pytest.mark.parametrize("hr_folder", ["HR_x2", "HR"])
def test_pairs_of_a_set_with_lr(tmp_path: Path, hr_folder: str) -> None:
    for name in ("b.png", "a.PNG"):
        (tmp_path / hr_folder).mkdir(exist_ok=True)
        (tmp_path / hr_folder / name).touch()
        (tmp_path / "LR_x2").mkdir(exist_ok=True)
        (tmp_path / "LR_x2" / name).touch()
    assert find_pairs(tmp_path, 2) == [
        Pair("a.PNG", tmp_path / hr_folder / "a.PNG", tmp_path / "LR_x2" / "a.PNG"),
        Pair("b.png", tmp_path / hr_folder / "b.png", tmp_path / "LR_x2" / "b.png"),
    ]


@pytest.mark.parametrize("hr_folder", ["HR_x3", "HR", "."])
def test_pairs_of_a_set_without_lr(tmp_path: Path, hr_folder: str) -> None:
    folder = tmp_path / hr_folder
    folder.mkdir(exist_ok=True)
    for name in ("b.jpg", "a.png", "notes.txt", ".hidden.png"):
        (folder / name).touch()
    (folder / "folder.png").mkdir()
    (tmp_path / "LR_x2").mkdir()  # of another scale
    if hr_folder == ".":
        (tmp_path / "LR_x2").rmdir()
    assert find_pairs(tmp_path, 3) == [
        Pair("a.png", folder / "a.png", None),
        Pair("b.jpg", folder / "b.jpg", None),
    ]


def test_pairs_prefer_the_scales_own_hr(tmp_path: Path) -> None:
    write(tmp_path / "HR_x2" / "a.png", noise(16, 16))
    write(tmp_path / "HR" / "b.png", noise(16, 16))
    write(tmp_path / "c.png", noise(16, 16))
    assert [pair.name for pair in find_pairs(tmp_path, 2)] == ["a.png"]
    assert [pair.name for pair in find_pairs(tmp_path, 3)] == ["b.png"]


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def check_one_line(error: BaseException, *parts: object) -> None:
    text = str(error)
    assert "\n" not in text
    for part in parts:
        assert str(part) in text


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_pairs(tmp_path / "none", 2)
    check_one_line(caught.value, tmp_path / "none")


@pytest.mark.parametrize("folder", [".", "HR", "HR_x2"])
def test_no_pictures(tmp_path: Path, folder: str) -> None:
    touch(tmp_path / folder / "notes.txt")
    with pytest.raises(InputError) as caught:
        find_pairs(tmp_path, 2)
    check_one_line(caught.value, tmp_path / folder, ".png")


def test_hr_without_lr_and_lr_without_hr(tmp_path: Path) -> None:
    hr, lr = tmp_path / "HR_x2", tmp_path / "LR_x2"
    touch(hr / "a.png", lr / "a.png", hr / "b.png")
    with pytest.raises(InputError) as caught:
        find_pairs(tmp_path, 2)
    check_one_line(caught.value, f"{hr / 'b.png'}: has no counterpart {lr / 'b.png'}")
    (hr / "b.png").unlink()
    touch(lr / "c.png")
    with pytest.raises(InputError) as caught:
        find_pairs(tmp_path, 2)
    check_one_line(caught.value, f"{lr / 'c.png'}: has no counterpart {hr / 'c.png'}")


def test_lr_folder_without_hr_folder(tmp_path: Path) -> None:
    touch(tmp_path / "LR_x2" / "a.png", tmp_path / "a.png")
    with pytest.raises(InputError) as caught:
        find_pairs(tmp_path, 2)
    check_one_line(caught.value, tmp_path / "LR_x2", "HR_x2")


def test_set_of_another_scale(tmp_path: Path) -> None:
    touch(tmp_path / "HR_x2" / "a.png", tmp_path / "preview.png")
    with pytest.raises(InputError) as caught:
        find_pairs(tmp_path, 3)
    check_one_line(caught.value, tmp_path, "HR_x2", "HR_x3")


@pytest.mark.parametrize("size", [(15, 16), (16, 15), (32, 32), (17, 16)])
def test_lr_that_does_not_fit(tmp_path: Path, size: tuple[int, int]) -> None:
    write(tmp_path / "HR" / "a.png", noise(32, 32))
    write(tmp_path / "LR_x2" / "a.png", noise(*size))
    with pytest.raises(InputError) as caught:
        evaluate([model()], [tmp_path], enlarge=repeat)
    check_one_line(
        caught.value, tmp_path / "HR" / "a.png", tmp_path / "LR_x2" / "a.png", "32x32", "16x16"
    )


def test_smallest_picture(tmp_path: Path) -> None:
    # SSIM's window of 11 and a border of 3 on each side make 17, which x3 makes 18.
    write(tmp_path / "big" / "a.png", noise(18, 20))
    assert len(evaluate([model(3)], [tmp_path / "big"], enlarge=repeat).sets) == 1
    write(tmp_path / "small" / "a.png", noise(17, 20))
    with pytest.raises(InputError) as caught:
        evaluate([model(3)], [tmp_path / "small"], enlarge=repeat)
    check_one_line(caught.value, tmp_path / "small" / "a.png", "20x17", "18")


def test_damaged_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a\.png"):
        evaluate([model()], [tmp_path], enlarge=repeat)


def test_lr_is_made_of_hr_cut_at_bottom_and_right(tmp_path: Path) -> None:
    image = write(tmp_path / "a.png", noise(47, 38))
    hr, lr = read_pair(Pair("a.png", tmp_path / "a.png", None), 3)
    np.testing.assert_array_equal(hr, image[:45, :36])
    np.testing.assert_array_equal(lr, bicubic(image[:45, :36], size=(15, 12)))


def test_lr_is_that_of_the_set(tmp_path: Path) -> None:
    write(tmp_path / "HR_x2" / "a.png", noise(32, 24))
    lr = write(tmp_path / "LR_x2" / "a.png", noise(16, 12, seed=1))
    seen = []

    def see(image: Rgb8, model: Model) -> Rgb8:
        seen.append(image)
        return repeat(image, model)

    result = evaluate([model()], [tmp_path], enlarge=see)
    assert result.sets[0].lr_from_files
    np.testing.assert_array_equal(seen, [lr, lr])  # timed twice


def test_grey_files_are_rgb_of_equal_channels(tmp_path: Path) -> None:
    grey = noise(24, 32)[:, :, 0]
    write(tmp_path / "a.png", grey)
    hr, _ = read_pair(Pair("a.png", tmp_path / "a.png", None), 2)
    np.testing.assert_array_equal(hr, np.stack([grey] * 3, axis=2))


@pytest.fixture
def flats(tmp_path: Path) -> Path:
    """Two plain pictures of two sizes, so that every figure can be worked out by hand."""
    write(tmp_path / "flat" / "HR" / "a.png", flat(24, 24, 100))
    write(tmp_path / "flat" / "HR" / "b.png", flat(24, 30, 100))
    return tmp_path / "flat"


def brighter(image: Rgb8, model: Model) -> Rgb8:
    """The one by 10 levels, the other by 20."""
    return repeat(image, model) + np.uint8(10 if image.shape[1] == 12 else 20)


def test_means_of_known_figures(flats: Path) -> None:
    result = evaluate([model()], [flats], enlarge=brighter)
    bicubic_row, row = result.sets[0].methods
    assert bicubic_row.means.mse == 0
    assert [image.image for image in row.images] == ["a.png", "b.png"]
    # Grey levels count 219 / 255 in luma.
    errors = [10 * 219 / 255, 20 * 219 / 255]
    psnr = [20 * math.log10(255 / error) for error in errors]
    assert [image.scores.psnr for image in row.images] == pytest.approx(psnr)
    assert row.means.psnr == pytest.approx(sum(psnr) / 2)
    assert row.means.mse == pytest.approx((errors[0] ** 2 + errors[1] ** 2) / 2)
    assert row.means.mae == pytest.approx(sum(errors) / 2)
    ssim = [image.scores.ssim for image in row.images]
    assert row.means.ssim == pytest.approx(sum(ssim) / 2)
    assert 0.9 < ssim[1] < ssim[0] < 1


def test_seconds_are_those_of_the_enlarger(flats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def slow(image: Rgb8, model: Model) -> Rgb8:
        clock[0] += 1.0 if image.shape[1] == 12 else 4.0
        return repeat(image, model)

    bicubic_row, row = evaluate([model()], [flats], enlarge=slow).sets[0].methods
    assert [image.seconds for image in row.images] == [1.0, 4.0]
    assert row.seconds == 2.5
    assert bicubic_row.seconds is None


def test_the_engine_is_compiled_before_the_time_that_counts(
    flats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    widths: list[int] = []

    def compiles(image: Rgb8, model: Model) -> Rgb8:
        width = image.shape[1]
        clock[0] += 1.0 if width in widths else 3.0 if width == 12 else 6.0
        widths.append(width)
        return repeat(image, model)

    row = evaluate([model()], [flats], enlarge=compiles).sets[0].methods[1]
    # The second takes so long at once that it is not worth doing again.
    assert [image.seconds for image in row.images] == [1.0, 6.0]
    assert widths == [12, 12, 15]


def test_evaluation_says_how_it_was_made(flats: Path) -> None:
    result = evaluate([model()], [flats], enlarge=repeat)
    assert result.scale == 2
    assert result.protocol == PROTOCOL
    assert result.version == upres.__version__
    assert platform.machine() in result.machine
    assert f" {usable_processors()} processors" in result.machine
    assert abs(datetime.now(UTC) - datetime.fromisoformat(result.date)) < timedelta(minutes=5)


def test_several_models_and_sets(flats: Path, tmp_path: Path) -> None:
    write(tmp_path / "other" / "c.png", noise(32, 32))
    models = [model(name="one"), model(name="two")]
    sources = [Path("one.pt"), Path("two.onnx")]

    def enlarge(image: Rgb8, model: Model) -> Rgb8:
        return repeat(image, model) if model.card.name == "one" else brighter(image, model)

    texts: list[str] = []
    folders = [flats, tmp_path / "other"]
    result = evaluate(models, folders, sources=sources, enlarge=enlarge, progress=texts.append)
    assert [each.dataset for each in result.sets] == ["flat", "other"]
    assert [each.folder for each in result.sets] == folders
    for each in result.sets:
        assert [row.method for row in each.methods] == ["bicubic", "one x2", "two x2"]
        assert [row.model for row in each.methods] == [None, *sources]
    _, one, two = result.sets[0].methods
    assert one.means.mse == 0
    assert two.means.mse > 0
    assert texts == ["flat 1/2: a.png", "flat 2/2: b.png", "other 1/1: c.png"]


def test_models_of_one_label_are_told_apart(flats: Path) -> None:
    sources = [Path("old.onnx"), Path("new.onnx")]
    rows = evaluate([model()] * 2, [flats], sources=sources, enlarge=repeat).sets[0].methods
    assert [row.method for row in rows] == ["bicubic", "fake x2 (old.onnx)", "fake x2 (new.onnx)"]


def test_sets_are_looked_through_before_any_work(flats: Path, tmp_path: Path) -> None:
    def fail(image: Rgb8, model: Model) -> Rgb8:
        raise AssertionError("enlarged before the second set was looked at")

    with pytest.raises(InputError, match="missing"):
        evaluate([model()], [flats, tmp_path / "missing"], enlarge=fail)


def test_models_of_two_scales(flats: Path) -> None:
    with pytest.raises(UsageError, match="fake x2 and fake x3"):
        evaluate([model(2), model(3)], [flats], enlarge=repeat)


def test_nothing_to_evaluate(flats: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        evaluate([], [flats])
    with pytest.raises(ValueError, match="at least one"):
        evaluate([model()], [])


def test_an_enlarger_of_the_wrong_size(flats: Path) -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        evaluate([model()], [flats], enlarge=lambda image, model: image)


@pytest.fixture
def perfect(tmp_path: Path) -> Evaluation:
    """The model gives one picture back exactly, and the other not."""
    hr = write(tmp_path / "perfect" / "HR" / "a.png", noise(24, 24))
    write(tmp_path / "perfect" / "HR" / "b.png", noise(30, 30))

    def enlarge(image: Rgb8, model: Model) -> Rgb8:
        return hr if image.shape[0] == 12 else repeat(image, model)

    return evaluate([model()], [tmp_path / "perfect"], enlarge=enlarge)


def test_perfect_pictures(perfect: Evaluation, tmp_path: Path) -> None:
    row = perfect.sets[0].methods[1]
    assert row.images[0].scores.psnr == math.inf
    assert math.isfinite(row.images[1].scores.psnr)
    assert row.means.psnr == math.inf

    write_json(perfect, tmp_path / "out.json")
    text = (tmp_path / "out.json").read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    saved = json.loads(text, parse_constant=refuse)["sets"][0]["methods"][1]
    assert saved["mean"]["psnr"] is None
    assert saved["images"][0]["psnr"] is None
    assert saved["images"][1]["psnr"] == row.images[1].scores.psnr

    write_csv(perfect, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        psnr = [float(line["psnr"]) for line in csv.DictReader(file) if line["method"] == "fake x2"]
    assert psnr == [math.inf, row.images[1].scores.psnr, math.inf]
    assert "inf" in shown(perfect)


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    """Two sets, two methods, three pictures."""
    for number in (1, 2):
        write(tmp_path / "first" / "HR" / f"{number}.png", noise(24, 30, seed=number))
    write(tmp_path / "second" / "ü, x.png", noise(26, 24, seed=3))
    return evaluate([model()], [tmp_path / "first", tmp_path / "second"], enlarge=repeat)


def test_json_holds_everything(evaluation: Evaluation, tmp_path: Path) -> None:
    write_json(evaluation, tmp_path / "out.json")
    saved = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    for key in ("scale", "protocol", "machine", "date"):
        assert saved[key] == getattr(evaluation, key)
    assert saved["upres"] == evaluation.version
    assert len(saved["sets"]) == len(evaluation.sets)
    for each, as_saved in zip(evaluation.sets, saved["sets"], strict=True):
        assert as_saved["set"] == each.dataset
        assert as_saved["folder"] == str(each.folder)
        assert as_saved["lr_from_files"] is False
        for method, row in zip(each.methods, as_saved["methods"], strict=True):
            assert row["method"] == method.method
            assert row["model"] == (None if method.model is None else str(file()))
            assert row["parameters"] == method.parameters
            assert row["multiply_adds"] == method.multiply_adds
            assert row["mean"] == measures(method)
            assert row["images"] == [
                {"image": image.image, **measures(image), "jpeg_quality": None}
                for image in method.images
            ]


def measures(row: ImageResult | MethodResult) -> dict[str, float | None]:
    scores = row.scores if isinstance(row, ImageResult) else row.means
    return {**dataclasses.asdict(scores), "lr_psnr": row.lr_psnr, "seconds": row.seconds}


def test_csv_holds_every_picture_and_the_means(evaluation: Evaluation, tmp_path: Path) -> None:
    write_csv(evaluation, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        saved = list(csv.DictReader(file))
    expected: list[tuple[str, MethodResult, str, ImageResult | MethodResult]] = []
    for each in evaluation.sets:
        for method in each.methods:
            expected += [(each.dataset, method, image.image, image) for image in method.images]
            expected.append((each.dataset, method, "mean", method))
    assert len(saved) == 2 * 3 + 2 * 2
    for line, (dataset, method, image_name, row) in zip(saved, expected, strict=True):
        assert line["set"] == dataset
        assert line["scale"] == "2"
        assert line["method"] == method.method
        assert line["image"] == image_name
        assert line["protocol"] == evaluation.protocol
        assert line["jpeg_quality"] == ""
        counted = {"parameters": method.parameters, "multiply_adds": method.multiply_adds}
        for name, value in (measures(row) | counted).items():
            assert (float(line[name]) if line[name] else None) == value


@pytest.mark.parametrize("save", [write_json, write_csv])
def test_saving_replaces_and_leaves_nothing_else(
    save: Callable[[Evaluation, Path], None], evaluation: Evaluation, tmp_path: Path
) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "out").write_text("old")
    save(evaluation, folder / "out")
    assert "bicubic" in (folder / "out").read_text(encoding="utf-8")
    assert [path.name for path in folder.iterdir()] == ["out"]


@pytest.mark.parametrize("save", [write_json, write_csv])
def test_saving_fails_in_one_line_and_keeps_the_old_file(
    save: Callable[[Evaluation, Path], None],
    evaluation: Evaluation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = tmp_path / "none" / "out"
    with pytest.raises(OutputError) as caught:
        save(evaluation, missing)
    check_one_line(caught.value, missing, "No such file")
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "out").write_text("old")
    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OutputError) as caught:
        save(evaluation, folder / "out")
    check_one_line(caught.value, folder / "out", "No space left")
    assert (folder / "out").read_text() == "old"
    assert [path.name for path in folder.iterdir()] == ["out"]


def full_disk(source: Path, target: Path) -> None:
    raise OSError(28, "No space left on device")


def shown(evaluation: Evaluation) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table(evaluation))
    return capture.get()


def test_table_has_a_row_for_each_set_and_method(flats: Path, tmp_path: Path) -> None:
    write(tmp_path / "other" / "c.png", noise(32, 32))
    evaluation = evaluate([model()], [flats, tmp_path / "other"], enlarge=brighter)
    text = shown(evaluation)
    rows = [line.split() for line in text.splitlines() if "bicubic" in line or "fake" in line]
    rows = [row for row in rows if "protocol" not in row][:4]
    assert [row[:3] for row in rows[:3:2]] == [["flat", "2", "bicubic"], ["other", "1", "bicubic"]]
    assert [row[:2] for row in rows[1::2]] == [["fake", "x2"]] * 2
    # As in test_means_of_known_figures.
    errors = [10 * 219 / 255, 20 * 219 / 255]
    psnr = sum(20 * math.log10(255 / error) for error in errors) / 2
    assert rows[1][2] == f"{psnr:.2f}"
    assert rows[1][4] == f"{(errors[0] ** 2 + errors[1] ** 2) / 2:.2f}"
    assert rows[1][5] == f"{sum(errors) / 2:.3f}"
    # The errors are of one level throughout, and shrinking leaves them as they are.
    assert rows[1][6] == rows[1][2]
    assert rows[1][7:9] == ["0", "0"]
    assert rows[0][-3:] == ["-", "-", "-"]
    assert float(rows[1][-1]) < 1
    assert "BT.601" in text


def make_onnx(path: Path, card: ModelCard | None) -> None:
    """A model that repeats pixels twice, with a foreign entry in its metadata."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    shape = {"x": [1, 3, "h", "w"], "y": [1, 3, "h2", "w2"]}
    info = {
        name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sides)
        for name, sides in shape.items()
    }
    scales = helper.make_tensor("scales", onnx.TensorProto.FLOAT, [4], [1.0, 1.0, 2.0, 2.0])
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")
    graph = helper.make_graph([node], "g", [info["x"]], [info["y"]], [scales])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(proto, {"author": "someone"})
    if card is not None:
        write_card(proto, card)
    onnx.checker.check_model(proto)
    onnx.save(proto, path)


def metadata(path: Path) -> dict[str, str]:
    onnx = pytest.importorskip("onnx")
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


@pytest.fixture
def onnx_path(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "tiny.onnx"
    make_onnx(path, ModelCard(name="tiny", scale=2, halo=1, data="none"))
    return path


def test_enlarges_with_the_model_itself(onnx_path: Path, tmp_path: Path) -> None:
    write(tmp_path / "set" / "a.png", noise(30, 26))
    tiny = read_model(onnx_path)
    _, row = evaluate([tiny], [tmp_path / "set"]).sets[0].methods
    _, expected = evaluate([tiny], [tmp_path / "set"], enlarge=repeat).sets[0].methods
    assert row.means.psnr == pytest.approx(expected.means.psnr)
    assert row.seconds is not None
    assert row.seconds > 0


def test_recorded_scores_come_back(onnx_path: Path, flats: Path) -> None:
    before = read_model(onnx_path)
    evaluation = evaluate([model(), before], [flats], enlarge=mixed)
    record_scores(onnx_path, evaluation)
    after = read_model(onnx_path).card
    means = evaluation.sets[0].methods[2].means
    (score,) = after.scores
    assert (score.dataset, score.images) == ("flat", 2)
    assert score.psnr == pytest.approx(means.psnr, abs=1e-3)
    assert score.ssim == pytest.approx(means.ssim, abs=1e-5)
    assert after.protocol == PROTOCOL
    assert dataclasses.replace(after, scores=(), protocol=None) == before.card
    assert metadata(onnx_path)["author"] == "someone"
    assert [path.name for path in onnx_path.parent.iterdir()] == ["tiny.onnx"]


def mixed(image: Rgb8, model: Model) -> Rgb8:
    """Only the tiny model is measured as ``brighter`` does it."""
    return brighter(image, model) if model.card.name == "tiny" else repeat(image, model)


def darker(image: Rgb8, model: Model) -> Rgb8:
    return repeat(image, model) - np.uint8(7)


def test_recording_again(onnx_path: Path, flats: Path, tmp_path: Path) -> None:
    tiny = read_model(onnx_path)

    def record(folder: Path, enlarge: Enlarger) -> tuple[SetScore, ...]:
        record_scores(onnx_path, evaluate([tiny], [folder], enlarge=enlarge))
        return read_model(onnx_path).card.scores

    write(tmp_path / "other" / "c.png", noise(32, 32))
    (first,) = record(flats, brighter)
    assert [score.dataset for score in record(tmp_path / "other", repeat)] == ["flat", "other"]
    other, again = record(flats, darker)
    assert (other.dataset, again.dataset) == ("other", "flat")
    assert again.psnr == pytest.approx(20 * math.log10(255 / (7 * 219 / 255)), abs=1e-3)
    assert again.psnr != first.psnr


def test_scores_of_another_protocol_do_not_stay(onnx_path: Path, flats: Path) -> None:
    old = (SetScore("Set5", 5, 99.0, 1.0),)
    make_onnx(onnx_path, ModelCard("tiny", 2, 1, protocol="RGB", scores=old))
    record_scores(onnx_path, evaluate([read_model(onnx_path)], [flats], enlarge=brighter))
    card = read_model(onnx_path).card
    assert [score.dataset for score in card.scores] == ["flat"]
    assert card.protocol == PROTOCOL


def test_recording_for_a_model_that_was_not_evaluated(onnx_path: Path, flats: Path) -> None:
    evaluation = evaluate([model()], [flats], enlarge=brighter)
    with pytest.raises(ValueError, match="not among the models"):
        record_scores(onnx_path, evaluation)


def evaluation_of(path: Path, folder: Path) -> Evaluation:
    return evaluate([model()], [folder], sources=[path], enlarge=brighter)


def test_recording_in_a_model_without_a_card(onnx_path: Path, flats: Path) -> None:
    make_onnx(onnx_path, None)
    before = onnx_path.read_bytes()
    with pytest.raises(ModelError) as caught:
        record_scores(onnx_path, evaluation_of(onnx_path, flats))
    check_one_line(caught.value, onnx_path, "no card")
    assert onnx_path.read_bytes() == before


@pytest.mark.parametrize("content", [None, b"\xff\xff no onnx"])
def test_recording_in_no_model(tmp_path: Path, flats: Path, content: bytes | None) -> None:
    pytest.importorskip("onnx")
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        record_scores(path, evaluation_of(path, flats))
    check_one_line(caught.value, path)


def test_recording_beside_a_damaged_card(onnx_path: Path, flats: Path) -> None:
    onnx = pytest.importorskip("onnx")
    proto = onnx.load(onnx_path)
    next(entry for entry in proto.metadata_props if entry.key == CARD_KEY).value = "{}"
    onnx.save(proto, onnx_path)
    with pytest.raises(ModelError) as caught:
        record_scores(onnx_path, evaluation_of(onnx_path, flats))
    check_one_line(caught.value, onnx_path, "card")


def test_infinite_scores_are_not_recorded(onnx_path: Path, flats: Path) -> None:
    before = onnx_path.read_bytes()
    evaluation = evaluate([model()], [flats], sources=[onnx_path], enlarge=repeat)
    with pytest.raises(InputError) as caught:
        record_scores(onnx_path, evaluation)
    check_one_line(caught.value, flats, "infinite")
    assert onnx_path.read_bytes() == before


def test_recording_fails_in_one_line_and_keeps_the_model(
    onnx_path: Path, flats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = onnx_path.read_bytes()
    evaluation = evaluation_of(onnx_path, flats)
    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OutputError) as caught:
        record_scores(onnx_path, evaluation)
    check_one_line(caught.value, onnx_path, "No space left")
    assert onnx_path.read_bytes() == before
    assert [path.name for path in onnx_path.parent.iterdir()] == ["tiny.onnx"]


def test_recording_without_onnx(flats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("fake.onnx")
    evaluation = evaluation_of(path, flats)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"upres\[train\]"):
        record_scores(path, evaluation)


def test_importing_brings_nothing_heavy() -> None:
    code = """
import sys
import upres.evaluation.benchmark, upres.evaluation.tables, upres.evaluation.record
import upres.evaluation.outputs, upres.evaluation.models, upres.evaluation.comparison
print(sorted({"onnx", "torch", "matplotlib", "jinja2", "skimage"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are always text")
def test_names_that_are_not_utf_8_are_written_with_escapes(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    model_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    pyvips.Image.new_from_array(pixels).pngsave(os.fsencode(folder) + b"/caf\xe9.png")
    result = evaluate([read_model(model_file)], [folder])
    assert result.sets[0].methods[0].images[0].image == "caf\\udce9.png"
    odd = folder.rename(tmp_path / os.fsdecode(b"\xe9t\xe9"))
    command = ["upres", "evaluate", str(model_file), "--data", str(odd)]
    monkeypatch.setattr(sys, "argv", [*command, "--output", str(tmp_path / "report")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("upres: ")
    assert line.endswith("a file's name is not valid UTF-8, rename it")
