"""The command as users meet it: a process, its output, its exit code, its files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import pyvips
import typer

from running import upres
from upres.cli import console
from upres.cli.console import Reporter, progress_bar
from upres.enlarging.agreement import agreement
from upres.enlarging.api import enlarge
from upres.formats.image.vips import read_rgb8
from upres.runs.batch import INTERRUPTED, Summary
from upres.runs.journal import NAME


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


def test_threads_are_limited(tmp_path: Path, photo: Path, model_file: Path) -> None:
    command = ("enlarge", "harbour.png", "--model", model_file, "--threads")
    assert_one_line(upres(*command, 0, cwd=tmp_path), "threads must be at least 1, not 0", code=2)
    assert upres(*command, 1, cwd=tmp_path).returncode == 0
    limited = (tmp_path / "harbour_x2.png").read_bytes()
    assert upres(*command[:-1], "--force", cwd=tmp_path).returncode == 0
    assert (tmp_path / "harbour_x2.png").read_bytes() == limited


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


def test_a_consistent_result_is_told_of(tmp_path: Path, photo: Path, model_file: Path) -> None:
    told = {}
    for name, options in {"plain": [], "agrees": ["--consistent"]}.items():
        command = ("enlarge", photo.name, "--model", model_file, "--check", "-o", f"{name}.png")
        result = upres(*command, *options, cwd=tmp_path)
        (line,) = result.stderr.splitlines()
        found = re.fullmatch(rf"wrote {name}.png \(agrees with its input to ([0-9.]+) dB\)", line)
        assert found, line
        told[name] = float(found[1])
        made, given = read_rgb8(tmp_path / f"{name}.png"), read_rgb8(photo)
        assert told[name] == pytest.approx(agreement(made, given), abs=0.06)
    assert told["plain"] + 10 < told["agrees"]
    # The picture is noise, and the model random: much is clipped.
    assert told["agrees"] > 45
    command = ("enlarge", "-", "--model", model_file, "--check", "--consistent")
    result = subprocess.run(
        [sys.executable, "-m", "upres", *map(str, command)],
        cwd=tmp_path,
        input=photo.read_bytes(),
        capture_output=True,
        check=True,
    )
    assert result.stderr == f"upres: agrees with its input to {told['agrees']:.1f} dB\n".encode()


def test_a_consistent_result_of_a_jpeg_has_to_be_forced(
    tmp_path: Path, photo: Path, model_file: Path
) -> None:
    pyvips.Image.new_from_file(str(photo)).jpegsave(str(tmp_path / "a.jpg"), Q=60)
    command = ("enlarge", "a.jpg", "--model", model_file, "--format", "png")
    result = upres(*command, "--consistent", cwd=tmp_path)
    assert_one_line(result, "a.jpg: a JPEG of quality 60 has faults", "--force-consistent makes it")
    assert not (tmp_path / "a_x2.png").exists()
    assert upres(*command, "--force-consistent", cwd=tmp_path).returncode == 0


WRONG_OPTIONS: dict[str, list[object]] = {
    "contradiction": ["harbour.png", "--force", "--skip-existing"],
    "two sizes": ["harbour.png", "--scale", 2, "--width", 300],
    "fit": ["harbour.png", "--fit", "3x"],
    "format": ["harbour.png", "--format", "xyz"],
    "no folder": ["."],
    "resume": ["harbour.png", "--resume"],
    "empty picture": [""],
    "empty output": ["harbour.png", "-o", ""],
    "empty fit": ["harbour.png", "--fit", ""],
    "empty error map": ["harbour.png", "--error-map", ""],
    "empty format": ["harbour.png", "--format", ""],
}


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
        return [photo, "--scale", 0.5]
    elif kind in WRONG_OPTIONS:
        return WRONG_OPTIONS[kind]
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
        ("contradiction", ["--force", "--skip-existing"]),
        ("two sizes", ["scale", "width"]),
        ("fit", ["--fit 3x", "3840x2160"]),
        ("format", ["format xyz", "png"]),
        ("no folder", ["--output"]),
        ("resume", ["--resume", "--output"]),
        ("empty picture", ["a picture's name is empty"]),
        ("empty output", ["--output: is empty"]),
        ("empty fit", ["--fit: is empty"]),
        ("empty error map", ["--error-map: is empty"]),
        ("empty format", ["--format: is empty"]),
        ("scale", ["scale", "at least 1", "0.5"]),
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
    code = 2 if kind in WRONG_OPTIONS or kind == "scale" else 1
    assert_one_line(upres("enlarge", *arguments, cwd=tmp_path), *parts, code=code)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_bad_file_among_good_ones(tmp_path: Path, photo: Path, model_file: Path) -> None:
    result = upres("enlarge", "none.png", "harbour.png", "--model", model_file, cwd=tmp_path)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert lines[0].startswith("wrote ")
    assert "none.png: cannot read this picture: no such file" in lines[1]
    assert lines[2] == "upres: 1 done, 1 failed"
    assert (tmp_path / "harbour_x2.png").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_files_that_cannot_be_looked_at_stop_no_other(
    tmp_path: Path, photo: Path, model_file: Path
) -> None:
    too_long = "x" * 300
    names = [too_long]
    if os.geteuid() != 0:
        for name in ("locked.png", "locked/in.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(photo.read_bytes())
        (tmp_path / "locked.png").chmod(0)
        (tmp_path / "locked").chmod(0)
        names += ["locked.png", "locked/in.png"]
    result = upres("enlarge", *names, "harbour.png", "--model", model_file, cwd=tmp_path)
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert lines[0].startswith("wrote ")
    assert [line.split(": ")[1] for line in lines[1:-1]] == [f"{too_long}_x2", *names[1:]]
    assert lines[-1] == f"upres: 1 done, {len(names)} failed"


def fill(folder: Path, count: int, side: int = 24) -> list[str]:
    """A folder of pictures, a third of them in a folder of it; their results' names."""
    random = np.random.default_rng(0)
    names = [f"{'sub ünïcode/' if n % 3 == 0 else ''}picture {n:03}" for n in range(count)]
    for name in names:
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (side, side, 3), np.uint8)
        pyvips.Image.new_from_array(pixels).pngsave(str(path))
    return [f"{name}_x2.png" for name in names]


