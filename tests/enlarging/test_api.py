"""``upres.enlarge_file``: a target that exists, and options that it hands on."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import upres


@pytest.fixture
def photo(tmp_path: Path, picture: Any) -> Path:
    path = tmp_path / "photo.png"
    PIL.Image.fromarray(picture).save(path)
    return path


def test_a_file_becomes_what_its_array_becomes(
    photo: Path, tmp_path: Path, model_file: Path, picture: Any
) -> None:
    target, told = tmp_path / "large.png", list[float]()
    upres.enlarge_file(str(photo), str(target), scale=1.5, model=model_file, progress=told.append)
    with PIL.Image.open(target) as result:
        expected = upres.enlarge(picture, scale=1.5, model=model_file)
        np.testing.assert_array_equal(np.asarray(result), expected)
    assert told[-1] == 1
    assert sorted(os.listdir(tmp_path)) == ["large.png", "photo.png"]


def test_a_target_that_exists_is_refused_replaced_or_skipped(
    photo: Path, tmp_path: Path, model_file: Path
) -> None:
    target = tmp_path / "large.png"
    target.write_bytes(b"old")
    with pytest.raises(upres.ExistsError) as caught:
        upres.enlarge_file(photo, target, model=model_file)
    assert target.read_bytes() == b"old"
    choices = [remedy.value for remedy in caught.value.remedies]
    assert sorted(map(str, choices)) == ["replace", "skip"]
    upres.enlarge_file(photo, target, model=model_file, existing="skip")
    assert target.read_bytes() == b"old"
    upres.enlarge_file(photo, target, model=model_file, existing="replace")
    assert target.read_bytes() != b"old"


def test_quality_and_unknown_choices(photo: Path, tmp_path: Path, model_file: Path) -> None:
    target = tmp_path / "large.jpg"
    with pytest.raises(upres.UsageError, match="existing='ask': expected one of refuse, skip"):
        upres.enlarge_file(photo, target, existing="ask")  # type: ignore[arg-type]
    sizes = []
    for quality in (30, 90):
        upres.enlarge_file(photo, target, model=model_file, quality=quality, existing="replace")
        sizes.append(target.stat().st_size)
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("name", ["fast", "fast-int8"])
def test_a_model_that_is_open_is_computed_as_its_card_says(name: str, picture: Any) -> None:
    model = upres.open_model(name, scale=2)
    precision: Any = model.card.precision
    assert model.label == f"{name} x2"
    expected = upres.enlarge(picture, model="fast", scale=2, precision=precision)
    np.testing.assert_array_equal(upres.enlarge(picture, model=model), expected)
    np.testing.assert_array_equal(
        upres.enlarge(picture, model=model, precision=precision), expected
    )
    other, taken = {"fast": ("int8", "fast-int8"), "fast-int8": ("fp32", "fast")}[name]
    with pytest.raises(upres.ModelError, match=f"is {precision}: for {other}, take '{taken}'"):
        upres.enlarge(picture, model=model, precision=other)  # type: ignore[arg-type]


@pytest.mark.parametrize("existing", ["refuse", "replace", "skip"])
def test_a_folder_is_no_target(photo: Path, tmp_path: Path, existing: Any) -> None:
    (tmp_path / "large.png").mkdir()
    with pytest.raises(upres.OutputError, match=r"large.png: is a folder, where a file is to be"):
        upres.enlarge_file(photo, tmp_path / "large.png", existing=existing)


def test_an_option_s_name_is_for_the_caller_to_write() -> None:
    with pytest.raises(upres.UsageError, match=r"^max_pixels must be at least 1, not 0$") as caught:
        upres.enlarge(np.zeros((3, 3)), max_pixels=0)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    told = again.text(lambda remedy: f"<{remedy.option}>")
    assert told == "<max_pixels> must be at least 1, not 0"
