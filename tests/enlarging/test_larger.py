"""Pictures that are larger already than asked for."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import upres
from upres.enlarging.options import Options
from upres.raster.resize import bicubic
from upres.runs.batch import enlarge_files
from upres.runs.jobs import Job


def picture(height: int, width: int) -> Any:
    y, x = np.mgrid[:height, :width]
    waves = np.sin(np.stack([x / 9, y / 7, (x + y) / 11], 2))
    return (127 + 100 * waves).astype(np.uint8)


def folder_of(path: Path) -> list[Job]:
    """One picture that is smaller than 100 pixels wide, and one that is larger."""
    image = PIL.Image.fromarray(picture(60, 50))
    image.save(path / "small.png")
    large = PIL.Image.fromarray(picture(300, 240))
    exif = large.getexif()
    exif[270] = "harbour"
    large.save(path / "large.png", exif=exif)
    (path / "out").mkdir()
    return [Job(path / name, path / "out" / name) for name in ("large.png", "small.png")]


@pytest.mark.parametrize("size", [{"width": 100}, {"height": 120}, {"fit": (100, 120)}])
@pytest.mark.parametrize("larger", ["refuse", "skip", "copy", "reduce"])
def test_in_a_folder_of_both(tmp_path: Path, larger: Any, size: dict[str, Any]) -> None:
    jobs = folder_of(tmp_path)
    summary = enlarge_files(jobs, Options(larger=larger, **size))
    assert summary.done == (2 if larger in ("copy", "reduce") else 1)
    assert summary.skipped == (larger == "skip")
    assert len(summary.failed) == (larger == "refuse")
    with PIL.Image.open(tmp_path / "out" / "small.png") as small:
        assert small.size == (100, 120)
    large = tmp_path / "out" / "large.png"
    assert large.exists() == (larger in ("copy", "reduce"))
    if larger == "copy":
        assert large.read_bytes() == (tmp_path / "large.png").read_bytes()
    if larger == "reduce":
        with PIL.Image.open(large) as reduced:
            result = np.asarray(reduced)
            assert reduced.getexif()[270] == "harbour"
        rows, columns = result.shape[:2]
        assert (rows, columns) in ((125, 100), (120, 96))
        expected = bicubic(picture(300, 240), size=(rows, columns)).astype(int)
        assert np.abs(result - expected).max() <= 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        ["small.png"] + ["large.png"] * large.exists()
    )


def test_what_is_refused_names_the_ways_out(tmp_path: Path) -> None:
    jobs = folder_of(tmp_path)
    with pytest.raises(upres.InputError, match="larger already than asked for: ") as caught:
        upres.enlarge_file(jobs[0].source, jobs[0].target, width=100)
    assert [remedy.value for remedy in caught.value.remedies] == ["skip", "copy", "reduce"]
    assert all(remedy.option == "larger" for remedy in caught.value.remedies)


def test_an_array_has_no_such_ways_out() -> None:
    with pytest.raises(upres.InputError, match=r"larger already than asked for$") as caught:
        upres.enlarge(picture(30, 40), width=10)
    assert not caught.value.remedies


def test_python_passes_one_over(tmp_path: Path) -> None:
    jobs = folder_of(tmp_path)
    done = upres.enlarge_file(jobs[0].source, jobs[0].target, width=100, larger="skip")
    assert (done.not_kept, done.agreement) == ((), None)
    assert not jobs[0].target.exists()


@pytest.mark.parametrize("check", [False, True])
def test_a_copy_agrees_with_its_source(tmp_path: Path, check: bool) -> None:
    jobs = folder_of(tmp_path)
    done = upres.enlarge_file(jobs[0].source, jobs[0].target, width=100, larger="copy", check=check)
    assert (None if done.agreement is None else done.agreement.decibels) == (
        math.inf if check else None
    )


@pytest.mark.parametrize("asked", [{"consistent": True}, {"check": True}])
def test_what_is_reduced_cannot_agree(asked: dict[str, Any]) -> None:
    with pytest.raises(upres.UsageError, match="a picture that is reduced cannot agree"):
        Options(width=100, larger="reduce", **asked)


def test_a_copy_of_a_wrong_name_is_none(tmp_path: Path) -> None:
    jobs = folder_of(tmp_path)
    wrong = jobs[0].source.rename(tmp_path / "large.jpg")
    with pytest.raises(upres.OutputError, match="a copy of it has no such suffix: larger='reduce'"):
        upres.enlarge_file(wrong, tmp_path / "x.jpg", width=100, larger="copy")
    upres.enlarge_file(wrong, tmp_path / "x.png", width=100, larger="copy")
    assert (tmp_path / "x.png").read_bytes() == wrong.read_bytes()


def test_a_copy_of_another_format_is_none(tmp_path: Path) -> None:
    jobs = folder_of(tmp_path)
    with pytest.raises(upres.OutputError, match="a copy of it has no such suffix: larger='reduce'"):
        upres.enlarge_file(jobs[0].source, tmp_path / "x.jpg", width=100, larger="copy")
    assert not (tmp_path / "x.jpg").exists()
    upres.enlarge_file(jobs[0].source, tmp_path / "x.jpg", width=100, larger="reduce")
    with PIL.Image.open(tmp_path / "x.jpg") as reduced:
        assert reduced.size == (100, 125)


def test_a_copy_does_not_replace_unless_asked(tmp_path: Path) -> None:
    jobs = folder_of(tmp_path)
    jobs[0].target.write_text("precious")
    with pytest.raises(upres.OutputError, match="exists already"):
        upres.enlarge_file(jobs[0].source, jobs[0].target, width=100, larger="copy")
    assert jobs[0].target.read_text() == "precious"


def test_transparent_pictures_are_reduced_without_a_fringe(tmp_path: Path) -> None:
    image = np.zeros((200, 200, 4), np.uint8)
    image[50:150, 50:150] = (200, 60, 60, 255)
    PIL.Image.fromarray(image).save(tmp_path / "a.png")
    upres.enlarge_file(tmp_path / "a.png", tmp_path / "b.png", width=70, larger="reduce")
    with PIL.Image.open(tmp_path / "b.png") as file:
        result = np.asarray(file)
    shown = result[:, :, 3] > 0
    assert np.abs(result[shown][:, :3].astype(int) - (200, 60, 60)).max() <= 2


def test_the_command(tmp_path: Path) -> None:
    folder_of(tmp_path)
    done = upres_in(tmp_path, ".", "-o", "out", "--width", "100", "--larger", "skip")
    assert done.returncode == 0, done.stderr
    assert b"1 skipped" in done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_through_pipes(tmp_path: Path) -> None:
    folder_of(tmp_path)
    content = (tmp_path / "large.png").read_bytes()
    done = upres_in(tmp_path, "-", "--width", "100", "--larger", "copy", input=content)
    assert (done.returncode, done.stdout) == (0, content), done.stderr
    done = upres_in(tmp_path, "-", "--width", "100", "--larger", "skip", input=content)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == (
        b"upres: --larger skip leaves nothing for standard output: give copy or reduce\n"
    )


def upres_in(folder: Path, *words: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "upres", "enlarge", *words]
    return subprocess.run(command, cwd=folder, input=input, capture_output=True, check=False)
