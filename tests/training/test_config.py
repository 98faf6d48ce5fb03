from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import tomli_w

from upres.errors import RecipeError
from upres.training.config import load_recipe, recipe_from, recipe_values
from upres.training.networks import EdsrConfig, PlainConfig, build, trainable_parameters
from upres.training.sources import PairedSource

ROOT = Path(__file__).parents[2]


def test_every_recipe_of_the_repository_is_valid() -> None:
    paths = sorted((ROOT / "recipes").glob("*/*.toml"))
    assert paths
    for path in paths:
        recipe = load_recipe(path)
        assert build(recipe.network, recipe.scale).scale == recipe.scale
        if recipe.name == "fast":
            assert trainable_parameters(build(recipe.network, recipe.scale)) <= 155_000


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimiser.stepz=3", r"optimiser.stepz: no such key; did you mean optimiser.steps\?"),
        ("network.featurs=3", r"network.featurs: no such key; did you mean network.features\?"),
        (
            "network.groups=3",
            r"network.groups: no such key; did you mean network.(features|blocks)\?",
        ),
        (
            "network={name='rcan', group=3}",
            r"network.group: no such key; did you mean network.groups\?",
        ),
        ("network={name='rcan', groups=0}", "network.groups: input should be greater than"),
        ("network={name='rcan', features=4, reduction=8}", ": network: reduction 8 leaves nothing"),
        ("optimizer.steps=3", r"optimizer: no such key; did you mean optimiser\?"),
        ("network.name='vgg'", r"network: .*'plain', .*'edsr'"),
        ("teacher.modle='x'", r"teacher.modle: no such key; did you mean teacher.model\?"),
        ("teacher.weight=0.5", "teacher.model: field required"),
        ("data.later=[{stp=9}]", r"data.later.0.stp: no such key; did you mean data.later.step\?"),
        ("data.later=[{step=9, batch=1}]", "data.later.0.patch: field required"),
        ("data.train=[{hr='a',l='b'}]", r"train.0.l: no such key; did you mean data.train.lr\?"),
        ("data.train=[{hr='a'}]", "data.train.0.lr: field required"),
        ("data.train=['a', {hr=1, lr='b'}]", "data.train.1.hr: input should be a valid string"),
        ("data.train=[]", "data.train: list should have at least 1 item"),
        ("data.valid=[]", "data.valid: list should have at least 1 item"),
        ("data.train=[3]", "data.train.0: input should be"),
        ("loss.l3=1.0", r": loss.l3: input should be 'mse', 'l1', .* or 'luma_rmse'"),
        ("loss.l1=-1.0", r"loss.l1: input should be greater than 0"),
        ("scale=5", "scale: input should be 1, 2, 3 or 4"),
        ("scale=1", "scale 1 learns nothing of degradation = 'bicubic'"),
        ("data.batch=0", "data.batch: input should be greater than or equal to 1"),
        ("data.batch='two'", "data.batch: input should be a valid integer"),
        ("data.later=[{step=9,patch=8,batch=1},{step=5,patch=8,batch=1}]", "data: later: "),
        (
            "data.degradation='fog'",
            "data.degradation: input should be 'bicubic', 'jpeg' or 'photo'",
        ),
        ("optimiser.weight_decay=0.1", "optimiser: weight_decay goes with name = 'adamw'"),
        ("optimiser.milestones=[10]", "optimiser: milestones go with schedule = 'step'"),
        ("optimiser.schedule='step'", "optimiser: milestones go with schedule = 'step'"),
        ("optimiser.decay=0.1", "optimiser: decay does not go with schedule = 'cosine'"),
        (
            "optimiser={steps=9, schedule='step', milestones=[3], final_learning_rate=1e-9}",
            "optimiser: final_learning_rate does not go with schedule = 'step'",
        ),
        ("optimiser=3", "optimiser: "),
        ("name=a/b", "name: 'a/b' cannot name the model's files: give one part of a path"),
        ("name=a\\b", r"name: 'a\\\\b' cannot name the model's files"),
        ("name=..", r"name: '..' cannot name the model's files"),
        ("name=.", r"name: '.' cannot name the model's files"),
        ("name=", "name: '' cannot name the model's files"),
        ("name='\ta'", r"name: '\\ta' cannot name the model's files"),
        (f"name={'é' * 60}", "name: 'é+' is longer than 100 bytes: shorten it"),
        ("optimiser.steps=2024-01-01", "optimiser.steps: input should be a valid integer"),
        ("seed=-1", "seed: input should be greater than or equal to 0"),
        (f"seed={2**32}", f"seed: input should be less than {2**32}"),
        (f"seed={10**30}", f"seed: input should be less than {2**32}"),
        ("nonsense", "overrides takes key=value"),
        ("name.x=3", "name is not a section"),
    ],
)
def test_mistakes_in_recipes_name_the_key(data: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(data / "recipe.toml", [override])
    assert "\n" not in str(caught.value)


def test_a_recipe_of_scale_1_restores_compressed_pictures(data: Path) -> None:
    recipe = load_recipe(data / "recipe.toml", ["scale=1", "data.degradation='jpeg'"])
    assert recipe.scale == 1
    assert build(recipe.network, recipe.scale).scale == 1


def test_overrides_reach_every_part(data: Path) -> None:
    recipe = load_recipe(
        data / "recipe.toml",
        [
            "network={name='edsr', features=8, blocks=1, residual_scaling=0.1}",
            "loss={l1=1.0, fft=0.05}",
            "data.train=[{hr='HR', lr='LR/X2'}]",
            "data.later=[{step=20, patch=16, batch=1}]",
            "teacher.model=best-x2.safetensors",
        ],
    )
    assert recipe.network == EdsrConfig(features=8, blocks=1, residual_scaling=0.1)
    assert recipe.loss == {"l1": 1.0, "fft": 0.05}
    assert recipe.data.train == [PairedSource(hr="HR", lr="LR/X2")]
    assert recipe.data.sizes(19) == (8, 2)
    assert recipe.data.sizes(20) == (16, 1)
    assert recipe.teacher is not None
    assert recipe.teacher.model == "best-x2.safetensors"


def test_a_recipe_survives_being_written(data: Path) -> None:
    recipe = load_recipe(data / "recipe.toml", ["loss={mse=1.0}", "optimiser.clip=1"])
    assert recipe.network == PlainConfig(features=8, blocks=1)
    values = tomllib.loads(tomli_w.dumps(recipe_values(recipe)))
    assert recipe_from(values, "again") == recipe


def test_a_date_is_a_name_like_any_other(data: Path) -> None:
    assert load_recipe(data / "recipe.toml", ["name=2024-01-01"]).name == "2024-01-01"
    assert load_recipe(data / "recipe.toml", ["name=12:30:00"]).name == "12:30:00"


def test_recipes_that_are_no_toml(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none.toml: cannot read this recipe"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("= 3")
    with pytest.raises(RecipeError, match=r"bad.toml: not valid TOML"):
        load_recipe(tmp_path / "bad.toml")
