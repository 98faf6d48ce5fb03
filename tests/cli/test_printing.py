"""Names that are no text, logs without a bar, and what standard input has behind its picture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest


def run(
    folder: Path, *arguments: bytes | str, given: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if name[:3] != "LC_"}
    kept.pop("LANG", None)
    return subprocess.run(
        [sys.executable, "-m", "upres", "enlarge", *arguments],
        cwd=folder,
        input=given,
        capture_output=True,
        timeout=300,
        check=False,
        env={**kept, **environment},
    )


def picture(path: Path) -> bytes:
    PIL.Image.new("RGB", (8, 6), (90, 9, 200)).save(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "environment",
    [
        {"LANG": "C"},
        {"LC_ALL": "C"},
        {"LANG": "C.UTF-8"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
@pytest.mark.parametrize("name", [b"caf\xc3\xa9", b"caf\xe9"])
def test_names_come_out_as_they_are(
    tmp_path: Path, environment: dict[str, str], name: bytes
) -> None:
    content = picture(tmp_path / "in.png")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name + b".png")).write_bytes(content)
    done = run(tmp_path, name + b".png", "-s", "2", **environment)
    assert done.stderr == b"wrote " + name + b"_x2.png\n"
    failed = run(tmp_path, name + b".jpg", "-s", "2", **environment)
    assert failed.stderr.startswith(b"upres: " + name + b".jpg: ")


@pytest.mark.parametrize(
    "colour", [{"FORCE_COLOR": "1"}, {"FORCE_COLOR": "3"}, {"TTY_COMPATIBLE": "1"}]
)
def test_a_log_has_no_bar(tmp_path: Path, colour: dict[str, str]) -> None:
    picture(tmp_path / "in.png")
    done = run(tmp_path, "in.png", "-s", "2", **colour)
    assert done.stderr == b"wrote in_x2.png\n"


@pytest.mark.parametrize("second", ["png", "jpg"])
def test_a_second_picture_on_standard_input_is_told(tmp_path: Path, second: str) -> None:
    both = picture(tmp_path / "a.png") + picture(tmp_path / f"b.{second}")
    done = run(tmp_path, "-", "-s", "2", given=both)
    assert done.returncode == 0
    assert done.stderr == b"standard output: not kept: further pictures\n"
    (tmp_path / "out.png").write_bytes(done.stdout)
    with PIL.Image.open(tmp_path / "out.png") as opened:
        assert opened.size == (16, 12)
    one = run(tmp_path, "-", "-s", "2", given=(tmp_path / "a.png").read_bytes())
    assert one.stderr == b""
