"""Times the shipped models in each precision on each kind of processor that this one can be, and
measures the quality that each costs: ``precisions.json`` and PRECISIONS.md.

`engine.precisions` goes by it: a test compares. A newer processor is made an older one by
``ONEDNN_MAX_CPU_ISA``, which the engine's library goes by, in a process of its own. Figures of
kinds that this machine cannot be stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from measuring import machine_facts, table
from upres.card import Model
from upres.engine.machine import ProcessorKind, this_processor
from upres.engine.openvino import OpenVINO
from upres.engine.precisions import MOST_LOST, NAMES
from upres.engine.trials import ALIKE
from upres.engine.wrappers import compile_window
from upres.evaluation.compression import Jpeg
from upres.evaluation.datasets import find_pairs, read_pair
from upres.models import INT8, open_model, shipped_models
from upres.raster.metrics import score

HERE = Path(__file__).parent
FIGURES = HERE / "precisions.json"
PAGE = HERE / "PRECISIONS.md"
VALID = HERE.parents[1] / "shared" / "data" / "train" / "valid.tar"

FORCING = "ONEDNN_MAX_CPU_ISA"

ISAS: dict[ProcessorKind, str] = {
    "avx512_vnni": "AVX512_CORE_VNNI",
    "avx512": "AVX512_CORE",
    "avx_vnni": "AVX2_VNNI",
    "avx2": "AVX2",
}
"""The older kinds that a processor can be made, and their names in that variable."""

CAN_BE: dict[ProcessorKind, tuple[ProcessorKind, ...]] = {
    "amx": ("avx512_vnni", "avx512", "avx2"),
    "avx512_bf16": ("avx512_vnni", "avx512", "avx_vnni", "avx2"),
    "avx512_vnni": ("avx512", "avx2"),
    "avx512": ("avx2",),
    "avx_vnni": ("avx2",),
}
"""That a kind has AVX-VNNI, too, is so of the newest ones only."""

MOST_LEVELS = 64
"""A mode of which a sample differs by more from float32 overflows."""

MODES = ("fp32", "bf16", "int8", "int8+bf16")
SIDES = {"fast": 200, "photo": 136, "balanced": 136, "best": 136}
"""Of the windows that are timed: just not small ones, as the engine has it."""
BORDER = 16
"""Pixels at its edges, before it is enlarged, that do not count: beyond them lies the rest of the
picture, which the network does not see."""
LR_SIDE = 120
"""Of the part of a validation picture, before it is enlarged, that is scored."""


def subjects(only: Sequence[str]) -> Iterator[tuple[str, int]]:
    for name, scales in shipped_models().items():
        for scale in sorted(scales):
            if not name.endswith(INT8) and (not only or name in only):
                yield name, scale


def in_mode(name: str, scale: int, mode: str) -> Model:
    precision, _, rest = mode.partition("+")
    model = open_model(name + INT8 if precision == "int8" else name, scale=scale)
    return replace(model, compute="bf16" if "bf16" in (precision, rest) else "fp32")


def engines(name: str, scale: int, side: int, *, ensemble: bool) -> dict[str, Callable[[Any], Any]]:
    """One for each mode that the processor has."""
    found = {}
    for mode in MODES:
        # Asked for bfloat16 where it was forced to have none, the engine may end the process.
        if "bf16" in mode and os.environ.get(FORCING, "").startswith("AVX2"):
            continue
        model = in_mode(name, scale, mode)
        if not ensemble:
            model = replace(model, card=replace(model.card, self_ensemble=False))
        if OpenVINO().can_compute(model.compute):
            found[mode] = compile_window(OpenVINO(threads=1), model, side, side)
    return found


def time_modes(name: str, scale: int, rounds: int) -> dict[str, float]:
    """Milliseconds of one processor for each mode; of a self-ensemble, the network once.

    Time of processors, and not of the clock: other programs count less. The median of the rounds,
    in which each mode is timed once.
    """
    side = SIDES.get(name, 136)
    window = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    found = engines(name, scale, side, ensemble=False)
    times: dict[str, list[float]] = {mode: [] for mode in found}
    for turn in range(rounds + 1):
        for mode, engine in found.items():
            start = time.process_time()
            engine(window)
            if turn:  # the first time is slower
                times[mode].append(time.process_time() - start)
    return {mode: float(f"{1e3 * median(own):.4g}") for mode, own in times.items()}


def lose(name: str, scale: int, pictures: int) -> dict[str, list[float]]:
    """For each mode, dB that are lost to float32 on validation pictures, by the field's protocol,
    and the largest difference of a sample, in levels.
    """
    pairs = find_pairs(VALID, scale)
    jpeg = Jpeg(40, 40) if name == "photo" else None
    found = engines(name, scale, LR_SIDE, ensemble=True)
    lost: dict[str, list[float]] = {mode: [] for mode in found}
    most = dict.fromkeys(found, 0.0)
    for pair in pairs[:: max(1, len(pairs) // pictures)][:pictures]:
        hr, lr = read_pair(pair, scale, jpeg)
        lr, hr = lr[:LR_SIDE, :LR_SIDE], hr[: LR_SIDE * scale, : LR_SIDE * scale]
        given = np.ascontiguousarray(np.moveaxis(lr, 2, 0)[None], np.float32) / np.float32(255)
        exact = None
        for mode, engine in found.items():
            result = np.moveaxis(engine(given)[0], 0, 2)
            levels = np.rint(255 * result.clip(0, 1)).astype(np.uint8)
            own = score(levels, hr, border=BORDER * scale).psnr
            exact = (own, levels) if exact is None else exact
            lost[mode].append(exact[0] - own)
            apart = np.abs(levels.astype(int) - exact[1].astype(int)).max()
            most[mode] = max(most[mode], float(apart))
    return {mode: [round(fmean(own), 4), most[mode]] for mode, own in lost.items()}


def child(only: Sequence[str], rounds: int, pictures: int) -> None:
    """Measure in this process, and print JSON."""
    result: dict[str, Any] = {}
    for name, scale in subjects(only):
        entry: dict[str, Any] = {"ms": time_modes(name, scale, rounds)}
        if pictures and VALID.exists():
            count = max(1, pictures // 4) if name == "best" else pictures
            entry["lost"] = lose(name, scale, count)
        result[f"{name} x{scale}"] = entry
        print(name, scale, entry, file=sys.stderr)
    print(json.dumps(result))


def run(kind: ProcessorKind, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", "--rounds", str(arguments.rounds)]
    command += ["--pictures", str(arguments.pictures)]
    for name in arguments.model:
        command += ["--model", name]
    own = kind == this_processor().kind
    environment = os.environ | ({} if own else {FORCING: ISAS[kind]})
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def quickest(kind: ProcessorKind, own: dict[str, Any]) -> str:
    """The mode that ``auto`` takes by these figures of a model: of those that lose little enough
    the quickest, and of those that are about as quick the most exact.
    """
    skipped = "int8" if kind == "amx" else "int8+bf16"
    fitting = [
        mode
        for mode in ("fp32", "bf16", "int8", "int8+bf16")
        if mode in own["ms"] and mode != skipped and _is_near(own["lost"].get(mode, [0.0, 0.0]))
    ]
    least = min(own["ms"][mode] for mode in fitting)
    return next(mode for mode in fitting if own["ms"][mode] <= ALIKE * least)


def _is_near(lost: Sequence[float]) -> bool:
    return lost[0] <= MOST_LOST and lost[1] <= MOST_LEVELS


def page(figures: dict[str, Any]) -> str:
    parts = [
        "# Precisions",
        "Written by `benchmarks/precisions.py`.",
        "Each shipped model in each precision: milliseconds of one processor for a window of "
        "random values, the median of rounds that take each once; in brackets the dB of PSNR "
        "that are lost to float32, on parts of validation pictures, and the largest difference of "
        "a sample in levels. `int8` leaves the first and last convolutions, and the sums, in "
        "float32, `int8+bf16` in bfloat16. **Bold** is the one that `auto` takes: the quickest "
        f"that loses at most {MOST_LOST} dB. `int8+bf16` is taken with AMX only: the results of "
        "small windows, which share what is compiled, would differ there from those of large "
        "ones in a tenth to a third of the samples.",
    ]
    for kind, entry in figures.items():
        facts = entry["machine"]
        source = f" Taken from {entry['source']}." if "source" in entry else ""
        how = f", made one by `{FORCING}={ISAS[kind]}`" if entry["forced"] else ""  # type: ignore[index]
        about = f"{facts['Processor']}{how}; {facts['Software']}; commit {facts['Commit']}, "
        about += f"{facts['Date']}, load {facts['Load average before the run']}"
        rows = []
        for label, own in entry["models"].items():
            taken = quickest(kind, own)  # type: ignore[arg-type]
            cells = []
            for mode in MODES:
                if mode not in own["ms"]:
                    cells.append("-")
                    continue
                cell = f"{own['ms'][mode]:.1f}"
                cell = f"**{cell}**" if mode == taken else cell
                if "lost" in own and mode != "fp32":
                    decibels, most = own["lost"][mode]
                    cell += f" ({decibels:+.3f}, {most:.0f})".replace("+-", "-")
                cells.append(cell)
            rows.append([label, *cells])
        parts += [f"## {NAMES[kind]}", f"{about}.{source}", table(["model", *MODES], rows)]  # type: ignore[index]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=3, help="that are scored; 0: none")
    parser.add_argument("--model", action="append", default=[], help="only this; repeatable")
    parser.add_argument("--kind", action="append", default=[], help="only this; repeatable")
    parser.add_argument("--output", type=Path, default=PAGE)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.model, arguments.rounds, arguments.pictures)
        return
    own = this_processor().kind
    kinds = [own, *CAN_BE.get(own, ())]
    store = arguments.output.with_name(FIGURES.name)
    figures: dict[str, Any] = json.loads(store.read_text("utf-8")) if store.exists() else {}
    for kind in kinds:
        if arguments.kind and kind not in arguments.kind:
            continue
        facts = machine_facts()
        entry = figures.setdefault(kind, {"models": {}})
        entry |= {"machine": facts, "forced": kind != own}
        entry["models"] |= run(kind, arguments)
        store.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    arguments.output.write_text(page(figures), "utf-8")
    print(page(figures))


if __name__ == "__main__":
    main()
