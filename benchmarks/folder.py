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
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyvips

from measuring import Item, machine, measure, peak_memory, ratios, spread, table
from upres.engine import compile_window
from upres.model import DEFAULT_MODEL, load_model

LIMIT = 2.0
"""How many times the network's own time the folder may take."""

SIDE = 64


def picture(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Height x width x 3, uint8: waves, an edge and a little noise, as photographs have."""
    y, x = np.mgrid[:SIDE, :SIDE]
    lengths = rng.uniform(4, 20, 3)
    pixels = 127 + 100 * np.sin(np.stack([x / lengths[0], y / lengths[1], (x + y) / lengths[2]], 2))
    pixels[10:30, 20:40] = rng.uniform(0, 255, 3)
    return (pixels + rng.normal(0, 3, pixels.shape)).clip(0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("FOLDER.md"))
    arguments = parser.parse_args()
    scale = f"{arguments.scale}"
    about = machine()
    model = load_model(DEFAULT_MODEL, scale=arguments.scale)
    engines = [compile_window(model, SIDE, SIDE) for _ in range(os.cpu_count() or 1)]
    rng = np.random.default_rng(0)
    pixels = [picture(rng) for _ in range(arguments.pictures)]
    inputs = [p.astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255) for p in pixels]
    inputs = [np.ascontiguousarray(array) for array in inputs]

    def run_network() -> None:
        def run(number: int) -> None:
            for array in inputs[number :: len(engines)]:
                engines[number](array)

        with ThreadPoolExecutor(len(engines)) as pool:
            list(pool.map(run, range(len(engines))))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for suffix in ("png", "jpg"):
            (folder / suffix).mkdir()
            for number, array in enumerate(pixels):
                path = folder / suffix / f"{number:06}.{suffix}"
                pyvips.Image.new_from_array(array).write_to_file(str(path))
        command = [sys.executable, "-m", "upres", "enlarge", "-q", "--scale", scale]
        command += ["--model", DEFAULT_MODEL]  # else JPEG would be another's

        outputs = (f"out{number}" for number in itertools.count())

        def run(given: str) -> None:
            subprocess.run([*command, given, "--output", next(outputs)], cwd=folder, check=True)

        one = "png/000000.png"
        subjects = {"a folder of PNG": "png", "a folder of JPEG": "jpg", "one PNG": one}
        items = {what: Item(partial(run, given)) for what, given in subjects.items()}
        times = measure({"the network alone": Item(run_network), **items}, arguments.rounds)
        memory = peak_memory([*command, "png", "--output", next(outputs)], folder)
    alone = times["the network alone"]
    rows = [
        [
            f"{what}" if what == "the network alone" else f"`upres enlarge`, {what}",
            f"{median(seconds):.2f}",
            "-" if what == "one PNG" else f"{1000 * median(seconds) / len(pixels):.2f}",
            spread(ratios(seconds, alone)),
        ]
        for what, seconds in times.items()
    ]
    worst = max(median(ratios(times[what], alone)) for what in list(subjects)[:2])
    verdict = "at most" if worst <= LIMIT else "more than"
    text = f"""# Many small files

Written by `benchmarks/folder.py`.

{about}

{len(pixels):,} pictures of {SIDE}x{SIDE}, 8-bit RGB, enlarged with {model.label}; \
{arguments.rounds} rounds take each item once, in shuffled order. The network alone: the \
compiled engine, called with the same pictures as float32 arrays, by a thread for each \
processor. \
`upres enlarge`: the whole process from start to end, with its journal. Seconds are medians; \
ratios are taken within each round, and given as median (least to most).

{table(["what", "seconds", "ms a picture", "/ network"], rows)}

The folders take {worst:.2f} times the network's own time: {verdict} the {LIMIT:g} times that \
they may. The process holds {memory:.0f} MiB at most.
"""
    arguments.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
