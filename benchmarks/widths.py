"""Times the engine at many widths of a window, and writes the result as Markdown.

`engine.openvino.AMX_WIDTH` and `tiles.cut_grid` go by it.
"""

from __future__ import annotations

import argparse
from collections.abc import Hashable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from measuring import Item, machine, measure, spread, table
from upres.engine.openvino import AMX_WIDTH, OpenVINO
from upres.engine.wrappers import compile_window
from upres.models import INT8, Precision, computed_in, open_model

HEIGHT = 240
WIDTHS = range(352, 433)
SUBJECTS: tuple[tuple[str, Precision], ...] = (
    ("fast", "int8"),
    ("balanced", "int8"),
    ("balanced", "bf16"),
)
SLOW = 1.3
"""Widths that take this many times as long are named."""


def kind(width: int) -> str:
    if width % AMX_WIDTH == 0:
        return f"multiples of {AMX_WIDTH}"
    return "odd" if width % 2 else "other even ones"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("WIDTHS.md"))
    arguments = parser.parse_args()
    about = machine()
    backend = OpenVINO()
    rows, slow = [], []
    for name, precision in SUBJECTS:
        if precision == "bf16" and not backend.processor.bfloat16:
            continue
        model = open_model(name + (INT8 if precision == "int8" else ""), scale=arguments.scale)
        model = computed_in(model, precision, backend)
        items: dict[Hashable, Item] = {}
        for width in WIDTHS:
            engine = compile_window(backend, model, HEIGHT, width)
            items[width] = Item(partial(engine, np.zeros((1, 3, HEIGHT, width), np.float32)))
        times = measure(items, arguments.rounds)
        # Seconds a pixel, over the round's own at widths that suit.
        pixel = {width: [seconds / width for seconds in times[width]] for width in WIDTHS}
        suiting = [pixel[width] for width in WIDTHS if width % AMX_WIDTH == 0]
        base = [median(in_round) for in_round in zip(*suiting, strict=True)]
        over = {
            width: median([own / b for own, b in zip(seconds, base, strict=True)])
            for width, seconds in pixel.items()
        }
        label = f"{name} x{arguments.scale}, {precision}"
        by_kind: dict[str, list[float]] = {}
        for width, ratio in over.items():
            by_kind.setdefault(kind(width), []).append(ratio)
        rows.append([label, *(spread(by_kind[each]) for each in dict.fromkeys(map(kind, WIDTHS)))])
        named = ", ".join(f"{width} ({over[width]:.1f})" for width in WIDTHS if over[width] > SLOW)
        slow.append(f"- {label}: {named or 'none'}")
    text = f"""# Widths

Written by `benchmarks/widths.py`.

{about}

One window of {HEIGHT} rows and each width from {WIDTHS[0]} to {WIDTHS[-1]}: the engine's time \
for a pixel, over its median at widths that are multiples of {AMX_WIDTH}; {arguments.rounds} \
rounds take each width once, in shuffled order, and ratios are taken within each. Median (least \
to most) of the widths.

{table(["model", *dict.fromkeys(map(kind, WIDTHS))], rows)}

Widths that take more than {SLOW} times as long:

{chr(10).join(slow)}
"""
    arguments.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
