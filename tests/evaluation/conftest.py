"""What the tests of reports share: pictures, and models that differ."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
import pyvips

from upres.card import Model
from upres.evaluation.benchmark import Enlarger, Evaluation, enlarge_rgb8, evaluate
from upres.evaluation.datasets import Rgb8
from upres.evaluation.report import write_report
from upres.models import read_model

ENVIRONMENT = '{"device": "2 CPU threads", "packages": {"torch": "2.9"}}'
LOG = """\
step,learning_rate,loss,it_per_s,valid_psnr,seconds,skipped
100,0.001,0.04,10.0,,10,0
200,0.001,0.03,12.0,30.5,20,0
300,0.0005,0.02,11.0,,29,1
400,0.0001,0.01,11.0,31.25,38,1
"""


@pytest.fixture(scope="session")
def picture_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small pictures; their names and PSNRs sort differently."""
    folder = tmp_path_factory.mktemp("sets") / "Tiny <Set>"
    folder.mkdir()
    y, x = np.mgrid[:80, :96]
    for name, contrast in (("b & c", 20), ("a", 110), ("d", 60)):
        waves = 127 + contrast * np.sin(np.stack([x / 3, y / 4, (x + y) / 5], axis=2))
        waves[20:50, 30:60] = 127 + contrast
        pyvips.Image.new_from_array(waves.astype(np.uint8)).pngsave(str(folder / f"{name}.png"))
    return folder


@pytest.fixture(scope="session")
def models(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Model]:
    """The same model under two names, which ``by_name`` tells apart."""
    model = read_model(model_file)
    card = dataclasses.replace(model.card, name="soft & <wide>", parameter_count=12_345_678)
    path = Path(shutil.copy(model_file, tmp_path_factory.mktemp("models") / "other.onnx"))
    return [model, dataclasses.replace(model, path=path, card=card)]


@pytest.fixture(scope="session")
def by_name() -> Enlarger:
    """As the model does it, or each pixel repeated."""

    def enlarge(image: Rgb8, model: Model) -> Rgb8:
        if model.card.name == "random":
            return enlarge_rgb8(image, model)
        return image.repeat(2, 0).repeat(2, 1)

    return enlarge


@pytest.fixture(scope="session")
def evaluation(models: list[Model], picture_set: Path, by_name: Enlarger) -> Evaluation:
    return evaluate(models, [picture_set], enlarge=by_name)


@pytest.fixture(scope="session")
def report(
    tmp_path_factory: pytest.TempPathFactory,
    evaluation: Evaluation,
    models: list[Model],
    by_name: Enlarger,
) -> Path:
    """A report on two models, which shows two of the three pictures."""
    path = tmp_path_factory.mktemp("report") / "r.html"
    write_report(evaluation, models, path, enlarge=by_name)
    return path


class WriteRun(Protocol):
    """Makes a run's folder as training leaves it, but for the model."""

    def __call__(
        self,
        folder: Path,
        *,
        features: int = 32,
        steps: int = 400,
        log: str = LOG,
        environment: str = ENVIRONMENT,
        recipe: str = "",
    ) -> Path: ...


@pytest.fixture(scope="session")
def write_run() -> WriteRun:
    def write(
        folder: Path,
        *,
        features: int = 32,
        steps: int = 400,
        log: str = LOG,
        environment: str = ENVIRONMENT,
        recipe: str = "",
    ) -> Path:
        folder.mkdir(parents=True)
        (folder / "recipe.toml").write_text(
            f'name = "tiny"\nscale = 2\n{recipe}\n[optimiser]\nsteps = {steps}\n'
            f'[data]\nvalid = ["valid.tar"]\n[network]\nname = "plain"\nfeatures = {features}\n'
        )
        (folder / "environment.json").write_text(environment)
        (folder / "log.csv").write_text(log)
        return folder

    return write
