"""Compares upres with models of others: an .onnx, or a checkpoint that spandrel loads.

    python benchmarks/others.py span-x2.pth rlfn-x4.onnx --data ../shared/data/bench/Set5

In one run, to an output of 1280x720: seconds by the same engine and by PyTorch, the share of the
processor's peak, and PSNR on sets that are given by ``--data``, by the field's protocol. It writes
OTHERS.md and ``others.json``, whose figures ``results.py`` puts on its page. ``--untrained`` makes
networks by spandrel with random weights: their seconds are right, and they have no PSNR.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import sys
import tempfile
import types
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import upres
from bench import (
    BACKEND,
    PHOTOGRAPH,
    Subject,
    chain,
    limits,
    network_run,
    peak_rates,
    subject,
    torch_twin,
)
from measuring import Item, machine, machine_facts, measure, ratios, table
from upres.card import Model
from upres.errors import ModelError, UpresError
from upres.evaluation.benchmark import evaluate
from upres.evaluation.tables import short_number
from upres.formats.image.vips import read_rgb8
from upres.models import computed_in, open_at, open_model, shipped_models
from upres.raster.resize import bicubic

HERE = Path(__file__).parent
FIGURES = HERE / "others.json"
PAGE = HERE / "OTHERS.md"

CHECKPOINTS = (".pth", ".pt", ".safetensors", ".ckpt")
OURS = ("fast", "balanced")
PEAK_SIDE = 256

UNTRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    "compact": ("Compact", {"num_feat": 64, "num_conv": 16}),
    "compact-small": ("Compact", {"num_feat": 32, "num_conv": 8}),
    "span": ("SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 48}),
}
"""Networks of spandrel's, and their parameters but the scale."""


@dataclass(frozen=True)
class Entry:
    """A model in the comparison."""

    label: str
    model: Model
    subject: Subject
    torch: Callable[[Any], object] | None
    """The same network in PyTorch, if it is at hand."""
    ours: bool
    trained: bool = True


def import_spandrel() -> None:
    """Import spandrel, also without torchvision: of that, networks that are not run here need three
    names. Where spandrel is not there, whoever needs it says so.
    """
    if "spandrel" in sys.modules:
        return
    functional = types.ModuleType("torchvision.transforms.functional")
    for name in ("InterpolationMode", "rotate", "normalize"):
        setattr(functional, name, None)
    added = {name: types.ModuleType(name) for name in ("torchvision", "torchvision.transforms")}
    added[functional.__name__] = functional
    if importlib.util.find_spec("torchvision") is not None:
        added = {}
    sys.modules.update(added)
    with contextlib.suppress(ImportError):
        importlib.import_module("spandrel")
    for name in added:
        del sys.modules[name]


def untrained(name: str, scale: int, folder: Path) -> Path:
    """A checkpoint of a network with random weights; its name says so."""
    import_spandrel()
    import torch

    kind, parameters = UNTRAINED[name]
    made = importlib.import_module(f"spandrel.architectures.{kind}")
    torch.manual_seed(0)
    network = getattr(made, kind)(**parameters, upscale=scale)
    path = folder / f"{name}-untrained-x{scale}.pth"
    torch.save(network.state_dict(), path)
    return path


def opened(text: str, folder: Path) -> tuple[Model, Callable[[Any], object] | None]:
    """The model of a file of others, and its network in PyTorch if that is at hand.

    Raises ``UpresError`` if it is none.
    """
    path = Path(text)
    if path.suffix.lower() == ".onnx":
        return open_model(path), None
    if path.suffix.lower() not in CHECKPOINTS:
        known = ", ".join((".onnx", *CHECKPOINTS))
        raise ModelError(f"{text}: not a model by its name: give a file that ends in {known}")
    import_spandrel()
    import torch

    from upres.training.community import convert, recognised_network

    target = folder / f"{path.stem}.onnx"
    convert(path, target)
    network = recognised_network(path).float().eval().model

    def run(window: Any) -> object:
        with torch.inference_mode():
            return network(torch.from_numpy(window))

    return open_model(target), run


