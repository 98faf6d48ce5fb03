"""How training pictures lose their resolution, as tensor operations on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from upres.resize import bicubic_taps


def bicubic_downscale(images: Tensor, scale: int) -> Tensor:
    """``upres.resize.bicubic`` at 1/scale, of uint8 images (N x C x H x W).

    Height and width must be multiples of ``scale``. As there, and as in MATLAB, values
    are rounded to uint8 between the two passes; single values may differ from it by one
    level, as sums are in float32 here.
    """
    height, width = images.shape[-2:]
    if height % scale or width % scale:
        raise ValueError(f"{width}x{height} pixels are not a multiple of the scale, {scale}")
    vertical = _matrix(height, height // scale, images.device)
    horizontal = _matrix(width, width // scale, images.device)
    rows = _round(vertical @ images.float())
    return _round(rows @ horizontal.T).to(torch.uint8)


def _round(values: Tensor) -> Tensor:
    return values.add_(0.5).floor_().clamp_(0, 255)


def _matrix(in_length: int, out_length: int, device: torch.device) -> Tensor:
    weights, indices = bicubic_taps(in_length, out_length)
    matrix = torch.zeros(out_length, in_length, dtype=torch.float64)
    # Symmetric borders name a pixel more than once: its weights add up.
    matrix.scatter_add_(1, torch.from_numpy(indices), torch.from_numpy(weights))
    return matrix.float().to(device)