def results(folder: Path) -> dict[str, bytes]:
    """All files that are there under a name that is no temporary one."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name[0] != "."
    }


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "upres", "enlarge", *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    # What waits for its output must not wait for ever.
    timer = threading.Timer(120, process.kill)
    timer.daemon = True
    timer.start()
    return process


def test_a_folder_is_mirrored(tmp_path: Path, model_file: Path) -> None:
    names = fill(tmp_path / "in", 5)
    arguments = ["enlarge", "in", "--recursive", "--output", "out", "--model", model_file]
    result = upres(*arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert sorted(results(tmp_path / "out")) == sorted(names)
    assert result.stderr.splitlines()[-1] == "upres: 5 done"
    assert hidden(tmp_path / "out") == []
    again = upres(*arguments, "--resume", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, "upres: 5 skipped\n")
    again = upres(*arguments, "--skip-existing", "--quiet", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, "")


def test_names_that_meet_are_refused_before_the_work(tmp_path: Path, photo: Path) -> None:
    photo.with_suffix(".jpg").touch()
    result = upres("enlarge", ".", "--output", "out", "--format", "png", cwd=tmp_path)
    assert_one_line(result, "harbour_x4.png", "harbour.jpg", "harbour.png")
    assert not (tmp_path / "out").exists()


def test_killed_at_random_moments_and_gone_on_with(tmp_path: Path, model_file: Path) -> None:
    fill(tmp_path / "in", 60)
    arguments = ["in", "--recursive", "--resume", "--model", model_file, "--output"]
    begun = time.monotonic()
    reference = start(*arguments, "reference", cwd=tmp_path)
    assert reference.stderr is not None
    assert any(line.startswith("wrote ") for line in reference.stderr)
    first = time.monotonic() - begun
    assert reference.communicate()[1].endswith("60 done\n")
    expected = results(tmp_path / "reference")
    assert len(expected) == 60
    random = Random(4)
    unfinished = 0
    folder = tmp_path / "out 0"
    for kill in range(20):
        process = start(*arguments, folder.name, cwd=tmp_path)
        assert process.stderr is not None
        lines = random.randrange(10)
        for _ in range(lines):
            process.stderr.readline()
        # While a picture is worked on, or while the process starts.
        time.sleep(random.uniform(0, 0.05 if lines else first))
        process.kill()
        process.communicate()
        done = results(folder) if folder.exists() else {}
        assert all(expected[name] == content for name, content in done.items())
        unfinished += 0 < len(done) < 60
        if len(done) == 60:
            folder = tmp_path / f"out {kill + 1}"
    assert unfinished >= 10, "else this test sees little"
    for folder in sorted(tmp_path.glob("out *")):
        last = upres("enlarge", *arguments, folder.name, cwd=tmp_path)
        assert last.returncode == 0, last.stderr
        assert results(folder) == expected
        assert hidden(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly(tmp_path: Path, model_file: Path, number: int) -> None:
    names = fill(tmp_path / "in", 300)
    arguments = ["in", "--recursive", "--model", model_file, "--output", "out"]
    process = start(*arguments, cwd=tmp_path)
    assert process.stderr is not None
    # What a busy machine tells before is how long it will take.
    assert any(line.startswith("wrote ") for line in process.stderr)
    asked = time.monotonic()
    process.send_signal(number)
    rest = process.communicate(timeout=60)[1]
    # A second, and as much again for a busy machine.
    assert time.monotonic() - asked < 2
    assert process.returncode == 130
    last = rest.splitlines()[-1]
    assert last.startswith("upres: interrupted: ")
    assert last.endswith(" left; the same command with --resume goes on")
    done = results(tmp_path / "out")
    assert len(done) < 300
    assert f" {len(done)} done" in last
    assert hidden(tmp_path / "out") == [".upres-journal.jsonl"]
    assert_one_line(upres("enlarge", *arguments, cwd=tmp_path), "was interrupted", "--resume")
    assert upres("enlarge", *arguments, "--resume", cwd=tmp_path).returncode == 0
    assert sorted(results(tmp_path / "out")) == sorted(names)


def test_two_at_work_on_one_folder(tmp_path: Path, model_file: Path) -> None:
    names = fill(tmp_path / "in", 100)
    arguments = ["in", "--recursive", "--model", model_file, "--output", "out"]
    processes = [start(*arguments, cwd=tmp_path) for _ in range(2)]
    ends = [process.communicate(timeout=120)[1].splitlines() for process in processes]
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 1]
    assert ends[codes.index(0)][-1] == "upres: 100 done"
    loser = ends[codes.index(1)]
    # As a rule it comes while the other is at work; at worst, after it.
    assert "another upres is writing" in loser[0] or "exists already" in loser[0]
    assert sorted(results(tmp_path / "out")) == sorted(names)
    assert hidden(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("options", "magic"),
    [([], b"\x89PNG"), (["--format", "jpg"], b"\xff\xd8"), (["--output", "-"], b"\x89PNG")],
)
def test_standard_input_and_output(
    tmp_path: Path, photo: Path, model_file: Path, options: list[str], magic: bytes
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "upres", "enlarge", "-", "--model", str(model_file), *options],
        cwd=tmp_path,
        input=photo.read_bytes(),
        capture_output=True,
        check=True,
    )
    assert result.stdout.startswith(magic)
    assert result.stderr == b""
    written = pyvips.Image.new_from_buffer(result.stdout, "")
    assert (written.width, written.height) == (122, 90)
    assert [path.name for path in tmp_path.iterdir()] == ["harbour.png"]


def test_standard_input_that_is_no_picture(tmp_path: Path, model_file: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "upres", "enlarge", "-", "--model", str(model_file)],
        cwd=tmp_path,
        input="hello",
        capture_output=True,
        text=True,
    )
    assert_one_line(result, "upres: standard input: not a picture")
    assert result.stdout == ""


def test_standard_input_to_a_file_that_is_there(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "there.png").touch()
    with photo.open("rb") as file:
        result = subprocess.run(
            [sys.executable, "-m", "upres", "enlarge", "-", "-o", "there.png"],
            cwd=tmp_path,
            stdin=file,
            capture_output=True,
            text=True,
        )
    assert_one_line(result, "upres: there.png: exists already: --force replaces it")


def test_a_picture_to_standard_output(tmp_path: Path, photo: Path, model_file: Path) -> None:
    one = ["enlarge", "harbour.png", "--model", str(model_file)]
    result = subprocess.run(
        [sys.executable, "-m", "upres", *one, "-o", "-"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert upres(*one, "-o", "file.png", cwd=tmp_path).returncode == 0
    assert result.stdout == (tmp_path / "file.png").read_bytes()
    missing = upres("enlarge", "none.png", "-o", "-", cwd=tmp_path)
    assert_one_line(missing, "none.png", "no such file")
    assert_one_line(upres(*one, "other.png", "-o", "-", cwd=tmp_path), "one picture", code=2)


def test_help_where_the_terminal_s_encoding_lacks_a_letter() -> None:
    """So narrow that what is cut ends in an ellipsis."""
    result = subprocess.run(
        [sys.executable, "-m", "upres", "enlarge", "--help"],
        env={**os.environ, "COLUMNS": "20", "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert b"\\u2026" in result.stdout
    assert result.stderr == b""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that closes descriptors")
@pytest.mark.parametrize("line", ["enlarge - -o out.png <&-", "enlarge harbour.png -o - >&-"])
def test_closed_streams(tmp_path: Path, photo: Path, line: str) -> None:
    command = f"exec {sys.executable} -m upres {line}"
    result = subprocess.run(command, shell=True, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert_one_line(result, "is closed: redirect it", code=2)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that closes descriptors")
def test_errors_never_go_into_the_picture(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m upres enlarge none.png -o - 2>&-"
    result = subprocess.run(command, shell=True, cwd=tmp_path, stdout=subprocess.PIPE)
    assert (result.returncode, result.stdout) == (1, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_pipe_with_a_name_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    result = upres("enlarge", "pipe.png", "-o", "-", cwd=tmp_path)
    assert_one_line(result, "pipe.png: a pipe can be read once only")


def test_a_run_that_is_left_behind_ends_where_streams_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(typer.Exit):
        console.end(Summary(left=1, stopped_by=INTERRUPTED, still_busy=True), quiet=False)
    assert codes == [130]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_standard_output_that_is_full(tmp_path: Path, photo: Path, model_file: Path) -> None:
    command = [sys.executable, "-m", "upres", "enlarge", "harbour.png", "-o", "-"]
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [*command, "--model", str(model_file)],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert_one_line(
        result,
        "standard output: cannot write the picture: No space left",
        "--output names a file elsewhere",
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", ["models", "--version"])
def test_text_to_standard_output_that_is_full(arguments: str) -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [sys.executable, "-m", "upres", arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert_one_line(result, "cannot write: No space left", "redirect standard output elsewhere")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_words_that_cannot_be_written_fail_no_picture(
    tmp_path: Path, photo: Path, model_file: Path
) -> None:
    command = [sys.executable, "-m", "upres", "enlarge", "harbour.png", "-o", "large.png"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*command, "--model", str(model_file)], cwd=tmp_path, stderr=full)
    assert done.returncode == 0
    assert (tmp_path / "large.png").stat().st_size > 0


@pytest.mark.parametrize("name", ["taken", "taken/more", "folder.png"])
def test_an_output_that_can_be_none(tmp_path: Path, photo: Path, name: str) -> None:
    (tmp_path / "taken").write_text("no folder")
    (tmp_path / "folder.png" / "harbour_x2.png").mkdir(parents=True)
    result = upres("enlarge", "harbour.png", "-s", 2, "-f", "-o", name, cwd=tmp_path)
    expected = "is a folder, where a file is to be" if name == "folder.png" else "a file is there"
    assert_one_line(result, name, expected, "give another name")
    assert (tmp_path / "taken").read_text() == "no folder"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--max-pixels", "0"], "--max-pixels must be at least 1, not 0"),
        (["--width", "-3"], "--width must be at least 1 pixel, not -3"),
        (["--scale", "0.5"], "--scale must be a factor of at least 1, not 0.5"),
        (["--quality", "101"], "--quality must be from 1 to 100, not 101"),
        (["--fit", "0x9"], "--fit must be at least 1x1 pixels, not 0x9"),
        (["--threads", "0"], "--threads must be at least 1, not 0"),
    ],
)
def test_values_out_of_range_are_told_in_the_command_s_terms(
    tmp_path: Path, photo: Path, words: list[str], expected: str
) -> None:
    result = upres("enlarge", "harbour.png", *words, "-o", "large.png", cwd=tmp_path)
    assert_one_line(result, f"upres: {expected}", code=2)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_nothing_of_a_stream_stays(tmp_path: Path, photo: Path, model_file: Path) -> None:
    temporary = tmp_path / "temporary"
    ended = temporary / "upres-stream-abc"
    ended.mkdir(parents=True)
    (ended / "lock").touch()
    (ended / "standard input").write_bytes(b"left by a process that was killed")
    process = subprocess.Popen(
        [sys.executable, "-m", "upres", "enlarge", "-", "--model", str(model_file)],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert process.stdin
    process.stdin.write(photo.read_bytes())
    process.stdin.flush()
    for _ in range(600):
        if not ended.exists() and any(temporary.glob("upres-stream-*/standard input")):
            break
        time.sleep(0.1)
    assert not ended.exists()
    process.terminate()
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, b"upres: interrupted\n")
    assert not any(temporary.iterdir())


@pytest.mark.parametrize(
    ("before", "loading"), [("default_int_handler", "SIG_DFL"), ("SIG_IGN", "SIG_IGN")]
)
def test_ctrl_c_while_the_command_is_loaded_ends_it_without_a_traceback(
    before: str, loading: str
) -> None:
    code = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.{before})
import upres.__main__ as entry
class Spy:
    def find_spec(self, name, path=None, target=None):
        if name == "upres.cli.main":
            print(signal.getsignal(signal.SIGINT) is signal.{loading})
            sys.exit()
sys.meta_path.insert(0, Spy())
entry.main()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("True\n", "")


@pytest.mark.parametrize(
    "lines",
    [
        '{"version": 1}',
        '{"version": 1, "started": 1, "asked": null}',
        '{"version": 1, "started": "x", "asked": {}}',
        "[1]\nnull\n7",
        "[" * 100_000,
    ],
)
def test_a_journal_that_is_none_is_begun_anew(
    tmp_path: Path, photo: Path, model_file: Path, lines: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / NAME).write_text(lines + "\n")
    command = ["enlarge", photo, "-o", "out", "--resume", "-q", "--model", model_file]
    result = upres(*command, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(os.listdir(tmp_path / "out")) == 1


@pytest.mark.parametrize(
    ("passed", "part", "told"),
    [
        (6, 0.02, "in.png: about 5 minutes to go\n"),
        (6, 0.0005, "in.png: about 3.3 hours to go\n"),
        (4, 0.02, ""),  # too early to know
        (6, 0.2, ""),  # too little to tell
        (6, 0, ""),
    ],
)
def test_the_time_that_is_left_is_told_once(
    passed: float, part: float, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    with progress_bar(quiet=False) as bar:
        reporter = Reporter("in.png", bar, quiet=False, clock=lambda: now)
        now = passed
        reporter.progress(part)
        reporter.progress(part)
    assert capsys.readouterr().err == told


def test_a_folder_that_is_not_there_yet_may_have_a_dot(
    tmp_path: Path, photo: Path, model_file: Path
) -> None:
    result = upres("enlarge", photo, "--model", model_file, "--output", "version.2/", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "version.2" / f"{photo.stem}_x2{photo.suffix}").is_file()


def test_an_empty_folder_stops_no_other(tmp_path: Path, photo: Path, model_file: Path) -> None:
    (tmp_path / "empty").mkdir()
    command = ["enlarge", "empty", photo, "none*.gif", "-o", "out", "--model", model_file]
    result = upres(*command, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-3:] == [
        "upres: empty: no pictures in this folder: --recursive looks into its folders, too",
        "upres: none*.gif: no file matches this pattern",
        "upres: 1 done, 2 failed",
    ]


def test_usage_errors_exit_with_2(tmp_path: Path, photo: Path) -> None:
    assert upres("enlarge", photo, "--scale", "much", cwd=tmp_path).returncode == 2
    assert upres("enlarge", cwd=tmp_path).returncode == 2
    result = upres("enlarge", photo, "other.png", "--output", "one.png", cwd=tmp_path)
    assert_one_line(result, "one.png", "need a folder", code=2)


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
