from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import pyvips
import torch
from numpy.typing import NDArray
from rich.console import Console

from upres.errors import InputError, RecipeError, TrainingError
from upres.model import read_model
from upres.resize import bicubic
from upres.training.config import OptimiserConfig, Recipe, load_recipe
from upres.training.data import Patches, pair, read_pictures
from upres.training.degradations import bicubic_downscale
from upres.training.export import export_onnx, read_weights
from upres.training.loop import train, warm_start
from upres.training.networks import Plain, build, multiply_adds, parameter_count
from upres.training.optimisers import Muon, build_optimisers, learning_rate, orthogonalise

ROOT = Path(__file__).parents[2]

RECIPE = """
name = "tiny"
scale = 2
validate_every = 40
checkpoint_seconds = 0
[network]
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


def texture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed).random((height // 4 + 1, width // 4 + 1, 3))
    return (bicubic(random, size=(height, width)).clip(0, 1) * 255).astype(np.uint8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with two training pictures, and a tar file with one to validate on."""
    folder = tmp_path / "data"
    (folder / "train" / "deeper").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "deeper/b.png")):
        pyvips.Image.new_from_array(texture(40 + seed, 51, seed)).pngsave(
            str(folder / "train" / name)
        )
    content = pyvips.Image.new_from_array(texture(30, 30, 9)).pngsave_buffer()
    with tarfile.open(folder / "valid.tar", "w") as archive:
        info = tarfile.TarInfo("c.png")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


def recipe(data: Path, *overrides: str) -> Recipe:
    return load_recipe(data / "recipe.toml", overrides)


QUIET = Console(file=io.StringIO())


# Networks


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_new_network_repeats_pixels(scale: int) -> None:
    x = torch.rand(2, 3, 7, 9)
    expected = x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    with torch.no_grad():
        torch.testing.assert_close(Plain(scale=scale, features=8, blocks=2)(x), expected)


def test_halo_is_the_receptive_field(random_network: Plain) -> None:
    x = torch.rand(1, 3, 41, 41, requires_grad=True)
    random_network(x)[0, :, 40:42, 40:42].sum().backward()
    assert x.grad is not None
    touched = x.grad[0].abs().amax(0).nonzero()
    reach = int((touched - 20).abs().max())
    # ReLUs may shut single paths off, but not all of a random network's.
    assert reach == random_network.halo


def test_the_global_skip_and_the_shortcuts_are_there(random_network: Plain) -> None:
    x = torch.rand(1, 3, 8, 8)
    block = random_network.body[0]
    features = torch.rand(1, 8, 8, 8)
    with torch.no_grad():
        inner = block.conv2(torch.relu(block.conv1(features)))
        torch.testing.assert_close(block(features), features + inner)
        residual = random_network.tail(random_network.body(random_network.head(x)))
        repeated = torch.nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
        expected = torch.nn.functional.pixel_shuffle(residual, 2) + repeated
        torch.testing.assert_close(random_network(x), expected)


def test_counts_by_hand() -> None:
    network = Plain(scale=2, features=8, blocks=2)
    weights = 27 * 8 + 4 * 72 * 8 + 72 * 12
    assert parameter_count(network) == weights + 8 + 4 * 8 + 12
    assert multiply_adds(network, 10, 20) == 200 * weights


# Optimisers


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16)])
def test_orthogonalising_keeps_directions_and_evens_their_strengths(
    shape: tuple[int, int],
) -> None:
    torch.manual_seed(1)
    u, _, v = torch.linalg.svd(torch.randn(2, *shape), full_matrices=False)
    strengths = torch.logspace(0, -1.5, min(shape))
    result = orthogonalise(u * strengths @ v)
    # In the basis of the matrix's own singular vectors: diagonal, and nearly even.
    inner = u.mT @ result @ v.mT
    diagonal = inner.diagonal(dim1=1, dim2=2)
    assert diagonal.min() > 0.65
    assert diagonal.max() < 1.25
    torch.testing.assert_close(inner, torch.diag_embed(diagonal), atol=1e-4, rtol=0)


