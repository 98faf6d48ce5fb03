"""What a run leaves on disk while it goes on: its folder, checkpoint and log."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from upres.errors import TrainingError
from upres.training.config import Recipe

LOG_COLUMNS = ("step", "learning_rate", "loss", "it_per_s", "valid_psnr")


def prepare_folder(run: Path, checkpoint: Path, resume: bool) -> None:
    """Make the run's folder, and find out before training whether it can be written.

    Raises ``TrainingError`` if it cannot, or holds a run that is not to be resumed, or
    none that is.
    """
    if resume and not checkpoint.is_file():
        raise TrainingError(f"{run}: holds no checkpoint to resume from")
    if not resume and checkpoint.exists():
        raise TrainingError(
            f"{run}: holds a run already; go on with --resume, or choose another --run"
        )
    try:
        run.mkdir(parents=True, exist_ok=True)
        probe = run / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise TrainingError(f"{run}: cannot write a run here: {error.strerror}") from error


def save_checkpoint(
    path: Path,
    recipe: Recipe,
    step: int,
    network: nn.Module,
    average: Sequence[Tensor],
    optimisers: Sequence[torch.optim.Optimizer],
) -> None:
    """Write everything that the run needs to go on as if it had not been interrupted."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        content = {
            "recipe": dataclasses.asdict(recipe),
            "step": step,
            "network": network.state_dict(),
            "average": list(average),
            "optimisers": [optimiser.state_dict() for optimiser in optimisers],
        }
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)  # so a kill at any moment leaves a whole checkpoint


def load_checkpoint(
    path: Path,
    recipe: Recipe,
    network: nn.Module,
    average: Sequence[Tensor],
    optimisers: Sequence[torch.optim.Optimizer],
) -> int:
    """Restore what ``save_checkpoint`` wrote, in place; return the step that comes next.

    Raises ``TrainingError`` if it cannot be read or is of another recipe.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its reader met
        raise TrainingError(f"{path}: this checkpoint cannot be read: {error}") from error
    if content["recipe"] != dataclasses.asdict(recipe):
        raise TrainingError(f"{path}: this run has another recipe; resume it with its own")
    network.load_state_dict(content["network"])
    for own, value in zip(average, content["average"], strict=True):
        own.copy_(value)
    for optimiser, state in zip(optimisers, content["optimisers"], strict=True):
        optimiser.load_state_dict(state)
    step: int = content["step"]
    return step


def start_log(path: Path, start: int) -> None:
    """Begin the log, or drop the rows from after the step that is resumed from."""
    rows: list[list[str]] = []
    if start and path.exists():
        with path.open(newline="") as file:
            rows = [row for row in csv.reader(file) if row[0].isdigit() and int(row[0]) <= start]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([LOG_COLUMNS, *rows])


def append_log(
    path: Path, step: int, rate: float, loss: float, speed: float, psnr: float | None
) -> None:
    """Add a row; ``psnr`` is None where there was no validation."""
    score = "" if psnr is None else f"{psnr:.4f}"
    with path.open("a", newline="") as file:
        csv.writer(file).writerow([step, f"{rate:.3g}", f"{loss:.6f}", f"{speed:.3f}", score])
