"""Times `upres enlarge` from file to file beside the network alone, and writes it as Markdown.

Pictures of several sizes, JPEG and PNG, become JPEG. All that is beside each other in a row of the
table is timed in turns in one run: the library's `enlarge_file`; the network alone, on as many
windows of the same shape; decoding and encoding alone; libvips' bicubic `resize`; and, with
`--peers`, the same network in float32 in ONNX Runtime, with Pillow to read and write, as most
projects have it. Seconds of the processor are those of all its cores together: on a machine that
does other work, they say more than the clock.

The whole table takes an hour. A run has `--minutes`; rows that it has no time for are left to the
next one, which goes on: rows are kept in a file beside the page, and measured anew with `--anew`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import pyvips

import upres
from measuring import machine, table
from upres.engine.backends import default_backend
from upres.engine.wrappers import compile_window
from upres.enlarging.plan import stages
from upres.enlarging.tiles import Grid, cut_grid
from upres.enlarging.windows import STRIP_BYTES
from upres.models import Precision
from upres.raster.resize import bicubic

LIMITS = {"fast": 1.6, "balanced": 1.25}
"""How many times the network's own time a file may take."""

QUALITY = 95

Times = dict[str, tuple[list[float], list[float]]]
"""By item, seconds by the clock and of the processor, one a round."""


