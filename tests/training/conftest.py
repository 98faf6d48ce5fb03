"""What the tests of training share: made-up pictures, a recipe, and a model in int8."""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
import tarfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import pyvips
import torch
from numpy.typing import NDArray
from torch import Tensor

from upres.raster.resize import bicubic
from upres.training.networks import Network
from upres.training.quantise import to_int8

Texture = Callable[[int, int, int], NDArray[np.uint8]]

RECIPE = """
name = "tiny"
scale = 2
validate_every = 40
checkpoint_seconds = 0
[network]
name = "plain"
features = 8
blocks = 1
[data]
train = ["train"]
valid = ["valid.tar"]
licence = "made up"
patch = 8
batch = 2
candidates = 2
[optimiser]
steps = 40
warmup = 10
"""


@pytest.fixture(scope="session")
def texture() -> Texture:
    """Makes a smooth random picture of a height and width, from a seed."""

    def make(height: int, width: int, seed: int) -> NDArray[np.uint8]:
        random = np.random.default_rng(seed).random((height // 4 + 1, width // 4 + 1, 3))
        return (bicubic(random, size=(height, width)).clip(0, 1) * 255).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def eight_ways() -> Callable[[Network, Tensor], Tensor]:
    """Makes the mean of what a network gives for the eight ways to turn N x C x H x W."""

    def mean(network: Network, x: Tensor) -> Tensor:
        outputs = []
        for quarters in range(4):
            for mirrored in (False, True):
                turned = torch.rot90(x.flip(3) if mirrored else x, quarters, (2, 3))
                back = torch.rot90(network(turned), -quarters, (2, 3))
                outputs.append(back.flip(3) if mirrored else back)
        return torch.stack(outputs).mean(0)

    return mean


@pytest.fixture
def data(tmp_path: Path, texture: Texture) -> Path:
    """A folder with a recipe, two training pictures, and a tar file with one to validate on."""
    folder = tmp_path / "data"
    (folder / "train" / "deeper").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "deeper/b.png")):
        pyvips.Image.new_from_array(texture(72 + seed, 83, seed)).pngsave(
            str(folder / "train" / name)
        )
    content = pyvips.Image.new_from_array(texture(30, 30, 9)).pngsave_buffer()
    with tarfile.open(folder / "valid.tar", "w") as archive:
        info = tarfile.TarInfo("c.png")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three pictures of 140x130, and one that is too small."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(1)
    for name, (height, width) in {"a": (130, 140), "b": (130, 140), "c": (60, 60)}.items():
        smooth = pyvips.Image.new_from_array(random.integers(0, 256, (9, 9, 3), np.uint8))
        smooth.resize(width / 9, vscale=height / 9).pngsave(str(folder / f"{name}.png"))
    return folder


@pytest.fixture(scope="session")
def quantised(
    tmp_path_factory: pytest.TempPathFactory, model_file: Path, images: Path
) -> tuple[Path, float]:
    target = tmp_path_factory.mktemp("int8") / "random-int8-x2.onnx"
    path, _, difference = to_int8(model_file, images, target)
    assert path == target
    return path, difference


@pytest.fixture(scope="session")
def scaled() -> Callable[[Path, float, Path], Path]:
    """Writes a model whose weights are so many times as large; returns its path."""

    def write(source: Path, factor: float, target: Path) -> Path:
        graph = onnx.load(source)
        for tensor in graph.graph.initializer:
            if len(tensor.dims) > 1:
                weights = onnx.numpy_helper.to_array(tensor) * np.float32(factor)
                tensor.CopyFrom(onnx.numpy_helper.from_array(weights, tensor.name))
        onnx.save(graph, target)
        return target

    return write


@pytest.fixture
def spandrel() -> Any:
    """spandrel, imported with a stand-in for torchvision where that cannot be had.

    spandrel imports three names of torchvision for two architectures that upres does not
    export, and torchvision's public builds do not import beside a CPU build of torch.
    """
    if importlib.util.find_spec("spandrel") is None:
        pytest.skip("needs spandrel: pip install 'upres[community]'")
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("torchvision") is None:
            functional = types.ModuleType("torchvision.transforms.functional")
            for name in ("InterpolationMode", "rotate", "normalize"):
                setattr(functional, name, None)
            for name in ("torchvision", "torchvision.transforms"):
                patch.setitem(sys.modules, name, types.ModuleType(name))
            patch.setitem(sys.modules, functional.__name__, functional)
        return importlib.import_module("spandrel")
