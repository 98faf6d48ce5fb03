"""Optimisers, and the learning rate's course."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from upres.training.config import OptimiserConfig
from upres.training.networks.parts import fast_in_bfloat16


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal, for hidden convolutions.

    A kernel is taken as a matrix, output channels x (input channels x height x width). Its
    averaged gradient is replaced by the nearest matrix with equal singular values, so that
    rare directions are learned as fast as common ones, and scaled to entries of root mean
    square 0.2, as Adam's updates about have: learning rates for Adam serve here, too.

    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024
    (the iteration and its coefficients); Liu et al., "Muon is scalable for LLM training",
    2025, eq. 4 (the scale). torch's own takes matrices only.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, *, bfloat16: bool
    ) -> None:
        """``bfloat16`` is for devices that multiply it natively; see ``orthogonalise``."""
        super().__init__(parameters, {"lr": lr, "momentum": momentum})
        self.bfloat16 = bfloat16

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for parameters in shapes.values():  # kernels of one shape go through together
                momentum = group["momentum"]
                gradients = [p.grad for p in parameters if p.grad is not None]
                averages = [self._average(p) for p in parameters]
                torch._foreach_lerp_(averages, gradients, 1 - momentum)
                ahead = torch._foreach_lerp(gradients, averages, momentum)  # Nesterov's
                matrices = torch.stack([x.flatten(1) for x in ahead])
                scale = 0.2 * math.sqrt(max(matrices.shape[1:]))
                updates = orthogonalise(matrices, bfloat16=self.bfloat16).unbind()
                torch._foreach_add_(
                    parameters,
                    [u.view_as(p) for u, p in zip(updates, parameters, strict=True)],
                    alpha=-group["lr"] * scale,
                )

    def _average(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["average"] = torch.zeros_like(parameter)
        average: Tensor = state["average"]
        return average


def orthogonalise(matrices: Tensor, *, bfloat16: bool) -> Tensor:
    """N x rows x columns, with every singular value brought to about 1 (0.7 to 1.2).

    Source: Jordan et al., 2024: five Newton-Schulz iterations of a quintic polynomial, there
    in bfloat16. With AMX that took 8 ms instead of 21 for the 32 kernels of ``balanced``, a
    tenth of a step.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    if bfloat16:
        x = x.bfloat16()
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)


def build_optimisers(network: nn.Module, config: OptimiserConfig) -> list[torch.optim.Optimizer]:
    """The optimisers that the recipe asks for, which together hold every parameter.

    Muon takes the hidden convolutions, and Adam those that it does not suit: biases, and the
    first and last convolutions, whose inputs and outputs are not features but colours.
    """
    parameters = list(network.parameters())
    fused = parameters[0].device.type == "cuda"
    if config.name == "adam":
        return [torch.optim.Adam(parameters, lr=0.0, fused=fused)]
    if config.name == "adamw":
        decay = config.weight_decay
        return [torch.optim.AdamW(parameters, lr=0.0, weight_decay=decay, fused=fused)]
    kernels = [p for p in parameters if p.ndim == 4][1:-1]
    hidden = {id(kernel) for kernel in kernels}
    rest = [p for p in parameters if id(p) not in hidden]
    fast = fast_in_bfloat16(parameters[0].device)
    return [Muon(kernels, lr=0.0, bfloat16=fast), torch.optim.Adam(rest, lr=0.0, fused=fused)]


def learning_rate(config: OptimiserConfig, step: int) -> float:
    """The rate at ``step``, counted from 0.

    ``cosine``: a linear warm-up, then half a cosine down to the final rate (Loshchilov and
    Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, eq. 5,
    without restarts). ``one_cycle``: up from a 25th by half a cosine, down likewise (Smith
    and Topin, "Super-convergence", 2018, in the form that fast.ai gave it). ``step``: a
    linear warm-up, then constant but for a decay at each milestone.
    """
    peak, final = config.learning_rate, config.final_learning_rate
    if step < config.warmup:
        if config.schedule == "one_cycle":
            return _half_cosine(peak / 25, peak, step / config.warmup)
        return peak * (step + 1) / config.warmup
    if config.schedule == "step":
        passed = sum(step >= milestone for milestone in config.milestones)
        return float(peak * config.decay**passed)
    return _half_cosine(peak, final, (step - config.warmup) / max(1, config.steps - config.warmup))


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
