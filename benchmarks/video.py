"""Times `upres enlarge` on a video, beside the engine alone and FFmpeg's bicubic.

Writes the result as Markdown. All are timed in one run, in rounds that take each once, so that a
machine that slows down slows all alike. On a machine that others use, too, the time of processors
tells more than the clock.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from measuring import Item, machine, measure, peak_memory, ratios, spread, table
from upres.engine.openvino import OpenVINO
from upres.engine.wrappers import compile_window
from upres.models import DEFAULT_MODEL, open_at

HEIGHT, WIDTH, SCALE = 360, 640, 2

AIM = 0.8
"""Of the engine's own rate that a video should run at."""

HEADER = ["run", "frames a second", "/ the engine's", "processors' ms a frame", "the engine's /"]

ENGINE, UPRES, FFMPEG = "the engine alone", "upres enlarge", "FFmpeg, scale=bicubic, x264"


def clip(path: Path, frames: int) -> None:
    """A moving picture: no frame is like the one before."""
    source = f"testsrc2=s={WIDTH}x{HEIGHT}:r=24"
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source]
    command += ["-frames:v", str(frames), "-c:v", "libx264", "-crf", "17", str(path)]
    subprocess.run(command, check=True)


def engine_alone(frames: int) -> Callable[[], None]:
    """Runs the network, and nothing else, on as many frames."""
    backend = OpenVINO()
    model = open_at(DEFAULT_MODEL, SCALE, "int8", backend)
    engine = compile_window(backend, model, HEIGHT, WIDTH)
    window = np.random.default_rng(0).random((1, 3, HEIGHT, WIDTH), np.float32)

    def run() -> None:
        for _ in range(frames):
            engine(window)

    return run


class Counted:
    """Something to run, and the time of processors that each run of it takes."""

    def __init__(self, run: Callable[[], object]) -> None:
        self._run = run
        self.seconds: list[float] = []

    def __call__(self) -> None:
        before = os.times()
        self._run()
        after = os.times()
        # User and system, of this process and of those that have ended.
        self.seconds.append(sum(after[:4]) - sum(before[:4]))


def vapoursynth() -> str:
    """Whether VapourSynth could run the network, too: in a sentence."""
    if importlib.util.find_spec("vapoursynth") is None:
        return (
            "VapourSynth is not here: for Linux, PyPI has its source alone, and no plug-in that "
            "reads videos or runs ONNX by OpenVINO."
        )
    import vapoursynth

    plugins = {plugin.namespace for plugin in vapoursynth.core.plugins()}
    missing = [name for name in ("ov", "bs") if name not in plugins]
    found = f"without its plug-ins {', '.join(missing)}" if missing else "with its plug-ins"
    return f"VapourSynth is here {found}, and is not timed."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=480)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("VIDEO.md"))
    arguments = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        sys.exit("benchmarks/video.py needs ffmpeg, which is not here")
    about = machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip(folder / "clip.mp4", arguments.frames)
        command = [sys.executable, "-m", "upres", "enlarge", "-q", "--force", "clip.mp4"]
        command += ["--scale", f"{SCALE}", "--precision", "int8"]
        scale = f"scale={SCALE * WIDTH}:{SCALE * HEIGHT}:flags=bicubic"
        other = ["ffmpeg", "-v", "error", "-y", "-i", "clip.mp4", "-vf", scale]
        other += ["-c:v", "libx264", "-crf", "17", "-preset", "veryfast", "bicubic.mp4"]
        counted = {
            ENGINE: Counted(engine_alone(arguments.frames)),
            UPRES: Counted(lambda: subprocess.run(command, cwd=folder, check=True)),
            FFMPEG: Counted(lambda: subprocess.run(other, cwd=folder, check=True)),
        }
        items = {what: Item(run) for what, run in counted.items()}
        # Nothing is so short that it is run twice: each run is one of a round.
        times = measure(items, arguments.rounds, least_seconds=0)
        memory = peak_memory(command, folder)
    share = {what: ratios(times[ENGINE], seconds) for what, seconds in times.items()}
    # Without the first two runs of each, which are for warming up.
    busy = {what: median(run.seconds[2:]) / arguments.frames for what, run in counted.items()}
    rows = [
        [
            what,
            f"{arguments.frames / median(seconds):.1f}",
            spread(share[what]),
            f"{1000 * busy[what]:.0f}",
            f"{busy[ENGINE] / busy[what]:.2f}",
        ]
        for what, seconds in times.items()
    ]
    reached = median(share[UPRES])
    text = f"""# Video

Written by `benchmarks/video.py`.

{about}

{arguments.frames} frames of {WIDTH}x{HEIGHT}, 8 bit, to {SCALE * WIDTH}x{SCALE * HEIGHT} with \
{DEFAULT_MODEL} in int8; {arguments.rounds} rounds take each item once, in shuffled order. The \
engine alone: the compiled engine, called with as many frames as float32 arrays. The others are \
whole processes from start to end, and decode and encode by x264. The share is taken within each \
round, and given as median (least to most).

{table(HEADER, rows)}

A video should run at {AIM:g} of the engine's own rate. It runs at {reached:.2f}\
{"" if reached >= AIM else " (**less**)"}. {vapoursynth()} \
The process holds {memory:.0f} MiB at most.
"""
    arguments.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
