from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from upres.cli.evaluate import export_checkpoint
from upres.enlarging.api import enlarge
from upres.errors import MissingExtraError, ModelError, UsageError
from upres.evaluation.models import open_models, tell_apart
from upres.models import read_model
from upres.training.export import save_weights
from upres.training.networks import Network


def never(source: Path, target: Path) -> None:
    raise AssertionError("there is no checkpoint to export")


def test_shipped_models_and_files(model_file: Path) -> None:
    with open_models(["fast", str(model_file)], scale=2, to_onnx=never) as (fast, other):
        assert (fast.model.label, other.model.label) == ("fast x2", "random x2")
        assert other.source == other.model.path == model_file


@pytest.mark.parametrize("name", ["edsr.pt", "edsr-x2.safetensors"])
def test_a_checkpoint_is_exported_and_gives_the_model_its_name(
    tmp_path: Path, model_file: Path, name: str
) -> None:
    checkpoint = tmp_path / name
    checkpoint.write_bytes(b"weights")

    def to_onnx(source: Path, target: Path) -> None:
        assert source.read_bytes() == b"weights"
        shutil.copy(model_file, target)

    with open_models([str(checkpoint)], to_onnx=to_onnx) as (subject,):
        assert subject.model.label == "edsr x2"
        assert subject.source == checkpoint
        image = np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8)
        expected = enlarge(image, model=model_file)
        np.testing.assert_array_equal(enlarge(image, model=subject.model), expected)
    assert not subject.model.path.parent.exists()
    refused = pytest.raises(ModelError, match=rf"{name}.*2 times, not 3")
    with refused, open_models([str(checkpoint)], scale=3, to_onnx=to_onnx):
        pass


def test_no_such_checkpoint(tmp_path: Path) -> None:
    refused = pytest.raises(ModelError, match=r"none\.pt: .*no such file")
    with refused, open_models([str(tmp_path / "none.pt")], to_onnx=never):
        pass


def test_a_model_given_twice(model_file: Path) -> None:
    other_way = model_file.parent / ".." / model_file.parent.name / model_file.name
    refused = pytest.raises(UsageError, match="given twice")
    with refused, open_models([str(model_file), str(other_way)], to_onnx=never):
        pass


def test_the_command_exports_with_the_training_part(
    tmp_path: Path, random_network: Network, model_file: Path
) -> None:
    card = read_model(model_file).card
    save_weights(random_network, card, tmp_path / "a.safetensors")
    export_checkpoint(tmp_path / "a.safetensors", tmp_path / "a.onnx")
    assert read_model(tmp_path / "a.onnx").card == card
    image = np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8)
    expected = enlarge(image, model=model_file)
    np.testing.assert_array_equal(enlarge(image, model=tmp_path / "a.onnx"), expected)


def test_a_checkpoint_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "upres.training.export", raising=False)
    with pytest.raises(MissingExtraError, match=r"upres\[train\]"):
        export_checkpoint(tmp_path / "a.pt", tmp_path / "a.onnx")


def test_one_label_stays_as_it_is() -> None:
    assert tell_apart(["a", "b"], [Path("x/m"), Path("x/m")]) == ["a", "b"]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["one/m.pt", "two/m.pt"], ["m (one)", "m (two)"]),
        (["one/old.pt", "one/new.pt"], ["m (old.pt)", "m (new.pt)"]),
        (["a/one/m.pt", "b/one/m.pt"], ["m (a/one/m.pt)", "m (b/one/m.pt)"]),
    ],
)
def test_labels_are_told_apart_by_as_little_as_does(
    paths: list[str], expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    labels = tell_apart(["m", "other", "m"], [Path(paths[0]), Path("o"), Path(paths[1])])
    assert labels == [expected[0], "other", expected[1]]