def our_models(scales: Sequence[int]) -> Iterator[Model]:
    """Shipped models of these scales, as ``auto`` takes them and in float32."""
    for scale in scales:
        for name in OURS:
            if scale in shipped_models()[name]:
                taken = open_at(name, scale, "auto", BACKEND)
                exact = open_at(name, scale, "fp32", BACKEND)
                yield from (taken, exact) if taken != exact else (exact,)


def psnr_of(entries: Sequence[Entry], sets: Sequence[Path]) -> dict[int, dict[str, float]]:
    """By an entry's place and a set's name; bicubic's stand at -1."""
    found: dict[int, dict[str, float]] = {}
    for scale in {entry.model.card.scale for entry in entries}:
        places = [
            place
            for place, entry in enumerate(entries)
            if entry.model.card.scale == scale and entry.trained
        ]
        if not places or not sets:
            continue
        # Each of its own, as a model may be there in two precisions.
        for place in places:
            evaluation = evaluate([entries[place].model], sets)
            for result in evaluation.sets:
                baseline, own = (method.means.psnr for method in result.methods)
                found.setdefault(place, {})[result.dataset] = round(own, 3)
                found.setdefault(-scale, {})[result.dataset] = round(baseline, 3)
    return found


def figures_of(
    entries: Sequence[Entry], times: Any, peaks: Any, psnr: dict[int, dict[str, float]]
) -> list[dict[str, Any]]:
    """An entry of the JSON file for each model."""
    best = limits(peak_rates(peaks, times))
    found = []
    for place, entry in enumerate(entries):
        card, seconds = entry.model.card, times["network", place]
        reached = [entry.subject.gflop / each for each in seconds]
        twin = times.get(("torch", place))
        found.append(
            {
                "name": entry.label,
                "scale": card.scale,
                "ours": entry.ours,
                "trained": entry.trained,
                "network": card.network,
                "parameters": card.parameter_count,
                "mode": entry.model.mode,
                "gflop": round(entry.subject.gflop, 2),
                "network_seconds": float(f"{median(seconds):.4g}"),
                "enlarge_seconds": float(f"{median(times['enlarge', place]):.4g}"),
                "torch_seconds": float(f"{median(twin):.4g}") if twin else None,
                "share_of_peak": round(median(ratios(reached, best[entry.subject.precision])), 3),
                "psnr": psnr.get(place, {}),
            }
        )
    return found


def page(facts: dict[str, str], found: Sequence[dict[str, Any]], psnr: Any, note: str) -> str:
    sets = list(dict.fromkeys(name for own in psnr.values() for name in own))
    header = ["model", "network", "parameters", "GFLOP", "precision", "enlarge, s", "network, s"]
    header += ["share of the peak", "PyTorch, s", *(f"{name}, dB" for name in sets)]
    parts = ["# upres and others", "Written by `benchmarks/others.py`.", machine(facts), note]
    for scale in sorted({own["scale"] for own in found}):
        rows = []
        for own in sorted(found, key=lambda own: float(own["enlarge_seconds"])):
            if own["scale"] != scale:
                continue
            name = f"**`{own['name']}`**" if own["ours"] else own["name"]
            twin = own["torch_seconds"]
            row = [name, own["network"], short_number(own["parameters"]), f"{own['gflop']:.1f}"]
            row += [own["mode"], f"{own['enlarge_seconds']:.3f}", f"{own['network_seconds']:.3f}"]
            row += [f"{own['share_of_peak']:.2f}", "-" if twin is None else f"{twin:.3f}"]
            rows.append([*row, *(_decibels(own["psnr"].get(name)) for name in sets)])
        plain = psnr.get(-scale, {})
        if plain:
            blank = ["-"] * (len(header) - 2 - len(sets))
            rows.append(["bicubic", "-", *blank, *(_decibels(plain.get(name)) for name in sets)])
        parts += [f"## x{scale}", table(header, rows)]
    return "\n\n".join(parts) + "\n"


