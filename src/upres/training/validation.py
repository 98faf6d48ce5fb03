"""Validation: how near a network comes to whole pictures that it is not trained on."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from upres.errors import InputError
from upres.raster import metrics
from upres.training.data import Pairs
from upres.training.networks import Network, enlarge_whole
from upres.training.networks.parts import luma_of
from upres.training.run import PICTURES


def check_pictures(pairs: Pairs) -> None:
    """Raise ``InputError`` for a picture that is all border, so that nothing is left to score."""
    for name, size in zip(pairs.names, pairs.sizes, strict=True):
        if min(size) < 3:
            raise InputError(
                f"{name}: is too small to validate on: at x{pairs.scale}, give a picture of "
                f"{3 * pairs.scale} pixels a side at least"
            )


@torch.no_grad()
def validate(
    network: Network, pairs: Iterable[tuple[Tensor, Tensor]]
) -> tuple[float, list[tuple[Tensor, Tensor, Tensor]]]:
    """Mean luma PSNR in dB, by the field's protocol, and a few of (LR, output, HR)."""
    device = next(network.parameters()).device
    scores: list[float] = []
    shown: list[tuple[Tensor, Tensor, Tensor]] = []
    for low, high in pairs:
        x = low.to(device).float().div_(255)[None]
        output = enlarge_whole(network, luma_of(x) if network.channels == 1 else x)[0]
        output = output.expand(3, -1, -1)  # grey, whose luma is that of the picture
        estimate = (output * 255).round().clamp_(0, 255).byte().cpu()
        inner = np.s_[:, network.scale : -network.scale, network.scale : -network.scale]
        images = (x[inner].permute(1, 2, 0).cpu().numpy() for x in (estimate, high))
        scores.append(metrics.psnr(*map(metrics.studio_luma, images)))
        if len(shown) < PICTURES:
            shown.append((low, estimate, high))
    return float(np.mean(scores)), shown
