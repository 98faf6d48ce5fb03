"""The training loop: from a recipe to a model file."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

import upres
from upres import metrics
from upres.errors import TrainingError
from upres.model import ModelCard
from upres.training.checkpoint import (
    append_log,
    load_checkpoint,
    prepare_folder,
    save_checkpoint,
    start_log,
)
from upres.training.config import Recipe
from upres.training.data import Patches, pair, read_pictures
from upres.training.export import export_onnx, read_weights
from upres.training.networks import Plain, build, multiply_adds, parameter_count
from upres.training.optimisers import build_optimisers, learning_rate

REPORT_EVERY = 100
"""Steps between log rows, and between the only waits for the device."""

LOSSES = {"l1": F.l1_loss, "mse": F.mse_loss}


def train(
    recipe: Recipe,
    *,
    data: Path,
    run: Path,
    resume: bool = False,
    recipe_path: Path | None = None,
    console: Console | None = None,
) -> Path:
    """Train ``recipe`` and export the result; return the model file's path.

    ``data`` is the folder to which the recipe's sources are relative. ``run`` becomes
    the run's folder, with checkpoint, log and model. With ``resume``, a run that was
    interrupted at any moment goes on from its last checkpoint, to the same weights as
    if it had not been. A GPU is used if torch finds one.

    Raises ``TrainingError`` if the run's folder is taken or cannot be written, or the
    loss is no longer finite; ``InputError`` for pictures that cannot be read.
    """
    console = console or Console(stderr=True)
    checkpoint_path = run / "checkpoint.pt"
    prepare_folder(run, checkpoint_path, resume)
    commit = _commit()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    sources = [data / name for name in recipe.data.train]
    pairs = [pair(image, recipe.scale, device) for _, image in read_pictures(sources)]
    patches = Patches(
        pairs,
        scale=recipe.scale,
        patch=recipe.data.patch,
        batch=recipe.data.batch,
        candidates=recipe.data.candidates,
        seed=recipe.seed,
        device=device,
    )
    del pairs
    valid_sources = [data / name for name in recipe.data.valid]
    valid = [pair(image, recipe.scale, device) for _, image in read_pictures(valid_sources)]

    torch.manual_seed(recipe.seed)
    network = build(recipe.network, recipe.scale)
    if recipe.start_from is not None:
        folder = recipe_path.parent if recipe_path else Path()
        warm_start(network, folder / recipe.start_from)
    network.to(device)
    network.to(memory_format=_memory_format(device))  # type: ignore[call-overload]
    average = [p.detach().clone() for p in network.parameters()]
    optimisers = build_optimisers(network, recipe.optimiser)
    start = 0
    if resume:
        start = load_checkpoint(checkpoint_path, recipe, network, average, optimisers)

    macs = multiply_adds(network, recipe.data.patch, recipe.data.patch)
    flop_per_step = 6 * macs * recipe.data.batch  # forward once, backward twice
    console.print(
        f"{recipe.name} x{recipe.scale}: {parameter_count(network):,} parameters, "
        f"{len(patches):,} pictures, {recipe.optimiser.steps:,} steps on {_device_name(device)}"
    )

    forward = torch.compile(network) if device.type == "cuda" else network
    loss_function = LOSSES[recipe.optimiser.loss]
    log = run / "log.csv"
    start_log(log, start)
    total_loss = torch.zeros((), device=device)
    count = 0
    latest = ""
    saved = reported = time.monotonic()
    with _progress(console) as progress:
        task = progress.add_task(
            "training", total=recipe.optimiser.steps, completed=start, status=""
        )
        for step in range(start, recipe.optimiser.steps):
            low, high = patches.sample(step)
            low = low.contiguous(memory_format=_memory_format(device))
            rate = learning_rate(recipe.optimiser, step)
            for optimiser in optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = rate
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = loss_function(forward(low), high)
            for optimiser in optimisers:
                optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            for optimiser in optimisers:
                optimiser.step()
            # Early on, the average follows closely: it has no past worth keeping.
            decay = min(recipe.optimiser.ema, (step + 1) / (step + 10))
            torch._foreach_lerp_(average, list(network.parameters()), 1 - decay)
            total_loss += loss.detach()

            done = step + 1
            count += 1
            validating = done % recipe.validate_every == 0 or done == recipe.optimiser.steps
            if validating or done % REPORT_EVERY == 0:
                mean_loss = total_loss.item() / count
                total_loss.zero_()
                if not math.isfinite(mean_loss):
                    raise TrainingError(
                        f"{run}: the loss is no longer finite at step {done}: lower "
                        "optimiser.learning_rate, and resume from the last checkpoint"
                    )
                now = time.monotonic()
                speed = count / (now - reported)
                count = 0
                reported = now
                score: float | None = None
                if validating:
                    score = validate(network, average, valid)
                    latest = f", valid {score:.2f} dB"
                    left = (recipe.optimiser.steps - done) / speed / 60
                    console.print(
                        f"step {done:,} of {recipe.optimiser.steps:,}: loss {mean_loss:.5f}, "
                        f"{speed:.2f} it/s, {left:.0f} min left{latest}"
                    )
                    reported = time.monotonic()
                append_log(log, done, rate, mean_loss, speed, score)
                rates = f"{speed:.2f} it/s, {speed * flop_per_step / 1e12:.3f} TFLOP/s"
                status = f"loss {mean_loss:.5f}, {rates}{latest}"
                progress.update(task, completed=done, status=status)
                if now - saved > recipe.checkpoint_seconds or done == recipe.optimiser.steps:
                    save_checkpoint(checkpoint_path, recipe, done, network, average, optimisers)
                    saved = now

    _set_weights(network, average)
    path = run / f"{recipe.name}-x{recipe.scale}.onnx"
    difference = export_onnx(network, make_card(recipe, network, recipe_path, commit), path)
    console.print(f"wrote {path}; the engine differs from torch by {difference:.1g} at most")
    return path


@torch.no_grad()
def validate(
    network: Plain,
    weights: Sequence[Tensor],
    pairs: Sequence[tuple[Tensor, Tensor]],
) -> float:
    """Mean luma PSNR in dB of ``network`` with ``weights``, by the field's protocol."""
    own = [p.detach().clone() for p in network.parameters()]
    _set_weights(network, weights)
    try:
        scores = []
        for low, high in pairs:
            output = network(low.float().div_(255)[None])[0]
            estimate = (output * 255).round().clamp_(0, 255).byte()
            inner = np.s_[:, network.scale : -network.scale, network.scale : -network.scale]
            images = (x[inner].permute(1, 2, 0).cpu().numpy() for x in (estimate, high))
            scores.append(metrics.psnr(*map(metrics.luma, images)))
        return float(np.mean(scores))
    finally:
        _set_weights(network, own)


