"""``edsr``: residual blocks without batch normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch.nn.functional as F
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from upres.training.networks.parts import (
    STRICT,
    Network,
    PositiveInt,
    Upsampler,
    div2k_mean,
    run_in_float32,
)


@dataclass(frozen=True)
class EdsrConfig:
    """The size of ``Edsr``; by default, that of EDSR-baseline.

    EDSR itself has 256 features, 32 blocks and a residual scaling of 0.1.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: Literal["edsr"] = "edsr"
    features: PositiveInt = 64
    blocks: PositiveInt = 16
    residual_scaling: Annotated[float, Field(gt=0)] = 1.0
    """A block's residual is multiplied by it: with many features, training needs that."""


class Edsr(Network):
    """Residual blocks of two 3x3 convolutions, a long skip, and the published upsampler.

    Source: Lim, Son, Kim, Nah and Lee, "Enhanced deep residual networks for single image
    super-resolution", CVPRW 2017, figure 3. Values are in [0, 1], there in [0, 255].
    """

    def __init__(
        self,
        *,
        scale: int,
        features: int,
        blocks: int,
        residual_scaling: float = 1.0,
        channels: int = 3,
    ) -> None:
        upsampler = Upsampler(features, scale)
        halo = 1 + 2 * blocks + 1 + upsampler.halo(1)
        super().__init__(scale=scale, halo=halo, channels=channels)
        self.head = nn.Conv2d(self.channels, features, 3, padding=1)
        self.body = nn.Sequential(
            *(ScaledBlock(features, residual_scaling) for _ in range(blocks)),
            nn.Conv2d(features, features, 3, padding=1),
        )
        self.tail = nn.Sequential(upsampler, nn.Conv2d(features, self.channels, 3, padding=1))
        self.mean: Tensor
        self.register_buffer("mean", div2k_mean(channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        features = self.head(x - self.mean)
        features = self.tail[0](features + self.body(features))
        return run_in_float32(self.tail[1], features) + self.mean


class ScaledBlock(nn.Module):
    """Convolution, ReLU, convolution, scaled, beside an identity shortcut."""

    def __init__(self, features: int, residual_scaling: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        self.residual_scaling = residual_scaling

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.conv2(F.relu(self.conv1(x)))
        if self.residual_scaling != 1:
            residual = residual * self.residual_scaling
        return x + residual
