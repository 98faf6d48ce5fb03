"""The command ``upres train``: parses and calls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from upres.errors import needs_extra


def train(
    recipe: Annotated[Path, typer.Argument(help="A TOML recipe; see recipes/.")],
    data: Annotated[
        Path,
        typer.Option("--data", "-d", help="Folder that the recipe's sources are relative to."),
    ] = Path(),
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The run's folder (default: runs/ and the recipe's name)."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of the recipe: --set optimiser.steps=100"),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", help="Folder that keeps decoded pictures for later runs."),
    ] = None,
) -> None:
    """Train a network from a recipe, and export it as a model file."""
    with needs_extra("upres train", "train"):
        from upres.training.config import load_recipe
        from upres.training.loop import leave
        from upres.training.loop import train as train_recipe

    train_recipe(
        load_recipe(recipe, overrides or ()),
        data=data,
        run=output or Path("runs") / recipe.stem,
        resume=resume,
        recipe_path=recipe,
        cache=cache,
    )
    leave()