@torch.no_grad()
def _set_weights(network: Plain, weights: Sequence[Tensor]) -> None:
    for parameter, value in zip(network.parameters(), weights, strict=True):
        parameter.copy_(value)


def warm_start(network: Plain, path: Path) -> None:
    """Set ``network``'s weights from a model file of upres; the tail only if scales match.

    Raises ``TrainingError`` if the file cannot be read or its structure differs.
    """
    try:
        weights = read_weights(path)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: cannot start from this model: {error}") from error
    own = network.state_dict()
    if weights.get("tail.weight", torch.empty(0)).shape != own["tail.weight"].shape:
        weights = {name: w for name, w in weights.items() if not name.startswith("tail.")}
        expected = {name for name in own if not name.startswith("tail.")}
    else:
        expected = set(own)
    if set(weights) != expected or any(own[name].shape != w.shape for name, w in weights.items()):
        raise TrainingError(f"{path}: cannot start from this model: its structure differs")
    network.load_state_dict(weights, strict=False)


def make_card(
    recipe: Recipe, network: Plain, recipe_path: Path | None, commit: str | None
) -> ModelCard:
    """The card of a network that this recipe trained, as yet without scores."""
    structure = dataclasses.asdict(recipe.network)
    return ModelCard(
        name=recipe.name,
        scale=recipe.scale,
        halo=network.halo,
        network=structure.pop("name"),
        network_parameters=structure,
        parameter_count=parameter_count(network),
        degradation="bicubic",
        data=recipe.data.licence,
        recipe=recipe_path.name if recipe_path else None,
        commit=commit,
    )


def _progress(console: Console) -> Progress:
    return Progress(
        *Progress.get_default_columns()[:3],
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}"),
        console=console,
        disable=not console.is_terminal,
    )


def _memory_format(device: torch.device) -> torch.memory_format:
    # Tensor cores want channels last; on CPUs it was slower (73 against 80 GFLOP/s).
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} CPU threads"


def _commit() -> str | None:
    """The commit of the checkout that this package runs from, if it runs from one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--match="]
    try:
        folder = Path(upres.__file__).parent
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
