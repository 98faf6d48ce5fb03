"""What training minimises: functions of (estimate, target), both N x C x H x W."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

LossName = Literal["mse", "l1", "charbonnier", "fft"]
Loss = Callable[[Tensor, Tensor], Tensor]

CHARBONNIER_EPSILON = 1e-3


def mse(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean squared error, which PSNR is a function of."""
    return F.mse_loss(estimate.float(), target.float())


def l1(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    return F.l1_loss(estimate.float(), target.float())


def charbonnier(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean of sqrt(error^2 + epsilon^2): the absolute error, but smooth at zero.

    Source: Lai et al., "Deep Laplacian pyramid networks for fast and accurate
    super-resolution", CVPR 2017, as is the epsilon.
    """
    error = estimate.float() - target.float()
    return (error.square() + CHARBONNIER_EPSILON**2).sqrt().mean()


def fft(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of the spectrum's real and imaginary parts.

    The transform is orthonormal, so that the value does not grow with the patch. Always in
    float32. Source: Cho et al., "Rethinking coarse-to-fine approach in single image
    deblurring", ICCV 2021 (there at three scales, and not normalised).
    """
    # Linear, so one transform serves for both.
    spectrum = torch.fft.rfft2(estimate.float() - target.float(), norm="ortho")
    return torch.view_as_real(spectrum).abs().mean()


LOSSES: dict[LossName, Loss] = {"mse": mse, "l1": l1, "charbonnier": charbonnier, "fft": fft}


def mixture(weights: Mapping[LossName, float]) -> Loss:
    """The weighted sum of losses. Raises ``ValueError`` if ``weights`` is empty."""
    if not weights:
        raise ValueError("a mixture needs at least one loss")
    terms = [(LOSSES[name], weight) for name, weight in weights.items()]

    def mixed(estimate: Tensor, target: Tensor) -> Tensor:
        return torch.stack([weight * loss(estimate, target) for loss, weight in terms]).sum()

    return mixed