def _decibels(psnr: float | None) -> str:
    return "-" if psnr is None else f"{psnr:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help=".onnx, .pth or .safetensors")
    parser.add_argument(
        "--untrained", action="append", default=[], choices=sorted(UNTRAINED), help="repeatable"
    )
    parser.add_argument("--scale", type=int, default=2, help="of the untrained ones")
    parser.add_argument("--data", action="append", type=Path, default=[], help="a set; repeatable")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-torch", action="store_true", help="leave PyTorch's seconds out")
    parser.add_argument("--quick", action="store_true", help="small and few: a smoke run")
    parser.add_argument("--output", type=Path, default=PAGE, help="the Markdown file to write")
    arguments = parser.parse_args()
    if not arguments.models and not arguments.untrained:
        parser.error("name models of others, or make one with --untrained")
    try:
        with tempfile.TemporaryDirectory() as folder:
            compare(arguments, Path(folder))
    except UpresError as error:
        sys.exit(f"others.py: {error}")


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    facts = machine_facts()  # before the run raises the load average
    made = [str(untrained(name, arguments.scale, folder)) for name in arguments.untrained]
    height, width = (180, 320) if arguments.quick else (720, 1280)
    rounds = 1 if arguments.quick else arguments.rounds
    entries: list[Entry] = []
    for text in [*arguments.models, *made]:
        model, twin = opened(text, folder)
        model = computed_in(model, "auto", BACKEND)
        size = subject(model, height, width)
        label = Path(text).stem.removesuffix(f"-x{model.card.scale}")
        entries.append(Entry(label, model, size, twin, ours=False, trained=text not in made))
    scales = list(dict.fromkeys(entry.model.card.scale for entry in entries))
    for model in our_models(scales):
        size = subject(model, height, width)
        entries.append(Entry(model.card.name, model, size, torch_twin(model), ours=True))

    psnr = psnr_of(entries, arguments.data)
    items: dict[Hashable, Item] = {}
    peaks: dict[tuple[str, int], float] = {}
    side = 64 if arguments.quick else PEAK_SIDE
    for precision in dict.fromkeys(entry.subject.precision for entry in entries):
        run, peaks[precision, side] = chain(side, precision)
        items["peak", precision, side] = Item(run)
    rng = np.random.default_rng(0)
    for place, entry in enumerate(entries):
        size, card = entry.subject, entry.model.card
        noise = rng.random((1, card.channels, size.height, size.width), np.float32)
        picture = bicubic(read_rgb8(PHOTOGRAPH), size=(size.height, size.width))
        enlarge = partial(upres.enlarge, picture, model=entry.model)
        items["network", place] = Item(network_run(entry.model, noise))
        # Once before, untimed: the engine keeps few compiled models.
        items["enlarge", place] = Item(enlarge, enlarge)
        if entry.torch is not None and entry.subject.precision == "fp32" and not arguments.no_torch:
            items["torch", place] = Item(partial(entry.torch, noise))
    times = measure(items, rounds)

    found = figures_of(entries, times, peaks, psnr)
    note = (
        f"Each model to an output of {width}x{height} (or the least above). Enlarge: "
        "`upres.enlarge` of the demo's photograph, 8-bit array in and out, the model compiled "
        "before, by OpenVINO. Network: the network alone, of random values. PyTorch: the same in "
        "float32, not compiled. The share is that of the best that OpenVINO reaches in the same "
        "precision for sixteen 3x3 convolutions of 64 channels in a row. "
        f"{rounds} rounds take each item once, in shuffled order; medians. PSNR by the field's "
        "protocol. `untrained` is a network with random weights: its seconds are right, and it "
        "has no PSNR. `-` is not measured."
    )
    text = page(facts, found, psnr, note)
    arguments.output.write_text(text, "utf-8")
    output = {"machine": facts, "output": [width, height], "models": found}
    store = arguments.output.with_name(FIGURES.name)
    store.write_text(json.dumps(output, indent=1) + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
