"""Two hundred mixed pictures through a store and a cluster, beside the same by threads."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import stores_here

pytest.importorskip("ray", reason="needs ray")
obstore = pytest.importorskip("obstore", reason="needs obstore")

GOOD, BAD = 188, 10
KINDS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF")


def write_pictures(folder: Path) -> None:
    """Of several formats, kinds and sizes; ten are damaged, and two take some seconds."""
    noise = np.random.default_rng(0)
    for number in range(GOOD + BAD):
        kind = KINDS[number % len(KINDS)]
        mode = ("RGB", "L", "RGBA")[number % 3 if kind in ("PNG", "WEBP", "TIFF") else number % 2]
        shape = (9 + number % 31, 12 + number % 17, len(mode))
        picture = PIL.Image.fromarray(noise.integers(0, 256, shape, np.uint8).squeeze(), mode)
        file = io.BytesIO()
        picture.save(file, kind)
        content = file.getvalue()
        bad = number >= GOOD
        path = folder / f"part {number % 4}" / f"{'bad' if bad else ''}{number}.{kind.lower()}"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content[: len(content) // 3] if bad else content)
    for number in range(2):
        large = PIL.Image.fromarray(noise.integers(0, 256, (2000, 2500, 3), np.uint8))
        large.save(folder / f"kills{number}.bmp")


def kill_whoever_takes_them(stop: threading.Event) -> None:
    """Kill each worker as soon as its title says that it is at work on a picture that kills."""
    while not stop.is_set():
        for process in stores_here.ray_workers():
            with suppress(OSError):
                if b"kills" in Path(f"/proc/{process}/cmdline").read_bytes():
                    os.kill(process, signal.SIGKILL)
        time.sleep(0.02)


def run(folder: Path, *arguments: object) -> tuple[int, str]:
    """Exit code and standard error of ``upres enlarge``, and of all that is in a folder."""
    line = [sys.executable, "-m", "upres", "enlarge", "--quiet", "--recursive", "--scale", "2"]
    done = subprocess.run(
        [*line, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stderr


def told(report: Path) -> dict[str, str]:
    """The failures of a report, by the name of the picture."""
    failed = json.loads(report.read_text("utf-8"))["failed"]
    return {each["source"].rpartition("/")[2]: each["reason"] for each in failed}


def test_all_are_those_of_threads_but_those_that_kill(
    s3: str, tmp_path: Path, model_file: Path
) -> None:
    from obstore.store import from_url

    write_pictures(tmp_path / "in")
    store = from_url("s3://pictures", client_options={"allow_http": True})
    for path in sorted(tmp_path.glob("in/**/*.*")):
        obstore.put(store, path.relative_to(tmp_path).as_posix(), path.read_bytes())
    how = ("--model", model_file, "--report", tmp_path / "local.json")
    code, _ = run(tmp_path, "in", "--output", "out", *how)
    local = {p.relative_to(tmp_path / "out").as_posix(): p for p in tmp_path.glob("out/**/*.*")}
    assert code == 1
    assert len(local) == GOOD + 2
    bad = told(tmp_path / "local.json")
    assert len(bad) == BAD

    stop = threading.Event()
    killer = threading.Thread(target=kill_whoever_takes_them, args=(stop,))
    killer.start()
    try:
        how = ("--model", model_file, "--report", tmp_path / "cluster.json", "--cluster", "auto")
        code, words = run(tmp_path, "s3://pictures/in", "--output", "s3://results/out", *how)
    finally:
        stop.set()
        killer.join()
    assert code == 1, words
    failed = told(tmp_path / "cluster.json")
    killers = {f"kills{number}.bmp" for number in range(2)}
    assert failed.keys() == {*bad, *killers}
    assert all("killed a worker 3 times" in failed[name] for name in killers)
    assert {name: failed[name].partition(": ")[2] for name in bad} == {
        name: reason.partition(": ")[2] for name, reason in bad.items()
    }
    made = from_url("s3://results", client_options={"allow_http": True})
    keys = [meta["path"] for chunk in obstore.list(made, "out") for meta in chunk]
    results = {
        key.removeprefix("out/"): bytes(obstore.get(made, key).bytes())
        for key in keys
        if ".upres" not in key
    }
    expected = {
        name: path.read_bytes() for name, path in local.items() if not name.startswith("kills")
    }
    assert results.keys() == expected.keys()
    assert results == expected
