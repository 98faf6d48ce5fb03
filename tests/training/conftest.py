"""What the tests of training share: made-up pictures, and a recipe for a tiny network."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from upres.resize import bicubic

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
