"""Training minimises these: functions of (estimate, target), both N x C x H x W."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from upres.training.networks.parts import luma_of

LossName = Literal["mse", "l1", "charbonnier", "fft", "luma", "luma_rmse"]
Loss = Callable[[Tensor, Tensor], Tensor]

CHARBONNIER_EPSILON = 1e-3


def mse_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean squared error, which PSNR is a function of."""
    return F.mse_loss(estimate.float(), target.float())


def l1_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    return F.l1_loss(estimate.float(), target.float())


def charbonnier_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean of sqrt(error^2 + epsilon^2): the absolute error, but smooth at zero.

    Source: Lai et al., "Deep Laplacian pyramid networks for fast and accurate
    super-resolution", CVPR 2017, as is the epsilon.
    """
    error = estimate.float() - target.float()
    return (error.square() + CHARBONNIER_EPSILON**2).sqrt().mean()


def fft_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of the spectrum's real and imaginary parts.

    The transform is orthonormal, so that the value does not grow with the patch. Always in
    float32. Source: Cho et al., "Rethinking coarse-to-fine approach in single image
    deblurring", ICCV 2021 (there at three scales, and not normalised).
    """
    # Linear, so one transform serves for both.
    spectrum = torch.fft.rfft2(estimate.float() - target.float(), norm="ortho")
    return torch.view_as_real(spectrum).abs().mean()


def luma_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of luma, which the field's PSNR and SSIM are taken of."""
    return _luma_error(estimate, target).abs().mean()


def luma_rmse_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Root of the mean squared error of luma in each patch, averaged over patches.

    Squared inside a patch, as PSNR is; but a hard patch does not outweigh all others, as it
    would in the mean squared error of the batch: mean PSNR counts pictures alike, too.
    """
    squared = _luma_error(estimate, target).square().mean(dim=(1, 2))
    return (squared + (0.5 / 255) ** 2).sqrt().mean()  # below rounding, no more to be won


def _luma_error(estimate: Tensor, target: Tensor) -> Tensor:
    """N x H x W: Y of ITU-R BT.601, from 0 to 1 as the colours."""
    error = estimate.float() - target.float()
    if error.shape[1] not in (1, 3):
        raise ValueError(f"luma is of 1 or 3 channels, not {error.shape[1]}")
    return (error if error.shape[1] == 1 else luma_of(error))[:, 0]


LOSSES: dict[LossName, Loss] = {
    "mse": mse_loss,
    "l1": l1_loss,
    "charbonnier": charbonnier_loss,
    "fft": fft_loss,
    "luma": luma_loss,
    "luma_rmse": luma_rmse_loss,
}


def mixture(weights: Mapping[LossName, float]) -> Loss:
    """The weighted sum of losses. Raises ``ValueError`` if ``weights`` is empty."""
    if not weights:
        raise ValueError("a mixture needs at least one loss")
    terms = [(LOSSES[name], weight) for name, weight in weights.items()]

    def mixed(estimate: Tensor, target: Tensor) -> Tensor:
        return torch.stack([weight * loss(estimate, target) for loss, weight in terms]).sum()

    return mixed
