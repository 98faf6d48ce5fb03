"""The command ``upres train``: parses and calls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from upres.cli.help import argument, option
from upres.cli.process import set_up_libvips
from upres.errors import needs_extra


def train(
    recipe: Annotated[Path, argument("RECIPE")],
    data: Annotated[
        Path,
        option(
            *("--data", "-d"),
            takes="FOLDER",
            help="The folder that the recipe's sources are relative to.",
        ),
    ] = Path(),
    output: Annotated[
        Path | None,
        option(
            *("--output", "-o"),
            takes="FOLDER",
            help="The run's folder (default: runs/ and the recipe's name).",
        ),
    ] = None,
    resume: Annotated[
        bool,
        option(
            "--resume",
            help="Go on from the run's last checkpoint; for longer with --set optimiser.steps=.",
        ),
    ] = False,
    overrides: Annotated[
        list[str] | None,
        option(
            "--set",
            takes="KEY=VALUE",
            help="Change a value of the recipe, such as optimiser.steps=100; may be repeated.",
        ),
    ] = None,
    cache: Annotated[
        Path | None,
        option(
            "--cache",
            takes="FOLDER",
            help="Keeps decoded pictures for later runs.",
        ),
    ] = None,
) -> None:
    """Train a network from a recipe, and export it as a model file.

    RECIPE is a TOML file, such as those in recipes/.

    With --resume, the recipe is the run's own; only optimiser.steps may be another number. The
    learning rate then goes on as in a run of so many steps: after a run that had come to its end,
    it rises again.
    """
    set_up_libvips()
    with needs_extra("upres train", "train"):
        from upres.training.config import load_recipe
        from upres.training.devices import leave
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
