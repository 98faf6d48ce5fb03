"""Tells how the work on a picture is divided among cores, measured here and worked out for more.

Writes the result as Markdown. Each stage is timed alone, in seconds of the processor. The stages of
one picture overlap, window by window, so that a picture takes as long as the longest of them: the
network is divided among all cores, and each of the others runs on one at a time. `taskset` gives
the command fewer cores than there are, as far as there are any; more are worked out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pyvips

from end_to_end import QUALITY, alone, write_photograph
from measuring import machine, table
from upres.enlarging.pieces import Axis
from upres.enlarging.steps import steps_for
from upres.enlarging.window import Window
from upres.raster.info import RGB_ROLES, RasterInfo, bands_of
from upres.raster.pixels import from_unit

CORES = (1, 2, 4, 8, 16, 32, 64)


def of_processor(run: Callable[[], object], rounds: int) -> float:
    """The median of the processor's seconds, all threads together."""
    taken = []
    for _ in range(rounds + 1):  # the first time is slower
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return median(taken[1:])


def stages(source: Path, folder: Path, name: str, scale: int, rounds: int) -> dict[str, float]:
    """Seconds of the processor for each stage of a picture, alone."""
    image = pyvips.Image.new_from_file(str(source))
    size = (image.height, image.width)
    network, grid, model = alone(name, scale, "int8", size)
    count = len(grid.rows) * len(grid.columns)
    info = RasterInfo(*size, bands_of(RGB_ROLES, 0.0, 255.0), np.dtype(np.uint8))
    result = (size[0] * scale, size[1] * scale)
    steps = steps_for(info, model.card, result)
    later = [step for step in steps if not step.by_engine]
    axes = Axis(size[0], result[0], scale), Axis(size[1], result[1], scale)
    pieces = (axes[0].piece(grid.rows[0]), axes[1].piece(grid.columns[0]))
    given = np.random.default_rng(0).random((*grid.window, 3), np.float32)
    colour = np.ascontiguousarray(given.transpose(2, 0, 1))

    def finish() -> None:
        for _ in range(count):
            made = colour.repeat(scale, 1).repeat(scale, 2)
            window = Window(given, lambda window: window, pieces, colour=colour, planes=made)
            for step in later:
                step.run(window)
            from_unit(np.moveaxis(window.planes, 0, 2), 0, 255, np.dtype(np.uint8))

    large = pyvips.Image.new_from_file(str(source)).resize(scale).copy_memory()

    def encode(suffix: str) -> None:
        how = {"Q": QUALITY} if suffix == "jpg" else {"compression": 3, "filter": "avg"}
        large.write_to_file(str(folder / f"out.{suffix}"), **how)

    return {
        "the network": of_processor(network, rounds),
        "decoding": of_processor(
            lambda: pyvips.Image.new_from_file(str(source), access="sequential").avg(), rounds
        ),
        "finishing windows": of_processor(finish, rounds),
        "encoding JPEG": of_processor(lambda: encode("jpg"), rounds),
        "encoding PNG": of_processor(lambda: encode("png"), rounds),
    }


def by_command(source: Path, folder: Path, name: str, scale: int, cores: int) -> float:
    """Seconds by the clock of the command, with so many cores."""
    line = ["taskset", "-c", ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))]
    line += [sys.executable, "-m", "upres", "enlarge", str(source), "-m", name, "-s", str(scale)]
    line += ["--precision", "int8", "-o", "taskset.jpg", "-f", "-q"]
    start = time.perf_counter()
    subprocess.run(line, cwd=folder, check=True)
    return time.perf_counter() - start


def worked_out(found: dict[str, float], suffix: str, cores: int) -> tuple[float, str]:
    """How long a picture takes with so many cores, and the stage that takes as long."""
    alone_on_one = ["decoding", "finishing windows", f"encoding {suffix}"]
    longest = {stage: found[stage] for stage in alone_on_one}
    longest["the network"] = found["the network"] / cores
    # All together cannot take less than the work divided by the cores.
    whole = (sum(longest[stage] for stage in alone_on_one) + found["the network"]) / cores
    stage = max(longest, key=lambda each: longest[each])
    return max(longest[stage], whole), stage if longest[stage] > whole else "all together"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--models", nargs="+", default=["fast", "balanced"])
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("CORES.md"))
    arguments = parser.parse_args()
    about = machine()
    times, divided = [], []
    usable = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = folder / "in.jpg"
        write_photograph(source, arguments.megapixels)
        for name in arguments.models:
            found = stages(source, folder, name, arguments.scale, arguments.rounds)
            times += [[f"{name}: {stage}", f"{seconds:.2f}"] for stage, seconds in found.items()]
            for cores in CORES:
                here = "-"
                if cores <= usable and shutil.which("taskset"):
                    taken = [
                        by_command(source, folder, name, arguments.scale, cores)
                        for _ in range(arguments.rounds)
                    ]
                    here = f"{median(taken):.2f}"
                jpeg, png = (worked_out(found, suffix, cores) for suffix in ("JPEG", "PNG"))
                figures = [f"{seconds:.2f}: {stage}" for seconds, stage in (jpeg, png)]
                divided.append([f"{name}, {cores}", here, *figures])
    text = f"""# Cores

Written by `benchmarks/cores.py`.

{about}

A JPEG of {arguments.megapixels:g} megapixels, enlarged {arguments.scale} times in int8. Seconds of
the processor, all cores together, of each stage alone:

{table(["stage", "seconds"], times)}

The network is divided among all cores. Each other stage runs on one core at a time, beside the
others and beside the network: while a window is computed, the one before is finished, and the rows
above are encoded. libjpeg and zlib encode one picture on one core. So a picture takes as long as
the longest stage, or as the whole work divided by the cores. "Measured" is the command, start
included, with that many cores by `taskset`. The others are worked out from the table above:
seconds, and the stage that takes them.

{table(["model, cores", "measured, JPEG", "JPEG", "PNG"], divided)}

Pictures of a folder are worked on beside each other in threads, at most 8. Of small ones most of
the work beside the network holds Python's lock, and so runs on one core. `--cluster auto` gives
each core a process of its own.
"""
    arguments.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
