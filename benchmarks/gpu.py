"""Times the shipped models on a GPU, beside OpenVINO on the processor, and writes Markdown.

It needs the extra `gpu`, and a GPU that ONNX Runtime can use. A rehearsal without one:

    python benchmarks/gpu.py --provider CPUExecutionProvider --quick --rounds 1 --output gpu.md
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import subprocess
import sys
import time
from collections.abc import Hashable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from measuring import Item, machine_facts, measure, ratios, spread, table
from upres.card import Compute, Model
from upres.engine.backends import default_backend
from upres.engine.onnxruntime import CPU, OnnxRuntime, gpu_provider, import_onnxruntime
from upres.engine.openvino import OpenVINO
from upres.engine.protocol import Backend
from upres.engine.wrappers import compile_window
from upres.enlarging.api import enlarge_array
from upres.enlarging.options import Options
from upres.errors import DeviceError, MissingExtraError, ModelError
from upres.formats.image.vips import read_rgb8
from upres.models import computed_in, open_at, open_model, shipped_models
from upres.raster.arrays import ArraySource
from upres.raster.pixels import Float32Array, to_unit
from upres.raster.resize import bicubic

PHOTOGRAPH = Path(__file__).parents[1] / "demo" / "chelsea.png"

NAMES = ("fast", "photo", "balanced")
"""`best` is `balanced`, run eight times."""

PROCESSOR = OpenVINO()


@dataclasses.dataclass(frozen=True)
class Way:
    """A backend, and how a model is computed by it."""

    backend: Backend
    compute: Compute | None
    """None is as OpenVINO does it by itself: in int8 where the processor is made for it."""

    @property
    def label(self) -> str:
        return f"{self.backend.name}, {self.compute or 'by itself'}"

    def model(self, name: str, scale: int) -> Model:
        if self.compute is None:
            return open_at(name, scale, "auto", self.backend)
        return computed_in(open_model(name, scale=scale), self.compute, self.backend)


def whole(way: Way, model: Model, picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array of uint8 to one of uint8, as `upres.enlarge` does it."""
    options = Options(model=model, precision=model.compute if way.compute else "auto")
    return enlarge_array(ArraySource(picture), options, backend=way.backend)


def first_seconds(way: Way, model: Model, side: int) -> float:
    """Until the first window of a size that is new is done."""
    window = np.zeros((1, 3, side, side), np.float32)
    start = time.perf_counter()
    compile_window(way.backend, model, side, side)(window)
    return time.perf_counter() - start


def card_facts() -> dict[str, str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    return {"GPU": "; ".join(done.stdout.strip().splitlines()) or "unknown"}


def row(
    key: tuple[str, int],
    ways: Sequence[Way],
    times: dict[Hashable, list[float]],
    kind: str,
    megapixels: float,
) -> list[str]:
    base = times[kind, key, ways[0]]
    cells = [f"{key[0]} x{key[1]}", f"{megapixels / median(base):.2f}"]
    for way in ways[1:]:
        own = times[kind, key, way]
        cells += [f"{megapixels / median(own):.2f}", spread(ratios(base, own))]
    return cells


def header(ways: Sequence[Way]) -> list[str]:
    cells = ["model", f"{ways[0].label}: MP/s"]
    for way in ways[1:]:
        cells += [f"{way.label}: MP/s", f"times {ways[0].label}"]
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="small pictures: a rehearsal")
    parser.add_argument(
        "--provider", action="append", help="ONNX Runtime's; repeatable (default: the GPU's)"
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("GPU.md"))
    arguments = parser.parse_args()
    try:
        providers = arguments.provider or [gpu_provider()]
        runtime = import_onnxruntime()
    except (DeviceError, MissingExtraError) as error:
        parser.error(str(error))
    if CPU in providers and arguments.output.name == "GPU.md":
        parser.error("a rehearsal without a GPU needs another --output")
    facts = card_facts() | machine_facts()
    side, height, width = (96, 180, 270) if arguments.quick else (512, 1424, 2136)
    ways = [
        Way(PROCESSOR, None),
        *(
            Way(OnnxRuntime(provider), compute)
            for provider in providers
            for compute in ("fp16", "fp32")
        ),
    ]
    keys = [(name, scale) for name in NAMES for scale in sorted(shipped_models()[name])]
    photograph = read_rgb8(PHOTOGRAPH)
    picture = bicubic(photograph, size=(height, width))
    noise = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    items: dict[Hashable, Item] = {}
    firsts, differences = [], []
    for key in keys:
        seconds = []
        for way in ways:
            model = way.model(*key)
            seconds.append(f"{first_seconds(way, model, side):.2f}")
            # Made anew each round, untimed: an engine keeps few compiled models.
            engines: dict[str, Any] = {}

            def prepare(
                way: Way = way, model: Model = model, engines: dict[str, Any] = engines
            ) -> None:
                engines["one"] = compile_window(way.backend, model, side, side)
                engines["one"](noise)

            def run(engines: dict[str, Any] = engines) -> Float32Array:
                result: Float32Array = engines["one"](noise)
                return result

            items["window", key, way] = Item(run, prepare)
            array = partial(whole, way, model, picture)
            items["array", key, way] = Item(array, array)
        firsts.append([f"{key[0]} x{key[1]}", *seconds])
        differences.append([f"{key[0]} x{key[1]}", *compared(ways, *key, photograph)])
    times = measure(items, arguments.rounds)
    tables = {}
    for kind, pixels in (("window", side * side), ("array", height * width)):
        rows = [row(key, ways, times, kind, pixels * key[1] ** 2 / 1e6) for key in keys]
        tables[kind] = table(header(ways), rows)
    warning = "" if default_backend("auto").device == "gpu" else "**There was no GPU here.**\n\n"
    lines = "\n".join(f"- {name}: {fact}" for name, fact in facts.items())
    text = f"""# GPU

Written by `benchmarks/gpu.py`.

{warning}{lines}
- ONNX Runtime {runtime.__version__}: {", ".join(providers)}

OpenVINO by itself takes int8 where the processor is made for it. {arguments.rounds} rounds take \
each item once, in shuffled order; megapixels of the result a second are medians, and ratios are \
taken within each round: median (least to most).

## The network alone

One window of {side}x{side} pixels of random values, from the processor's memory and back to it.

{tables["window"]}

## An array, from end to end

A photograph of {width}x{height} pixels, resized from the demo's, uint8 to uint8.

{tables["array"]}

## The first window of a new size

Seconds to compile and to run it once, the file being read already where others have been.

{table(["model", *(way.label for way in ways)], firsts)}

## Differences

The largest, and the root of the mean squared one, from OpenVINO in float32 on the demo's \
photograph, in grey levels of 8 bits.

{table(["model", *(way.label for way in ways)], differences)}
"""
    arguments.output.write_text(text, "utf-8")
    print(text)
    print(f"wrote {arguments.output}", file=sys.stderr)


def compared(
    ways: Sequence[Way], name: str, scale: int, photograph: np.ndarray[Any, Any]
) -> list[str]:
    window = np.ascontiguousarray(to_unit(photograph[:128, :192], 0, 255).transpose(2, 0, 1)[None])
    exact = compile_window(PROCESSOR, open_model(name, scale=scale), 128, 192)(window)
    cells = []
    for way in ways:
        result = compile_window(way.backend, way.model(name, scale), 128, 192)(window)
        error = 255 * np.abs(result - exact).astype(np.float64)
        cells.append(f"{error.max():.3g}, {np.sqrt(np.square(error).mean()):.2g}")
    return cells


if __name__ == "__main__":
    try:
        main()
    except ModelError as error:
        sys.exit(str(error))
