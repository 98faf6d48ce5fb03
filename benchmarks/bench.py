"""Times upres beside the machine's own limit, and writes the result as Markdown.

``speed.json``, beside it, has the figures that ``results.py`` takes from it.

Everything is timed in one run, in rounds that take each item once, so that a machine that
slows down slows all alike; comparisons are made within a round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import upres
from measuring import (
    LEAST_SECONDS,
    Item,
    machine,
    machine_facts,
    measure,
    ratios,
    spread,
    table,
    write_picture,
)
from upres.card import Model
from upres.engine.complexity import graph_multiply_adds, multiply_adds_at
from upres.engine.openvino import OpenVINO, compile_settings
from upres.engine.openvino_graphs import core, import_openvino
from upres.engine.wrappers import compile_window
from upres.enlarging import tiles
from upres.errors import ModelError, TrainingError
from upres.formats.image.vips import read_rgb8
from upres.models import DEFAULT_MODEL, INT8, computed_in, open_model, shipped_models
from upres.raster.resize import bicubic

HELP_LIMIT = 0.5
BACKEND = OpenVINO()
PHOTOGRAPH = Path(__file__).parents[1] / "demo" / "chelsea.png"

Times = Mapping[Hashable, Sequence[float]]
Rates = dict[str, dict[int, list[float]]]


@dataclass(frozen=True)
class Subject:
    """A model, and the input that it enlarges to the benchmark's output."""

    model: Model
    height: int
    width: int
    gflop: float

    @property
    def precision(self) -> str:
        """Of its convolutions, but for the few that int8 leaves."""
        own = self.model.card.precision
        return self.model.compute if own == "fp32" else own


def chain(
    side: int, precision: str, *, channels: int = 64, length: int = 16
) -> tuple[Callable[[], object], float]:
    """Runs 3x3 convolutions in a row on ``side`` x ``side``, and their GFLOP.

    Compiled as upres does it, but for its check that as many channels leave as enter.
    """
    openvino = import_openvino()
    from openvino import opset13 as ops

    def quantised(values: Any, least: float, most: float, levels: int) -> Any:
        if precision != "int8":
            return values
        ends = [ops.constant(np.float32(end)) for end in (least, most, least, most)]
        return ops.fake_quantize(values, *ends, levels)

    rng = np.random.default_rng(0)
    picture = ops.parameter([1, channels, side, side], np.float32)
    result = picture
    for _ in range(length):
        # Of this deviation, so that values neither grow nor shrink on their way through.
        weights = rng.normal(0, (9 * channels) ** -0.5, (channels, channels, 3, 3))
        most = float(np.abs(weights).max())
        kernels = quantised(ops.constant(weights.astype(np.float32)), -most, most, 255)
        result = quantised(result, -2, 2, 256)
        result = ops.convolution(result, kernels, [1, 1], [1, 1], [1, 1], [1, 1])
    # Only one channel leaves: copying all of them out is no part of convolving.
    result = ops.slice(result, np.array([0]), np.array([1]), np.array([1]), np.array([1]))
    graph = openvino.Model([result], [picture])
    gflop = 2e-9 * graph_multiply_adds(graph, (1, channels, side, side))
    settings = compile_settings(side, side, "bf16" if precision == "bf16" else "fp32")
    request = core().compile_model(graph, "CPU", settings).create_infer_request()
    window = rng.random((1, channels, side, side), np.float32)

    def run() -> None:
        request.set_input_tensor(openvino.Tensor(window, shared_memory=True))
        request.infer()

    return run, gflop


