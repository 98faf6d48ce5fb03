"""Networks that learn I_H = f(I_L; theta). Each takes and gives RGB in [0, 1], NCHW."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upres.training.config import NetworkConfig


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, beside an identity shortcut.

    Source: Lim, Son, Kim, Nah and Lee, "Enhanced deep residual networks for single image
    super-resolution" (EDSR), CVPRW 2017, figure 2c: no batch normalisation, and no ReLU
    after the sum. The second convolution starts at zero, so that a stack of blocks of any
    depth starts as the identity.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.conv2(F.relu(self.conv1(x)))
        return x + residual


class Plain(nn.Module):
    """A residual network after EDSR, light: the tail works at low resolution throughout.

    3x3 convolutions, ReLU, identity shortcuts, one sub-pixel convolution (Shi et al.,
    "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network", CVPR 2016), and a global skip: the input itself,
    enlarged by repetition, so that the network learns the residual (Kim, Lee and Lee,
    "Accurate image super-resolution using very deep convolutional networks", CVPR 2016,
    section 3.1). It starts as nearest-neighbour enlargement.
    """

    def __init__(self, *, scale: int, features: int, blocks: int, channels: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.halo = 2 * blocks + 2
        self.head = nn.Conv2d(channels, features, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(features) for _ in range(blocks)))
        self.tail = nn.Conv2d(features, channels * scale**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]
        # Repeats each channel scale^2 times, in the order that pixel_shuffle expects: as
        # a convolution, so that engines fuse the sum.
        repeat = torch.eye(channels).repeat_interleave(scale**2, 0)
        self.repeat: Tensor
        self.register_buffer("repeat", repeat[:, :, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(self.head(x))
        # The last sum decides the output's precision, so it is never done in bfloat16.
        with torch.autocast(x.device.type, enabled=False):
            residual = self.tail(features.float())
            return F.pixel_shuffle(residual + F.conv2d(x.float(), self.repeat), self.scale)


def build(config: NetworkConfig, scale: int) -> Plain:
    """The network that a recipe describes, freshly initialised from torch's global seed."""
    return Plain(scale=scale, features=config.features, blocks=config.blocks)


def parameter_count(network: nn.Module) -> int:
    """How many numbers training adjusts."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def multiply_adds(network: Plain, height: int, width: int) -> int:
    """Multiply-adds of the convolutions for an input of ``height`` x ``width`` pixels."""
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    return height * width * sum(conv.weight.numel() for conv in convolutions)
