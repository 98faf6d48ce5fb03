from __future__ import annotations

import copy
import csv
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from upres.engine.complexity import multiply_adds
from upres.errors import InputError, TrainingError
from upres.models import read_model
from upres.raster import metrics
from upres.raster.resize import bicubic
from upres.training.checkpoint import TrainingState, read_checkpoint
from upres.training.config import Recipe, TeacherConfig, load_recipe, recipe_from
from upres.training.data import load_pairs, pair
from upres.training.devices import start_fabric
from upres.training.export import load_network
from upres.training.loop import make_step, train
from upres.training.meter import Meter
from upres.training.networks import EdsrConfig, Network, Plain, PlainConfig, SrresnetConfig, build
from upres.training.networks.parts import fast_in_bfloat16
from upres.training.optimisers import build_optimisers, learning_rate
from upres.training.run import LOG_COLUMNS, Folder
from upres.training.transfer import Teacher, orient, warm_start
from upres.training.validation import validate

Texture = Callable[[int, int, int], NDArray[np.uint8]]


def recipe(data: Path, *overrides: str) -> Recipe:
    return load_recipe(data / "recipe.toml", overrides)


def log_of(run: Path) -> list[dict[str, str]]:
    with (run / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_training_learns_and_leaves_a_whole_run(
    data: Path, tmp_path: Path, texture: Texture
) -> None:
    run = tmp_path / "run"
    changes = ["optimiser.steps=300", "validate_every=150", "optimiser.learning_rate=4e-3"]
    path = train(recipe(data, *changes), data=data, run=run, recipe_path=data / "recipe.toml")
    card = read_model(path).card
    assert (card.name, card.scale, card.halo, card.data) == ("tiny", 2, 4, "made up")
    assert card.recipe == "recipe.toml", "no folder of this machine"
    given = {"features": 8, "blocks": 1, "branches": False, "closing": False}
    assert card.network_parameters == given
    rows = log_of(run)
    assert [row["step"] for row in rows] == ["100", "150", "200", "300"]
    scores = [float(row["valid_psnr"]) for row in rows if row["valid_psnr"]]
    # Repeating pixels is where training starts from.
    assert scores[-1] > scores[0] > start_score(texture(30, 30, 9)) + 1

    names = {p.name for p in run.iterdir()}
    assert names >= {"log.txt", "last.pt", "best.pt", "tiny-x2.onnx", "tiny-x2.safetensors"}
    assert recipe_from(tomllib.loads((run / "recipe.toml").read_text()), "") == recipe(
        data, *changes
    )
    environment = json.loads((run / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    assert environment["packages"]["numpy"] == np.__version__
    assert list((run / "tensorboard").glob("events.*"))
    assert read_checkpoint(run / "best.pt")["progress"]["best_psnr"] == pytest.approx(
        max(scores), abs=1e-4
    )
    # The picture shows bicubic, the network and the truth; 15 pixels a side are all there is.
    shown = pyvips.Image.new_from_file(str(run / "valid" / "step-0000300.png")).numpy()
    assert shown.shape == (30, 90, 3)
    np.testing.assert_array_equal(shown[:, 60:], texture(30, 30, 9))
    text = (run / "log.txt").read_text()
    assert "images/s" in text
    assert "TFLOP/s" in text
    assert "of the device's matrix rate" in text


def start_score(image: NDArray[np.uint8]) -> float:
    low = bicubic(image, scale=0.5).repeat(2, 0).repeat(2, 1)
    return metrics.psnr(
        metrics.studio_luma(low[2:-2, 2:-2]), metrics.studio_luma(image[2:-2, 2:-2])
    )


def test_validation_goes_by_the_field_s_protocol(random_network: Plain, texture: Texture) -> None:
    pictures = [texture(30, 40, 1), texture(44, 30, 2)]
    psnr, shown = validate(random_network, [pair(picture, 2) for picture in pictures])
    expected = []
    for picture, (low, estimate, high) in zip(pictures, shown, strict=True):
        with torch.no_grad():
            output = random_network(low[None] / 255)[0].permute(1, 2, 0).numpy()
        rounded = np.rint(output * 255).clip(0, 255).astype(np.uint8)
        np.testing.assert_array_equal(estimate.permute(1, 2, 0), rounded)
        np.testing.assert_array_equal(high.permute(1, 2, 0), picture)
        expected.append(metrics.score(rounded, picture, border=2).psnr)
    assert psnr == pytest.approx(sum(expected) / 2)


STEPS = 600


def command(data: Path, run: Path, *more: str, processes: int = 1) -> list[str]:
    arguments = ["train", data / "recipe.toml", "--data", data, "--output", run]
    steps = ["--set", f"optimiser.steps={STEPS}", "--set", "data.batch=4"]
    parallel = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    start = [sys.executable, *(parallel if processes > 1 else []), "-m", "upres"]
    return [*start, *map(str, arguments), *steps, *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a run lies that nobody interrupted; made by the first test that needs it."""
    return tmp_path_factory.mktemp("whole") / "run"


def uninterrupted(data: Path, run: Path) -> Path:
    if not run.exists():
        subprocess.run(command(data, run), check=True, capture_output=True)
    return run


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    average: dict[str, torch.Tensor] = read_checkpoint(run / "last.pt")["average"]
    return average


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_stopped_at_any_moment_resumes_to_the_same_weights(
    data: Path, tmp_path: Path, whole: Path, number: signal.Signals
) -> None:
    stopped = tmp_path / "stopped"
    process = subprocess.Popen(command(data, stopped), stderr=subprocess.PIPE, text=True)
    while not (stopped / "log.csv").exists() or len(log_of(stopped)) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, message = process.communicate()
    assert not (stopped / "tiny-x2.onnx").exists()
    step = read_checkpoint(stopped / "last.pt")["progress"]["step"]
    assert 0 < step < STEPS
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert f"is saved as of step {step:,}: --resume goes on with it" in message
    result = subprocess.run(command(data, stopped), capture_output=True, text=True)
    assert result.returncode == 1
    assert (
        "holds a run already: --resume goes on with it, --output names another folder"
        in result.stderr
    )
    subprocess.run(command(data, stopped, "--resume"), check=True, capture_output=True)
    expected, got = weights_of(uninterrupted(data, whole)), weights_of(stopped)
    assert set(got) == set(expected)
    for name, weight in expected.items():
        assert torch.equal(got[name], weight), name
    if number == signal.SIGKILL:  # after Ctrl-C, the first row's loss is that since then
        losses = [[row["loss"] for row in log_of(run)] for run in (whole, stopped)]
        assert losses[0] == losses[1]


def test_two_processes_train_as_one(data: Path, tmp_path: Path, whole: Path) -> None:
    run = tmp_path / "two"
    done = subprocess.run(command(data, run, processes=2), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two = (
        [float(row["loss"]) for row in log_of(r)] for r in (uninterrupted(data, whole), run)
    )
    assert len(one) == len(two) > 5
    # Sums are taken in another order, and what that changes grows from step to step.
    coarser = 20 if fast_in_bfloat16(torch.device("cpu")) else 1
    np.testing.assert_allclose(two[0], one[0], rtol=1e-5 * coarser)
    np.testing.assert_allclose(two, one, rtol=2e-3 * coarser)


def test_progressive_patches_photo_and_a_teacher_resume_exactly(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = tmp_path / "teacher"
    train(recipe(data), data=data, run=teacher)
    changes = [
        "optimiser.steps=60",
        "optimiser.name=muon",
        "optimiser.clip=0.5",
        "data.degradation=photo",
        "data.later=[{step=30, patch=12, batch=1}]",
        "loss={charbonnier=1.0, fft=0.1}",
        f"teacher={{model='{teacher}/tiny-x2.safetensors', weight=0.3, self_ensemble=true}}",
        "network={name='srresnet', features=8, blocks=1}",
        "validate_every=20",
    ]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(recipe(data, *changes), data=data, run=whole)
    # A run of 60 steps that ends after 20 is one that was stopped there.
    original = torch.save

    def save(content: dict[str, Any], *arguments: Any) -> None:
        if content["progress"]["step"] == 40:
            raise KeyboardInterrupt
        original(content, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", save)
        with pytest.raises(KeyboardInterrupt):
            train(recipe(data, *changes), data=data, run=parts)
    assert read_checkpoint(parts / "last.pt")["progress"]["step"] == 20
    train(recipe(data, *changes), data=data, run=parts, resume=True)
    expected, got = weights_of(whole), weights_of(parts)
    assert any("running_mean" in name for name in expected)
    for name, weight in expected.items():
        assert torch.equal(got[name], weight), name


def test_resuming_needs_the_same_recipe_and_a_checkpoint(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(TrainingError, match="holds no checkpoint"):
        train(recipe(data), data=data, run=run, resume=True)
    train(recipe(data), data=data, run=run)
    for override, key in (("seed=1", "seed"), ("optimiser.ema=0.5", r"optimiser\.ema")):
        with pytest.raises(TrainingError, match=rf"differs in {key}: .* only optimiser\.steps may"):
            train(recipe(data, override), data=data, run=run, resume=True)
    (run / "last.pt").write_bytes(b"rubbish")
    with pytest.raises(TrainingError, match="not a checkpoint of upres"):
        train(recipe(data), data=data, run=run, resume=True)


def test_a_picture_that_cannot_be_read_does_not_end_training(data: Path, tmp_path: Path) -> None:
    (data / "train" / "broken.png").write_bytes(b"rubbish")
    train(recipe(data, "optimiser.steps=2"), data=data, run=tmp_path / "run")
    said = (tmp_path / "run/log.txt").read_text()
    assert f"left out: {data / 'train/broken.png'}: not a picture" in said
    assert "training pictures that cannot be read, and are left out: 1\n" in said
    assert " 2 pictures, 2 steps" in said
    for path in (data / "train").rglob("*.png"):
        path.write_bytes(b"rubbish")
    with pytest.raises(InputError, match="of 3 training pictures none can be read"):
        train(recipe(data), data=data, run=tmp_path / "none")


def test_a_run_goes_on_for_longer_with_the_optimiser_s_state(data: Path, tmp_path: Path) -> None:
    # A rate that does not depend on the number of steps: then nothing may tell the two apart.
    constant = ("optimiser.schedule=step", "optimiser.milestones=[999]")
    whole, longer = tmp_path / "whole", tmp_path / "longer"
    train(recipe(data, *constant, "optimiser.steps=30"), data=data, run=whole)
    train(recipe(data, *constant, "optimiser.steps=12"), data=data, run=longer)
    first = (longer / "tiny-x2.onnx").read_bytes()
    more = recipe(data, *constant, "optimiser.steps=30")
    train(more, data=data, run=longer, resume=True)
    expected, got = weights_of(whole), weights_of(longer)
    for name, weight in expected.items():
        assert torch.equal(got[name], weight), name
    assert (longer / "tiny-x2.onnx").read_bytes() != first
    assert "steps = 30" in (longer / "recipe.toml").read_text()
    said = (longer / "log.txt").read_text()
    assert "from step 12 on as a run of 30 steps, not of 12: the learning rate begins at" in said
    with pytest.raises(TrainingError, match=r"at step 30 already, and optimiser\.steps is 20"):
        train(recipe(data, *constant, "optimiser.steps=20"), data=data, run=longer, resume=True)


def test_the_cosine_of_a_longer_run_goes_on_from_where_it_is(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(recipe(data, "optimiser.steps=20"), data=data, run=run)
    longer = recipe(data, "optimiser.steps=40")
    train(longer, data=data, run=run, resume=True)
    rates = {int(row["step"]): float(row["learning_rate"]) for row in log_of(run)}
    assert rates[20] < 1e-4  # near its end
    assert rates[40] == pytest.approx(learning_rate(longer.optimiser, 39), rel=1e-2)
    begins = f"{learning_rate(longer.optimiser, 20):.3g}"
    assert f"begins at {begins}" in (run / "log.txt").read_text()
    assert float(begins) > 5e-4


def test_a_network_sees_the_grey_levels_as_they_are() -> None:
    """bfloat16 has eight digits: half of 256 levels would be brighter, by 0.25 in the mean."""
    levels = (torch.arange(256) / 255).reshape(1, 1, 16, 16)
    layer = torch.nn.Conv2d(1, 1, 1)
    seen: list[Tensor] = []
    made: list[Tensor] = []

    def see(_: torch.nn.Module, given: tuple[Tensor], output: Tensor) -> None:
        seen.append(given[0])
        made.append(output)

    layer.register_forward_hook(see)
    start_fabric().setup(layer)(levels)
    assert seen[0].dtype == torch.float32
    assert torch.equal(seen[0], levels)
    fast = fast_in_bfloat16(torch.device("cpu"))
    assert made[0].dtype == (torch.bfloat16 if fast else torch.float32)


def test_batches_without_a_finite_loss_are_skipped_and_counted(data: Path, tmp_path: Path) -> None:
    given = recipe(data)
    fabric = start_fabric()
    network = build(given.network, given.scale)
    average = copy.deepcopy(network).requires_grad_(False)
    optimisers = build_optimisers(network, given.optimiser)
    folder = Folder(tmp_path, writes=True)
    folder.begin(given, 0, None)
    meter, state = Meter(given, fabric, network, folder), TrainingState()
    take_step = make_step(given, fabric, network, average, optimisers, None)
    for state.step in range(1, 41):
        high = torch.rand(2, 3, 16, 16)
        if state.step % 10 == 3:
            high *= float("nan")
        meter.count(8, 2, *take_step(state.step - 1, torch.rand(2, 3, 8, 8), high))
    meter.stop(state)
    meter.psnr = 30.0  # so that it says something
    meter.report(state)
    folder.close()
    assert log_of(tmp_path)[-1]["skipped"] == "4"
    assert "4 batches skipped" in (tmp_path / "log.txt").read_text()
    for each in (network, average):
        assert all(w.isfinite().all() for w in each.state_dict().values())


def test_a_loss_that_explodes_stops_with_a_message_that_helps(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wild = recipe(data, "optimiser.learning_rate=1e30", "optimiser.warmup=0")
    message = r"at step 40 the loss was not finite for \d+ of the last 40 batches: start a new run"
    with pytest.raises(TrainingError, match=message) as caught:
        train(wild, data=data, run=Path("run"))
    assert "--resume" not in str(caught.value)
    advised = re.search(r"(start_from=\S+last\.pt)", str(caught.value))
    assert advised
    still = [f"optimiser.{rate}=1e-12" for rate in ("learning_rate", "final_learning_rate")]
    given = recipe(data, advised[1], "seed=1", "optimiser.steps=1", *still)
    train(given, data=data, run=Path("again"), recipe_path=data / "recipe.toml")
    expected, got = weights_of(Path("run")), weights_of(Path("again"))
    for name, weight in expected.items():
        torch.testing.assert_close(got[name], weight)


def test_clipping_bounds_the_gradient(data: Path, tmp_path: Path) -> None:
    # Plain descent by hand would be needed to see the norm itself; what shows is that a
    # vanishing bound leaves nothing for Adam's epsilon to divide.
    slow = recipe(data, "optimiser.clip=1e-12")
    train(slow, data=data, run=tmp_path / "slow")
    train(recipe(data), data=data, run=tmp_path / "fast")
    start = build(recipe(data).network, 2).state_dict()["tail.weight"]
    moved = [
        float((weights_of(tmp_path / n)["tail.weight"] - start).abs().max())
        for n in ("slow", "fast")
    ]
    assert moved[0] < 0.05 * moved[1]


def test_a_folder_that_cannot_hold_the_run_is_found_before_training(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="cannot write a run here"):
        train(recipe(data), data=data, run=tmp_path / "file" / "run")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9, 8, 1_000_000))
    with pytest.raises(
        TrainingError, match=r"needs \d+ MB there, and 1 MB are free: run names another"
    ):
        train(recipe(data), data=data, run=tmp_path / "run")


@pytest.mark.parametrize(
    "name", ["best.pt", "recipe.toml", "log.csv", "tiny-x2.onnx", "tiny-x2.safetensors"]
)
def test_what_is_left_of_a_run_is_not_overwritten(data: Path, tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / name).write_text("precious")
    with pytest.raises(
        TrainingError, match=rf"run: a run here would overwrite {name}: run names another"
    ):
        train(recipe(data), data=data, run=run)
    assert [path.name for path in run.iterdir()] == [name]
    assert (run / name).read_text() == "precious"


def test_a_start_that_failed_can_be_repeated(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with pytest.raises(InputError, match="no such tar file or folder"):
        train(recipe(data), data=tmp_path, run=run)
    with pytest.raises(InputError, match="no training picture has"):
        train(recipe(data, "data.patch=99"), data=data, run=run)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(TrainingError, match="cannot write this checkpoint"):
            train(recipe(data), data=data, run=run)
    train(recipe(data, "optimiser.steps=1"), data=data, run=run)


def test_a_disk_that_fills_leaves_the_last_checkpoint(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = torch.save
    saves: list[int] = []

    def save(content: Any, file: Any) -> None:
        saves.append(content["progress"]["step"])
        if len(saves) == 2:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        original(content, file)

    monkeypatch.setattr(torch, "save", save)
    run = tmp_path / "run"
    with pytest.raises(TrainingError, match=r"cannot write this checkpoint: No space left"):
        train(recipe(data), data=data, run=run)
    assert read_checkpoint(run / "last.pt")["progress"]["step"] == 0
    assert not list(run.glob("*.tmp"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_logs_that_cannot_be_written_are_named(data: Path, tmp_path: Path) -> None:
    folder = Folder(tmp_path, writes=True)
    folder.begin(recipe(data), 0, None)
    for name in ("log.txt", "log.csv"):
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).symlink_to("/dev/full")
    (tmp_path / "valid").touch()
    pictures = [torch.zeros(3, side, side, dtype=torch.uint8) for side in (4, 8, 8)]
    for write, why in (
        (lambda: folder.say("text"), errno.ENOSPC),
        (lambda: folder.log(dict.fromkeys(LOG_COLUMNS, 1.0)), errno.ENOSPC),
        (lambda: folder.show(1, [(pictures[0], pictures[1], pictures[2])]), errno.EEXIST),
    ):
        with pytest.raises(TrainingError) as caught:
            write()
        reason = os.strerror(why)
        assert str(caught.value) == f"{tmp_path}: cannot write the run's logs here: {reason}"
    folder.close()


def test_a_row_that_a_full_disk_cut_off_is_dropped_from_the_log(data: Path, tmp_path: Path) -> None:
    for start in (0, 200):
        folder = Folder(tmp_path, writes=True)
        folder.begin(recipe(data), start, None)
        folder.log(dict.fromkeys(LOG_COLUMNS, 1.0) | {"step": start + 100})
        folder.close()
        with (tmp_path / "log.csv").open("a") as file:
            file.write("\n200,0.0")
    assert [row["step"] for row in log_of(tmp_path)][:2] == ["100", "300"]


def test_patches_must_suit_the_network(data: Path, tmp_path: Path) -> None:
    pooled = recipe(data, "network={name='pooled', features=4}", "data.patch=12")
    with pytest.raises(TrainingError, match=r"data.patch 12: pooled needs a multiple of 8"):
        train(pooled, data=data, run=tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "batch"),
    [
        ("data.batch=3", "data.batch 3"),
        ("data.later=[{step=20, patch=8, batch=5}]", "data.later.0.batch 5"),
    ],
)
def test_batches_must_divide_among_the_processes(
    data: Path, tmp_path: Path, change: str, batch: str
) -> None:
    run = tmp_path / "run"
    done = subprocess.run(
        command(data, run, "--set", change, processes=2), capture_output=True, text=True
    )
    assert done.returncode != 0
    assert f"{batch}: 2 processes share each batch evenly: give a multiple of 2" in done.stderr
    assert not run.exists()


@pytest.mark.parametrize(("scale", "blocks"), [(2, 4), (3, 3), (4, 3)])
def test_pooled_trains_where_its_multiple_does_not_divide_1280x720(
    data: Path, tmp_path: Path, scale: int, blocks: int
) -> None:
    network = f"network={{name='pooled', features=2, blocks={blocks}}}"
    changes = [f"scale={scale}", network, "data.patch=16", "optimiser.steps=1"]
    path = train(recipe(data, *changes), data=data, run=tmp_path / "run")
    counted = multiply_adds(read_model(path))
    assert counted is not None
    said = (tmp_path / "run" / "log.txt").read_text()
    assert f"{counted / 1e9:.4g}G multiply-adds for 1280x720" in said


@pytest.mark.parametrize(("scale", "degradation"), [(2, "photo"), (4, "bicubic")])
def test_a_picture_too_small_to_validate_on_is_named_before_training(
    data: Path, tmp_path: Path, texture: Texture, scale: int, degradation: str
) -> None:
    changes = [f"scale={scale}", f"data.degradation={degradation}", "optimiser.steps=1"]
    given = recipe(data, *changes, "data.valid=['small']")
    (data / "small").mkdir()
    for side in (3 * scale, 3 * scale - 1):
        picture = pyvips.Image.new_from_array(texture(40, side, 1))
        picture.pngsave(str(data / "small" / f"{side}.png"))
    message = f"small/{3 * scale - 1}.png: is too small .* a picture of {3 * scale} pixels a side"
    with pytest.raises(InputError, match=message):
        train(given, data=data, run=tmp_path / "run")
    (data / "small" / f"{3 * scale - 1}.png").unlink()
    train(given, data=data, run=tmp_path / "run")
    assert read_checkpoint(tmp_path / "run" / "best.pt")["progress"]["step"] == 1


def test_starting_from_another_model(
    data: Path, tmp_path: Path, random_network: Plain, model_file: Path
) -> None:
    same = Plain(scale=2, features=8, blocks=2)
    warm_start(same, [model_file])
    for name, value in random_network.state_dict().items():
        assert torch.equal(same.state_dict()[name], value)
    other = Plain(scale=3, features=8, blocks=2)
    warm_start(other, [model_file])
    assert torch.equal(other.head.weight, random_network.head.weight)
    assert not other.tail.weight.any()
    for network in (
        Plain(scale=2, features=8, blocks=1),
        Plain(scale=2, features=4, blocks=2),
        Plain(scale=2, features=8, blocks=2, branches=True),
        Plain(scale=3, features=8, blocks=3),
        build(EdsrConfig(features=8, blocks=2), 2),
    ):
        before = copy.deepcopy(network.state_dict())
        with pytest.raises(TrainingError, match="its structure differs"):
            warm_start(network, [model_file])
        assert all(torch.equal(w, before[name]) for name, w in network.state_dict().items())
    for path in (tmp_path / "none.onnx", data / "recipe.toml"):
        with pytest.raises(TrainingError, match=path.name):
            warm_start(same, [path])


def test_the_average_follows_closely_at_first_and_then_slowly(data: Path) -> None:
    # As TensorFlow's ExponentialMovingAverage with num_updates.
    given = recipe(data, "optimiser.ema=0.5")
    torch.manual_seed(0)
    network = build(given.network, 2)
    average = copy.deepcopy(network)
    optimisers = build_optimisers(network, given.optimiser)
    fabric = Fabric(accelerator="cpu", devices=1)
    step = make_step(given, fabric, network, average, optimisers, None)
    low, high = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16)
    for number in range(12):
        before = copy.deepcopy(average.state_dict())
        step(number, low, high)
        decay = min(0.5, (1 + number) / (10 + number))
        for name, weight in network.state_dict().items():
            expected = decay * before[name] + (1 - decay) * weight
            torch.testing.assert_close(average.state_dict()[name], expected)
    assert any((before[name] != w).any() for name, w in network.state_dict().items())


def test_denormal_numbers_do_not_slow_training_down(data: Path, tmp_path: Path) -> None:
    def tenth_of_the_smallest() -> float:
        return float(torch.tensor([torch.finfo(torch.float32).tiny]) / 10)

    torch.set_flush_denormal(False)
    assert tenth_of_the_smallest() > 0
    train(recipe(data, "optimiser.steps=1"), data=data, run=tmp_path / "run")
    assert tenth_of_the_smallest() == 0


@pytest.mark.parametrize(
    "larger", [{"blocks": 3}, {"features": 12}, {"closing": True}, {"features": 16, "blocks": 4}]
)
def test_a_larger_network_starts_as_the_smaller_and_trains_all_it_has(
    random_network: Plain, model_file: Path, larger: dict[str, int]
) -> None:
    network = Plain(**({"scale": 2, "features": 8, "blocks": 2} | larger))
    warm_start(network, [model_file])
    picture = torch.rand(1, 3, 9, 7)
    torch.testing.assert_close(network(picture), random_network(picture))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    for _ in range(3):  # what lies before a zero gets its first gradient once that has moved
        optimiser.zero_grad()
        network(picture).square().sum().backward()
        optimiser.step()
    for old, new in zip(before, network.parameters(), strict=True):
        # Not all, as a ReLU may be shut for the whole picture.
        assert (old != new).float().mean() > 0.75, "weights that cannot be trained"


def test_starting_from_the_mean_of_several(tmp_path: Path, data: Path) -> None:
    runs = [tmp_path / "first", tmp_path / "second", tmp_path / "third"]
    models = [
        train(recipe(data, f"seed={seed}", "optimiser.steps=4"), data=data, run=run)
        for seed, run in enumerate(runs[:2])
    ]
    still = [f"optimiser.{rate}=1e-12" for rate in ("learning_rate", "final_learning_rate")]
    given = recipe(data, f"start_from={[str(path) for path in models]}", *still)
    models.append(train(given, data=data, run=runs[2]))
    *taken, last = (load_network(path)[0] for path in models)
    for name, value in last.state_dict().items():
        first, second = (network.state_dict()[name] for network in taken)
        torch.testing.assert_close(value, (first + second) / 2)
    assert not torch.equal(first, second)
    larger = train(recipe(data, "network.blocks=3"), data=data, run=tmp_path / "larger")
    with pytest.raises(TrainingError, match=r"tiny-x2.onnx: no mean with .*first.*structure"):
        warm_start(build(PlainConfig(features=8, blocks=3), 2), [models[0], larger])


@pytest.fixture
def teacher(model_file: Path) -> Callable[..., Teacher]:
    """Makes a teacher of ``random_network``; in float32, where equal is equal."""

    def make(scale: int = 2, **options: Any) -> Teacher:
        config = TeacherConfig(model=model_file.name, **options)
        return Teacher(config, model_file.parent, scale, torch.device("cpu"), bfloat16=False)

    return make


@pytest.mark.parametrize("self_ensemble", [False, True])
def test_a_teacher_gives_its_networks_output(
    random_network: Network,
    teacher: Callable[..., Teacher],
    eight_ways: Callable[[Network, Tensor], Tensor],
    self_ensemble: bool,
) -> None:
    x = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = eight_ways(random_network, x) if self_ensemble else random_network(x)
    torch.testing.assert_close(teacher(self_ensemble=self_ensemble)(x), expected)


def test_a_teacher_teaches_its_own_scale(teacher: Callable[..., Teacher]) -> None:
    with pytest.raises(TrainingError, match=r"enlarges 2 times cannot teach 3 times"):
        teacher(scale=3)


def test_a_teacher_of_whole_pictures_labels_each_turned_another_way(
    random_network: Network,
    teacher: Callable[..., Teacher],
    eight_ways: Callable[[Network, Tensor], Tensor],
) -> None:
    random = np.random.default_rng(8)
    low = random.integers(0, 256, (6, 9, 3), np.uint8)
    high = random.integers(0, 256, (12, 18, 3), np.uint8)
    x = torch.from_numpy(low).permute(2, 0, 1)[None] / 255

    def check(label: NDArray[np.uint8], output: Tensor) -> None:
        expected = 0.75 * high + 0.25 * 255 * output[0].permute(1, 2, 0).clamp(0, 1).numpy()
        np.testing.assert_allclose(label, expected, atol=0.51)

    one_way, all_ways = (
        teacher(self_ensemble=each, whole=True, weight=0.25) for each in (False, True)
    )
    # Mirrored left to right, and then about the diagonal: the ways are counted in pairs.
    labels = [one_way.label(index, low, high) for index in (8, 13)]
    with torch.no_grad():
        outputs = [random_network(x), random_network(x.flip(3).mT).mT.flip(3)]
        mean = eight_ways(random_network, x)
    for label, output in zip(labels, outputs, strict=True):
        check(label, output)
    assert not np.array_equal(*labels)
    for index in (8, 13):
        label = all_ways.label(index, low, high)
        check(label, mean)
        assert not any(np.array_equal(label, each) for each in labels)


def test_a_teacher_of_whole_pictures_takes_their_place(data: Path, tmp_path: Path) -> None:
    train(recipe(data, "optimiser.steps=4"), data=data, run=tmp_path / "teacher")
    model = tmp_path / "teacher" / "tiny-x2.safetensors"
    taught = recipe(data, f"teacher={{model='{model}', whole=true, weight=0.5}}")
    train(taught, data=data, run=tmp_path / "taught")
    # The same from pairs whose high resolution is the labels, with no teacher at all.
    config = TeacherConfig(model=str(model), whole=True, weight=0.5)
    cpu = torch.device("cpu")
    teacher = Teacher(config, Path(), 2, cpu, bfloat16=fast_in_bfloat16(cpu))
    for index, (low, high) in enumerate(load_pairs(["train"], data, 2)):
        pixels = [x.permute(1, 2, 0).numpy() for x in (low, high)]
        label = teacher.label(index, *pixels)
        assert not np.array_equal(label, pixels[1])
        for name, image in (("low", pixels[0]), ("high", label)):
            (data / name).mkdir(exist_ok=True)
            path = str(data / name / f"{index}.png")
            pyvips.Image.new_from_array(np.ascontiguousarray(image)).pngsave(path)
    given = recipe(data, "data.train=[{hr='high', lr='low'}]")
    train(given, data=data, run=tmp_path / "given")
    for name, weight in weights_of(tmp_path / "given").items():
        assert torch.equal(weight, weights_of(tmp_path / "taught")[name]), name


def test_orientations_come_back() -> None:
    x = torch.rand(1, 3, 5, 7)
    for flips in ((), (2,), (3,), (2, 3)):
        for turned in (False, True):
            assert torch.equal(orient(orient(x, flips, turned), flips, turned, back=True), x)


def test_a_network_with_batch_normalisation_keeps_its_statistics(
    data: Path, tmp_path: Path
) -> None:
    train(recipe(data, "network={name='srresnet', features=8, blocks=1}"), data=data, run=tmp_path)
    network = build(SrresnetConfig(features=8, blocks=1), 2)
    before = {name: w.clone() for name, w in network.state_dict().items()}
    after = weights_of(tmp_path)
    means = [name for name in before if name.endswith("running_mean")]
    assert means
    assert all(not torch.equal(before[name], after[name]) for name in means)
