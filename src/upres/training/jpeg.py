"""JPEG's losses as tensor operations, on any device, each picture at its own quality.

Nothing is entropy-coded: only steps that lose information are done. Sources: ITU-T T.81 (the
transform, and Annex K's tables), JFIF 1.02 (the colour space), and libjpeg, whose choices
are kept: how quality scales the tables, means for chroma at half size, and triangles to
bring it back.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from upres.formats.metadata.jpeg_segments import CHROMINANCE, LUMINANCE, scaled_tables

# JFIF: rows make Y, Cb and Cr of R, G and B.
_TO_YCBCR = (
    (0.299, 0.587, 0.114),
    (-0.299 / 1.772, -0.587 / 1.772, 0.5),
    (0.5, -0.587 / 1.402, -0.114 / 1.402),
)


def jpeg(images: Tensor, quality: Tensor, *, subsample: bool) -> Tensor:
    """``images`` as they come back from JPEG files.

    ``images`` are N x 3 x H x W, RGB in [0, 1], of any size, and are rounded to bytes, as
    files hold them; so are the results. ``quality`` has N whole numbers from 1 to 100, as
    libjpeg counts them. With ``subsample`` the colours are kept at half the resolution
    (4:2:0), else in full (4:4:4).
    """
    height, width = images.shape[-2:]
    luma_steps, chroma_steps, to_ycbcr, to_rgb = _constants(images.device)
    block = 16 if subsample else 8
    padded = F.pad(images * 255, (0, -width % block, 0, -height % block), mode="replicate")
    bytes_ = padded.round().clamp(0, 255)
    planes = torch.einsum("ij,njhw->nihw", to_ycbcr, bytes_).round()  # Cb and Cr about zero
    luma, chroma = planes[:, :1] - 128, planes[:, 1:]
    if subsample:
        # libjpeg's means round up from a half and from three quarters, in turns.
        bias = (torch.arange(chroma.shape[-1] // 2, device=images.device) % 2 + 1) / 4
        chroma = (F.avg_pool2d(chroma, 2) + bias).floor()
    table = quality.long() - 1
    luma = _through_blocks(luma, luma_steps[table]) + 128
    chroma = _through_blocks(chroma, chroma_steps[table])
    if subsample:
        chroma = F.interpolate(chroma, scale_factor=2.0, mode="bilinear").round()
    rgb = torch.einsum("ij,njhw->nihw", to_rgb, torch.cat([luma, chroma], dim=1))
    return rgb[:, :, :height, :width].round().clamp(0, 255) / 255


def _through_blocks(planes: Tensor, steps: Tensor) -> Tensor:
    """Transform blocks of 8x8, round to multiples of ``steps`` (N x 8 x 8), and back."""
    count, channels, height, width = planes.shape
    basis = _cosines(planes.device)
    tall = (count, channels, height // 8, 8, width)  # each axis is transformed where it lies
    wide = (count, channels, height, width // 8, 8)
    blocks = (count, channels, height // 8, 8, width // 8, 8)
    coefficients = (basis @ planes.reshape(tall)).view(wide) @ basis.T
    steps = steps[:, None, None, :, None, :]
    coefficients = (coefficients.view(blocks) / steps).round() * steps
    values = (basis.T @ coefficients.view(tall)).view(wide) @ basis
    return values.view(count, channels, height, width).round().clamp(-128, 127)


@functools.cache
def _constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    # Made once: to copy them to a GPU for each batch would make it wait.
    to_ycbcr = torch.tensor(_TO_YCBCR, dtype=torch.float64)
    steps = (torch.from_numpy(scaled_tables(table)) for table in (LUMINANCE, CHROMINANCE))
    tensors = (*steps, to_ycbcr, torch.linalg.inv(to_ycbcr))
    luma, chroma, forth, back = (tensor.to(device, torch.float32) for tensor in tensors)
    return luma, chroma, forth, back


@functools.cache
def _cosines(device: torch.device) -> Tensor:
    """The orthonormal discrete cosine transform of eight values, a row per frequency."""
    k = torch.arange(8, dtype=torch.float64)
    basis = torch.cos(math.pi / 8 * (k + 0.5) * k[:, None]) / 2
    basis[0] /= math.sqrt(2)
    return basis.float().to(device)
