"""``rcan``: residual groups of residual blocks, with channel attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict
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
class RcanConfig:
    """The size of ``Rcan``; as published by default."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: Literal["rcan"] = "rcan"
    features: PositiveInt = 64
    groups: PositiveInt = 10
    blocks: PositiveInt = 20
    """Of each group."""
    reduction: PositiveInt = 16
    """How many times fewer features the attention has between its two layers."""

    def __post_init__(self) -> None:
        if self.reduction > self.features:
            raise ValueError(
                f"reduction {self.reduction} leaves nothing of {self.features} features"
            )


class Rcan(Network):
    """Groups of residual blocks, skips around blocks, groups and all, and attention.

    Source: Zhang, Li, Li, Wang, Zhong and Fu, "Image super-resolution using very deep
    residual channel attention networks", ECCV 2018. The attention averages over the whole
    picture, which is therefore the receptive field: tiles cannot equal the whole.
    """

    def __init__(
        self,
        *,
        scale: int,
        features: int,
        groups: int,
        blocks: int,
        reduction: int,
        channels: int = 3,
    ) -> None:
        super().__init__(scale=scale, halo=None, channels=channels)
        self.head = nn.Conv2d(self.channels, features, 3, padding=1)
        self.body = nn.Sequential(
            *(ResidualGroup(features, blocks, reduction) for _ in range(groups)),
            nn.Conv2d(features, features, 3, padding=1),
        )
        self.tail = nn.Sequential(
            Upsampler(features, scale), nn.Conv2d(features, self.channels, 3, padding=1)
        )
        self.mean: Tensor
        self.register_buffer("mean", div2k_mean(channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        features = self.head(x - self.mean)
        features = self.tail[0](features + self.body(features))
        return run_in_float32(self.tail[1], features) + self.mean


class ResidualGroup(nn.Sequential):
    """Blocks and a convolution, beside an identity shortcut."""

    def __init__(self, features: int, blocks: int, reduction: int) -> None:
        super().__init__(
            *(AttentionBlock(features, reduction) for _ in range(blocks)),
            nn.Conv2d(features, features, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return x + residual


class AttentionBlock(nn.Module):
    """Convolution, ReLU, convolution, channel attention, beside an identity shortcut."""

    def __init__(self, features: int, reduction: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        self.attention = ChannelAttention(features, reduction)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.attention(self.conv2(F.relu(self.conv1(x))))
        return x + residual


class ChannelAttention(nn.Module):
    """Weighs each channel by a gate that all channels' means over the picture set."""

    def __init__(self, features: int, reduction: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(features, features // reduction, 1)
        self.expand = nn.Conv2d(features // reduction, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.expand(F.relu(self.reduce(means))))