def write_photograph(path: Path, megapixels: float) -> tuple[int, int]:
    """Make a picture of 4 by 3 with soft shapes and a little noise; give its height and width."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = height * 4 // 3
    rng = np.random.default_rng(0)
    shapes = bicubic(rng.integers(0, 256, (48, 64, 3), np.uint8), size=(768, 1024))
    noise = rng.integers(-6, 7, shapes.shape)
    part = np.clip(shapes + noise, 0, 255).astype(np.uint8)
    tiled = np.tile(part, (-(-height // 768), -(-width // 1024), 1))[:height, :width]
    image = pyvips.Image.new_from_array(np.ascontiguousarray(tiled))
    image.write_to_file(str(path), **({"Q": 97} if path.suffix == ".jpg" else {"compression": 3}))
    return height, width


def timed(items: dict[str, Callable[[], object]], rounds: int, seconds: float) -> Times:
    """Run each once to get ready, and then once a round, in an order that changes.

    After so many ``seconds`` no round is begun but the first.
    """
    times: Times = {name: ([], []) for name in items}
    start = time.perf_counter()
    for run in items.values():
        run()
    order, shuffle = list(items), random.Random(0).shuffle
    for number in range(rounds):
        if number and time.perf_counter() - start > seconds:
            break
        shuffle(order)
        for name in order:
            time.sleep(0.05)  # threads of the item before may still be spinning
            clock, processor = time.perf_counter(), time.process_time()
            items[name]()
            times[name][0].append(time.perf_counter() - clock)
            times[name][1].append(time.process_time() - processor)
    return times


def alone(
    name: str, scale: int, precision: Precision, size: tuple[int, int]
) -> tuple[Callable[[], None], Grid, upres.Model]:
    """Runs the network, and nothing else, on the windows of a picture of that size."""
    backend = default_backend("cpu")
    (model,) = stages(name, scale, precision, backend)
    limits, halo = backend.limits(model), model.card.halo
    assert halo is not None
    grid = cut_grid(
        *size,
        halo=halo,
        max_pixels=limits.window_pixels,
        max_height=STRIP_BYTES // (4 * 3 * size[1]),
        multiple=model.card.multiple_of,
        units=limits.multiples,
    )
    engine = compile_window(backend, model, *grid.window)
    window = np.random.default_rng(0).random((1, 3, *grid.window), np.float32)

    def run() -> None:
        for _ in range(len(grid.rows) * len(grid.columns)):
            engine(window)

    return run, grid, model


def by_peers(source: Path, target: Path, grid: Grid, name: str, scale: int) -> Callable[[], None]:
    """The same network in float32 in ONNX Runtime, on the same windows, with Pillow around it."""
    import onnxruntime
    from PIL import Image

    path = str(upres.open_model(name, scale=scale).path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name

    def run() -> None:
        pixels = np.asarray(Image.open(source).convert("RGB"), np.float32) / 255
        result = np.empty((pixels.shape[0] * scale, pixels.shape[1] * scale, 3), np.uint8)
        for row in grid.rows:
            for column in grid.columns:
                window = pixels[row.start : row.stop, column.start : column.stop]
                made = session.run(None, {given: window.transpose(2, 0, 1)[None]})[0][0]
                made = (made.clip(0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)
                top, left = row.keep_start * scale, column.keep_start * scale
                bottom, right = row.keep_stop * scale, column.keep_stop * scale
                result[top:bottom, left:right] = made[
                    top - row.start * scale : bottom - row.start * scale,
                    left - column.start * scale : right - column.start * scale,
                ]
        Image.fromarray(result).save(target, quality=QUALITY, subsampling=0)

    return run


def measured(
    folder: Path, source: Path, name: str, scale: int, arguments: argparse.Namespace
) -> list[str]:
    """A row of the table."""
    image = pyvips.Image.new_from_file(str(source))
    size = (image.height, image.width)
    network, grid, _ = alone(name, scale, arguments.precision, size)
    target = folder / "out.jpg"

    def ours() -> None:
        upres.enlarge_file(
            source,
            target,
            model=name,
            scale=scale,
            precision=arguments.precision,
            quality=QUALITY,
            existing="replace",
        )

    def decode() -> None:
        pyvips.Image.new_from_file(str(source), access="sequential").avg()

    def resize(path: Path = folder / "vips.jpg") -> None:
        large = pyvips.Image.new_from_file(str(source), access="sequential").resize(
            scale, kernel="cubic"
        )
        large.jpegsave(str(path), Q=QUALITY, subsample_mode="off")

    resize(folder / "large.jpg")
    pixels = pyvips.Image.new_from_file(str(folder / "large.jpg")).copy_memory()

    def encode() -> None:
        pixels.jpegsave(str(folder / "again.jpg"), Q=QUALITY, subsample_mode="off")

    items: dict[str, Callable[[], object]] = {
        "upres": ours,
        "network": network,
        "decode": decode,
        "encode": encode,
        "vips": resize,
    }
    if arguments.peers and image.width * image.height <= arguments.peers * 1e6:
        items["peers"] = by_peers(source, folder / "peers.jpg", grid, name, scale)
    times = timed(items, arguments.rounds, arguments.seconds)

    def ratio(kind: int) -> float:
        pairs = zip(times["upres"][kind], times["network"][kind], strict=True)
        return median(whole / part for whole, part in pairs)

    def both(item: str) -> str:
        return " / ".join(f"{median(each):.2f}" for each in times[item]) if item in times else "-"

    within = "yes" if ratio(0) <= LIMITS[name] else "no"
    return [
        *(both(item) for item in ("upres", "network", "decode", "encode", "vips", "peers")),
        f"{ratio(0):.2f} / {ratio(1):.2f}",
        f"{LIMITS[name]:.2f}: {within}",
        f"{len(times['upres'][0])}",
    ]


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[6, 12, 48])
    parser.add_argument("--suffixes", nargs="+", default=["jpg", "png"])
    parser.add_argument("--models", nargs="+", default=list(LIMITS), choices=list(LIMITS))
    parser.add_argument("--scales", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30, help="of a row, about")
    parser.add_argument("--minutes", type=float, default=7, help="of a run, about")
    parser.add_argument("--anew", action="store_true")
    parser.add_argument("--peers", type=float, default=0, help="up to so many megapixels")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("END_TO_END.md"))
    arguments = parser.parse_args(given)
    kept = arguments.output.with_suffix(".json")
    about, rows = machine(), dict[str, list[str]]()
    if kept.exists() and not arguments.anew:
        rows = json.loads(kept.read_text("utf-8"))
    # The smallest first; the larger model takes some five times as long.
    wanted = sorted(
        itertools.product(
            arguments.megapixels, arguments.models, arguments.suffixes, arguments.scales
        ),
        key=lambda each: each[0] * (1 if each[1] == "fast" else 5),
    )
    end = time.perf_counter() + 60 * arguments.minutes
    rate = 0.0  # the most seconds that a row has taken for such a unit of work
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for megapixels, model, suffix, scale in wanted:
            row = f"{model} x{scale}, {suffix}, {megapixels:g} megapixels, {arguments.precision}"
            work = megapixels * (1 if model == "fast" else 5)
            start = time.perf_counter()
            if row in rows or start + rate * work > end:
                continue
            source = folder / f"in-{megapixels:g}.{suffix}"
            if not source.exists():
                write_photograph(source, megapixels)
            rows[row] = measured(folder, source, model, scale, arguments)
            rate = max(rate, (time.perf_counter() - start) / work)
            print(" | ".join([row, *rows[row]]), file=sys.stderr)
            kept.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
            arguments.output.write_text(page(about, rows), "utf-8")


def page(about: str, rows: Mapping[str, Sequence[str]]) -> str:
    """The text of the result."""
    header = (
        "what",
        "upres",
        "network alone",
        "decoding alone",
        "encoding alone",
        "`vips resize`",
        "ONNX Runtime and Pillow, fp32",
        "upres / network",
        "at most",
        "rounds",
    )
    return f"""# From file to file

Written by `benchmarks/end_to_end.py`.

{about}

A file becomes a JPEG of quality {QUALITY}. Each figure is seconds by the clock, and after the
stroke seconds of the processor, all cores together: medians of rounds, in each of which all columns
of a row are timed once, in an order that changes. The ratio is the median of those of the rounds,
and the limit is that of the clock. The network alone has as many windows of the same shape as the
file has.

{table(header, [[name, *figures] for name, figures in rows.items()])}
"""


if __name__ == "__main__":
    main()
