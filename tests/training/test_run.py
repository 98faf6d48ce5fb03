from __future__ import annotations

from pathlib import Path

import pytest

from upres.training.run import recipe_name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (Path("recipe.toml"), "recipe.toml"),
        (Path("recipes") / "fast-x2" / "01-adam.toml", "recipes/fast-x2/01-adam.toml"),
        (Path("..", "private", "recipe.toml"), "recipe.toml"),
        (Path("recipes", "..", "..", "private", "recipe.toml"), "recipe.toml"),
        (Path("private", "recipe.toml").absolute(), "recipe.toml"),
    ],
)
def test_a_card_names_a_recipe_by_its_path_below_this_folder_only(path: Path, name: str) -> None:
    assert recipe_name(path) == name