def test_muon_steps_as_its_source_says() -> None:
    torch.manual_seed(2)
    kernel = torch.nn.Parameter(torch.zeros(4, 3, 3, 3))
    muon = Muon([kernel], lr=0.1)
    kernel.grad = gradient = torch.randn(4, 3, 3, 3)
    muon.step()
    # One step: the average is 0.05 of the gradient, and only directions count.
    expected = -0.1 * 0.2 * 27**0.5 * orthogonalise(gradient.view(1, 4, 27)).view(4, 3, 3, 3)
    torch.testing.assert_close(kernel.detach(), expected, atol=2e-3, rtol=0)


def test_muon_takes_hidden_kernels_and_adam_all_else(random_network: Plain) -> None:
    muon, adam = build_optimisers(random_network, OptimiserConfig(steps=1, name="muon"))
    kernels = {id(c.weight) for b in random_network.body for c in (b.conv1, b.conv2)}
    assert {id(p) for group in muon.param_groups for p in group["params"]} == kernels
    everything = {id(p) for p in random_network.parameters()}
    rest = {id(p) for group in adam.param_groups for p in group["params"]}
    assert rest == everything - kernels


# Degradation and data


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tensor_downscaling_equals_the_array_function(scale: int) -> None:
    image = texture(48, 60, 3)
    image[::5] = 255  # hard edges overshoot
    image[::7] = 0
    got = bicubic_downscale(torch.from_numpy(image).permute(2, 0, 1), scale)
    expected = bicubic(image, scale=1 / scale)
    difference = got.permute(1, 2, 0).numpy().astype(int) - expected
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) < 1e-3


