"""The command as users meet it: a process, its output, its exit code, its files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

from upres.formats.photo import read_rgb8
from upres.inference import enlarge


def upres(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "upres", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "200"},
    )


@pytest.fixture
def photo(tmp_path: Path, picture: np.ndarray[Any, Any]) -> Path:
    path = tmp_path / "harbour.png"
    pyvips.Image.new_from_array(picture).pngsave(str(path))
    return path


def assert_one_line(result: subprocess.CompletedProcess[str], *parts: str, code: int = 1) -> None:
    """The contract of errors: an exit code, and one line that names what is wrong."""
    assert result.returncode == code, result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("upres: ")
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_enlarge_with_the_shipped_model(
    tmp_path: Path, photo: Path, picture: np.ndarray[Any, Any], scale: int
) -> None:
    result = upres("enlarge", "harbour.png", "--scale", scale, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    written = tmp_path / f"harbour_x{scale}.png"
    assert written.name in result.stderr
    np.testing.assert_array_equal(read_rgb8(written), enlarge(picture, scale=scale))


def test_enlarge_several_into_a_folder_with_a_model_file(
    tmp_path: Path, photo: Path, model_file: Path
) -> None:
    (tmp_path / "ünïcode näme.png").write_bytes(photo.read_bytes())
    result = upres(
        *("enlarge", "harbour.png", "ünïcode näme.png", "--output", "out"),
        *("--model", model_file, "--quiet"),
        cwd=tmp_path,
    )
    assert (result.returncode, result.stderr, result.stdout) == (0, "", "")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"harbour_x2.png", "ünïcode näme_x2.png"}


def bad_input(folder: Path, photo: Path, kind: str) -> list[object]:
    """Arguments of ``upres enlarge`` with one thing wrong."""
    bad = folder / "bad.jpg"
    if kind == "missing":
        return [bad]
    if kind == "text":
        bad.write_text("hello")
    elif kind == "empty":
        bad.touch()
    elif kind == "truncated":
        noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
        content = pyvips.Image.new_from_array(noise).jpegsave_buffer()
        bad.write_bytes(content[: len(content) // 2])
    elif kind == "scale":
        return [photo, "--scale", 5]
    elif kind == "no model":
        (folder / "other.onnx").write_text("hello")
        return [photo, "--model", "other.onnx"]
    elif kind == "unknown model":
        return [photo, "--model", "fats"]
    elif kind == "unwritable":
        (folder / "blocked").write_text("a file where a folder should be")
        return [photo, "--output", "blocked/out/"]
    elif kind == "exists":
        (folder / "harbour_x4.png").touch()
        return [photo]
    return [bad]


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("missing", ["bad.jpg", "no such file"]),
        ("text", ["bad.jpg", "not a picture"]),
        ("empty", ["bad.jpg", "empty"]),
        ("truncated", ["bad.jpg", "truncated"]),
        ("scale", ["scale 5", "2, 3, 4"]),
        ("no model", ["other.onnx", "not an ONNX model"]),
        ("unknown model", ["'fats'", "shipped are"]),
        ("unwritable", ["blocked"]),
        ("exists", ["harbour_x4.png", "--force"]),
    ],
)
def test_each_error_is_one_line_and_writes_nothing(
    tmp_path: Path, photo: Path, kind: str, parts: list[str]
) -> None:
    arguments = bad_input(tmp_path, photo, kind)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert_one_line(upres("enlarge", *arguments, cwd=tmp_path), *parts)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_bad_file_among_good_ones(tmp_path: Path, photo: Path, model_file: Path) -> None:
    result = upres("enlarge", "none.png", "harbour.png", "--model", model_file, cwd=tmp_path)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert "none.png: cannot read this picture: no such file" in lines[0]
    assert lines[-1] == "upres: 1 of 2 pictures failed"
    assert (tmp_path / "harbour_x2.png").exists()


def test_usage_errors_exit_with_2(tmp_path: Path, photo: Path) -> None:
    assert upres("enlarge", photo, "--scale", "much", cwd=tmp_path).returncode == 2
    assert upres("enlarge", cwd=tmp_path).returncode == 2
    result = upres("enlarge", photo, photo, "--output", "one.png", cwd=tmp_path)
    assert_one_line(result, "one.png", "need a folder", code=2)


def test_models_lists_what_is_shipped(tmp_path: Path) -> None:
    result = upres("models", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for part in ("fast", "x2", "x3", "x4", "Set5", "Set14", "B100", "free licences", "BT.601"):
        assert part in result.stdout


def test_evaluate_prints_and_writes(tmp_path: Path, photo: Path, model_file: Path) -> None:
    (tmp_path / "set").mkdir()
    photo.rename(tmp_path / "set" / photo.name)
    result = upres("evaluate", model_file, "--data", "set", "--output", "results", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "BT.601" in " ".join(result.stdout.split())
    document = json.loads((tmp_path / "results" / "random-x2.json").read_text())
    methods = [method["method"] for method in document["sets"][0]["methods"]]
    assert methods == ["bicubic", "random x2"]
    assert (tmp_path / "results" / "random-x2.csv").exists()


def test_evaluate_without_data(tmp_path: Path, model_file: Path) -> None:
    result = upres("evaluate", model_file, "--data", "none", cwd=tmp_path)
    assert_one_line(result, "none", "no such folder")


def test_version(tmp_path: Path) -> None:
    import upres as package

    assert upres("--version", cwd=tmp_path).stdout == f"upres {package.__version__}\n"
