"""The training loop: from a recipe to a model file."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from upres.errors import Remedy, TrainingError, TrainingInterrupted
from upres.signals import stop_on_signals
from upres.training import run as runs
from upres.training.checkpoint import (
    TrainingState,
    checkpoint_bytes,
    load_checkpoint,
    save_checkpoint,
)
from upres.training.config import Recipe
from upres.training.data import Pairs, load_pairs
from upres.training.devices import memory_format, start_fabric
from upres.training.export import export_onnx, make_card, save_weights
from upres.training.losses import mixture
from upres.training.meter import REPORT_EVERY, Meter
from upres.training.networks import (
    Network,
    build,
    multiply_adds_for_output,
    trainable_parameters,
)
from upres.training.networks.parts import fast_in_bfloat16, luma_of
from upres.training.optimisers import build_optimisers, learning_rate
from upres.training.patches import Patches
from upres.training.sources import DataSource
from upres.training.transfer import Teacher, warm_start
from upres.training.validation import check_pictures, validate

MOST_NAMED = 20
"""Pictures that are named of those that cannot be read; all of them are counted."""


def train(
    recipe: Recipe,
    *,
    data: Path,
    run: Path,
    resume: bool = False,
    recipe_path: Path | None = None,
    cache: Path | None = None,
) -> Path:
    """Train ``recipe`` and export the result; return the model file's path.

    ``data`` is the folder to which the recipe's sources are relative; ``run`` becomes the
    run's folder. With ``resume``, a run that was interrupted at any moment goes on from
    its last checkpoint, to the same weights as if it had not been; with more or fewer steps, the
    learning rate goes on as in a run of so many, with the optimiser's state. Decoded pictures are
    kept in ``cache``, if given. GPUs are used if torch finds them; started by torchrun,
    the processes share each batch.

    Raises ``TrainingError`` if the run's folder is taken or cannot be written, a patch or a
    batch does not suit network or processes, or the loss is no longer finite;
    ``TrainingInterrupted`` after Ctrl-C, with all saved; ``InputError`` if no training picture, or
    not every picture for validation, can be read, or one is too small.
    """
    commit = runs.commit()  # now, as the checkout may change while this runs
    fabric = start_fabric()
    device = fabric.device
    base = recipe_path.parent if recipe_path else Path()

    torch.manual_seed(recipe.seed)
    network = build(recipe.network, recipe.scale, recipe.channels)
    _check_sizes(recipe, network, fabric.world_size)
    if recipe.start_from and not resume:
        warm_start(network, [base / model for model in recipe.start_from])
    network.to(device=device, memory_format=memory_format(device))  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimisers = build_optimisers(network, recipe.optimiser)
    if fabric.is_global_zero:
        runs.prepare_folder(run, recipe, resume=resume, needed=3 * checkpoint_bytes(network))
    state, planned = TrainingState(), recipe.optimiser.steps
    if resume:
        state, planned = load_checkpoint(run / "last.pt", recipe, network, average, optimisers)
    teacher = None
    if recipe.teacher:
        fast = fast_in_bfloat16(device)
        teacher = Teacher(
            recipe.teacher,
            base,
            recipe.scale,
            device,
            bfloat16=fast,
            channels=recipe.channels,
        )
    folder = runs.Folder(run, writes=fabric.is_global_zero)
    if teacher and teacher.whole:
        folder.say(f"{teacher.path} labels the training pictures, if no cache has its labels")
    patches, valid, left_out = _read_data(recipe, data, cache, fabric, teacher)
    if left_out:
        for why in left_out[:MOST_NAMED]:
            folder.say(f"left out: {why}")
        folder.say(f"training pictures that cannot be read, and are left out: {len(left_out):,}")

    def save(path: Path) -> None:
        if fabric.is_global_zero:
            save_checkpoint(path, recipe, state, network, average, optimisers)

    def validated() -> None:
        if fabric.is_global_zero:
            psnr, shown = validate(average, valid)
            folder.say(f"step {state.step:,}: valid {psnr:.2f} dB")
            folder.show(state.step, shown)
            meter.psnr = psnr
            if psnr > state.best_psnr:
                state.best_psnr = psnr
                save(run / "best.pt")
        fabric.barrier()

    # The checkpoint first: that it cannot be written is found out before training, and a run
    # that has other files can be resumed.
    save(run / "last.pt")
    folder.begin(recipe, state.step, commit)
    folder.say(
        f"{recipe.name} x{recipe.scale}: {trainable_parameters(network):,} parameters, "
        f"{multiply_adds_for_output(network) / 1e9:.4g}G "
        f"multiply-adds for 1280x720, {patches.usable(recipe.data.patch):,} pictures, "
        f"{recipe.optimiser.steps:,} steps on {fabric.world_size} x {runs.device_name(device)}"
    )
    if planned != recipe.optimiser.steps:
        folder.say(
            f"from step {state.step:,} on as a run of {recipe.optimiser.steps:,} steps, not of "
            f"{planned:,}: the learning rate begins at "
            f"{learning_rate(recipe.optimiser, state.step):.3g}"
        )
    on_patches = None if teacher and teacher.whole else teacher
    take_step = make_step(recipe, fabric, network, average, optimisers, on_patches)
    meter = Meter(recipe, fabric, network, folder)
    saved = time.monotonic()
    # Both wait for the end of the step; a second Ctrl-C does not.
    with stop_on_signals(insist=True) as stop:
        while state.step < recipe.optimiser.steps:
            patch, batch = recipe.data.sizes(state.step)
            low, high = patches.sample(
                state.step,
                patch=patch,
                batch=batch,
                part=fabric.global_rank,
                parts=fabric.world_size,
            )
            if network.channels == 1:
                low, high = luma_of(low), luma_of(high)
            meter.count(patch, batch, *take_step(state.step, low, high))
            state.step += 1
            last = state.step == recipe.optimiser.steps
            validating = last or state.step % recipe.validate_every == 0
            if validating or state.step % REPORT_EVERY == 0:
                meter.stop(state)
                if validating:
                    validated()
                meter.report(state)
                if last or time.monotonic() - saved > recipe.checkpoint_seconds:
                    save(run / "last.pt")
                    saved = time.monotonic()
            if stop.is_set():
                meter.stop(state)
                save(run / "last.pt")
                raise TrainingInterrupted(
                    f"interrupted; {run} is saved as of step {state.step:,}",
                    Remedy("resume", "goes on with it", True),
                )

    path = runs.model_path(run, recipe)
    if fabric.is_global_zero:
        named = runs.recipe_name(recipe_path) if recipe_path else None
        card = make_card(recipe, network, named, commit)
        # The weights first: they are safe then, whatever the engine makes of the model.
        save_weights(average, card, path.with_suffix(".safetensors"))
        difference = export_onnx(average, card, path)
        folder.say(f"wrote {path}; the engine differs from torch by {difference:.1g} at most")
    folder.close()
    return path


def _read_data(
    recipe: Recipe,
    data: Path,
    cache: Path | None,
    fabric: Fabric,
    teacher: Teacher | None,
) -> tuple[Patches, Pairs, Sequence[str]]:
    config = recipe.data

    def load(sources: Sequence[DataSource], **made: Any) -> Pairs:
        return load_pairs(sources, data, recipe.scale, cache=cache, **made)

    # With a cache, one process of each machine decodes, and the others map its result.
    if cache and fabric.local_rank:
        fabric.barrier()
    labels = teacher if teacher and teacher.whole else None
    # First the quickly read ones, as many a mistake shows in them.
    valid = load(config.valid, degradation=config.degradation, seed=recipe.seed)
    check_pictures(valid)
    pairs = load(config.train, shrink=config.shrink, teacher=labels, strict=False)
    if cache and not fabric.local_rank:
        fabric.barrier()
    patches = Patches(
        pairs,
        candidates=config.candidates,
        seed=recipe.seed,
        device=fabric.device,
        degradation=config.degradation,
    )
    for stage in config.stages().values():
        patches.usable(stage.patch)
    return patches, valid, pairs.left_out


def _check_sizes(recipe: Recipe, network: Network, processes: int) -> None:
    """Raise ``TrainingError`` for a patch that ``network`` does not take, and for a batch that
    ``processes`` cannot share.
    """
    for section, stage in recipe.data.stages().items():
        if stage.patch % network.multiple_of:
            raise TrainingError(
                f"{section}.patch {stage.patch}: {recipe.network.name} needs a multiple of "
                f"{network.multiple_of}"
            )
        if stage.batch % processes:
            raise TrainingError(
                f"{section}.batch {stage.batch}: {processes} processes share each batch evenly: "
                f"give a multiple of {processes}"
            )


def make_step(
    recipe: Recipe,
    fabric: Fabric,
    network: Network,
    average: Network,
    optimisers: Sequence[torch.optim.Optimizer],
    teacher: Teacher | None,
) -> Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """One step of training: takes its number and a batch, gives loss and whether it is finite.

    Both are left on the device, so that the host never waits for them.
    """
    config = recipe.optimiser
    criterion = mixture(recipe.loss)
    if fabric.device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # all batches of a stage have one size
        network.compile()
    forward, *wrapped = fabric.setup(network, *optimisers)
    parameters = list(network.parameters())
    pairs = [
        (own, new)
        for own, new in zip(
            average.state_dict().values(), network.state_dict().values(), strict=True
        )
        if own.is_floating_point()
    ]
    owns, news = map(list, zip(*pairs, strict=True))

    def step_once(step: int, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        rate = learning_rate(config, step)
        low = low.contiguous(memory_format=memory_format(low.device))
        output = forward(low)
        loss = criterion(output, high)
        if teacher is not None:
            loss = torch.lerp(loss, criterion(output, teacher(low)), teacher.weight)
        for optimiser in wrapped:
            optimiser.zero_grad()
        # Times one, or NaN where the loss is not finite: the gradient of |x| would be finite
        # there, and all processes see the gradients only.
        fabric.backward(loss * (1 + 0 * loss.detach()))
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        finite = norm.isfinite()
        if config.clip is not None:
            torch._foreach_mul_(gradients, (config.clip / (norm + 1e-6)).clamp(max=1.0))
        # A batch whose loss is not finite counts as one without gradients: to leave the
        # step out altogether, the host would have to wait for the device at every step.
        for gradient in gradients:
            gradient.masked_fill_(~finite, 0.0)
        for inner, optimiser in zip(optimisers, wrapped, strict=True):
            for group in inner.param_groups:
                group["lr"] = rate
            optimiser.step()
        # Early on, the average follows closely: it has no past worth keeping.
        decay = min(config.ema, (step + 1) / (step + 10))
        torch._foreach_lerp_(owns, news, 1 - decay)
        return loss.detach(), finite

    return step_once
