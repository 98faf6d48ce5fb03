"""``plain``: a residual stack for CPUs, whose blocks may be trained with several branches."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from torch import Tensor, nn

from upres.training.networks.parts import STRICT, Network, PositiveInt, run_in_float32


@dataclass(frozen=True)
class PlainConfig:
    """The size of ``Plain``, and how its blocks are trained."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: Literal["plain"] = "plain"
    features: PositiveInt = 32
    blocks: PositiveInt = 7
    branches: bool = False
    """Whether each convolution of the blocks is trained as a sum of three: costs little
    in training, and nothing in the exported model."""
    closing: bool = False
    """Whether ReLU and one more convolution, beside an identity shortcut, follow the blocks:
    half a block, for sizes between two numbers of blocks."""


class Plain(Network):
    """A residual network after EDSR, light: the tail works at low resolution throughout.

    3x3 convolutions, ReLU, identity shortcuts, one sub-pixel convolution (Shi et al.,
    "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network", CVPR 2016), and a global skip: the input itself,
    enlarged by repetition, so that the network learns the residual (Kim, Lee and Lee,
    "Accurate image super-resolution using very deep convolutional networks", CVPR 2016,
    section 3.1). It starts as nearest-neighbour enlargement.
    """

    def __init__(
        self,
        *,
        scale: int,
        features: int,
        blocks: int,
        branches: bool = False,
        closing: bool = False,
        channels: int = 3,
    ) -> None:
        super().__init__(scale=scale, halo=2 * blocks + 2 + closing, channels=channels)
        self.head = nn.Conv2d(channels, features, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(features, branches) for _ in range(blocks)))
        self.closing = _zeroed(nn.Conv2d(features, features, 3, padding=1)) if closing else None
        self.tail = _zeroed(nn.Conv2d(features, channels * scale**2, 3, padding=1))
        # Repeats each channel scale^2 times, in the order that pixel_shuffle expects: as
        # a convolution, so that engines fuse the sum.
        repeat = torch.eye(channels).repeat_interleave(scale**2, 0)
        self.repeat: Tensor
        self.register_buffer("repeat", repeat[:, :, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(self.head(x))
        if self.closing is not None:
            features = features + self.closing(F.relu(features))
        residual = run_in_float32(self.tail, features)
        repeated = run_in_float32(lambda x: F.conv2d(x, self.repeat), x)
        return F.pixel_shuffle(residual + repeated, self.scale)

    def merged(self) -> Plain:
        """The network that gives the same, with one convolution for the branches of each."""
        merged = copy.deepcopy(self)
        for block in merged.body:
            assert isinstance(block, ResidualBlock)
            block.conv1 = _merged(block.conv1)
            block.conv2 = _merged(block.conv2)
        return merged


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, beside an identity shortcut.

    Source: Lim, Son, Kim, Nah and Lee, "Enhanced deep residual networks for single image
    super-resolution" (EDSR), CVPRW 2017, figure 2c: no batch normalisation, and no ReLU
    after the sum. The second convolution starts at zero, so that a stack of blocks of any
    depth starts as the identity.
    """

    def __init__(self, features: int, branches: bool) -> None:
        super().__init__()
        convolution = BranchedConv2d if branches else nn.Conv2d
        self.conv1 = convolution(features, features, 3, padding=1)
        self.conv2 = _zeroed(convolution(features, features, 3, padding=1))
        if isinstance(self.conv2, BranchedConv2d):
            nn.init.zeros_(self.conv2.point)
            nn.init.zeros_(self.conv2.gather)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.conv2(F.relu(self.conv1(x)))
        return x + residual


class BranchedConv2d(nn.Conv2d):
    """A 3x3 convolution whose kernel is a sum: 3x3, 1x1, and 1x1 followed by 3x3.

    The sum is formed of the kernels, before each pass, and not of their outputs: training
    costs little more than without, and at the picture's borders the branches are one, too.
    There is one bias, as more would add up to one.

    Sources: the branches, Zhang, Zeng and Zhang, "Edge-oriented convolution block for
    real-time super resolution on mobile devices", ACM MM 2021; merging them, Ding et al.,
    "RepVGG: making VGG-style ConvNets great again", CVPR 2021; merging them while
    training, Bhardwaj et al., "Collapsible linear blocks for super-efficient super
    resolution", MLSys 2022.
    """

    EXPANSION = 2
    """Features between the 1x1 and the 3x3 convolution, for each one of the input."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, *, padding: int) -> None:
        super().__init__(inputs, outputs, kernel_size, padding=padding)
        between = self.EXPANSION * inputs
        # Initialised as nn.Conv2d would do it.
        self.point = nn.Parameter(nn.Conv2d(inputs, outputs, 1).weight.detach())
        self.expand = nn.Parameter(nn.Conv2d(inputs, between, 1).weight.detach())
        self.gather = nn.Parameter(nn.Conv2d(between, outputs, kernel_size).weight.detach())

    def kernel(self) -> Tensor:
        """The one kernel that equals the branches together, outputs x inputs x 3 x 3."""
        # A convolution of kernels: bfloat16 would round it as no gradient step can repair.
        through = run_in_float32(lambda x: F.conv2d(x, self.expand.transpose(0, 1)), self.gather)
        return self.weight + F.pad(self.point, [1, 1, 1, 1]) + through

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel(), self.bias, padding=self.padding)


def _zeroed(convolution: nn.Conv2d) -> nn.Conv2d:
    """``convolution``, set to zero: a network starts as if it were not there."""
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    return convolution


def _merged(convolution: nn.Conv2d) -> nn.Conv2d:
    if not isinstance(convolution, BranchedConv2d):
        return convolution
    plain = nn.Conv2d(convolution.in_channels, convolution.out_channels, 3, padding=1)
    plain.weight = nn.Parameter(convolution.kernel().detach())
    plain.bias = convolution.bias
    return plain
