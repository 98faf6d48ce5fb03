"""Measures how long upres takes to start, and whether a cache of compiled models would help.

Writes the result as Markdown. OpenVINO can keep what it compiles in a folder, CACHE_DIR. The script
tells how much time that saves, and how many of such files, damaged at a place each, OpenVINO takes
for sound although the result becomes another.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from measuring import Item, machine, measure, spread, table, write_picture

LIMITS = {"import upres": 0.06, "upres enlarge, 64x64 to 128x128": 0.5}
"""Seconds that each may take."""

COMPILING = """
import sys, time
import numpy as np
from upres.card import file_stamp
from upres.engine.openvino import _graph, compile_settings
from upres.engine.openvino_graphs import core
from upres.models import open_model
model = open_model(sys.argv[1], scale=2)
if sys.argv[2] != "-":
    core().set_property({"CACHE_DIR": sys.argv[2]})
start = time.process_time()
graph = _graph(model.path, file_stamp(model.path), 3, 2, 64, 64, None)
compiled = core().compile_model(graph, "CPU", compile_settings(64, 64, "fp32"))
taken = time.process_time() - start
found = sys.argv[2] != "-" and compiled.get_property("LOADED_FROM_CACHE")
window = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
result = compiled.create_infer_request().infer([window])[0]
print(taken, int(found), float(result.sum(dtype=np.float64)))
"""

MODELS = ("fast-int8", "balanced-int8")


def compiled(model: str, cache: str) -> tuple[float, bool, float]:
    """Seconds of the processor, whether the cache had it, and the sum of a result."""
    told = subprocess.check_output([sys.executable, "-c", COMPILING, model, cache], text=True)
    seconds, found, total = told.split()
    return float(seconds), found == "1", float(total)


def damage(folder: Path, places: int) -> tuple[int, int]:
    """Of so many damaged files, how many are loaded, and how many of these make another result."""
    _, _, right = compiled(MODELS[0], str(folder))
    (path,) = folder.glob("*.blob")
    content = path.read_bytes()
    loaded = wrong = 0
    for number in range(places):
        at = (2 * number + 1) * len(content) // (2 * places)
        path.chmod(0o600)
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        _, found, total = compiled(MODELS[0], str(folder))
        loaded += found
        wrong += found and total != right
    return loaded, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--places", type=int, default=24)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("START.md"))
    arguments = parser.parse_args()
    about = machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_picture(folder / "in.png", 64, 64)
        command = [sys.executable, "-m", "upres"]
        enlarge = [*command, "enlarge", "in.png", "-s", "2", "-o", "out.png", "-f", "-q"]
        lines = {
            "bare Python": [sys.executable, "-c", "pass"],
            "import upres": [sys.executable, "-c", "import upres"],
            "upres --help": [*command, "--help"],
            "upres enlarge, 64x64 to 128x128": enlarge,
        }
        run = partial(subprocess.run, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        times = measure(
            {key: Item(partial(run, line)) for key, line in lines.items()}, arguments.rounds
        )
        rows = []
        for key, seconds in times.items():
            bare = median(times["bare Python"]) if key == "import upres" else 0
            limit = LIMITS.get(str(key))
            within = "" if limit is None else "yes" if median(seconds) - bare <= limit else "no"
            rows.append([str(key), spread(seconds), "" if limit is None else f"{limit:g}", within])
        saved = []
        for model in MODELS:
            cache = folder / model
            compiled(model, str(cache))
            pairs = [
                (compiled(model, "-")[0], compiled(model, str(cache))[0])
                for _ in range(arguments.rounds)
            ]
            saved.append([model, *(f"{median(each):.3f}" for each in zip(*pairs, strict=True))])
        loaded, wrong = damage(folder / "damaged", arguments.places)
    text = f"""# Start

Written by `benchmarks/start.py`.

{about}

The whole process, from start to end: seconds by the clock, median (least to most). `import upres`
counts without bare Python.

{table(["run", "seconds", "at most", "within"], rows)}

OpenVINO can keep compiled models in a folder. Seconds of the processor to make the graph and to
compile it, for windows of 64x64:

{table(["model", "compiled", "from OpenVINO's cache"], saved)}

upres does not use that cache. Its files have no checksum of their weights: of {arguments.places}
files with one byte damaged, OpenVINO loaded {loaded}, and {wrong} of these gave another result
without a word. It also keeps a file for each shape of a window.
"""
    arguments.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
