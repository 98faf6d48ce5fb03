"""The command's settings of its process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

import fakes
from running import upres
from upres.engine.machine import usable_processors
from upres.formats.registry import FORMATS

SET_BY_THE_COMMAND = (
    *("OPENBLAS_NUM_THREADS", "VIPS_WARNING", "VIPS_BLOCK_UNTRUSTED"),
    "VIPS_CONCURRENCY",  # as soon as libvips is loaded
)


def run(code: str, **environment: str) -> Any:
    """Run code in a fresh process without these settings; what it prints is JSON."""
    bare = {name: value for name, value in os.environ.items() if name not in SET_BY_THE_COMMAND}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=bare | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr == ""
    return json.loads(result.stdout)


def test_set_up_loads_nothing() -> None:
    code = f"""
import json, os, signal, sys
from upres.cli import process
process.set_up()
print(json.dumps({{
    "environment": [os.environ.get(name) for name in {SET_BY_THE_COMMAND[:3]}],
    "loaded": sorted({{"numpy", "openvino", "pyvips", "typer"}} & set(sys.modules)),
    "unwinds": signal.getsignal(signal.SIGTERM) is signal.default_int_handler,
}}))
"""
    expected = {"environment": ["1", "0", "1"], "loaded": [], "unwinds": True}
    assert run(code) == expected
    # The user's own choices stay, but for the loaders that are unsafe.
    own = {"OPENBLAS_NUM_THREADS": "3", "VIPS_WARNING": "1", "VIPS_BLOCK_UNTRUSTED": ""}
    assert run(code, **own) == expected | {"environment": ["3", "1", "1"]}


def test_loaders_that_are_unsafe_are_blocked_and_nothing_is_cached(tmp_path: Path) -> None:
    code = f"""
import json, sys
from upres.cli import process
def tries():
    import pyvips
    try:
        pyvips.Image.black(4, 4).write_to_file({str(tmp_path / "raw.v")!r})
        return pyvips.Image.new_from_file({str(tmp_path / "raw.v")!r}).width
    except pyvips.Error as error:
        return str(error)
if "set" in {{ways}}:
    process.set_up()
    process.set_up_libvips()
import pyvips
print(json.dumps([tries(), pyvips.cache_get_max()]))
"""
    width, cached = run(code.replace("{ways}", "{'as it is'}"))
    assert width == 4, "else this test sees nothing"
    assert cached > 0
    refused, cached = run(code.replace("{ways}", "{'set'}"))
    assert "not a known file format" in refused
    assert cached == 0


def threads_of_libvips(call: str, *, bound: bool = False, **environment: str) -> Any:
    bind = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})" if bound else ""
    code = f"""
import json, os
{bind}
from upres.cli import process
process.set_up_libvips({call})
import pyvips
print(json.dumps(pyvips.concurrency_get()))
"""
    return run(code, **environment)


def test_libvips_has_as_many_threads_as_the_process_may_use_processors() -> None:
    assert threads_of_libvips("") == usable_processors()
    assert threads_of_libvips("", bound=True) == 1
    assert threads_of_libvips("", VIPS_CONCURRENCY="7") == 7, "the user's own"
    assert threads_of_libvips("3", VIPS_CONCURRENCY="7") == 3, "what is asked for counts more"


def test_damaged_pictures_are_told_of_by_the_command_alone(tmp_path: Path) -> None:
    picture = np.linspace(0, 255, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8)
    picture[10:20, 10:40] = np.random.default_rng(3).integers(0, 256, (10, 30, 3))
    PIL.Image.fromarray(picture).save(tmp_path / "whole.png")
    (tmp_path / "bad").mkdir()
    (tmp_path / "out").mkdir()
    for row in FORMATS:
        if not row.writes or row.closed or row.endless:
            continue
        whole = tmp_path / f"whole{row.suffixes[0]}"
        if not whole.exists():
            fakes.enlarge_file(tmp_path / "whole.png", whole)
        content = whole.read_bytes()
        middle = len(content) // 2
        altered = content[:middle] + bytes(b ^ 0x5A for b in content[middle : middle + 40])
        for number, bad in enumerate((content[:middle], altered + content[middle + 40 :])):
            (tmp_path / "bad" / f"{number}{whole.suffix}").write_bytes(bad)
    done = upres("enlarge", "bad", "-o", "out", "-s", "2", cwd=tmp_path)
    assert done.returncode == 1
    *lines, last = done.stderr.splitlines()
    assert last.startswith("upres: ")
    assert len(lines) >= len(list((tmp_path / "bad").iterdir()))
    strange = [line for line in lines if not line.startswith(("upres: bad/", "wrote out/"))]
    assert [line for line in strange if ": not kept: " not in line] == []


def test_a_library_s_words_on_standard_error_go_nowhere() -> None:
    code = """
import os, sys
from upres.cli.process import keep_libraries_quiet
for _ in range(2):
    keep_libraries_quiet()
    os.write(2, b"from C")
    print("from Python", file=sys.stderr)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "from Python\n" * 2
    code = "from upres.cli.process import keep_libraries_quiet as quiet; quiet(); quiet()"
    closed = ["sh", "-c", '"$@" 2>&-', "sh", sys.executable, "-c", code]
    subprocess.run(closed, check=True)


def test_the_collector_of_garbage_runs_seldom() -> None:
    code = """
import gc, json, sys
sys.argv = ["upres", "--version"]
from upres.__main__ import main
before = gc.get_threshold()
try:
    main()
except SystemExit:
    print(json.dumps([before, gc.get_threshold()]))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    before, after = json.loads(result.stdout.splitlines()[-1])
    assert after[0] > 10 * before[0]
    assert after[1:] == before[1:]
