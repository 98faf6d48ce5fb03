"""A process that uses upres as a library stays as it is: its settings are its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

STATE = """
import gc, json, os, signal, sys
import pyvips

def state():
    return {
        "cache": pyvips.cache_get_max(),
        "errors' text": id(pyvips.error._to_string),
        "telemetry": "openvino_telemetry" in sys.modules,
        "signals": tuple(map(signal.getsignal, sorted(signal.valid_signals()))),
        "switch interval": sys.getswitchinterval(),
        "collector of garbage": gc.get_threshold(),
    } | {"$" + name: value for name, value in os.environ.items()}

before = state()
"""

USES = {
    "import": "import upres",
    "enlarge an array": """
import numpy, upres
assert upres.enlarge(numpy.zeros((8, 8, 3), numpy.uint8), scale=2).shape == (16, 16, 3)
""",
    "enlarge a file": """
import tempfile
from pathlib import Path
from upres.enlarging.options import Options
from upres.runs.request import Request, arranged, carry_out
with tempfile.TemporaryDirectory() as folder:
    picture = Path(folder, "a.png")
    pyvips.Image.black(8, 8, bands=3).copy(interpretation="srgb").pngsave(str(picture))
    request = Request((picture,), Options(scale=2))
    assert carry_out(request, arranged(request)).done == 1
""",
}


@pytest.mark.parametrize("use", USES)
def test_the_host_is_left_alone(use: str) -> None:
    # Names alone are printed, as a variable's value may be nobody's business.
    changed = "\nprint(sorted({name for name, _ in before.items() ^ state().items()}))"
    code = STATE + USES[use] + changed
    bare = {name: value for name, value in os.environ.items() if name != "VIPS_WARNING"}
    result = subprocess.run(
        [sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=False
    )
    assert (result.stdout, result.stderr) == ("[]\n", "")