def test_pictures_come_from_folders_and_tar_files(data: Path) -> None:
    names = [name for name, _ in read_pictures([data / "train", data / "valid.tar"])]
    assert [Path(name).name for name in names] == ["a.png", "b.png", "valid.tar:c.png"]
    with pytest.raises(InputError, match=r"none.tar: no such tar file or folder"):
        list(read_pictures([data / "none.tar"]))
    (data / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no pictures"):
        list(read_pictures([data / "empty"]))


def patches(pairs: list[tuple[torch.Tensor, torch.Tensor]], **changes: Any) -> Patches:
    options = {"scale": 2, "patch": 6, "batch": 64, "candidates": 1, "seed": 0}
    return Patches(pairs, **(options | changes), device=torch.device("cpu"))


@pytest.mark.parametrize("scale", [2, 3])
def test_patches_are_aligned_crops_in_all_eight_orientations(scale: int) -> None:
    images = [texture(40, 52, 0), texture(61, 33, 1)]
    pairs = [pair(image, scale) for image in images]
    low, high = patches(pairs, scale=scale).sample(0)
    assert low.shape == (64, 3, 6, 6)
    assert high.shape == (64, 3, 6 * scale, 6 * scale)
    crops = {}  # every crop in every orientation -> the HR crop it belongs to
    for small, large in pairs:
        for top in range(small.shape[1] - 5):
            for left in range(small.shape[2] - 5):
                a = small[:, top : top + 6, left : left + 6]
                s = scale
                b = large[:, top * s : top * s + 6 * s, left * s : left * s + 6 * s]
                for orientation in range(8):
                    crops[orient(a, orientation).numpy().tobytes()] = (
                        orientation,
                        orient(b, orientation),
                    )
    seen = set()
    for one, other in zip((low * 255).round().byte(), (high * 255).round().byte(), strict=True):
        orientation, expected = crops[one.contiguous().numpy().tobytes()]
        seen.add(orientation)
        assert torch.equal(other, expected)
    assert seen == set(range(8))


def orient(x: torch.Tensor, orientation: int) -> torch.Tensor:
    if orientation & 1:
        x = x.flip(1)
    if orientation & 2:
        x = x.flip(2)
    return (x.mT if orientation & 4 else x).contiguous()


def test_batches_depend_on_seed_and_step_only() -> None:
    pairs = [pair(texture(40, 52, 0), 2)]
    first = patches(pairs)
    first.sample(3)
    a, b = first.sample(7), patches(pairs).sample(7)
    assert torch.equal(a[0], b[0])
    assert torch.equal(a[1], b[1])
    assert not torch.equal(a[0], first.sample(8)[0])
    assert not torch.equal(a[0], patches(pairs, seed=1).sample(7)[0])


def test_candidates_prefer_detail() -> None:
    flat = np.full((200, 200, 3), 99, np.uint8)
    pairs = [pair(flat, 2), pair(texture(200, 200, 0), 2)]

    def flat_share(candidates: int) -> float:
        low, _ = patches(pairs, candidates=candidates).sample(0)
        return float((low.std((1, 2, 3)) < 1e-3).float().mean())

    assert 0.3 < flat_share(1) < 0.7
    assert flat_share(2) < 0.15


def test_pictures_smaller_than_a_patch_are_left_out() -> None:
    pairs = [pair(texture(40, 52, 0), 2), pair(texture(8, 52, 0), 2)]
    assert len(patches(pairs)) == 1
    with pytest.raises(InputError, match="no training picture has 12 pixels a side"):
        patches(pairs[1:])


# Recipes


def test_every_recipe_of_the_repository_is_valid() -> None:
    paths = sorted((ROOT / "recipes").glob("*.toml"))
    assert {path.stem for path in paths} >= {"fast-x2", "fast-x3", "fast-x4"}
    for path in paths:
        network = build(load_recipe(path).network, load_recipe(path).scale)
        assert parameter_count(network) <= 150_000


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimiser.stepz=3", r"optimiser.stepz: no such key; did you mean optimiser.steps\?"),
        ("scale=5", "scale: input should be 2, 3 or 4"),
        ("data.batch=0", "data.batch: input should be greater than or equal to 1"),
        ("data.batch='two'", "data.batch: input should be a valid integer"),
        ("optimiser=3", "optimiser: "),
        ("nonsense", "write it as key=value"),
        ("name.x=3", "name is not a section"),
    ],
)
def test_mistakes_in_recipes_name_the_key(data: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(data, override)


def test_recipes_that_are_no_toml(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none.toml: cannot read this recipe"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("= 3")
    with pytest.raises(RecipeError, match=r"bad.toml: not valid TOML"):
        load_recipe(tmp_path / "bad.toml")


def test_learning_rate_rises_then_falls_by_half_a_cosine() -> None:
    config = OptimiserConfig(steps=110, learning_rate=2.0, final_learning_rate=1.0, warmup=10)
    rates = [learning_rate(config, step) for step in range(110)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == 2.0
    assert rates[60] == pytest.approx(1.5)
    assert rates[-1] == pytest.approx(1.0, abs=1e-3)
    assert rates[10:] == sorted(rates[10:], reverse=True)


# The loop


def test_training_learns_and_exports(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    path = train(
        recipe(data, "optimiser.steps=300", "validate_every=150", "optimiser.learning_rate=4e-3"),
        data=data,
        run=run,
        recipe_path=data / "recipe.toml",
        console=QUIET,
    )
    card = read_model(path).card
    assert (card.name, card.scale, card.halo, card.data) == ("tiny", 2, 4, "made up")
    assert card.network_parameters == {"features": 8, "blocks": 1}
    with (run / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["100", "150", "200", "300"]
    scores = [float(row["valid_psnr"]) for row in rows if row["valid_psnr"]]
    # Repeating pixels is where training starts from.
    image = texture(30, 30, 9)
    assert scores[-1] > scores[0] > start_score(image) + 1


def start_score(image: NDArray[np.uint8]) -> float:
    from upres import metrics

    low = bicubic(image, scale=0.5).repeat(2, 0).repeat(2, 1)
    return metrics.psnr(metrics.luma(low[2:-2, 2:-2]), metrics.luma(image[2:-2, 2:-2]))


def command(data: Path, run: Path, *more: str) -> list[str]:
    arguments = ["train", data / "recipe.toml", "--data", data, "--run", run]
    steps = ["--set", "optimiser.steps=600", "--set", "data.batch=4"]
    return [sys.executable, "-m", "upres", *map(str, arguments), *steps, *more]


def test_a_run_killed_at_any_moment_resumes_to_the_same_weights(data: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(data, whole), check=True, capture_output=True)
    process = subprocess.Popen(command(data, killed), stderr=subprocess.DEVNULL)
    while not (killed / "checkpoint.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "tiny-x2.onnx").exists()
    result = subprocess.run(command(data, killed), capture_output=True, text=True)
    assert result.returncode == 1
    assert "holds a run already; go on with --resume" in result.stderr
    subprocess.run(command(data, killed, "--resume"), check=True, capture_output=True)
    expected, got = (read_weights(run / "tiny-x2.onnx") for run in (whole, killed))
    assert set(got) == set(expected)
    for name, weight in expected.items():
        assert torch.equal(got[name], weight), name
    logs = [(run / "log.csv").read_text().splitlines() for run in (whole, killed)]
    losses = [[row.split(",")[2] for row in log] for log in logs]
    assert losses[0] == losses[1]


def test_resuming_needs_the_same_recipe_and_a_checkpoint(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(TrainingError, match="holds no checkpoint"):
        train(recipe(data), data=data, run=run, resume=True, console=QUIET)
    train(recipe(data), data=data, run=run, console=QUIET)
    with pytest.raises(TrainingError, match="has another recipe"):
        train(recipe(data, "seed=1"), data=data, run=run, resume=True, console=QUIET)
    (run / "checkpoint.pt").write_bytes(b"rubbish")
    with pytest.raises(TrainingError, match="cannot be read"):
        train(recipe(data), data=data, run=run, resume=True, console=QUIET)


def test_a_loss_that_explodes_stops_with_a_message(data: Path, tmp_path: Path) -> None:
    wild = recipe(data, "optimiser.learning_rate=1e30", "optimiser.warmup=0")
    with pytest.raises(TrainingError, match=r"no longer finite at step 40: lower"):
        train(wild, data=data, run=tmp_path / "run", console=QUIET)


def test_a_run_folder_that_cannot_be_made(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="cannot write a run here"):
        train(recipe(data), data=data, run=tmp_path / "file" / "run", console=QUIET)


def test_starting_from_another_model(
    data: Path, tmp_path: Path, random_network: Plain, model_file: Path
) -> None:
    same = Plain(scale=2, features=8, blocks=2)
    warm_start(same, model_file)
    for name, value in random_network.state_dict().items():
        assert torch.equal(same.state_dict()[name], value)
    other = Plain(scale=3, features=8, blocks=2)
    warm_start(other, model_file)
    assert torch.equal(other.head.weight, random_network.head.weight)
    assert not other.tail.weight.any()
    with pytest.raises(TrainingError, match="its structure differs"):
        warm_start(Plain(scale=2, features=8, blocks=3), model_file)
    with pytest.raises(TrainingError, match=r"none.onnx: cannot start from this model"):
        warm_start(same, tmp_path / "none.onnx")
    with pytest.raises(TrainingError, match="not an ONNX file"):
        warm_start(same, data / "recipe.toml")


# Export


def test_export_gives_what_torch_gives(
    random_network: Plain, tmp_path: Path, model_file: Path
) -> None:
    card = replace(read_model(model_file).card, name="again")
    path = tmp_path / "again.onnx"
    assert export_onnx(random_network, card, path) < 1e-5
    assert read_model(path).card == card
    proto = onnx.load(path)
    assert json.loads(card.to_json())["name"] == "again"
    assert str(ROOT) not in str(proto), "a model file names no machine paths"
    assert os.listdir(tmp_path) == ["again.onnx"]


def test_export_refuses_what_the_engine_computes_differently(
    random_network: Plain, tmp_path: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object) -> object:
        return lambda window: np.zeros((1, 3, 74, 58), np.float32)

    monkeypatch.setattr("upres.training.export.compile_window", wrong)
    card = read_model(model_file).card
    with pytest.raises(TrainingError, match="engine differs from torch"):
        export_onnx(random_network, card, tmp_path / "wrong.onnx")
    assert os.listdir(tmp_path) == []
