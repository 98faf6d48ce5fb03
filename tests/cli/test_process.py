"""The command's settings of its process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from upres.engine.machine import usable_processors

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
