"""Figures of bounds, against NumPy's and SciPy's on the samples themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from scipy.stats import spearmanr

from fakes import fake_model, write_fake_head
from upres.card import Model
from upres.errors import ModelError
from upres.evaluation.bounds import SetBounds, evaluate_bounds
from upres.evaluation.outputs import evaluate_into

RNG = np.random.default_rng(32)

Part = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]


def made(size: int) -> Part:
    """A result, half-widths and the truth, whose errors are wider where these are."""
    widths = RNG.uniform(0.6, 30, (size, size)).astype(np.float32)
    truth = RNG.integers(80, 170, (size, size, 3)).astype(np.uint8)
    errors = np.rint(RNG.laplace(0, 1, (size, size, 3)) * widths[:, :, None] / 2.5).clip(-80, 80)
    return (truth + errors).astype(np.uint8), widths, truth


def test_figures_are_those_of_the_samples() -> None:
    parts = [made(60), made(90)]
    found = SetBounds("set", "fast x2", 0.9)
    for number, part in enumerate(parts):
        found.add(f"{number}.png", *part)
    errors = [np.abs(result.astype(int) - truth) for result, _, truth in parts]
    wide = [
        np.broadcast_to(w[:, :, None], e.shape) for (_, w, _), e in zip(parts, errors, strict=True)
    ]
    shares = [(e <= w).mean() for e, w in zip(errors, wide, strict=True)]
    assert found.coverage == pytest.approx(np.mean(shares))
    assert found.least.coverage == pytest.approx(min(shares))
    assert found.half_width == pytest.approx(np.mean([w.mean() for _, w, _ in parts]), rel=1e-5)
    e, w = (np.concatenate([each.ravel() for each in many]) for many in (errors, wide))
    order = np.argsort(w)
    for part, share in zip(np.array_split(order, 4), found.quartiles, strict=True):
        assert share == pytest.approx((e[part] <= w[part]).mean(), abs=0.005)
    assert found.rank == pytest.approx(spearmanr(w, e)[0], abs=0.002)
    # The constant covers as much: one level less covers less, one more covers more.
    all_covered = (e <= w).mean()
    assert (e <= np.floor(found.constant)).mean() <= all_covered
    assert (e <= np.ceil(found.constant)).mean() >= all_covered


def test_errors_within_and_beyond() -> None:
    truth = np.full((8, 8, 3), 100, np.uint8)
    found = SetBounds("set", "m", 0.9)
    found.add("a", truth, np.full((8, 8), 0.5, np.float32), truth)
    found.add("b", truth + 3, np.full((8, 8), 2.9, np.float32), truth)
    assert [image.coverage for image in found.images] == [1, 0]
    assert found.quartiles == pytest.approx((1, 1, 0, 0))


@pytest.fixture
def flats(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("a", "b"):
        image = pyvips.Image.new_from_array(RNG.integers(0, 255, (40, 40, 3)).astype(np.uint8))
        image.write_to_file(str(folder / f"{name}.png"))
    return folder


def test_a_set_is_measured_by_whatever_bounds(flats: Path, tmp_path: Path) -> None:
    model = fake_model(path=tmp_path / "fake-x2.onnx")
    write_fake_head(model, level=0.8)

    def bound(image: NDArray[np.uint8], _: Model) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        large = image.repeat(2, 0).repeat(2, 1)
        return large, np.full(large.shape[:2], 255, np.float32)

    (found,) = evaluate_bounds([model], [flats], bound=bound)
    assert (found.dataset, found.level, found.coverage) == ("set", 0.8, 1)
    assert [image.image for image in found.images] == ["a.png", "b.png"]
    assert json.loads(json.dumps(found.as_data()))["least"]["coverage"] == 1


def test_a_model_without_a_head_is_refused_before_the_work(flats: Path, tmp_path: Path) -> None:
    model = fake_model(path=tmp_path / "bare-x2.onnx")
    with pytest.raises(ModelError, match="upres calibrate"):
        evaluate_into(tmp_path / "out", [model], [flats], report=False, bounds=True)
