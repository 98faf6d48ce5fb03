"""How a run goes: its loss, its speed, and the share of the device that it uses."""

from __future__ import annotations

import time

import torch
from lightning_fabric import Fabric
from torch import Tensor

from upres.engine.complexity import OUTPUT_HEIGHT, OUTPUT_WIDTH
from upres.errors import TrainingError
from upres.training.checkpoint import TrainingState
from upres.training.config import Recipe
from upres.training.networks import Network, multiply_adds_for_output
from upres.training.networks.parts import fast_in_bfloat16
from upres.training.optimisers import learning_rate
from upres.training.run import Folder

REPORT_EVERY = 100
"""Steps between log rows, and between the only waits for the device."""


class Meter:
    """Adds up losses on the device, and times; reports every so many steps."""

    def __init__(self, recipe: Recipe, fabric: Fabric, network: Network, folder: Folder) -> None:
        self.recipe, self.fabric, self.folder = recipe, fabric, folder
        pixels = OUTPUT_HEIGHT * OUTPUT_WIDTH / network.scale**2
        # Two for each multiply-add; once forward, twice back.
        self.pixel_flop = 6 * multiply_adds_for_output(network) / pixels
        self.peak = matrix_rate(fabric.device)
        self._reset()

    def _reset(self) -> None:
        device = self.fabric.device
        self.loss = torch.zeros((), device=device)
        self.finite = torch.zeros((), device=device)
        self.steps = self.images = 0
        self.flop = 0.0
        self.psnr: float | None = None
        self.start = time.monotonic()

    def count(self, patch: int, batch: int, loss: Tensor, finite: Tensor) -> None:
        """Take note of a step."""
        self.loss += loss.nan_to_num(0.0, 0.0, 0.0) * finite
        self.finite += finite
        self.steps += 1
        self.images += batch
        self.flop += self.pixel_flop * batch * patch**2

    def stop(self, state: TrainingState) -> None:
        """Wait for the device, and take the time; from here on, nothing is training."""
        if self.fabric.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds = max(time.monotonic() - self.start, 1e-9)
        state.seconds += self.seconds

    def report(self, state: TrainingState) -> None:
        """Log the steps since the last report; raise if most had no finite loss."""
        sums = self.fabric.all_reduce(torch.stack([self.loss, self.finite]), reduce_op="mean")
        assert isinstance(sums, Tensor)
        loss, finite = sums.tolist()
        skipped = self.steps - round(finite)
        state.skipped += skipped
        if skipped > self.steps / 2:
            # To resume, the recipe must be the same. Absolute, as start_from is relative to it.
            last = (self.folder.run / "last.pt").resolve()
            raise TrainingError(
                f"{self.folder.run}: at step {state.step:,} the loss was not finite for "
                f"{skipped} of the last {self.steps} batches: start a new run elsewhere, with "
                f"start_from={last} in its recipe, and lower optimiser.learning_rate or set "
                "optimiser.clip"
            )
        speed = self.steps / self.seconds
        rate = self.flop / self.seconds / self.fabric.world_size
        step = state.step
        self.folder.log(
            {
                "step": step,
                "learning_rate": learning_rate(self.recipe.optimiser, step - 1),
                "loss": loss / finite,
                "it_per_s": speed,
                "valid_psnr": self.psnr,
                "seconds": state.seconds,
                "skipped": state.skipped,
            }
        )
        if self.psnr is not None or step % (10 * REPORT_EVERY) == 0:
            left = (self.recipe.optimiser.steps - step) / speed / 60
            self.folder.say(
                f"step {step:,} of {self.recipe.optimiser.steps:,}: loss {loss / finite:.5f}, "
                f"{speed:.2f} it/s, {self.images / self.seconds:.0f} images/s, "
                f"{rate / 1e12:.3g} TFLOP/s ({rate / self.peak:.0%} of the device's matrix rate)"
                + (f", {state.skipped} batches skipped" if state.skipped else "")
                + f", {left:.0f} min left"
            )
        self._reset()


def matrix_rate(device: torch.device) -> float:
    """Floating-point operations a second of a large matrix product: the device's own rate.

    In bfloat16 where training is, else in float32.
    """
    side = 8192 if device.type == "cuda" else 1024
    dtype = torch.bfloat16 if fast_in_bfloat16(device) else torch.float32
    a = torch.randn(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        product = a @ a
        product[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
