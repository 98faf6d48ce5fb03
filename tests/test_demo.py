from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import pyvips

DEMO = Path(__file__).parents[1] / "demo" / "compare.py"


def test_the_demo_shows_three_columns() -> None:
    if not DEMO.is_file():
        pytest.skip("needs demo/, which a source distribution does not have")
    result = subprocess.run([sys.executable, DEMO], capture_output=True, text=True, check=True)
    path = DEMO.parents[1] / result.stdout.splitlines()[-1].rpartition(": ")[2]
    shown = pyvips.Image.new_from_file(str(path))
    assert shown.width == 3 * 480 + 2 * 8
