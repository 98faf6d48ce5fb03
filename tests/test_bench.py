"""The benchmark's arithmetic, and that it runs; what it times is not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


def test_a_spread_is_the_median_and_the_extremes(measuring: ModuleType) -> None:
    assert measuring.spread([2.0, 1.25, 1.5]) == "1.50 (1.25 to 2.00)"


def test_ratios_are_taken_within_a_round(measuring: ModuleType) -> None:
    assert measuring.ratios([1.0, 4.0], [2.0, 2.0]) == [0.5, 2.0]
    with pytest.raises(ValueError, match="shorter"):
        measuring.ratios([1.0, 4.0], [2.0])


def test_a_table_is_markdown(measuring: ModuleType) -> None:
    assert measuring.table(["model", "s"], [["fast x2", "0.4"], ["fast x4", "0.1"]]) == (
        "| model | s |\n| --- | ---: |\n| fast x2 | 0.4 |\n| fast x4 | 0.1 |"
    )


def test_every_item_is_timed_once_per_round_after_its_preparation(measuring: ModuleType) -> None:
    done: list[str] = []
    items = {
        "a": measuring.Item(lambda: done.append("a"), lambda: done.append("prepare a")),
        "b": measuring.Item(lambda: done.append("b")),
    }
    times = measuring.measure(items, 3, least_seconds=0.0)
    assert {key: len(seconds) for key, seconds in times.items()} == {"a": 3, "b": 3}
    assert all(done[i - 1] in ("prepare a", "a") for i, what in enumerate(done) if what == "a")
    # Two untimed calls to begin with, then one in each round.
    assert (done.count("a"), done.count("b"), done.count("prepare a")) == (5, 5, 4)


@pytest.mark.skipif(sys.platform == "win32", reason="needs os.wait4")
def test_peak_memory_is_the_commands_own(measuring: ModuleType, tmp_path: Path) -> None:
    held = np.ones(200 * 2**20, np.uint8)  # by this process, and not to be counted
    script = "x = b'x' * (40 * 2**20)"
    bare = measuring.peak_memory([sys.executable, "-c", "pass"], tmp_path)
    used = measuring.peak_memory([sys.executable, "-c", script], tmp_path)
    assert held.nbytes / 2**20 > used
    assert 35 < used - bare < 60


def test_the_benchmark_of_speed_runs(model_file: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "bench.py"
    if not script.is_file():
        pytest.skip("needs benchmarks/, which a source distribution does not have")
    target = tmp_path / "speed.md"
    options = ["--quick", "--rounds", "1", "--model", str(model_file), "--output", str(target)]
    subprocess.run([sys.executable, str(script), *options], check=True, capture_output=True)
    assert "mean nothing" in target.read_text("utf-8")
    assert model_file.stem in json.loads((tmp_path / "speed.json").read_text("utf-8"))["models"]
