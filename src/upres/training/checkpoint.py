"""Checkpoints: everything that a run needs to go on as if it had not been interrupted."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from upres.errors import RecipeError, TrainingError
from upres.training.config import Recipe, recipe_from, recipe_values


@dataclass
class TrainingState:
    """How far a run is."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Of training, interruptions left out."""
    skipped: int = 0
    """Batches whose loss was not finite."""
    best_psnr: float = -math.inf
    """The best on the validation pictures so far."""


def save_checkpoint(
    path: Path,
    recipe: Recipe,
    state: TrainingState,
    network: nn.Module,
    average: nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
) -> None:
    """Write a checkpoint; one that is there is replaced at once, or stays as it is.

    Raises ``TrainingError`` if it cannot be written.
    """
    content = {
        "recipe": recipe_values(recipe),
        "progress": vars(state),
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in optimisers],
    }
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError
        temporary.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise TrainingError(f"{path}: cannot write this checkpoint: {reason}") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU; no code in the file is run.

    Raises ``TrainingError`` if it cannot be read.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise TrainingError(f"{path}: cannot read this checkpoint: {error.strerror}") from error
    except Exception as error:  # torch raises whatever its reader met
        raise TrainingError(f"{path}: not a checkpoint of upres, or a damaged one") from error
    if not isinstance(content, dict) or not content.keys() >= {"recipe", "average", "progress"}:
        raise TrainingError(f"{path}: not a checkpoint of a run of upres")
    return content


def load_checkpoint(
    path: Path,
    recipe: Recipe,
    network: nn.Module,
    average: nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
) -> tuple[TrainingState, int]:
    """Restore what ``save_checkpoint`` wrote, in place; return how far the run was, and how many
    steps it was to have.

    Raises ``TrainingError`` if it cannot be read, or is of a recipe that differs in more than its
    number of steps, or is further than that.
    """
    content = read_checkpoint(path)
    state = TrainingState(**content["progress"])
    try:
        before = recipe_from(content["recipe"], str(path))
    except RecipeError:
        raise TrainingError(f"{path}: holds a recipe that this upres cannot read") from None
    planned, steps = before.optimiser.steps, recipe.optimiser.steps
    same = dataclasses.replace(before.optimiser, steps=steps)
    differing = _first_difference(
        recipe_values(dataclasses.replace(before, optimiser=same)), recipe_values(recipe)
    )
    if differing is not None:
        raise TrainingError(
            f"{path}: this run has another recipe, which differs in {differing}: resume it with "
            "its own; only optimiser.steps may be changed"
        )
    if steps < state.step:
        raise TrainingError(
            f"{path}: this run is at step {state.step:,} already, and optimiser.steps is {steps:,}"
        )
    network.load_state_dict(content["network"])
    average.load_state_dict(content["average"])
    for optimiser, its_state in zip(optimisers, content["optimisers"], strict=True):
        optimiser.load_state_dict(its_state)
    return state, planned


def _first_difference(one: Any, other: Any) -> str | None:
    """The first key, by its sections, under which two recipes have not the same."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return None if one == other else ""
    for key in dict.fromkeys((*one, *other)):
        below = _first_difference(one.get(key), other.get(key))
        if below is not None:
            return f"{key}.{below}" if below else str(key)
    return None


def checkpoint_bytes(network: nn.Module) -> int:
    """About how large a checkpoint will be, with at most two moments for each weight."""
    tensors: list[Tensor] = list(network.state_dict().values())
    return 4 * sum(tensor.nbytes for tensor in tensors) + 1_000_000
