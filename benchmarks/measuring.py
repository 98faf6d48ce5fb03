"""How to time, count and tabulate; the things that are measured are in ``bench.py``."""

from __future__ import annotations

import datetime
import math
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from upres.raster.resize import bicubic

LEAST_SECONDS = 0.2
"""An item that takes less is run several times over per round."""

FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16")

# A child's ru_maxrss is at least what the process that started it held at the time, so
# the child whose memory counts is started from a bare Python, not from this process.
LAUNCHER = """
import os, sys
pid = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def nothing() -> None:
    pass


class Item(NamedTuple):
    """Something to time; ``prepare`` comes before it in each round, untimed."""

    run: Callable[[], object]
    prepare: Callable[[], object] = nothing


def measure(
    items: Mapping[Hashable, Item], rounds: int, *, least_seconds: float = LEAST_SECONDS
) -> dict[Hashable, list[float]]:
    """Seconds that each item takes in each round.

    What takes less than ``least_seconds`` is run several times over.
    """

    def seconds(run: Callable[[], object], calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        return (time.perf_counter() - start) / calls

    calls = {}
    for key, item in items.items():
        item.prepare()
        item.run()  # the first time is slower
        calls[key] = max(1, math.ceil(least_seconds / seconds(item.run, 1)))
    times: dict[Hashable, list[float]] = {key: [] for key in items}
    order = list(items)
    shuffle = random.Random(0).shuffle
    for turn in range(rounds):
        print(f"round {turn + 1} of {rounds}", file=sys.stderr)
        shuffle(order)
        for key in order:
            items[key].prepare()
            time.sleep(0.05)  # threads of the item before may still be spinning
            times[key].append(seconds(items[key].run, calls[key]))
    return times


def write_picture(path: Path, height: int, width: int) -> None:
    """A smooth picture, so that reading and writing it does not outweigh enlarging it."""
    import pyvips

    seed = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    pyvips.Image.new_from_array(bicubic(seed, size=(height, width))).write_to_file(str(path))


def peak_memory(command: Sequence[str], folder: Path) -> float:
    """Most MiB of memory that a command ever held."""
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *command],
        cwd=folder,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    # In KiB on Linux, in bytes on macOS.
    return int(done.stdout) / (2**20 if sys.platform == "darwin" else 2**10)


def ratios(over: Iterable[float], under: Iterable[float]) -> list[float]:
    return [a / b for a, b in zip(over, under, strict=True)]


def spread(values: Sequence[float]) -> str:
    """Median, and from least to most: ``1.50 (1.25 to 2.00)``."""
    low, mid, high = (f"{value:.2f}" for value in (min(values), median(values), max(values)))
    return f"{mid} ({low} to {high})"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, figures to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine_facts() -> dict[str, str]:
    """Processor, software, commit and date."""
    fields: dict[str, str] = {}
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    has = set(fields.get("flags", fields.get("Features", "")).split())
    packages = []
    for package in ("openvino", "numpy", "pyvips", "torch"):
        try:
            packages.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            packages.append(f"no {package}")
    git = ["git", "describe", "--always", "--dirty"]
    try:
        commit = subprocess.check_output(git, cwd=Path(__file__).parent, text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    return {
        "Processor": fields.get("model name", platform.machine()),
        "Logical processors": str(os.cpu_count()),
        "Of the flags that matter it has": ", ".join(f for f in FLAGS if f in has) or "none",
        "Software": ", ".join([f"Python {platform.python_version()}", *packages]),
        "Commit": commit,
        "Date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "Load average before the run": f"{os.getloadavg()[0]:.1f}",
    }


def machine(facts: Mapping[str, str] | None = None) -> str:
    """The facts, by default those of now, as a Markdown list."""
    return "\n".join(f"- {name}: {fact}" for name, fact in (facts or machine_facts()).items())
