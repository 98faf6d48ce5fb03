"""An attempt at learned fusion, which `upres.fuse` does not keep: its training, and its score.

A residual network finds what is wrong with the merged picture. It works at the frames' resolution,
and sees for each of their samples those of the merged picture there, by how much the mean of the
networks' results differs from them, how far that mean is trusted, and the noise. It gives the
residual, and so starts as the merged picture itself. `fast` enlarges the frames beforehand, and its
blocks are at first those of `balanced`: together they take no more time than `upres.fuse` by
`balanced`, which it is measured beside. DBSR merges features (Bhat, Danelljan, Van Gool and
Timofte, "Deep burst super-resolution", CVPR 2021). Here samples are merged, so that registration
and merging need no training.

    python benchmarks/learned_fusion.py make --minutes 20    # bursts of the training pictures
    python benchmarks/learned_fusion.py train --minutes 45   # on one core
    python benchmarks/learned_fusion.py measure              # on Set5 and a part of B100
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fusion import MODEL, SERIES, burst, fused, pictures
from measuring import table
from upres.card import Model, ModelCard
from upres.engine.backends import default_backend
from upres.engine.protocol import Engine
from upres.enlarging.options import Options
from upres.enlarging.pipeline import enlarge_frame
from upres.fusing.choosing import choose
from upres.fusing.frames import BurstFrame, Given, read_frames, shared_info
from upres.fusing.gathering import add_frame, no_sums
from upres.fusing.merging import curvature_of, expected, merged
from upres.fusing.request import fusing_plan
from upres.fusing.seeing import tiles_of
from upres.raster.arrays import ArraySource
from upres.raster.metrics import score
from upres.raster.pixels import Float32Array, luma
from upres.raster.resize import bicubic
from upres.raster.spool import Spool
from upres.training.export import load_network
from upres.training.graph import onnx_graph
from upres.training.losses import mixture
from upres.training.networks.parts import fast_in_bfloat16, luma_of
from upres.training.networks.plain import Plain
from upres.training.optimisers import Muon
from upres.training.sources import read_pictures

START, FRAMES = "fast", 8
"""The model that enlarges frames for the network, and how many there are: in half of the bursts for
training. The others have 2 to 16."""

SIDE = 64
"""Of a training burst's frames."""

Frames = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class Merged:
    """The merged picture of a burst, and how far it may be wrong: planes at the result's size."""

    picture: Float32Array
    """3 x rows x columns, from 0 to 1."""
    off: Float32Array
    """Rows x columns: luma of the networks' mean less that of the picture."""
    wrong: Float32Array
    """t of ``upres.fusing.merging``, the mean of the bands."""
    noise: float


def merge(frames: Frames, scale: int, model: str, threads: int | None = None) -> Merged:
    """Fuse as ``upres.fuse`` does, in one tile, and keep what the result is made of."""
    backend = default_backend(threads=threads)
    given = [Given(str(n), ArraySource(frame), 0) for n, frame in enumerate(frames)]
    plan = fusing_plan(given, 0, Options(model=model, scale=scale), backend)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()), "array")
        info, reasons = shared_info(given, 0, folder)
        first, *others = (f for f in read_frames(given, 0, reasons, info, stack, folder) if f)
        bands = (0, 1, 2)
        size = (first.info.height * scale, first.info.width * scale)

        def enlarged(frame: BurstFrame) -> Spool:
            shape = (*size, 3)
            spool = stack.enter_context(
                Spool(folder, shape, np.dtype(np.float32), memory_bytes=2**30)
            )
            rows = frame.spool.blocks()
            args = (frame.info, plan.models, size, backend)
            for top, left, block in enlarge_frame(rows, *args, beside=folder):
                spool.write(top, left, block)
            return spool

        for frame in (first, *others):
            frame.bands = bands
        pool = stack.enter_context(ThreadPoolExecutor(threads or 2))
        large = enlarged(first)
        used, _, noise = choose(first, others, large, scale, bands, pool)
        (tile,) = tiles_of(first.size, scale, max(first.size))
        sums, single = no_sums(tile, 3), tile.of(large)
        for frame in used:
            add_frame(sums, tile, frame, enlarged(frame), single, bands, first.size)
        bound = curvature_of([first, *used], scale)
        result = np.moveaxis(merged(tile, [first, *used], bound, single, sums, bands, noise), 2, 0)
        planes = [expected(tile, sums, n, bound, float(noise[n])) for n in range(3)]
        mean = np.moveaxis(single, 2, 0) + np.stack([off for off, _ in planes])
        wrong = np.mean([wrong for _, wrong in planes], 0)
    return Merged(result, luma(mean - result), wrong, float(noise.mean()))


