"""Times training beside torch's convolution alone, and writes it as Markdown.

Measured as ``bench.py`` measures: everything in one run, in rounds that take each item once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Hashable
from pathlib import Path
from statistics import median

import numpy as np
import pyvips
import torch
from lightning_fabric import Fabric

from measuring import LEAST_SECONDS, Item, machine, measure, ratios, spread, table
from upres.training.config import Recipe, recipe_from
from upres.training.data import load_pairs
from upres.training.loop import make_step
from upres.training.networks import build, network_multiply_adds
from upres.training.patches import Patches

BATCH, PATCH, FEATURES = 4, 64, 64

RECIPE = {
    "name": "edsr",
    "scale": 2,
    "network": {"name": "edsr", "features": FEATURES, "blocks": 16},
    "data": {"train": ["."], "valid": ["."], "licence": "", "patch": PATCH, "batch": BATCH},
    "optimiser": {"steps": 1000},
}


def convolution(*, backward: bool) -> Callable[[], object]:
    """A 3x3 convolution of training's shape; ``backward``: and both of its gradients."""
    x = torch.rand(BATCH, FEATURES, PATCH, PATCH, requires_grad=backward)
    kernel = torch.rand(FEATURES, FEATURES, 3, 3, requires_grad=backward)
    upstream = torch.rand(BATCH, FEATURES, PATCH, PATCH)

    def run() -> object:
        result = torch.nn.functional.conv2d(x, kernel, padding=1)
        return torch.autograd.grad(result, (x, kernel), upstream) if backward else result

    return run


def training_step(recipe: Recipe) -> tuple[Callable[[], object], float]:
    """Steps of the training loop, patches and all; and a step's GFLOP."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.png", "b.png"):
            picture = rng.integers(0, 256, (512, 512, 3), np.uint8)
            pyvips.Image.new_from_array(picture).pngsave(str(Path(folder) / name))
        pairs = load_pairs(["."], Path(folder), 2)
    patches = Patches(pairs, candidates=2, seed=0, device=torch.device("cpu"))
    network, average = (build(recipe.network, 2) for _ in range(2))
    optimiser = torch.optim.Adam(network.parameters())
    fabric = Fabric(accelerator="cpu", devices=1)
    step = make_step(recipe, fabric, network, average, [optimiser], None)
    gflop = 6e-9 * network_multiply_adds(network, PATCH, PATCH) * BATCH
    return lambda: step(0, *patches.sample(0, patch=PATCH, batch=BATCH)), gflop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).with_name("TRAINING.md")
    parser.add_argument("--output", type=Path, default=default, help="the Markdown file to write")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    facts = machine()  # before the run raises the load average
    step, step_gflop = training_step(recipe_from(RECIPE, "benchmark"))
    forward_gflop = 2e-9 * BATCH * PATCH**2 * FEATURES**2 * 9
    gflop: dict[Hashable, float] = {
        "convolution, forward": forward_gflop,
        "convolution, forward and backward": 3 * forward_gflop,
        "training step": step_gflop,
    }
    items: dict[Hashable, Item] = {
        "convolution, forward": Item(convolution(backward=False)),
        "convolution, forward and backward": Item(convolution(backward=True)),
        "training step": Item(step),
    }
    times = measure(items, arguments.rounds)
    rates = {key: [gflop[key] / seconds for seconds in times[key]] for key in items}
    reference = rates["convolution, forward"]
    rows = [
        [
            str(key),
            f"{gflop[key]:.1f}",
            f"{median(times[key]):.4f}",
            f"{median(rates[key]):.0f}",
            spread(ratios(rates[key], reference)),
        ]
        for key in items
    ]
    about = (
        f"EDSR with {FEATURES} features and 16 blocks at x2, batches of {BATCH} patches of "
        f"{PATCH}x{PATCH}, float32, {torch.get_num_threads()} threads. The step is that of "
        "`upres train`: patches, forward, loss, backward, Adam, average. The convolution is "
        f"one of its body's, alone. {arguments.rounds} rounds take each item once, for at least "
        f"{LEAST_SECONDS} s; seconds and GFLOP/s are medians, ratios are taken within each round."
    )
    made = "Written by `benchmarks/training.py` (`make bench`)."
    result = table(["", "GFLOP", "seconds", "GFLOP/s", "/ convolution, forward"], rows)
    text = "\n\n".join(["# Speed of training", made, facts, about, result]) + "\n"
    arguments.output.write_text(text, encoding="utf-8")
    print(f"wrote {arguments.output}", file=sys.stderr)


if __name__ == "__main__":
    main()
