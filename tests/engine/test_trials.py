"""Precisions tried out, by engines and a clock that are fakes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import FakeBackend, FakeNetwork, fake_model
from upres.card import Model
from upres.engine import trials
from upres.engine.protocol import Engine
from upres.engine.trials import cache_folder, trial_choice, trial_picture
from upres.errors import ModelError
from upres.raster.pixels import Float32Array


@dataclass
class Timed(FakeBackend):
    """Its engines take so many seconds in each mode, by its own clock."""

    seconds: dict[str, float] = field(default_factory=dict)
    wrong: dict[str, float] = field(default_factory=dict)
    """By how much the samples of a mode are off."""
    now: float = 0.0
    runs: int = 0

    def open(self, model: Model) -> TimedNetwork:  # type: ignore[override]
        if model.mode not in self.seconds:
            raise ModelError(f"{model.path}: cannot")
        return TimedNetwork(self, model, FakeNetwork(self, model))

    def clock(self) -> float:
        return self.now


@dataclass
class TimedNetwork:
    backend: Timed
    model: Model
    network: FakeNetwork

    def compile(self, height: int, width: int) -> Engine:
        engine, backend, mode = self.network.compile(height, width), self.backend, self.model.mode

        def run(window: Float32Array, /) -> Float32Array:
            backend.now += backend.seconds[mode]
            backend.runs += 1
            return engine(window) + np.float32(backend.wrong.get(mode, 0))

        return run


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Of a model that no other test has, as winners are kept in the process, too."""
    return str(request.node.name)


def ways(name: str) -> list[Model]:
    exact = fake_model(name)
    return [exact, replace(exact, compute="bf16"), fake_model(name, precision="int8")]


def forget() -> None:
    """As another process begins."""
    trials._winners.clear()


def chosen(model: str, folder: Path, seconds: Sequence[float], **more: Any) -> tuple[str, Timed]:
    timed = dict(zip(("fp32", "bf16", "int8"), seconds, strict=False))
    backend = Timed(seconds=timed, **more)
    choice = trial_choice(ways(model), backend, folder=folder, clock=backend.clock)
    return choice.model.mode, backend


@pytest.mark.parametrize(
    ("seconds", "mode"),
    [
        ((0.1, 0.02, 0.03), "bf16"),
        ((0.1, 0.03, 0.02), "int8"),
        ((0.1, 0.2, 0.3), "fp32"),
        ((0.1, 0.0205, 0.02), "bf16"),  # about as quick, and more exact
        ((0.1, 0.0215, 0.02), "int8"),
        ((0.1,), "fp32"),  # the others cannot be computed here
    ],
)
def test_the_quickest_wins(
    name: str, tmp_path: Path, seconds: tuple[float, ...], mode: str
) -> None:
    won, backend = chosen(name, tmp_path, seconds)
    assert won == mode
    # Half a second, and the turn that was under way.
    assert backend.now < trials.TRIAL_SECONDS + 3 * sum(seconds)


def test_slow_engines_are_tried_twice_at_most(name: str, tmp_path: Path) -> None:
    _, backend = chosen(name, tmp_path, (10.0, 8.0, 9.0))
    assert backend.runs == 3 * 3


@pytest.mark.parametrize("wrong", [0.02, float("nan"), float("inf")])
def test_a_precision_that_is_far_from_float32_never_wins(
    name: str, tmp_path: Path, wrong: float
) -> None:
    assert chosen(name, tmp_path, (0.1, 0.05, 0.01), wrong={"int8": wrong})[0] == "bf16"


def test_the_winner_is_kept_for_other_processes(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "caches" / "upres"
    assert chosen(name, folder, (0.1, 0.02, 0.03))[0] == "bf16"
    forget()
    mode, backend = chosen(name, folder, (0.1, 0.03, 0.02))
    assert (mode, backend.runs) == ("bf16", 0)
    assert [path.suffix for path in folder.iterdir()] == [".json"]


def test_another_model_or_engine_is_tried_anew(name: str, tmp_path: Path) -> None:
    chosen(name, tmp_path, (0.1, 0.02, 0.03))
    assert chosen(f"{name} b", tmp_path, (0.1, 0.03, 0.02))[0] == "int8"
    assert chosen(name, tmp_path, (0.1, 0.03, 0.02), name="a newer fake")[0] == "int8"


@pytest.mark.parametrize(
    "content", [b"", b"\xff\x00", b"[" * 100_000, b'{"mode": 3}', b'{"mode": "fp8"}', b"[]"]
)
def test_a_damaged_cache_is_as_if_it_were_not_there(
    name: str, tmp_path: Path, content: bytes
) -> None:
    chosen(name, tmp_path, (0.1, 0.02, 0.03))
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    forget()
    assert chosen(name, tmp_path, (0.1, 0.03, 0.02))[0] == "int8"
    assert json.loads(path.read_text()) == {"mode": "int8"}


def test_a_cache_that_cannot_be_written_is_done_without(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "upres"
    assert chosen(name, folder, (0.1, 0.02, 0.03))[0] == "bf16"
    # Within the process the choice stays.
    assert chosen(name, folder, (0.1, 0.03, 0.02))[0] == "bf16"


def test_of_two_processes_the_first_to_be_done_decides(name: str, tmp_path: Path) -> None:
    def other(_: Float32Array) -> None:
        """Another process comes to its end while this one tries."""
        for path in [tmp_path / f"precision-{trials._name(ways(name), backend)}.json"]:
            path.write_text('{"mode": "int8"}')

    backend = Timed(seconds={"fp32": 0.1, "bf16": 0.02, "int8": 0.03}, before_window=other)
    choice = trial_choice(ways(name), backend, folder=tmp_path, clock=backend.clock)
    assert choice.model.mode == "int8"


def test_threads_that_ask_at_once_get_one_answer(name: str, tmp_path: Path) -> None:
    backend = Timed(seconds={"fp32": 0.1, "bf16": 0.02, "int8": 0.03})

    def ask(_: int) -> str:
        return trial_choice(ways(name), backend, folder=tmp_path, clock=backend.clock).model.mode

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(16))) == {"bf16"}
    assert backend.runs < 60  # one trial's


def test_one_way_needs_no_trial(name: str, tmp_path: Path) -> None:
    backend = Timed(seconds={})
    only = fake_model(name, precision="int8")
    assert trial_choice([only], backend, folder=tmp_path).model == only
    assert not list(tmp_path.iterdir())


def test_the_cache_s_folder_is_the_user_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = "LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME"
    monkeypatch.setenv(variable, str(tmp_path))
    assert cache_folder() == tmp_path / "upres"
    monkeypatch.setenv(variable, "relative")  # which that standard has ignored
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    folder = cache_folder()
    assert folder is not None
    assert folder.is_relative_to(tmp_path / "home")


def test_the_trial_s_picture_is_one() -> None:
    for channels in (1, 3):
        picture = trial_picture(channels)
        assert picture.shape == (1, channels, trials.TRIED_SIDE, trials.TRIED_SIDE)
        assert picture.dtype == np.float32
        assert picture.min() >= 0
        assert picture.max() <= 1
        assert picture.std() > 0.2
