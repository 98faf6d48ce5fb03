"""Whether `upres.fuse` finds the kernel by which frames see the scene, and gains by it.

Writes `KERNELS.md`. Bursts are made of parts of the pictures for validation, in
`../shared/data/train/valid.tar`, by kernels that are known: MATLAB's antialiased bicubic, by which
models are trained, a box, Gaussians, and a single point. Each is fused with the kernel that is
found, and with MATLAB's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from fusion import burst, fused
from measuring import machine, table
from upres.evaluation.datasets import Rgb8
from upres.fusing import heldout
from upres.raster.metrics import score
from upres.raster.resize import cubic
from upres.training.sources import read_pictures

FARTHEST = 2.0
MODEL = "fast"
KERNELS = ("bicubic", "bicubic, turned", "box", "Gaussian 0.3", "Gaussian 0.5", "Gaussian 0.8")
KERNELS += ("point",)


def matrix(kernel: str, count: int, scale: int, shift: float) -> NDArray[np.float64]:
    """A row for each sample of a frame: the weights of the picture's, mirrored at its borders."""
    length = count * scale
    around = np.arange(-8 * scale, length + 8 * scale)
    off = (around - ((np.arange(count) + 0.5 + shift) * scale - 0.5)[:, None]) / scale
    if kernel == "bicubic":
        weights = cubic(off)
    elif kernel == "box":
        low, high = (
            np.maximum(off * scale - 0.5, -scale / 2),
            np.minimum(off * scale + 0.5, scale / 2),
        )
        weights = np.maximum(high - low, 0)
    elif kernel == "point":
        weights = cubic(off * scale)
    else:
        weights = np.exp(-0.5 * (off / float(kernel.split()[1])) ** 2)
    weights /= weights.sum(1, keepdims=True)
    places = np.mod(around, 2 * length)
    places = np.where(places < length, places, 2 * length - 1 - places)
    found = np.zeros((count, length))
    np.add.at(found, (slice(None), places), weights)
    return found


def shifted(
    picture: Rgb8, scale: int, count: int, seed: int, kernel: str, noise: float
) -> list[Rgb8]:
    """Frames that are shifted, the first one in place."""
    rng = np.random.default_rng(seed)
    sides = [side // scale for side in picture.shape[:2]]
    frames = []
    for number in range(count):
        shifts = rng.uniform(-FARTHEST, FARTHEST, 2) if number else (0.0, 0.0)
        rows, columns = (
            matrix(kernel, side, scale, shift) for side, shift in zip(sides, shifts, strict=True)
        )
        frame = np.einsum("ij,jkc,lk->ilc", rows, picture, columns, optimize=True)
        frame += rng.normal(0, noise, frame.shape)
        frames.append(np.clip(np.rint(frame), 0, 255).astype(np.uint8))
    return frames


def parts(data: Path, side: int, step: int) -> Iterator[tuple[int, Rgb8]]:
    """A part of each picture, the same in every run."""
    for number, (_, picture) in enumerate(read_pictures([data])):
        if number % step == 0:
            rng = np.random.default_rng(number)
            top, left = (rng.integers(0, length - side + 1) for length in picture.shape[:2])
            yield number, np.ascontiguousarray(picture[top : top + side, left : left + side])


def gain(frames: list[Rgb8], truth: Rgb8, scale: int) -> float | None:
    """By a narrower kernel, in dB over MATLAB's; ``None`` where none is found."""
    result, facts = fused(frames, scale, MODEL)
    if facts.kernel == 1:
        return None
    believed, heldout.BELIEVED = heldout.BELIEVED, 0.0
    plain, _ = fused(frames, scale, MODEL)
    heldout.BELIEVED = believed
    border = 2 * scale
    return score(result, truth, border=border).psnr - score(plain, truth, border=border).psnr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/train/valid.tar"))
    parser.add_argument("--scales", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--counts", nargs="+", type=int, default=[8, 16])
    parser.add_argument("--noises", nargs="+", type=float, default=[0.3, 2.0, 5.0])
    parser.add_argument("--side", type=int, default=144, help="of a part of a picture")
    parser.add_argument("--step", type=int, default=4, help="from one picture to the next")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("KERNELS.md"))
    arguments = parser.parse_args()
    about, rows = machine(), []
    given = list(parts(arguments.data, arguments.side, arguments.step))
    for scale, kernel in product(arguments.scales, KERNELS):
        for noise in arguments.noises:
            gains = []
            for count, (seed, part) in product(arguments.counts, given):
                if kernel == "bicubic, turned":
                    frames = burst(part, scale, count, seed, turned=True, noise=noise)
                else:
                    frames = shifted(part, scale, count, seed, kernel, noise)
                gains.append(gain(frames, part, scale))
            found = [each for each in gains if each is not None]
            row = [f"x{scale}, {kernel}, noise {noise:g}", str(len(gains)), str(len(found))]
            row += [f"{fmean(found):+.2f}", f"{min(found):+.2f}"] if found else ["", ""]
            print(row, flush=True)
            rows.append(row)
    head = ["burst", "bursts", "narrower", "mean gain", "least gain"]
    text = f"""# Kernels of frames

Written by `benchmarks/kernels.py`.

{about}

Bursts of {" and ".join(map(str, arguments.counts))} frames, of parts of {len(given)} pictures of \
`valid.tar`, made by known kernels. The widths of Gaussians are in samples of a frame, and noise \
is in levels. "Narrower" counts the bursts in which `upres.fuse` believes a kernel that is \
narrower than MATLAB's. The gain is that of these, in dB over MATLAB's kernel, by `{MODEL}`. In \
all others the result is that by MATLAB's.

{table(head, rows)}
"""
    arguments.output.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
