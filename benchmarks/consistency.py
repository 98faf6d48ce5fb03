"""Measures `consistent=True` on benchmark sets, and writes the result as Markdown.

`docs/faithfulness.md` goes by it. The sets lie in `../shared/data/bench`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

import upres
from measuring import machine, table
from upres.evaluation.compression import Jpeg
from upres.evaluation.datasets import Rgb8, find_pairs, read_pair
from upres.raster.metrics import lr_consistency, score

SETS = ("Set5", "Set14", "B100")
JPEG_QUALITY, JPEG_MODELS = 60, (("photo", 2), ("photo", 4))
TYPES = ("uint8", "uint16", "float32")


@dataclass
class Both:
    """A picture as it is, and made consistent."""

    name: str
    psnr: tuple[float, float]
    evaluated: tuple[float, float]
    """By `lr_consistency`."""
    agreement: tuple[float, float]
    seconds: tuple[float, float]
    by_type: tuple[float, ...] = ()
    """The agreement of consistent results of `TYPES`."""


def measured(name: str, lr: Rgb8, hr: Rgb8, model: upres.Model, *, types: bool, turn: int) -> Both:
    scale = model.card.scale
    # Compiles the engine for this size, and lets memory settle.
    made = [upres.enlarge(lr, model=model, consistent=flag) for flag in (False, True)]
    seconds = [0.0, 0.0]
    for flag in (False, True) if turn % 2 else (True, False):
        start = time.perf_counter()
        upres.enlarge(lr, model=model, consistent=flag)
        seconds[flag] = time.perf_counter() - start
    by_type = []
    for dtype in map(np.dtype, TYPES if types else ()):
        most = 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)
        given = (lr * (most / 255)).astype(dtype)
        result = upres.enlarge(given, model=model, consistent=True)
        by_type.append(upres.agreement(result, given))
    plain, consistent = made
    return Both(
        name,
        (score(plain, hr, border=scale).psnr, score(consistent, hr, border=scale).psnr),
        (lr_consistency(plain, lr), lr_consistency(consistent, lr)),
        (upres.agreement(plain, lr), upres.agreement(consistent, lr)),
        (seconds[0], seconds[1]),
        tuple(by_type),
    )


def row(label: str, results: Sequence[Both]) -> list[str]:
    gains = [both.psnr[1] - both.psnr[0] for both in results]
    cells = [label]
    for after in (0, 1):
        cells.append(f"{min(both.evaluated[after] for both in results):.1f}")
        cells.append(f"{min(both.agreement[after] for both in results):.1f}")
        cells.append(f"{fmean(both.agreement[after] for both in results):.1f}")
    cells.append(f"{fmean(gains):+.3f} ({min(gains):+.3f})")
    before, after_ = (sum(both.seconds[i] for both in results) for i in (0, 1))
    cells.append(f"{after_ / before:.2f}")
    return cells


def type_row(label: str, results: Sequence[Both]) -> list[str]:
    columns = list(zip(*(both.by_type for both in results), strict=True))
    return [label, *(f"{min(each):.1f} / {fmean(each):.1f}" for each in columns)]


def jpeg_row(data: Path, name: str, scale: int) -> list[str]:
    """The gain of PSNR on Set14, where the LR pictures have been through JPEG."""
    model = upres.open_model(name, scale=scale)
    gains = []
    for pair in find_pairs(data / "Set14", scale):
        hr, lr = read_pair(pair, scale, Jpeg(JPEG_QUALITY, JPEG_QUALITY))
        plain, forced = (
            score(upres.enlarge(lr, model=model, consistent=asked), hr, border=scale).psnr
            for asked in (False, "force")
        )
        gains.append(forced - plain)
    return [f"{name} x{scale}", f"{fmean(gains):+.2f} ({min(gains):+.2f} to {max(gains):+.2f})"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/bench"))
    parser.add_argument("--models", nargs="+", default=["balanced", "balanced-int8", "fast-int8"])
    parser.add_argument("--scales", nargs="+", type=int, default=[2, 3, 4])
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("CONSISTENCY.md"))
    arguments = parser.parse_args()
    about = machine()
    rows, types, worst = [], [], []
    for name in arguments.models:
        for scale in arguments.scales:
            model = upres.open_model(name, scale=scale)
            for chosen in arguments.sets:
                results = []
                for turn, pair in enumerate(find_pairs(arguments.data / chosen, scale)):
                    hr, lr = read_pair(pair, scale)
                    # One set is enough to tell how types differ.
                    types_too = chosen == "Set14"
                    results.append(measured(pair.name, lr, hr, model, types=types_too, turn=turn))
                label = f"{name} x{scale}, {chosen}"
                rows.append(row(label, results))
                if results[0].by_type:
                    types.append(type_row(label, results))
                least = min(results, key=lambda both: both.evaluated[1])
                worst.append(f"- {label}: {least.name}, {least.evaluated[1]:.1f} dB")
                print(rows[-1], worst[-1], flush=True)
    head = ["model and set", "as it is: worst by evaluate", "worst", "mean"]
    head += ["consistent: worst by evaluate", "worst", "mean", "PSNR (worst)", "time"]
    text = f"""# Agreement with the input

Written by `benchmarks/consistency.py`.

{about}

Each picture of a set is enlarged as it is and with `consistent=True`. Both results, 8-bit RGB, \
are reduced again and compared with the LR picture, in dB. "Worst by evaluate" is the picture with \
the least LR-consistency, as `upres evaluate` has it: of luma, rounded, the outermost pixel left \
out. The other figures are `upres.agreement`: of all channels and pixels, not rounded. PSNR is the \
gain against HR by the field's protocol: its mean, and that of the picture that lost most. Time is \
with over without: the sums over a set, each picture enlarged once more both ways, the order \
changing from one to the next. Where the machine does other work, as the load tells, times are \
rough, most so of Set5.

{table(head, rows)}

The pictures that agree least, by evaluate's figure:

{chr(10).join(worst)}

## By type of samples

`upres.agreement` of consistent results in the type that the LR picture was given as, worst / mean:

{table(["model and set", *TYPES], types)}

## Compressed JPEG

The gain of PSNR by `consistent="force"` on Set14, its LR pictures through JPEG of quality \
{JPEG_QUALITY}: mean (least to most).

{table(["model", "gain"], [jpeg_row(arguments.data, *each) for each in JPEG_MODELS])}
"""
    arguments.output.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
