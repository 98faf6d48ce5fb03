from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from upres.card import CARD_KEY, ModelCard
from upres.cli.main import app
from upres.engine.openvino import OpenVINO
from upres.engine.wrappers import compile_window
from upres.errors import ModelError, OutputError, TrainingError, UsageError
from upres.models import read_model
from upres.training.checkpoint import TrainingState, save_checkpoint
from upres.training.config import Recipe, recipe_from
from upres.training.export import (
    export_onnx,
    load_network,
    make_card,
    save_weights,
    to_onnx,
)
from upres.training.graph import onnx_graph, write_checked
from upres.training.networks import Network, Plain, build, deployed, trainable_parameters
from upres.training.sources import PairedSource

ROOT = Path(__file__).parents[2]

NETWORKS: dict[str, dict[str, object]] = {
    "plain": {"features": 8, "blocks": 1, "branches": True, "closing": True},
    "pooled": {"features": 4, "blocks": 2},
    "srresnet": {"features": 8, "blocks": 1},
    "edsr": {"features": 8, "blocks": 1, "residual_scaling": 0.5},
    "rcan": {"features": 8, "groups": 1, "blocks": 1, "reduction": 2},
}


def recipe(name: str) -> Recipe:
    values = {
        "name": f"tiny-{name}",
        "scale": 3 if name == "edsr" else 2,
        "network": {"name": name, **NETWORKS[name]},
        "data": {"train": ["train"], "valid": ["valid"], "licence": "made up"},
        "optimiser": {"steps": 1},
    }
    return recipe_from(values, "made up")


def network(name: str) -> Network:
    """A network in training, whose every weight matters."""
    torch.manual_seed(3)
    made = build(recipe(name).network, recipe(name).scale)
    for parameter in made.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
        torch.nn.init.normal_(parameter, std=fan_in**-0.5)
    for key, buffer in made.named_buffers():
        if key.endswith(("running_mean", "running_var")):
            torch.nn.init.uniform_(buffer, 0.5, 1.5)
    return made


