"""Repository folders: checked by Hugging Face's own package, and read by programs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import onnx
import pytest
from safetensors import safe_open
from typer.testing import CliRunner

from upres.cli.main import app
from upres.errors import ModelError, OutputError, UsageError
from upres.models import open_model, read_model, shipped_models
from upres.training.export import load_network
from upres.training.repository import to_hub

hub = pytest.importorskip("huggingface_hub")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("hub") / "fast"
    result = CliRunner().invoke(app, ["export", "fast", "--hub", str(made)])
    assert (result.exit_code, result.output) == (0, f"wrote {made}: fast, x2, x3, x4\n")
    return made


def test_hugging_face_takes_the_card(folder: Path) -> None:
    card = hub.ModelCard.load(folder / "README.md", ignore_metadata_errors=False)
    assert card.data.license == "apache-2.0"
    assert card.data.pipeline_tag == "image-to-image"
    assert card.data.library_name == "upres"
    assert card.data.model_name == "fast"
    # Every score of every scale, as in our own cards, and told apart.
    told = {
        (each.dataset_name, each.dataset_config, each.metric_type): each.metric_value
        for each in card.data.eval_results
    }
    expected = {
        (score.dataset, f"x{scale}", metric): round(getattr(score, metric), 4)
        for scale in (2, 3, 4)
        for score in open_model("fast", scale=scale).card.scores
        for metric in ("psnr", "ssim")
    }
    assert told == expected
    assert len(card.data.eval_results) == len(expected)
    # Written again it stays the same: nothing of it was read otherwise than it was meant.
    assert hub.ModelCardData(**card.data.to_dict()).to_yaml() == card.data.to_yaml()
    assert open_model("fast").card.data in card.text


def test_the_files_are_what_the_config_says(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    named = {"README.md", "config.json"}
    for model in config["models"]:
        for kind in ("onnx", "safetensors", "compact"):
            content = (folder / model[kind]["name"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == model[kind]["sha256"]
            named.add(model[kind]["name"])
        assert read_model(folder / model["onnx"]["name"]).card.scale == model["scale"]
        onnx.checker.check_model(folder / model["onnx"]["name"], full_check=True)
        network, card = load_network(folder / model["safetensors"]["name"])
        assert (network.scale, card.name) == (model["scale"], "fast")
        with safe_open(folder / model["compact"]["name"], "pt") as file:
            assert "body.0.weight" in file.keys()  # noqa: SIM118  # it is no dict
    assert {path.name for path in folder.iterdir()} == named
    assert [model["scale"] for model in config["models"]] == [2, 3, 4]


def test_what_cannot_be_compact_or_has_no_weights_is_left_out(tmp_path: Path) -> None:
    (best,) = to_hub([open_model("best", scale=2).path], tmp_path / "best")
    assert (best.weights, best.compact) == ("best-x2.safetensors", None)
    text = (tmp_path / "best/README.md").read_text("utf-8")
    assert "in their graphs" in text
    assert "compact" not in text
    (quantised,) = to_hub([open_model("fast-int8", scale=2).path], tmp_path / "int8")
    assert (quantised.weights, quantised.compact) == (None, None)
    assert sorted(path.name for path in (tmp_path / "int8").iterdir()) == [
        "README.md",
        "config.json",
        "fast-int8-x2.onnx",
    ]


def test_of_models_that_are_not_shipped_no_licence_is_claimed(
    tmp_path: Path, model_file: Path
) -> None:
    to_hub([model_file], tmp_path / "mine")
    card = hub.ModelCard.load(tmp_path / "mine" / "README.md")
    assert card.data.license is None
    assert "The licence is not stated." in card.text


def test_what_is_there_stays(tmp_path: Path, model_file: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already: force=True replaces it"):
        to_hub([model_file], folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    to_hub([model_file], folder, force=True)
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "README.md").is_file()
    # Nothing is left of one that fails.
    with pytest.raises(ModelError):
        to_hub([tmp_path / "none.onnx"], tmp_path / "other")
    with pytest.raises(UsageError, match="one model, in each scale once"):
        to_hub([model_file, shipped_models()["fast"][2]], tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