class Refiner(nn.Module):
    """The residual of a merged picture, by a trunk that works at the frames' resolution."""

    def __init__(self, scale: int, trunk: Plain) -> None:
        super().__init__()
        self.scale, count = scale, scale**2
        features = trunk.head.out_channels
        # The picture's luma, the mean's offset, its trust: each of a sample's own; two of colour
        # at half the result's resolution, and the noise.
        self.planes = 3 * count + 2 * max(1, count // 4) + 1
        self.head = nn.Conv2d(self.planes, features, 3, padding=1)
        self.body = trunk.body
        self.tail = nn.Conv2d(features, 3 * count, 3, padding=1)
        with torch.no_grad():
            # The trunk starts with the features of the picture, reduced, that it knows.
            self.head.weight *= 0.1
            self.head.weight[:, :count] = trunk.head.weight.sum(1, keepdim=True) / count
            self.head.bias.copy_(trunk.head.bias)
            self.tail.weight.zero_()
            self.tail.bias.zero_()

    def planes_of(self, picture: Tensor, off: Tensor, wrong: Tensor, noise: Tensor) -> Tensor:
        """All that it is given, at the frames' resolution."""
        scale = self.scale
        y = luma_of(picture)
        colours = F.avg_pool2d(picture[:, ::2] - y, 2 if scale == 4 else scale)
        small = 2 if scale == 4 else 1
        own = [F.pixel_unshuffle(x, scale) for x in (y, 16 * off, torch.log2(64 * wrong))]
        own.append(F.pixel_unshuffle(2 * colours, small))
        own.append((50 * noise)[:, None, None, None].expand(-1, 1, *own[0].shape[2:]))
        return torch.cat(own, 1)

    def forward(self, picture: Tensor, off: Tensor, wrong: Tensor, noise: Tensor) -> Tensor:
        scale = self.scale
        features = self.body(self.head(self.planes_of(picture, off, wrong, noise)))
        with torch.autocast("cpu", enabled=False):
            return picture + F.pixel_shuffle(self.tail(features.float()), scale)


def made(
    picture: NDArray[np.uint8], scale: int, seed: int, side: int, *, varied: bool
) -> tuple[Merged, NDArray[np.uint8]]:
    """A part of a picture, and its burst, merged: noise of 1 to 6 levels; half are turned, too."""
    rng = np.random.default_rng(seed)
    factor = rng.choice([1.0, 0.75, 0.5])
    if factor < 1:
        picture = bicubic(picture, scale=factor)
    side = min(side * scale, *picture.shape[:2]) // scale * scale
    top, left = (rng.integers(0, length - side + 1) for length in picture.shape[:2])
    part = np.ascontiguousarray(picture[top : top + side, left : left + side])
    noise, turned = rng.uniform(0.5, 6), bool(rng.integers(2))
    count = int(rng.integers(2, 17)) if varied and rng.integers(2) else FRAMES
    frames = burst(part, scale, count, seed, turned=turned, noise=noise)
    return merge(frames, scale, START, threads=1), part


def make(arguments: argparse.Namespace) -> None:
    """Write bursts, a file each: `valid-*` of the pictures for validation, and then `train-*`."""
    folder, data, scale = arguments.runs, arguments.train, arguments.scale
    folder.mkdir(parents=True, exist_ok=True)
    shards = [data / f"train-{n}.tar" for n in range(4)]
    sources = {
        "valid": [p for _, p in read_pictures([data / "valid.tar"])],
        "train": [p for _, p in read_pictures(shards)],
    }
    stop = time.monotonic() + 60 * arguments.minutes
    for name, found in sources.items():
        order = np.random.default_rng(1).permutation(len(found)).tolist()
        for turn in range(1 if name == "valid" else 100):
            for number in order:
                if time.monotonic() > stop:
                    return
                seed = turn * 10_000 + number + (5_000 if name == "valid" else 0)
                path = folder / f"{name}-{seed}.npz"
                if path.exists():
                    continue
                parts, part = made(found[number], scale, seed, SIDE, varied=name == "train")
                half = {
                    k: getattr(parts, k).astype(np.float16) for k in ("picture", "off", "wrong")
                }
                unfinished = path.with_suffix(".part")
                with unfinished.open("wb") as file:
                    np.savez(file, **half, noise=parts.noise, part=part)
                unfinished.rename(path)


def loaded(path: Path) -> list[Tensor]:
    """Picture, offset, trust and noise, and the picture that is sought."""
    with np.load(path) as kept:
        planes = [kept["picture"], kept["off"][None], kept["wrong"][None]]
        target = np.moveaxis(kept["part"], 2, 0)
        noise = torch.tensor([float(kept["noise"])])
        inputs = [torch.from_numpy(plane.astype(np.float32)) for plane in planes]
    return [*inputs, noise, torch.from_numpy(target.astype(np.float32)) / 255]


def batch(paths: Sequence[Path], scale: int, patch: int, count: int, rng) -> list[Tensor]:
    found = []
    for path in rng.choice(len(paths), count):
        *planes, noise, target = loaded(paths[path])
        side = patch * scale
        top, left = (
            int(rng.integers(0, (n - side) // scale + 1)) * scale for n in target.shape[1:]
        )
        parts = [x[:, top : top + side, left : left + side] for x in (*planes, target)]
        if rng.integers(2):
            parts = [x.transpose(1, 2) for x in parts]
        flips = [axis for axis in (1, 2) if rng.integers(2)]
        *planes, target = (x.flip(flips) for x in parts)
        found.append([*planes, noise[0], target])
    return [torch.stack(each) for each in zip(*found, strict=True)]


def validated(network: Refiner, paths: Sequence[Path]) -> tuple[float, float]:
    """Mean PSNR of luma on bursts that are kept apart: of the merged pictures, and by it."""
    before, after = [], []
    for path in paths:
        *inputs, target = (x[None] for x in loaded(path))
        with torch.no_grad():
            result = network(*inputs[:3], inputs[3][:, 0])
        for picture, found in ((inputs[0], before), (result.clamp(0, 1), after)):
            error = luma_of(picture - target)[:, :, 8:-8, 8:-8].square().mean() * (219 / 255) ** 2
            found.append(-10 * float(error.log10()))
    return fmean(before), fmean(after)


def started(scale: int, trunk: str) -> Refiner:
    plain, _ = load_network(Path(f"src/upres/models/{trunk}-x{scale}.onnx"))
    assert isinstance(plain, Plain)
    return Refiner(scale, plain)


def train(arguments: argparse.Namespace) -> None:
    """For so many minutes of wall time; the rate falls to zero with the time that is left."""
    torch.manual_seed(0)
    scale, rng = arguments.scale, np.random.default_rng(0)
    network = started(scale, arguments.trunk).to(memory_format=torch.channels_last)
    averaged = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998)
    )
    kernels = [p for p in network.body.parameters() if p.ndim == 4]
    known = {id(p) for p in kernels}
    rest = [p for p in network.parameters() if id(p) not in known]
    fast = fast_in_bfloat16(torch.device("cpu"))
    optimisers = [Muon(kernels, lr=0, bfloat16=fast), torch.optim.Adam(rest, lr=0)]
    loss, start, step = mixture({"l1": 0.2, "luma_rmse": 1.0}), time.monotonic(), 0
    valid = sorted(arguments.runs.glob("valid-*.npz"))
    reports = [0.05, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0]
    while True:
        share = (time.monotonic() - start) / (60 * arguments.minutes)
        if share >= reports[0]:
            reports = [r for r in reports if r > share]
            scores = validated(averaged.module, valid)
            line = f"step {step}: merged {scores[0]:.3f} dB, network {scores[1]:.3f}"
            print(line, flush=True)
            torch.save(averaged.module.state_dict(), arguments.runs / f"{arguments.trunk}.pt")
            if not reports:
                return
        if step % 200 == 0:
            paths = sorted(arguments.runs.glob("train-*.npz"))
        rate = min(1, (step + 1) / 200) * 0.5 * (1 + np.cos(np.pi * min(1.0, share)))
        for optimiser, peak in zip(optimisers, (5e-4, 5e-4), strict=True):
            optimiser.param_groups[0]["lr"] = peak * rate
        *inputs, noise, target = batch(paths, scale, arguments.patch, 4, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            found = network(*inputs, noise)
        value = loss(found, target)
        network.zero_grad()
        value.backward()
        for optimiser in optimisers:
            optimiser.step()
        averaged.update_parameters(network)
        step += 1


class Exported(nn.Module):
    """The same for an engine: planes at the frames' resolution, as many as it gives."""

    def __init__(self, refiner: Refiner) -> None:
        super().__init__()
        self.head, self.body, self.tail = refiner.head, refiner.body, refiner.tail
        self.more = refiner.planes - refiner.tail.out_channels

    def forward(self, planes: Tensor) -> Tensor:
        residual = self.tail(self.body(self.head(planes)))
        return torch.cat([residual, torch.zeros_like(planes[:, : self.more])], 1)


def engine_of(network: Refiner, path: Path, height: int, width: int) -> Engine:
    """An engine in float32 for frames of that size."""
    graph = onnx_graph(Exported(network).eval(), channels=network.planes, multiple_of=1)
    path.write_bytes(graph.SerializeToString())
    card = ModelCard(name=path.stem, scale=1, halo=34, channels=network.planes)
    return default_backend().open(Model(path, card)).compile(height, width)


def refined(network: Refiner, engine: Engine, parts: Merged) -> NDArray[np.uint8]:
    """The merged picture with the residual that an engine finds, in 8 bits."""
    planes = [torch.from_numpy(x) for x in (parts.picture, parts.off[None], parts.wrong[None])]
    given = network.planes_of(*(x[None] for x in planes), torch.tensor([parts.noise]))
    found = torch.from_numpy(engine(given.numpy())[:, : network.tail.out_channels])
    result = parts.picture + F.pixel_shuffle(found, network.scale)[0].numpy()
    return np.clip(np.rint(255 * np.moveaxis(result, 0, 2)), 0, 255).astype(np.uint8)


def measure(arguments: argparse.Namespace) -> None:
    """Beside `upres.fuse` by `balanced`, on the bursts of `fusion.py`: quality and time."""
    scale, rows = arguments.scale, []
    network = started(scale, arguments.trunk)
    network.load_state_dict(torch.load(arguments.runs / f"{arguments.trunk}.pt"))
    for name in ("Set5", "B100"):
        for turned, noise in SERIES:
            totals = np.zeros(5)
            given = list(pictures(arguments.bench, name, scale, arguments.pictures))
            for seed, (_, hr) in enumerate(given):
                frames = burst(hr, scale, FRAMES, seed, turned=turned, noise=noise)
                start = time.process_time()
                plain, _ = fused(frames, scale, MODEL)
                middle = time.process_time()
                fused(frames, scale, START)
                third = time.process_time()
                parts = merge(frames, scale, START)
                engine = engine_of(network, arguments.runs / "x.onnx", *frames[0].shape[:2])
                refined(network, engine, parts)
                fourth = time.process_time()
                result = refined(network, engine, parts)
                own = third - middle + time.process_time() - fourth
                values = [score(x, hr, border=scale).psnr for x in (plain, result)]
                totals += [*values, values[1] - values[0], middle - start, own]
            before, after, gain, seconds, own = totals / len(given)
            kind = "shifted, turned, zoomed" if turned else "shifted"
            row = [f"{name} x{scale}, {kind}, noise {noise:g}", str(len(given)), f"{before:.2f}"]
            row += [f"{after:.2f}", f"{gain:+.2f}", f"{seconds:.2f}", f"{own:.2f}"]
            print(row, flush=True)
            rows.append(row)
    head = ["set", "pictures", f"by `{MODEL}`", "learned", "gain", "s of a processor", "learned"]
    print(table(head, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["make", "train", "measure"])
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--trunk", default="balanced", choices=["balanced", "fast"])
    parser.add_argument("--patch", type=int, default=48)
    parser.add_argument("--runs", type=Path, default=Path("runs/learned-fusion"))
    parser.add_argument("--pictures", type=int, default=8, help="of a set, at most")
    parser.add_argument("--bench", type=Path, default=Path("../shared/data/bench"))
    parser.add_argument("--train", type=Path, default=Path("../shared/data/train"))
    arguments = parser.parse_args()
    {"make": make, "train": train, "measure": measure}[arguments.command](arguments)


if __name__ == "__main__":
    main()
