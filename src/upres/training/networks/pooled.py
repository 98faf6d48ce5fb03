"""``pooled``: the article's own network, with a decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from torch import Tensor, nn

from upres.training.networks.parts import STRICT, Network, PositiveInt, run_in_float32


@dataclass(frozen=True)
class PooledConfig:
    """The size of ``Pooled``."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: Literal["pooled"] = "pooled"
    features: PositiveInt = 64
    """Filters of the first block; each further one has twice as many."""
    blocks: PositiveInt = 3
    """Each halves height and width."""


class Pooled(Network):
    """Residual blocks that pool and concatenate, and a sub-pixel decoder.

    Source: the article that upres began with (see the design), section 4. As printed there
    it shrinks the picture eightfold; here its last convolution has as many filters as the
    enlarged picture has values for each position, and a pixel shuffle puts them in place
    (Shi et al., "Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network", CVPR 2016).
    """

    def __init__(self, *, scale: int, features: int, blocks: int, channels: int = 3) -> None:
        halo = 1
        for _ in range(blocks):  # from the last to the first: convolution, pooling, convolution
            halo = 2 * (halo + 1) + 1
        super().__init__(scale=scale, halo=halo, channels=channels, multiple_of=2**blocks)
        filters = [features * 2**i for i in range(blocks)]
        # Both of a block's paths give that many: concatenated, twice.
        inputs = [self.channels, *(2 * f for f in filters)]
        self.body = nn.Sequential(*map(PoolingBlock, inputs[:-1], filters))
        side = self.multiple_of * scale
        self.tail = nn.Sequential(
            nn.Conv2d(inputs[-1], self.channels * side**2, 3, padding=1),
            nn.PixelShuffle(side),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return run_in_float32(self.tail, self.body(x))


class PoolingBlock(nn.Module):
    """3x3 convolution, ReLU, 2x2 max-pooling, 3x3 convolution, ReLU, beside a shortcut.

    The shortcut is a 1x1 convolution of stride 2, and the two are concatenated.
    """

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, filters, 3, padding=1)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, filters, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.max_pool2d(F.relu(self.conv1(x)), 2)
        return torch.cat([F.relu(self.conv2(pooled)), self.shortcut(x)], dim=1)