def subject(model: Model, height: int, width: int) -> Subject:
    card = model.card
    unit = card.scale * card.multiple_of
    height, width = (tiles.round_up(side, unit) // card.scale for side in (height, width))
    return Subject(model, height, width, 2e-9 * multiply_adds_at(model, height, width))


def network_run(model: Model, noise: Any) -> Callable[[], object]:
    """Runs a network on ``noise``, 1 x channels x height x width, in one window.

    Where the engine is slow at a width, upres cuts it, and the halo counts as lost.
    """
    card, (height, width) = model.card, noise.shape[2:]
    grid = tiles.cut_grid(
        height,
        width,
        halo=card.halo or 0,
        max_pixels=height * width,
        multiple=card.multiple_of,
        units=BACKEND.limits(model).multiples,
    )
    windows = [
        np.ascontiguousarray(noise[:, :, row.start : row.stop, column.start : column.stop])
        for row in grid.rows
        for column in grid.columns
    ]
    engine = compile_window(BACKEND, model, *grid.window)
    return lambda: [engine(window) for window in windows]


def model_items(key: int, entry: Subject, rng: np.random.Generator) -> dict[Hashable, Item]:
    model, height, width = entry.model, entry.height, entry.width
    card = model.card
    noise = rng.random((1, card.channels, height, width), np.float32)
    # A photograph: noise has no greys, which are kept neutral at some cost.
    picture = bicubic(read_rgb8(PHOTOGRAPH), size=(height, width))
    enlarge = partial(upres.enlarge, picture, model=model)
    items: dict[Hashable, Item] = {
        ("network", key): Item(network_run(model, noise)),
        # Once before, untimed: the engine keeps few compiled models, and compiles again one
        # that it dropped.
        ("enlarge", key): Item(enlarge, enlarge),
        ("bicubic", key): Item(partial(bicubic, picture, scale=card.scale)),
    }
    twin = torch_twin(model)
    if twin is not None:
        items["torch", original(model)] = Item(partial(twin, noise))
    return items


def original(model: Model) -> Path:
    """The model's own file; of one in int8, that of its float32 model."""
    return model.path.with_name(model.path.name.replace(INT8, ""))


def torch_twin(model: Model) -> Callable[[Any], object] | None:
    """The same network in PyTorch; ``None`` if PyTorch or the structure is not at hand, or the
    network is run eight times, by the engine.
    """
    if model.card.self_ensemble:
        return None
    try:
        import torch

        from upres.training.export import load_network
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("upres"):
            raise
        return None
    try:
        network, _ = load_network(original(model))
    except TrainingError:
        return None

    def run(window: Any) -> object:
        with torch.inference_mode():
            return network(torch.from_numpy(window))

    return run


def peak_rates(peaks: Mapping[tuple[str, int], float], times: Times) -> Rates:
    """For each precision and side of the convolutions, GFLOP/s in each round."""
    rates: Rates = {}
    for (precision, side), gflop in peaks.items():
        reached = [gflop / seconds for seconds in times["peak", precision, side]]
        rates.setdefault(precision, {})[side] = reached
    return rates


def limits(rates: Rates) -> dict[str, list[float]]:
    """For each precision, GFLOP/s in each round at the side that is best."""
    return {precision: max(own.values(), key=median) for precision, own in rates.items()}


def medians(subjects: Sequence[Subject], rates: Rates, times: Times) -> dict[str, dict[str, float]]:
    """A JSON file's entries on each model, under its file's name without suffix."""
    best = limits(rates)
    result = {}
    for key, entry in enumerate(subjects):
        if entry.precision == "bf16":
            continue  # the same file once more
        network, whole = times["network", key], times["enlarge", key]
        reached = [entry.gflop / seconds for seconds in network]
        figures = {
            "network_seconds": median(network),
            "enlarge_seconds": median(whole),
            "gflops": median(reached),
            "share_of_peak": median(ratios(reached, best[entry.precision])),
        }
        # More digits would be noise.
        result[entry.model.path.stem] = {k: float(f"{v:.4g}") for k, v in figures.items()}
    return result


def speed_sections(subjects: Sequence[Subject], rates: Rates, times: Times) -> str:
    """The networks beside the machine's peak, and enlarging beside others' programs."""
    best, told = limits(rates), []
    for precision, by_side in rates.items():
        listed = ", ".join(f"{median(own):.0f} at {side}x{side}" for side, own in by_side.items())
        told.append(f"in {precision} {listed}")
    networks, pictures = [], []
    for key, entry in enumerate(subjects):
        name = f"{entry.model.label} ({entry.precision})"
        limit = best[entry.precision]
        network, whole, simple = (times[kind, key] for kind in ("network", "enlarge", "bicubic"))
        reached = [entry.gflop / seconds for seconds in network]
        row = [name, f"{entry.width}x{entry.height}", f"{entry.gflop:.1f}"]
        row += [f"{median(network):.3f}", f"{1 / median(network):.1f}", f"{median(reached):.0f}"]
        networks.append([*row, spread(ratios(reached, limit))])
        row = [name, f"{median(whole):.3f}", spread(ratios(whole, network))]
        row += [f"{median(simple):.3f}", spread(ratios(whole, simple))]
        twin = times.get(("torch", original(entry.model)))
        row += [f"{median(twin):.3f}", spread(ratios(twin, network))] if twin else ["-", "-"]
        pictures.append(row)
    network_header = [
        "model",
        "input",
        "GFLOP",
        "seconds",
        "frames/s",
        "GFLOP/s",
        "share of the best",
    ]
    picture_header = ["model", "enlarge, s", "enlarge / network", "bicubic, s"]
    picture_header += ["enlarge / bicubic", "PyTorch, s", "PyTorch / network"]
    parts = [
        "## The networks",
        "The network alone, on the whole picture in one window, or in several where the engine "
        "is slow at its width (their halos count as time lost), and its share of the best that "
        "the same engine reaches in the same precision for sixteen 3x3 convolutions in a "
        f"row, 64 channels to 64, which is the largest of, in GFLOP/s: {'; '.join(told)}. "
        "Convolutions alone are counted; one multiply-add is 2 FLOP.",
        table(network_header, networks),
        "## Enlarging a picture",
        "`upres.enlarge`: 8-bit array in, 8-bit array out, conversions and windows included, "
        "the model loaded and compiled before. Bicubic: `upres.raster.resize.bicubic` of the same "
        "array. PyTorch: the same network alone, always in float32, not compiled; `-` where "
        "PyTorch is not installed, the network is not one that upres builds, or the model is "
        "self-ensembled.",
        table(picture_header, pictures),
    ]
    return "\n\n".join(parts)


def enlarge_command(model: Model, source: str) -> list[str]:
    command = [sys.executable, "-m", "upres", "enlarge", source, "-o", "large.png"]
    return [*command, "--model", str(model.path.resolve()), "--force", "--quiet"]


def startup_section(model: Model, folder: Path, rounds: int) -> str:
    write_picture(folder / "small.png", 128, 128)
    commands = {
        "bare Python": [sys.executable, "-c", "pass"],
        "`upres --help`": [sys.executable, "-m", "upres", "--help"],
        f"`upres enlarge`, 128x128, {model.label}": enlarge_command(model, "small.png"),
    }
    call = partial(subprocess.run, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    times = measure({name: Item(partial(call, line)) for name, line in commands.items()}, rounds)
    bare = times["bare Python"]
    rows = [
        [name, f"{median(times[name]):.3f}", spread(ratios(times[name], bare))] for name in commands
    ]
    seconds = median(times["`upres --help`"])
    verdict = "less" if seconds < HELP_LIMIT else "**not less**"
    parts = [
        "## Start-up",
        "A process from start to end, files cached.",
        table(["command", "seconds", "/ bare Python"], rows),
        f"`upres --help` takes {seconds:.3f} s: {verdict} than the {HELP_LIMIT} s it may take.",
    ]
    return "\n\n".join(parts)


def chosen_models(paths: Sequence[str]) -> list[Model]:
    if paths:
        return [computed_in(open_model(path), "auto", BACKEND) for path in paths]
    shipped = shipped_models()
    # The default first: the start-up is timed with it.
    names = sorted(shipped, key=lambda name: name != DEFAULT_MODEL)
    return [
        computed_in(open_model(name, scale=scale), "auto", BACKEND)
        for name in names
        for scale in sorted(shipped[name])
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).with_name("RESULTS.md")
    parser.add_argument("--output", type=Path, default=default, help="the Markdown file to write")
    parser.add_argument("--quick", action="store_true", help="small and few: a smoke run")
    parser.add_argument("--rounds", type=int, help="default 7: 20 minutes for all")
    parser.add_argument(
        "--model", action="append", default=[], help="an .onnx in place of the shipped; repeatable"
    )
    arguments = parser.parse_args()
    try:
        models = chosen_models(arguments.model)
    except ModelError as error:
        parser.error(str(error))
    if not models:
        parser.error("no models are shipped yet: give one with --model")
    facts = machine_facts()  # before the run raises the load average
    quick = arguments.quick
    rounds, startups = arguments.rounds or (2 if quick else 7), 2 if quick else 5
    height, width = (180, 320) if quick else (720, 1280)
    if BACKEND.processor.bfloat16:
        models += [computed_in(m, "bf16", BACKEND) for m in models if m.card.precision == "fp32"]
    subjects = [subject(model, height, width) for model in models]

    rng = np.random.default_rng(0)
    items: dict[Hashable, Item] = {}
    peaks: dict[tuple[str, int], float] = {}
    for precision in dict.fromkeys(entry.precision for entry in subjects):
        for side in (32, 64) if quick else (128, 256, 512):
            run, peaks[precision, side] = chain(side, precision)
            items["peak", precision, side] = Item(run)
    for key, entry in enumerate(subjects):
        items |= model_items(key, entry, rng)
    times = measure(items, rounds)

    first = [m for m in models if m.card.name == models[0].card.name]
    start = max(first, key=lambda model: model.card.scale)
    with tempfile.TemporaryDirectory() as folder:
        startup = startup_section(start, Path(folder), startups)

    protocol = (
        f"Each model to an output of {width}x{height} (or the least above): the network of "
        "random values, `upres.enlarge` of the demo's photograph, resized. "
        f"{rounds} rounds ({startups} for the start-up) take each item once, in shuffled order; "
        f"an item is its mean over at least {LEAST_SECONDS} s. Seconds and GFLOP/s are medians; "
        "ratios are taken within each round, and given as median (least to most)."
    )
    title = "# Speed"
    note = ["**A smoke run (`--quick`): these figures mean nothing.**"] if quick else []
    made = "Written by `benchmarks/bench.py` (`make bench`)."
    rates = peak_rates(peaks, times)
    speed = speed_sections(subjects, rates, times)
    text = "\n\n".join([title, *note, made, machine(facts), protocol, speed, startup]) + "\n"
    arguments.output.write_text(text, encoding="utf-8")
    record = {
        "machine": facts,
        "output": [width, height],
        "models": medians(subjects, rates, times),
    }
    figures = arguments.output.with_name("speed.json")
    figures.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {arguments.output} and {figures}", file=sys.stderr)


if __name__ == "__main__":
    main()
