"""The recipes: that their chain leads from nothing to the shipped models, and is run in order."""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from upres.cli.main import app
from upres.models import INT8, open_model, shipped_models
from upres.training.config import Recipe, load_recipe

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes"


@pytest.fixture(scope="module")
def chain() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RECIPES))
        return importlib.import_module("chain")


@pytest.fixture(scope="module")
def models(chain: ModuleType) -> dict[str, Any]:
    found: dict[str, Any] = chain.read_chain().models
    return found


@pytest.fixture(scope="module")
def recipes() -> dict[str, Recipe]:
    """Every recipe by its path in the folder, without its suffix."""
    paths = sorted(RECIPES.glob("**/*.toml"))
    return {
        path.relative_to(RECIPES).with_suffix("").as_posix(): load_recipe(path)
        for path in paths
        if path.name != "chain.toml"
    }


def sources(recipe: Recipe) -> list[str]:
    return [*recipe.start_from, *([recipe.teacher.model] if recipe.teacher else [])]


def outputs(stage: str, recipe: Recipe) -> set[Path]:
    """Weights that a run of the recipe leaves."""
    model = f"{recipe.name}-x{recipe.scale}"
    names = ("best.pt", "last.pt", f"{model}.onnx", f"{model}.safetensors")
    return {ROOT / "runs" / stage / name for name in names}


def resolved(stage: str, source: str) -> Path:
    return (RECIPES / stage).parent.joinpath(source).resolve()


def test_every_recipe_is_in_the_chain_or_in_a_folder_of_its_own_purpose(
    models: dict[str, Any], recipes: dict[str, Recipe]
) -> None:
    others = {stage for stage in recipes if stage.split("/")[0] in ("gpu", "study", "mixture")}
    chained = {stage for model in models.values() for stage in model.stages}
    assert others | chained == recipes.keys()


def test_stages_are_numbered_in_their_order(models: dict[str, Any]) -> None:
    for name, model in models.items():
        own = [stage.split("/")[1] for stage in model.stages if stage.split("/")[0] == name]
        assert [stage[:3] for stage in own] == [f"{n:02}-" for n in range(1, len(own) + 1)]


def test_every_stage_starts_from_earlier_ones_and_leads_to_the_last(
    models: dict[str, Any], recipes: dict[str, Recipe]
) -> None:
    for model in models.values():
        made: dict[Path, str] = {}
        used = {model.stages[-1]}
        for stage in model.stages:
            for source in sources(recipes[stage]):
                path = resolved(stage, source)
                assert path in made, f"{stage}: no earlier stage of the chain makes {source}"
                used.add(made[path])
            made |= dict.fromkeys(outputs(stage, recipes[stage]), stage)
        assert used == set(model.stages)


def test_other_recipes_start_from_stages_of_the_chain_or_from_one_another(
    recipes: dict[str, Recipe],
) -> None:
    made = {path for stage, recipe in recipes.items() for path in outputs(stage, recipe)}
    for stage, recipe in recipes.items():
        for source in sources(recipe):
            assert resolved(stage, source) in made, f"{stage}: nothing makes {source}"


def test_a_stage_that_is_interrupted_is_gone_on_from_by_its_best_checkpoint(
    chain: ModuleType, models: dict[str, Any], recipes: dict[str, Recipe]
) -> None:
    for stage, step in chain.read_chain().interrupted.items():
        assert step % recipes[stage].validate_every == 0
        assert step < recipes[stage].optimiser.steps
        following = [
            resolved(other, source)
            for other, recipe in recipes.items()
            for source in sources(recipe)
            if resolved(other, source) in outputs(stage, recipes[stage])
        ]
        assert [path.name for path in following] == ["best.pt"]


def test_the_chain_makes_the_models_that_are_shipped(
    models: dict[str, Any], recipes: dict[str, Recipe]
) -> None:
    shipped = {f"{n}-x{s}" for n, s in ((n, s) for n, by in shipped_models().items() for s in by)}
    assert shipped == models.keys() | {
        f"{kind}{INT8}-x{scale}" for kind, _, scale in (name.rpartition("-x") for name in models)
    }
    for name, model in models.items():
        kind, _, scale = name.rpartition("-x")
        recipe = recipes[model.stages[-1]]
        for variant in (kind, kind + INT8):
            card = open_model(variant, scale=int(scale)).card
            assert card.recipe == f"recipes/{model.stages[-1]}.toml"
            assert card.self_ensemble == model.self_ensemble
            assert (card.scale, card.degradation) == (recipe.scale, recipe.data.degradation)
            assert (model.jpeg is not None) == (recipe.data.degradation == "jpeg")


