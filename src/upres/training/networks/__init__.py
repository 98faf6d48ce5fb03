"""Networks that learn I_H = f(I_L; theta). Each takes and gives RGB or luma in [0, 1], NCHW."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from upres.engine import complexity
from upres.training.networks.edsr import Edsr, EdsrConfig
from upres.training.networks.parts import Network
from upres.training.networks.plain import Plain, PlainConfig
from upres.training.networks.pooled import Pooled, PooledConfig
from upres.training.networks.rcan import Rcan, RcanConfig
from upres.training.networks.srresnet import Srresnet, SrresnetConfig

__all__ = [
    "Edsr",
    "EdsrConfig",
    "Network",
    "NetworkConfig",
    "Plain",
    "PlainConfig",
    "Pooled",
    "PooledConfig",
    "Rcan",
    "RcanConfig",
    "Srresnet",
    "SrresnetConfig",
    "build",
    "deployed",
    "enlarge_whole",
    "multiply_adds_for_output",
    "network_multiply_adds",
    "trainable_parameters",
]

NetworkConfig = PlainConfig | PooledConfig | SrresnetConfig | EdsrConfig | RcanConfig

_NETWORKS: dict[str, Callable[..., Network]] = {
    "plain": Plain,
    "pooled": Pooled,
    "srresnet": Srresnet,
    "edsr": Edsr,
    "rcan": Rcan,
}


def build(config: NetworkConfig, scale: int, channels: int = 3) -> Network:
    """The network that a recipe describes, freshly initialised from torch's global seed."""
    parameters = dataclasses.asdict(config)
    return _NETWORKS[parameters.pop("name")](scale=scale, channels=channels, **parameters)


def deployed(network: Network) -> Network:
    """A copy to be exported and used: in evaluation mode, with branches merged."""
    copied = network.merged() if isinstance(network, Plain) else copy.deepcopy(network)
    return copied.eval()


def enlarge_whole(network: Network, x: Tensor) -> Tensor:
    """``network`` on pictures of any size, N x channels x H x W: one that wants multiples gets them
    with the last rows and columns repeated, which the result is rid of again.
    """
    height, width = x.shape[-2:]
    padding = (0, -width % network.multiple_of, 0, -height % network.multiple_of)
    output: Tensor = network(F.pad(x, padding, mode="replicate") if any(padding) else x)
    return output[..., : height * network.scale, : width * network.scale]


def trainable_parameters(network: nn.Module) -> int:
    """How many numbers training adjusts."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def network_multiply_adds(network: Network, height: int, width: int) -> int:
    """Multiply-adds for an input of ``height`` x ``width`` pixels.

    Those of the convolutions and, as the field counts them, of scaled residuals and of
    attention; additions alone and biases are not counted. Branches count as the one
    convolution that they are merged to. Nothing is computed but shapes.

    Raises ``RuntimeError`` if the network does not take that size.
    """
    if isinstance(network, Plain):
        network = network.merged()
    weights = dict(network.named_parameters()) | dict(network.named_buffers())
    shapes: dict[str, Tensor] = {name: w.to("meta") for name, w in weights.items()}
    x = torch.empty(1, network.channels, height, width, device="meta")
    # The counter's own table knows convolutions, and counts each multiply-add as two.
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.mul: _products})
    with counter, torch.no_grad():
        torch.func.functional_call(network, shapes, (x,))
    return counter.get_total_flops() // 2


def multiply_adds_for_output(network: Network) -> int:
    """Multiply-adds for an output of 1280x720 pixels, whatever sizes the network takes."""
    return complexity.for_output(
        functools.partial(network_multiply_adds, network),
        scale=network.scale,
        multiple_of=network.multiple_of,
    )


def _products(*_: object, out_shape: Sequence[int], **__: object) -> int:
    return 2 * math.prod(out_shape)
