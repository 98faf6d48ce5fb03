"""Times `upres enlarge` on a folder of many small pictures, beside the network alone.

Writes the result as Markdown. Both are timed in one run, in rounds that take each once, so
that a machine that slows down slows both alike.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyvips

from measuring import Item, machine, measure, peak_memory, ratios, spread, table
from upres.engine.openvino import OpenVINO
from upres.engine.wrappers import compile_window
from upres.models import DEFAULT_MODEL, Precision, open_at

LIMIT = 2.0
"""How many times the network's own time the folder may take."""

SIDE = 64

FOLDERS = {"a folder of PNG": "png", "a folder of JPEG": "jpg"}


def picture(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Height x width x 3, uint8: waves, an edge and a little noise, as photographs have."""
    y, x = np.mgrid[:SIDE, :SIDE]
    lengths = rng.uniform(4, 20, 3)
    pixels = 127 + 100 * np.sin(np.stack([x / lengths[0], y / lengths[1], (x + y) / lengths[2]], 2))
    pixels[10:30, 20:40] = rng.uniform(0, 255, 3)
    return (pixels + rng.normal(0, 3, pixels.shape)).clip(0, 255).astype(np.uint8)


def alone(
    precision: Precision, scale: int, pixels: Sequence[np.ndarray[Any, Any]]
) -> Callable[[], None]:
    """Runs the network, and nothing else, on all pictures: a thread for each processor."""
    backend = OpenVINO()
    model = open_at(DEFAULT_MODEL, scale, precision, backend)
    engines = [compile_window(backend, model, SIDE, SIDE) for _ in range(os.cpu_count() or 1)]
    inputs = [p.astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255) for p in pixels]
    inputs = [np.ascontiguousarray(array) for array in inputs]

    def run(number: int) -> None:
        for array in inputs[number :: len(engines)]:
            engines[number](array)

    def run_all() -> None:
        with ThreadPoolExecutor(len(engines)) as pool:
            list(pool.map(run, range(len(engines))))

    return run_all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("FOLDER.md"))
    arguments = parser.parse_args()
    about = machine()
    rng = np.random.default_rng(0)
    pixels = [picture(rng) for _ in range(arguments.pictures)]
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    items = {
        ("the network alone", own): Item(alone(own, arguments.scale, pixels)) for own in precisions
    }

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for suffix in ("png", "jpg"):
            (folder / suffix).mkdir()
            for number, array in enumerate(pixels):
                path = folder / suffix / f"{number:06}.{suffix}"
                pyvips.Image.new_from_array(array).write_to_file(str(path))
        command = [sys.executable, "-m", "upres", "enlarge", "-q", "--scale", f"{arguments.scale}"]
        command += ["--model", DEFAULT_MODEL]  # else JPEG would be another's
        outputs = (f"out{number}" for number in itertools.count())

        def run(given: str, own: str) -> None:
            line = [*command, "--precision", own, given, "--output", next(outputs)]
            subprocess.run(line, cwd=folder, check=True)

        for what, given in FOLDERS.items():
            items |= {(what, own): Item(partial(run, given, own)) for own in precisions}
        times = measure(items, arguments.rounds)
        memory = peak_memory([*command, "png", "--output", next(outputs)], folder)
    over = {
        (what, own): ratios(seconds, times["the network alone", own])
        for (what, own), seconds in times.items()
    }
    rows = [
        [
            f"{what}, {own}",
            f"{median(seconds):.2f}",
            f"{1000 * median(seconds) / len(pixels):.2f}",
            spread(over[what, own]),
        ]
        for (what, own), seconds in times.items()
    ]
    worst = {own: max(median(over[what, own]) for what in FOLDERS) for own in precisions}
    verdicts = " and ".join(
        f"{ratio:.2f} in {own}{'' if ratio <= LIMIT else ' (**more**)'}"
        for own, ratio in worst.items()
    )
    text = f"""# Many small files

Written by `benchmarks/folder.py`.

{about}

{len(pixels):,} pictures of {SIDE}x{SIDE}, 8-bit RGB, enlarged with {DEFAULT_MODEL} \
x{arguments.scale}; {arguments.rounds} rounds take each item once, in shuffled order. The network \
alone: the compiled engine, called with the same pictures as float32 arrays, by a thread for \
each processor. The folders: `upres enlarge`, the whole process from start to end, with its \
journal. Seconds are medians; ratios are taken within each round, and given as median (least to \
most).

{table(["run", "seconds", "ms a picture", "/ network alone"], rows)}

A folder may take {LIMIT:g} times as long as the network alone. The slower of the two takes \
{verdicts} times that. The process holds {memory:.0f} MiB at most.
"""
    arguments.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
