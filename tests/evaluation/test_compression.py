"""Evaluation of pictures that have been JPEG files, and of pictures in tar files."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import pyvips
from numpy.typing import NDArray

from upres.card import Model
from upres.errors import InputError, UsageError
from upres.evaluation.benchmark import Evaluation, evaluate
from upres.evaluation.compression import Jpeg
from upres.evaluation.datasets import find_pairs, read_pair
from upres.evaluation.record import record_scores
from upres.evaluation.report import write_report
from upres.formats.image.recompressed import through_jpeg
from upres.models import read_model
from upres.raster.metrics import PROTOCOL, score
from upres.raster.resize import bicubic

Rgb8 = NDArray[np.uint8]

NAMES = [f"{number}.png" for number in range(400)]


@pytest.fixture
def sets(tmp_path: Path, picture: Rgb8) -> list[Path]:
    """Two sets of two pictures each, all of other names."""
    folders = []
    for name, pictures in (("one", "ab"), ("two", "cd")):
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        for number, each in enumerate(pictures):
            image = pyvips.Image.new_from_array(np.roll(picture, 7 * number, axis=1))
            image.pngsave(str(folders[-1] / f"{each}.png"))
    return folders


def repeat(image: Rgb8, model: Model) -> Rgb8:
    return image.repeat(model.card.scale, 0).repeat(model.card.scale, 1)


def qualities(evaluation: Evaluation) -> dict[str, int | None]:
    """By picture; all methods have the same."""
    first, second = (
        {i.image: i.jpeg_quality for each in evaluation.sets for i in each.methods[number].images}
        for number in (0, 1)
    )
    assert first == second
    return first


def test_qualities_fill_the_range_and_no_more() -> None:
    drawn = [Jpeg(30, 33).quality(name) for name in NAMES]
    counts = {quality: drawn.count(quality) for quality in set(drawn)}
    assert counts.keys() == {30, 31, 32, 33}
    # 100 are expected of each; this is far more than chance brings.
    assert all(50 < count < 150 for count in counts.values())


def test_another_seed_draws_other_qualities() -> None:
    one, other = ([Jpeg(30, 90, seed).quality(name) for name in NAMES] for seed in (0, 1))
    assert one == [Jpeg(30, 90, 0).quality(name) for name in NAMES]
    # By chance, one of 61 is equal.
    assert sum(a == b for a, b in zip(one, other, strict=True)) < len(NAMES) / 10


def test_the_suffix_and_folder_of_a_picture_do_not_matter() -> None:
    jpeg = Jpeg(1, 100)
    assert jpeg.quality("a/x.png") == jpeg.quality("x.jpg")


@pytest.mark.parametrize(("low", "high"), [(0, 50), (50, 101), (90, 30), (101, 101)])
def test_bad_ranges(low: int, high: int) -> None:
    shown = str(low) if low == high else f"{low}-{high}"
    with pytest.raises(UsageError, match=rf"1 to 100, .*not {shown}$"):
        Jpeg(low, high)


def by_pillow(image: Rgb8, quality: int, subsampling: int) -> Rgb8:
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(PIL.Image.open(file))


@pytest.mark.parametrize("quality", [20, 60, 90])
def test_pictures_lose_what_jpeg_files_lose(picture: Rgb8, quality: int) -> None:
    result = through_jpeg(picture, quality).astype(float)
    # Both are libjpeg's, of other versions: they round otherwise.
    assert np.abs(result - by_pillow(picture, quality, 2)).mean() < 0.3
    others = [by_pillow(picture, quality, 0), by_pillow(picture, quality - 10, 2), picture]
    assert all(np.abs(result - other).mean() > 0.4 for other in others)


def test_all_methods_get_the_compressed_pictures(sets: list[Path], model_file: Path) -> None:
    seen: list[Rgb8] = []

    def see(image: Rgb8, model: Model) -> Rgb8:
        seen.append(image)
        return repeat(image, model)

    jpeg = Jpeg(20, 40, 5)
    result = evaluate([read_model(model_file)], sets[:1], jpeg=jpeg, enlarge=see)
    baseline, row = result.sets[0].methods
    pairs = find_pairs(sets[0], 2)
    for number, pair in enumerate(pairs):
        hr, clean = read_pair(pair, 2)
        lr = through_jpeg(clean, jpeg.quality(pair.name))
        np.testing.assert_array_equal(seen[2 * number], lr)  # timed twice
        assert np.abs(lr.astype(float) - clean).max() > 3
        assert baseline.images[number].scores == score(bicubic(lr, scale=2), hr, border=2)
        assert row.images[number].scores == score(repeat(lr, read_model(model_file)), hr, border=2)
        assert row.images[number].jpeg_quality == jpeg.quality(pair.name)


def test_neither_order_nor_number_of_sets_matters(sets: list[Path], model_file: Path) -> None:
    def scores(folders: Sequence[Path], seed: int = 0) -> dict[str, object]:
        models = [read_model(model_file)]
        result = evaluate(models, folders, jpeg=Jpeg(10, 95, seed), enlarge=repeat)
        drawn = qualities(result)
        images = [image for each in result.sets for image in each.methods[1].images]
        return {image.image: (drawn[image.image], image.scores) for image in images}

    both = scores(sets)
    assert set(both) == {"a.png", "b.png", "c.png", "d.png"}
    assert scores(sets[::-1]) == scores(sets) == both
    assert scores(sets[1:]) == {name: both[name] for name in ("c.png", "d.png")}
    assert scores(sets, seed=1) != both


def test_the_protocol_says_so(sets: list[Path], model_file: Path) -> None:
    models = [read_model(model_file)]
    drawn = evaluate(models, sets[:1], jpeg=Jpeg(30, 90, 4), enlarge=repeat).protocol
    assert drawn.startswith(PROTOCOL)
    for part in ("JPEG", "30 to 90", "seed 4", "4:2:0"):
        assert part in drawn[len(PROTOCOL) :]
    fixed = evaluate(models, sets[:1], jpeg=Jpeg(60, 60), enlarge=repeat)
    assert "quality 60, 4:2:0" in fixed.protocol
    assert "seed" not in fixed.protocol
    assert set(qualities(fixed).values()) == {60}


def test_the_report_shows_what_was_measured(
    sets: list[Path], model_file: Path, tmp_path: Path
) -> None:
    seen: list[bytes] = []

    def see(image: Rgb8, model: Model) -> Rgb8:
        seen.append(image.tobytes())
        return repeat(image, model)

    models = [read_model(model_file)]
    result = evaluate(models, sets[:1], jpeg=Jpeg(30, 60), enlarge=see)
    measured = set(seen)
    seen.clear()
    write_report(result, models, tmp_path / "r.html", enlarge=see)
    assert seen
    assert set(seen) <= measured
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "LR through JPEG files of quality 30 to 60" in text
    assert "bicubic, as JPEG of quality 30-60" in text.replace("&#39;", "'")


def test_at_x1_models_stand_beside_the_input(
    sets: list[Path], model_file: Path, tmp_path: Path
) -> None:
    model = read_model(model_file)
    restoring = replace(model, card=replace(model.card, scale=1))
    folder = tmp_path / "cut"
    shutil.copytree(sets[0], folder / "HR_x3")
    shutil.copytree(sets[1], folder / "HR_x2")

    def darkened(image: Rgb8, model: Model) -> Rgb8:
        return image // 2

    result = evaluate([restoring], [folder], jpeg=Jpeg(30, 30), enlarge=darkened)
    baseline, row = result.sets[0].methods
    assert baseline.method == "the input"
    assert [image.image for image in row.images] == ["c.png", "d.png"]  # those of HR_x2
    for number, pair in enumerate(find_pairs(folder, 1)):
        hr, compressed = read_pair(pair, 1, Jpeg(30, 30))
        assert np.array_equal(compressed, through_jpeg(hr, 30))
        assert baseline.images[number].scores == score(compressed, hr, border=1)
        assert row.images[number].scores == score(compressed // 2, hr, border=1)
    assert "bicubic" not in result.protocol
    write_report(result, [restoring], tmp_path / "r.html", enlarge=darkened)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "beside the input, on cut" in text
    assert "the pictures themselves, as JPEG of quality 30" in text
    assert "the model differs most from the input" in text


def test_recorded_scores_bring_their_protocol(
    sets: list[Path], model_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(model_file.read_bytes())
    record_scores(path, evaluate([read_model(path)], sets, enlarge=repeat))
    result = evaluate([read_model(path)], sets[1:], jpeg=Jpeg(60, 60), enlarge=repeat)
    record_scores(path, result)
    card = read_model(path).card
    assert card.protocol == result.protocol != PROTOCOL
    # That of the set "one" is by another protocol, and gone.
    assert [entry.dataset for entry in card.scores] == ["two"]


def as_tar(folder: Path, target: Path) -> Path:
    with tarfile.open(target, "w") as archive:
        for path in sorted(folder.iterdir(), reverse=True):
            archive.add(path, f"inside/{path.name}")
        archive.add(__file__, "notes.txt")
    return target


def test_a_tar_file_is_a_set(sets: list[Path], model_file: Path, tmp_path: Path) -> None:
    tar = as_tar(sets[0], tmp_path / "valid.tar")
    models = [read_model(model_file)]
    got, expected = (
        evaluate(models, [data], jpeg=Jpeg(30, 90), enlarge=repeat).sets[0]
        for data in (tar, sets[0])
    )
    assert (got.dataset, expected.dataset) == ("valid", "one")
    assert not got.lr_from_files
    assert [image.image for image in got.methods[1].images] == ["inside/a.png", "inside/b.png"]
    for one, other in zip(got.methods, expected.methods, strict=True):
        assert [image.scores for image in one.images] == [image.scores for image in other.images]


def test_bad_tar_files(tmp_path: Path, model_file: Path) -> None:
    models = [read_model(model_file)]
    (tmp_path / "bad.tar").write_bytes(b"rubbish")
    with pytest.raises(InputError, match=r"bad\.tar: cannot read this tar file"):
        evaluate(models, [tmp_path / "bad.tar"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty\.tar: holds no pictures"):
        evaluate(models, [as_tar(tmp_path / "empty", tmp_path / "empty.tar")])
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "x.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"damaged\.tar:inside/x\.png: not a picture"):
        evaluate(models, [as_tar(tmp_path / "damaged", tmp_path / "damaged.tar")])


def command(folder: Path, code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"{code}\nfrom upres.cli.main import main\nmain()"]
        + [str(argument) for argument in arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_command(sets: list[Path], model_file: Path, tmp_path: Path) -> None:
    tar = as_tar(sets[0], tmp_path / "valid.tar")
    arguments = ["--data", tar, "--jpeg", "30-90", "--seed", 3, "--no-report", "--output", "out"]
    result = command(tmp_path, "", "evaluate", model_file, *arguments)
    assert result.returncode == 0, result.stderr
    printed = " ".join(result.stdout.split())
    assert "JPEG files of quality 30 to 90, drawn by seed 3" in printed
    saved = json.loads((tmp_path / "out" / "random-x2.json").read_text())
    assert "JPEG files of quality 30 to 90, drawn by seed 3" in saved["protocol"]
    expected = [Jpeg(30, 90, 3).quality(name) for name in ("a", "b")]
    for method in saved["sets"][0]["methods"]:
        assert [image["jpeg_quality"] for image in method["images"]] == expected
    with (tmp_path / "out" / "random-x2.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["jpeg_quality"] for row in rows] == [*map(str, expected), ""] * 2
    assert {row["protocol"] for row in rows} == {saved["protocol"]}


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--jpeg", "30-"], ["30-:", "--jpeg", "30-90"]),
        (["--jpeg", "high"], ["high:", "--jpeg", "30-90"]),
        (["--jpeg", "-5"], ["-5:", "--jpeg", "30-90"]),
        (["--jpeg", "90-30"], ["1 to 100", "90-30"]),
        (["--jpeg", "0-50"], ["1 to 100", "0-50"]),
        (["--jpeg", "101"], ["1 to 100", "101"]),
        (["--seed", "1"], ["seed 1:", "--jpeg"]),
        (["--jpeg", "60", "--seed", "1"], ["seed 1:", "60", "--jpeg"]),
    ],
)
def test_wrong_options_are_one_line(
    tmp_path: Path, model_file: Path, options: list[str], parts: list[str]
) -> None:
    result = command(tmp_path, "", "evaluate", model_file, "--data", "none", *options)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert all(part in result.stderr for part in parts)
