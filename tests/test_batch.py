from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

from upres.batch import destinations, enlarge_file, enlarge_files
from upres.errors import InputError, OutputError, UpresError, UsageError
from upres.formats.photo import read_rgb8
from upres.inference import enlarge
from upres.model import load_model


def test_names_without_output(tmp_path: Path) -> None:
    inputs = [tmp_path / "harbour.jpg", tmp_path / "a.b.PNG"]
    assert destinations(inputs, None, scale=4) == [
        (inputs[0], tmp_path / "harbour_x4.jpg"),
        (inputs[1], tmp_path / "a.b_x4.PNG"),
    ]


def test_output_is_a_file_or_a_folder(tmp_path: Path) -> None:
    one, two = Path("in/one.jpg"), Path("in/two.jpg")
    there = tmp_path / "existing.d"
    there.mkdir()
    assert destinations([one], Path("x.png"), scale=2) == [(one, Path("x.png"))]
    assert destinations([one], there, scale=2) == [(one, there / "one_x2.jpg")]
    assert destinations([one, two], Path("new"), scale=3) == [
        (one, Path("new/one_x3.jpg")),
        (two, Path("new/two_x3.jpg")),
    ]
    with pytest.raises(UsageError, match="2 pictures need a folder"):
        destinations([one, two], Path("x.png"), scale=2)


def test_two_pictures_never_share_a_result() -> None:
    with pytest.raises(OutputError, match=r"both a/x.png and b/x.png would be written"):
        destinations([Path("a/x.png"), Path("b/x.png")], Path("out"), scale=2)


@pytest.fixture
def source(tmp_path: Path, picture: np.ndarray[Any, Any]) -> Path:
    path = tmp_path / "in.png"
    pyvips.Image.new_from_array(picture).pngsave(str(path))
    return path


def test_a_file_becomes_what_the_array_function_gives(
    model_file: Path, source: Path, picture: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    target = tmp_path / "new" / "folder" / "out.png"
    enlarge_file(source, target, load_model(model_file))
    np.testing.assert_array_equal(read_rgb8(target), enlarge(picture, model=model_file))


def test_existing_files_are_kept_unless_forced(
    model_file: Path, source: Path, tmp_path: Path
) -> None:
    model = load_model(model_file)
    target = tmp_path / "out.png"
    target.write_text("precious")
    with pytest.raises(OutputError, match=r"out.png: exists already; --force replaces it"):
        enlarge_file(source, target, model)
    assert target.read_text() == "precious"
    enlarge_file(source, target, model, force=True)
    assert read_rgb8(target).shape == (90, 122, 3)


def test_a_forced_result_that_fails_leaves_the_old_file(model_file: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    pyvips.Image.new_from_array(noise).pngsave(str(source))
    source.write_bytes(source.read_bytes()[:-50_000])
    target.write_text("precious")
    with pytest.raises(InputError, match=r"in.png: this picture is damaged"):
        enlarge_file(source, target, load_model(model_file), force=True)
    assert target.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "out.png"]


def test_no_folder_is_made_for_a_picture_that_cannot_be_read(
    model_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError):
        enlarge_file(tmp_path / "none.png", tmp_path / "new" / "out.png", load_model(model_file))
    assert list(tmp_path.iterdir()) == []


def test_one_bad_file_stops_no_other(model_file: Path, source: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("text")
    failed: dict[Path, UpresError] = {}
    finished: list[Path] = []
    progress: list[tuple[Path, float]] = []
    count = enlarge_files(
        [(bad, tmp_path / "bad_x2.png"), (source, tmp_path / "in_x2.png")],
        load_model(model_file),
        progress=lambda path, part: progress.append((path, part)),
        finished=finished.append,
        failed=failed.__setitem__,
    )
    assert count == 1
    assert list(failed) == [bad]
    assert finished == [tmp_path / "in_x2.png"]
    assert progress[-1] == (source, 1)
    assert not (tmp_path / "bad_x2.png").exists()
