"""``srresnet``: the first residual network for super-resolution, with batch normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict
from torch import Tensor, nn

from upres.training.networks.parts import STRICT, Network, PositiveInt, Upsampler, run_in_float32


@dataclass(frozen=True)
class SrresnetConfig:
    """The size of ``Srresnet``; as published by default."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: Literal["srresnet"] = "srresnet"
    features: PositiveInt = 64
    blocks: PositiveInt = 16


class Srresnet(Network):
    """Residual blocks with batch normalisation and PReLU, between 9x9 convolutions.

    Source: Ledig et al., "Photo-realistic single image super-resolution using a generative
    adversarial network", CVPR 2017, figure 4, the generator. Its x3 has one stage of x3,
    and outputs here are in [0, 1] rather than [-1, 1]. Each PReLU has one slope.
    """

    def __init__(self, *, scale: int, features: int, blocks: int, channels: int = 3) -> None:
        upsampler = Upsampler(features, scale, nn.PReLU)
        halo = 4 + 2 * blocks + 1 + upsampler.halo(4)
        super().__init__(scale=scale, halo=halo, channels=channels)
        self.head = nn.Sequential(nn.Conv2d(self.channels, features, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(
            *(NormalisedBlock(features) for _ in range(blocks)),
            nn.Conv2d(features, features, 3, padding=1),
            nn.BatchNorm2d(features),
        )
        self.tail = nn.Sequential(upsampler, nn.Conv2d(features, self.channels, 9, padding=4))

    def forward(self, x: Tensor) -> Tensor:
        features = self.head(x)
        return run_in_float32(self.tail[1], self.tail[0](features + self.body(features)))


class NormalisedBlock(nn.Module):
    """Two 3x3 convolutions, each with batch normalisation, beside an identity shortcut."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(features)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))
        return x + residual
