"""The comparison with models of others: that it runs, and refuses bad files in one line."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import pyvips
from onnx import helper

from engine.contract import write_model
from upres.errors import ModelError

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPT = BENCHMARKS / "others.py"
pytestmark = pytest.mark.skipif(
    not SCRIPT.is_file(), reason="needs benchmarks/, which a source distribution does not have"
)
needs_spandrel = pytest.mark.skipif(
    importlib.util.find_spec("spandrel") is None, reason="needs spandrel"
)


def others(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def write_set(folder: Path) -> Path:
    rows, columns = np.mgrid[:48, :60]
    picture = np.stack([4 * columns, 5 * rows, 128 + 0 * rows], 2).astype(np.uint8)
    (folder / "HR").mkdir(parents=True)
    pyvips.Image.new_from_array(picture).pngsave(str(folder / "HR" / "ramp.png"))
    return folder


@needs_spandrel
def test_peers_stand_beside_upres_with_seconds_and_scores(model_file: Path, tmp_path: Path) -> None:
    """A file with a card, and a network of spandrel's with random weights."""
    page, data = tmp_path / "others.md", write_set(tmp_path / "Ramps")
    done = others(
        *(model_file, "--untrained", "compact-small", "--quick", "--data", data, "--output", page)
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "others.json").read_text("utf-8"))
    assert found["output"] == [320, 180]
    by_name = {own["name"]: own for own in found["models"]}
    peer, untrained = by_name["random"], by_name["compact-small-untrained"]
    assert untrained["network"] == "RealESRGAN Compact"
    assert untrained["torch_seconds"] > 0
    assert untrained["psnr"] == {}
    assert peer["torch_seconds"] is None
    assert set(peer["psnr"]) == {"Ramps"}
    ours = [own for own in found["models"] if own["ours"]]
    assert {own["scale"] for own in found["models"]} == {2}
    assert {own["network"] for own in ours} == {"plain"}
    assert all(own["network_seconds"] > 0 and own["share_of_peak"] > 0 for own in by_name.values())
    assert all(set(own["psnr"]) == {"Ramps"} for own in ours)
    text = page.read_text("utf-8")
    for part in ("Ramps, dB", "| bicubic |", "**`fast`**", "compact-small-untrained"):
        assert part in text


@pytest.fixture(scope="module")
def others_module() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module("others")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.onnx", None, "cannot read this model file"),
        ("none.pth", None, "cannot read this checkpoint"),
        ("damaged.onnx", b"\x08\x07" * 50, "not an ONNX model"),
        ("damaged.pth", b"no checkpoint", "not a checkpoint of weights alone"),
        ("damaged.safetensors", b"no weights", "not a .safetensors file"),
        ("picture.png", b"", "not a model by its name"),
    ],
)
def test_bad_files_are_refused_by_name(
    others_module: ModuleType, tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        others_module.opened(str(path), tmp_path)
    assert str(caught.value).startswith(f"{path}: ")


def test_the_scale_of_a_model_without_a_card_is_probed(
    others_module: ModuleType, tmp_path: Path
) -> None:
    nodes = [helper.make_node("Resize", ["x", "", "by"], ["y"], mode="nearest")]
    scales = {"by": np.array([1, 1, 3, 3], np.float32)}
    model, network = others_module.opened(
        str(write_model(tmp_path / "nearest.onnx", nodes, scales)), tmp_path
    )
    assert (model.card.scale, network) == (3, None)


def test_a_bad_file_ends_the_command_in_one_line(tmp_path: Path) -> None:
    done = others(tmp_path / "none.onnx", "--output", tmp_path / "others.md")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"others.py: {tmp_path / 'none.onnx'}: ")
    assert not list(tmp_path.iterdir())


def test_nothing_to_compare_is_said() -> None:
    done = others()
    assert done.returncode == 2
    assert "name models of others" in done.stderr