def card(name: str) -> ModelCard:
    return make_card(recipe(name), network(name), "tiny.toml", "abc")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an .onnx and a .safetensors of each network."""
    folder = tmp_path_factory.mktemp("exported")
    for name in NETWORKS:
        export_onnx(network(name), card(name), folder / f"{name}.onnx")
        save_weights(network(name), card(name), folder / f"{name}.safetensors")
    return folder


each = pytest.mark.parametrize("name", NETWORKS)


# ONNX


@each
def test_the_engine_gives_what_torch_gives_at_several_sizes(exported: Path, name: str) -> None:
    model = read_model(exported / f"{name}.onnx")
    assert model.card == card(name)
    reference = network(name).eval()
    for height, width in ((8, 20), (24, 32), (44, 12)):
        x = torch.rand(1, 3, height, width)
        with torch.no_grad():
            expected = reference(x).numpy()
        got = compile_window(OpenVINO(), model, height, width)(x.numpy())
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_the_engine_refuses_what_is_no_multiple(exported: Path) -> None:
    model = read_model(exported / "pooled.onnx")
    assert model.card.multiple_of == 4
    with pytest.raises(ModelError, match="cannot run this model on 22x24 pixels"):
        compile_window(OpenVINO(), model, 24, 22)


def test_how_given_low_resolution_was_made_is_unknown() -> None:
    drawn = recipe("plain")
    pair = PairedSource(hr="hr", lr="lr")
    given = replace(drawn, data=replace(drawn.data, train=["train", pair]))
    degradations = [
        make_card(each, network("plain"), None, None).degradation for each in (drawn, given)
    ]
    assert degradations == ["bicubic", "unknown"]


@each
def test_cards_say_what_the_network_is(exported: Path, name: str) -> None:
    written = read_model(exported / f"{name}.onnx").card
    assert (written.network, written.network_parameters) == (name, NETWORKS[name])
    assert (written.halo is None) == (name == "rcan")
    assert written.parameter_count == trainable_parameters(deployed(network(name)))
    assert (written.recipe, written.commit, written.degradation) == ("tiny.toml", "abc", "bicubic")


def test_export_leaves_the_network_as_it_is(tmp_path: Path) -> None:
    trained = network("plain").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = {key: w.clone() for key, w in trained.state_dict().items()}
    assert export_onnx(trained, card("plain"), tmp_path / "plain.onnx") < 1e-5
    assert trained.training
    after = trained.state_dict()
    assert set(after) == set(before)
    assert all(torch.equal(after[key], w) for key, w in before.items())
    assert trained.head.weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr, operator]


def test_export_gives_what_torch_gives(
    random_network: Plain, tmp_path: Path, model_file: Path
) -> None:
    again = replace(read_model(model_file).card, name="again")
    path = tmp_path / "again.onnx"
    assert export_onnx(random_network, again, path) < 1e-5
    assert read_model(path).card == again
    proto = onnx.load(path)
    assert json.loads(again.to_json())["name"] == "again"
    assert str(ROOT) not in str(proto), "a model file names no machine paths"
    assert os.listdir(tmp_path) == ["again.onnx"]


@pytest.mark.parametrize("factor", [1.001, np.nan])
def test_export_refuses_what_the_engine_computes_differently(
    random_network: Plain, tmp_path: Path, model_file: Path, factor: float
) -> None:
    class Other(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = random_network(x) * factor
            return output

    graph = onnx_graph(random_network.eval(), channels=3, multiple_of=1)
    its_card = read_model(model_file).card
    with pytest.raises(TrainingError, match="engine differs from torch"):
        write_checked(graph, its_card, Other(), tmp_path / "wrong.onnx")
    assert os.listdir(tmp_path) == []
    assert write_checked(graph, its_card, random_network, tmp_path / "right.onnx") < 1e-5


# Weights, and back


@each
def test_safetensors_give_the_network_back(exported: Path, name: str) -> None:
    path = exported / f"{name}.safetensors"
    loaded, its_card = load_network(path)
    assert its_card == card(name)
    assert not loaded.training
    expected = network(name).state_dict()
    weights = loaded.state_dict()
    assert set(weights) == set(expected)
    assert all(torch.equal(weights[key], w) for key, w in expected.items())


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "srresnet"])
def test_models_give_the_network_back_as_deployed(exported: Path, name: str) -> None:
    loaded, its_card = load_network(exported / f"{name}.onnx")
    assert its_card == card(name)
    expected = deployed(network(name)).state_dict()
    weights = loaded.state_dict()
    assert set(weights) == set(expected)
    assert all(torch.equal(weights[key], w) for key, w in expected.items())


def test_a_checkpoint_gives_its_averaged_weights(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    average = network("srresnet")
    other = build(recipe("srresnet").network, 2)
    save_checkpoint(path, recipe("srresnet"), TrainingState(), other, average, [])
    loaded, its_card = load_network(path)
    assert its_card == replace(card("srresnet"), recipe=None, commit=None)
    expected = average.state_dict()
    assert all(torch.equal(w, expected[key]) for key, w in loaded.state_dict().items())


def test_files_that_give_no_network(exported: Path, tmp_path: Path) -> None:
    def complaint(path: Path) -> str:
        with pytest.raises(TrainingError) as caught:
            load_network(path)
        message = str(caught.value)
        assert message.startswith(str(path))
        assert "\n" not in message
        return message

    assert "give the .safetensors or .pt" in complaint(exported / "srresnet.onnx")
    for suffix in ("onnx", "safetensors", "pt"):
        assert "cannot read this" in complaint(tmp_path / f"none.{suffix}")
        (tmp_path / f"rubbish.{suffix}").write_bytes(b"rubbish" * 9)
        assert "not a" in complaint(tmp_path / f"rubbish.{suffix}")
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    assert complaint(folder).endswith(os.strerror(errno.EISDIR))
    folder.rmdir()
    assert "not a .safetensors, .pt or .onnx file" in complaint(ROOT / "README.md")

    path = tmp_path / "other.pt"
    torch.save({"recipe": {"name": 3}, "average": {}, "progress": {}}, path)
    assert "recipe that this upres cannot read" in complaint(path)
    torch.save({"recipe": {"name": torch.ones(1)}, "average": {}, "progress": {}}, path)
    assert "recipe that this upres cannot read" in complaint(path)
    save_checkpoint(path, recipe("edsr"), TrainingState(), network("edsr"), network("rcan"), [])
    assert "weights do not fit" in complaint(path)

    path = tmp_path / "other.safetensors"
    save_weights(network("edsr"), card("rcan"), path)
    assert "weights do not fit" in complaint(path)
    save_weights(network("edsr"), replace(card("edsr"), network="vdsr"), path)
    assert "cannot build" in complaint(path)
    wrong = replace(card("edsr"), network_parameters={"features": 8, "blocks": 0})
    save_weights(network("edsr"), wrong, path)
    assert "cannot build" in complaint(path)
    foreign = path.read_bytes().replace(CARD_KEY.encode(), b"other", 1)
    path.write_bytes(foreign)
    assert "no card of upres" in complaint(path)
    assert sorted(os.listdir(tmp_path)) == [
        "other.pt", "other.safetensors", "rubbish.onnx", "rubbish.pt", "rubbish.safetensors"
    ]  # fmt: skip


def test_weights_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write here"):
        save_weights(network("edsr"), card("edsr"), tmp_path / "none" / "edsr.safetensors")


# The command


def test_exporting_weights_and_checkpoints(exported: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine.safetensors"
    source.write_bytes((exported / "edsr.safetensors").read_bytes())
    path, its_card = to_onnx(source, scale=3)
    assert path == tmp_path / "mine.onnx"
    assert read_model(path).card == its_card == card("edsr")
    with pytest.raises(OutputError, match=r"mine.onnx: exists already: force=True replaces it"):
        to_onnx(source)
    with pytest.raises(ModelError, match=r"enlarges 3 times, not 4 times"):
        to_onnx(source, scale=4, force=True)
    with pytest.raises(UsageError, match="is a model file already"):
        to_onnx(path)
    with pytest.raises(UsageError, match=r"name ends in \.onnx"):
        to_onnx(source, tmp_path / "mine.bin")
    assert sorted(os.listdir(tmp_path)) == ["mine.onnx", "mine.safetensors"]


def test_the_command_exports_a_checkpoint(tmp_path: Path) -> None:
    trained = network("pooled")
    source, target = tmp_path / "last.pt", tmp_path / "new.onnx"
    save_checkpoint(source, recipe("pooled"), TrainingState(), trained, trained, [])
    # Not in a process of its own, as the exporter's start takes long.
    result = CliRunner().invoke(app, ["export", str(source), "--output", str(target)])
    assert (result.exit_code, result.output) == (0, f"wrote {target}: pooled, x2\n")
    assert read_model(target).card.name == "tiny-pooled"
