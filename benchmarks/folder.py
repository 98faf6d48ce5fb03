"""Times `upres enlarge` on a folder of many small pictures, beside its parts, each alone.

The parts are decoding, the network, and encoding. Writes the result as Markdown. All are timed in
one run, in rounds that take each once, so that a machine that slows down slows all alike.

With `--sizes`, the pictures are of so many sizes: each that cost a compilation would show.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
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
"""How many times the sum of its parts' own times the folder may take."""

SIDE = 64

FOLDERS = {"a folder of PNG": "png", "a folder of JPEG": "jpg"}


def picture(rng: np.random.Generator, side: int = SIDE) -> np.ndarray[Any, Any]:
    """Height x width x 3, uint8: waves, an edge and a little noise, as photographs have."""
    y, x = np.mgrid[:side, :side]
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
    threads = os.cpu_count() or 1
    engines = {
        side: [compile_window(backend, model, side, side) for _ in range(threads)]
        for side in {len(array) for array in pixels}
    }
    inputs = [p.astype(np.float32).transpose(2, 0, 1)[None] / np.float32(255) for p in pixels]
    inputs = [np.ascontiguousarray(array) for array in inputs]

    def run(number: int) -> None:
        for array in inputs[number::threads]:
            engines[array.shape[2]][number](array)

    return partial(in_threads, run)


def in_threads(run: Callable[[int], None]) -> None:
    """Give ``run`` each number of a thread; there is one for each processor."""
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, range(threads)))


def decoding(folder: Path) -> Callable[[], None]:
    """Decodes all pictures of a folder, and nothing else."""
    paths, threads = sorted(folder.iterdir()), os.cpu_count() or 1

    def run(number: int) -> None:
        for path in paths[number::threads]:
            pyvips.Image.new_from_file(str(path), access="sequential").numpy()

    return partial(in_threads, run)


def encoding(
    folder: Path, suffix: str, pixels: Sequence[np.ndarray[Any, Any]], scale: int
) -> Callable[[], None]:
    """Encodes pictures as large as the results, as upres does, and nothing else."""
    threads = os.cpu_count() or 1
    results = [array.repeat(scale, 0).repeat(scale, 1) for array in pixels]
    how = {"png": {"compression": 3, "filter": "avg"}, "jpg": {"Q": 95, "subsample_mode": "off"}}
    folder.mkdir()

    def run(number: int) -> None:
        for place in range(number, len(results), threads):
            image = pyvips.Image.new_from_array(results[place])
            image.write_to_file(str(folder / f"{place}.{suffix}"), **how[suffix])

    return partial(in_threads, run)


def parts(times: Mapping[Any, Sequence[float]], suffix: str, own: Precision) -> list[float]:
    """The sum of the parts' seconds, round by round."""
    keys = ("decoding alone", suffix), ("the network alone", own), ("encoding alone", suffix)
    return [sum(each) for each in zip(*(times[key] for key in keys), strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--sizes", type=int, default=1, help="so many, from 64x64 on")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("FOLDER.md"))
    arguments = parser.parse_args()
    about = machine()
    rng = np.random.default_rng(0)
    pixels = [picture(rng, SIDE + i % arguments.sizes) for i in range(arguments.pictures)]
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
            items["decoding alone", given] = Item(decoding(folder / given))
            results = folder / f"results-{given}"
            items["encoding alone", given] = Item(encoding(results, given, pixels, arguments.scale))
        times = measure(items, arguments.rounds)
        memory = peak_memory([*command, "png", "--output", next(outputs)], folder)
    over = {
        (what, own): ratios(times[what, own], parts(times, given, own))
        for what, given in FOLDERS.items()
        for own in precisions
    }
    rows = [
        [
            f"{what}, {own}",
            f"{median(seconds):.2f}",
            f"{1000 * median(seconds) / len(pixels):.2f}",
            spread(over[what, own]) if (what, own) in over else "",
        ]
        for (what, own), seconds in times.items()
    ]
    worst = {own: max(median(over[what, own]) for what in FOLDERS) for own in precisions}
    verdicts = " and ".join(
        f"{ratio:.2f} in {own}{'' if ratio <= LIMIT else ' (**more**)'}"
        for own, ratio in worst.items()
    )
    sizes = f"{SIDE}x{SIDE}"
    if arguments.sizes > 1:
        sizes = f"{arguments.sizes} sizes from {sizes} on"
    text = f"""# Many small files

Written by `benchmarks/folder.py`.

{about}

{len(pixels):,} pictures of {sizes}, 8-bit RGB, enlarged with {DEFAULT_MODEL} \
x{arguments.scale}; {arguments.rounds} rounds take each item once, in shuffled order. The network \
alone: the compiled engine, called with the same pictures as float32 arrays, by a thread for \
each processor. Decoding and encoding alone: libvips, called so, on the same files and on results of
the same size. The folders: `upres enlarge`, the whole process from start to end, with its \
journal. Seconds are medians; ratios are taken within each round, and given as median (least to \
most).

{table(["run", "seconds", "ms a picture", "/ its parts"], rows)}

A folder may take {LIMIT:g} times as long as decoding, the network and encoding together, each \
alone. The slower of the two takes {verdicts} times that. The process holds {memory:.0f} MiB at
most.
"""
    arguments.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