def test_logs_stand_beside_their_recipes_and_end_where_these_end(
    chain: ModuleType, recipes: dict[str, Recipe]
) -> None:
    lists = {RECIPES / "mixture" / "held-out.csv", RECIPES / "bounds" / "calibration.csv"}
    logs = sorted(set(RECIPES.glob("*/*.csv")) - lists)
    assert logs
    interrupted = chain.read_chain().interrupted
    for path in logs:
        stage = path.relative_to(RECIPES).with_suffix("").as_posix()
        with path.open(encoding="utf-8", newline="") as file:
            last = int(list(csv.DictReader(file))[-1]["step"])
        if stage in interrupted:
            assert last >= interrupted[stage]
        else:
            assert last == recipes[stage].optimiser.steps


def test_the_folders_name_is_that_of_the_model_file(
    chain: ModuleType, models: dict[str, Any], recipes: dict[str, Recipe]
) -> None:
    for model in models.values():
        for stage in model.stages:
            assert ROOT / chain.trained(stage) in outputs(stage, recipes[stage])


def test_the_commands_are_those_of_upres(chain: ModuleType, models: dict[str, Any]) -> None:
    command: Any = typer.main.get_command(app)
    for step in chain.steps(chain.read_chain(), list(models)):
        name, *rest = step.arguments
        values = command.commands[name].make_context(name, rest).params
        if name == "train":
            assert (ROOT / values["recipe"]).is_file()


def test_shared_stages_come_once_and_before_what_goes_on_from_them(
    chain: ModuleType, models: dict[str, Any]
) -> None:
    found = [step.stage for step in chain.steps(chain.read_chain(), list(models)) if step.stage]
    assert len(found) == len(set(found))
    for model in models.values():
        assert sorted(model.stages, key=found.index) == list(model.stages)


def test_printing_names_a_model_that_is_not_there(
    chain: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chain.main(["photo-x2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("upres train recipes/fast-x2/01-adam.toml ")
    assert "--jpeg 30-90" in lines[-1]
    with pytest.raises(SystemExit):
        chain.main(["photo-x9"])
    assert "photo-x9: no such model; there are fast-x2" in capsys.readouterr().err


def test_a_run_goes_on_where_it_ended(chain: ModuleType, tmp_path: Path) -> None:
    todo = chain.steps(chain.read_chain(), ["fast-x3"])
    stages = [step for step in todo if step.stage]
    begun = next(step for step in stages if step.until)
    before = stages[: stages.index(begun)]
    for step in before:
        path = tmp_path / chain.trained(step.stage)
        path.parent.mkdir(parents=True)
        path.touch()
    folder = tmp_path / "runs" / begun.stage
    folder.mkdir(parents=True)
    (folder / "last.pt").touch()
    log = folder / "log.csv"
    log.write_text(f"step,valid_psnr\n{begun.until - 1},30.0\n{begun.until},\n")
    asked: list[tuple[Sequence[str], list[bool]]] = []

    def perform(arguments: Sequence[str], enough: Callable[[], bool]) -> int:
        answers = [enough()]
        if str(folder.relative_to(tmp_path)) in arguments:
            log.write_text(f"step,valid_psnr\n{begun.until},33.6\n")
            answers.append(enough())
        asked.append((arguments, answers))
        return 7 if arguments[0] == "export" else 0

    assert chain.run(todo, perform, tmp_path) == 7
    first, *rest = asked
    assert first == ((*begun.arguments, "--resume"), [False, True])
    assert [arguments for arguments, _ in rest] == [
        step.arguments for step in todo[len(before) + 1 : len(stages) + 1]
    ]
    assert [answers for _, answers in rest] == [[False]] * len(rest)
    asked.clear()
    chain.run(todo, perform, tmp_path)
    assert asked[0] == rest[0], "the interrupted stage has what the next one needs"


def test_a_command_is_interrupted_once_it_is_enough(chain: ModuleType, tmp_path: Path) -> None:
    begun, saved = tmp_path / "begun", tmp_path / "saved"
    code = f"""
import pathlib, time
try:
    pathlib.Path({str(begun)!r}).touch()
    time.sleep(60)
except KeyboardInterrupt:
    pathlib.Path({str(saved)!r}).touch()
    raise SystemExit(130)
"""
    assert chain.run_until([sys.executable, "-c", code], begun.exists, every=0.05) == 0
    assert saved.exists()
    ends = [sys.executable, "-c", "raise SystemExit(3)"]
    assert chain.run_until(ends, lambda: False, every=0.05) == 3
