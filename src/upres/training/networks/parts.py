"""Shared by the networks: the facts that upres needs of each, and published parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from upres.raster.pixels import LUMA

STRICT = ConfigDict(extra="forbid", strict=True)

PositiveInt = Annotated[int, Field(ge=1)]

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean RGB of DIV2K's training pictures, in [0, 1], as EDSR's authors published it."""


class Network(nn.Module):
    """Takes RGB in [0, 1], N x 3 x height x width; gives it ``scale`` times as large.

    One of one channel takes and gives luma, N x 1 x height x width. The output is not clipped to
    [0, 1]. What depends on the scale is in the attribute ``tail``, so that all other weights serve
    networks of other scales, too.
    """

    def __init__(
        self, *, scale: int, halo: int | None, channels: int = 3, multiple_of: int = 1
    ) -> None:
        super().__init__()
        self.scale = scale
        self.channels = channels
        self.halo = halo
        """Receptive-field radius in input pixels; None if it is the whole picture. Of a
        network that pools, how far it sees beyond each block of ``multiple_of`` pixels."""
        self.multiple_of = multiple_of
        """The input's height and width must be multiples of this."""


class Upsampler(nn.Sequential):
    """Convolutions and pixel shuffles that enlarge features x2, x3, or x4 as twice x2.

    Source: Lim et al., "Enhanced deep residual networks for single image
    super-resolution", CVPRW 2017, figure 3; with ``activation`` after each stage, Ledig et
    al., "Photo-realistic single image super-resolution using a generative adversarial
    network", CVPR 2017, figure 4.
    """

    def __init__(
        self, features: int, scale: int, activation: Callable[[], nn.Module] | None = None
    ) -> None:
        self.stages = (2, 2) if scale == 4 else (scale,)
        layers: list[nn.Module] = []
        for stage in self.stages:
            layers += [nn.Conv2d(features, features * stage**2, 3, padding=1)]
            layers += [nn.PixelShuffle(stage)]
            if activation is not None:
                layers.append(activation())
        super().__init__(*layers)

    def halo(self, radius: int) -> int:
        """Radius in input pixels, if a convolution of ``radius`` follows the enlargement."""
        for stage in reversed(self.stages):
            radius = math.ceil(radius / stage) + 1
        return radius


def run_in_float32(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Run ``layer`` in float32, even under autocast.

    The last convolution decides the output's precision: bfloat16 holds three digits.
    """
    if not torch.amp.is_autocast_available(x.device.type):
        return layer(x)
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.float())


def fast_in_bfloat16(device: torch.device) -> bool:
    """Whether ``device`` multiplies bfloat16 natively: GPUs, and CPUs with AVX-512 BF16 or AMX.

    There, convolutions of NHWC are the fastest, too. Measured on one thread of an EPYC with
    AVX-512 BF16, training ``plain`` of 32 features: 2.3 times as fast as float32.
    """
    if device.type == "cuda":
        return True
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def div2k_mean(channels: int) -> Tensor:
    """``DIV2K_MEAN``, or its luma, to be added to pictures N x channels x height x width."""
    mean = torch.tensor(DIV2K_MEAN)[:, None, None]
    return mean if channels == 3 else luma_of(mean[None])[0]


def luma_of(x: Tensor) -> Tensor:
    """Luma (BT.601), N x 1 x height x width, of RGB as N x 3 x height x width."""
    red, green, blue = x.unbind(1)
    of_red, of_green, of_blue = LUMA.tolist()
    luma: Tensor = (of_red * red + of_green * green + of_blue * blue)[:, None]
    return luma
