"""``plain`` networks as weights that other projects' programs load.

spandrel, and with it chaiNNer and ComfyUI, know Real-ESRGAN's compact network: convolutions with
PReLU between them, sub-pixel shuffling, and the input repeated. It has no shortcuts. But a feature
whose PReLU has slope 1 passes through a layer unchanged where its kernel is the identity, and one
of slope 0 is a ReLU. So with twice the features, one half carries what a shortcut carries, and the
other what a block computes. Source of the compact network: Wang, Xie, Dong and Shan, "Real-ESRGAN:
training real-world blind super-resolution with pure synthetic data", ICCVW 2021, and its
repository's ``SRVGGNetCompact``, of version 0.2.5.
"""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upres import __version__
from upres.card import ModelCard
from upres.errors import ModelError, OutputError, Remedy, TrainingError, UsageError
from upres.files import replacing
from upres.models import INT8, read_model
from upres.training.export import load_network
from upres.training.networks import Plain, deployed
from upres.training.networks.plain import ResidualBlock

COMPACT_TOLERANCE = 1e-4
"""Largest difference allowed between the two networks, of values in [0, 1]: a fortieth of an 8-bit
grey level. Only the order of sums differs."""

SUFFIX = ".safetensors"


def to_compact(
    source: Path, target: Path, *, scale: int | None = None, force: bool = False
) -> tuple[Path, ModelCard, float]:
    """Write a ``plain`` network's weights as a compact network's; give path, card and difference.

    ``source`` is a file of upres: a model, ``.safetensors`` or a checkpoint. The difference is the
    largest one between the two networks on noise, of values in [0, 1].

    Raises ``UsageError`` if ``target`` is no name for it, ``OutputError`` if it exists (unless
    ``force``) or cannot be written; ``ModelError`` if the network is another, of another scale, in
    int8 or self-ensembled; ``TrainingError`` if ``source`` cannot be read, or the result differs.
    """
    if target.suffix.lower() != SUFFIX:
        raise UsageError(f"{target}: a compact network's name ends in {SUFFIX}")
    if target.exists() and not force:
        raise OutputError(f"{target}: exists already", Remedy("force", "replaces it", True))
    if source.suffix.lower() == ".onnx":
        require_compact(source, read_model(source).card)
    network, card = load_network(source)
    require_compact(source, card)
    if scale not in (None, card.scale):
        raise ModelError(f"{source}: this network enlarges {card.scale} times, not {scale} times")
    merged = deployed(network)
    assert isinstance(merged, Plain)
    weights = compact_weights(merged)
    difference = _difference(merged, weights)
    if not difference <= COMPACT_TOLERANCE:  # nor if it is no number
        raise TrainingError(
            f"{target}: the compact network differs by {difference:.2g}, more than "
            f"{COMPACT_TOLERANCE:g}; it was not written"
        )
    # Not under the key of our cards: it would be taken for a network of upres.
    metadata = {
        "format": "pt",
        "architecture": "RealESRGAN Compact",
        "made_of": f"{card.name} x{card.scale}, by upres {__version__}",
        "trained_on": card.data,
    }
    with replacing(target) as temporary:
        temporary.write_bytes(safetensors.torch.save(weights, metadata))
    return target, card, difference


def require_compact(source: Path, card: ModelCard) -> None:
    """Raise ``ModelError`` if a compact network cannot do what a model of that card does."""
    if card.precision != "fp32":
        base = card.name.removesuffix(INT8)
        other = "the fp32 model it was made of" if base == card.name else base
        raise ModelError(f"{source}: is {card.precision}: take {other}")
    if card.self_ensemble:
        other = "balanced" if card.name == "best" else "the model it was made of"
        raise ModelError(
            f"{source}: is self-ensembled, and a compact network runs once: take {other}"
        )
    if card.network != "plain":
        raise ModelError(
            f"{source}: a network {card.network!r}, and only 'plain' can be written as a compact "
            "network: take fast, balanced or photo"
        )


def compact_weights(network: Plain) -> dict[str, Tensor]:
    """The compact network's weights, by its own names, of a ``Plain`` without branches."""
    features = network.head.out_channels
    identity = torch.zeros(features, features, 3, 3)
    identity[range(features), range(features), 1, 1] = 1
    zeros = torch.zeros(features, features, 3, 3)
    nothing = torch.zeros(features)
    carried, rectified = torch.ones(features), torch.zeros(features)
    slopes = torch.cat([carried, rectified])
    weights: dict[str, Tensor] = {}

    def add(kernel: Tensor, bias: Tensor, *, last: bool = False) -> None:
        number = len({name.split(".")[1] for name in weights})
        weights[f"body.{number}.weight"] = kernel.clone().contiguous()
        weights[f"body.{number}.bias"] = bias.clone().contiguous()
        if not last:
            weights[f"body.{number + 1}.weight"] = slopes.clone()

    def both(upper: tuple[Tensor, Tensor], lower: tuple[Tensor, Tensor]) -> Tensor:
        """A kernel by what the carried half and the rectified half take of each half."""
        return torch.cat([torch.cat(upper, 1), torch.cat(lower, 1)])

    head, head_bias = _parameters(network.head)
    add(torch.cat([head, torch.zeros_like(head)]), torch.cat([head_bias, nothing]))
    # What the closing convolution rectifies is what is carried: so the layer before gives both.
    repeated = network.closing is not None
    for index, block in enumerate(network.body):
        assert isinstance(block, ResidualBlock)
        kernel, bias = _parameters(block.conv1)
        add(both((identity, zeros), (kernel, zeros)), torch.cat([nothing, bias]))
        kernel, bias = _parameters(block.conv2)
        last = repeated and index == len(network.body) - 1
        add(
            both((identity, kernel), (identity, kernel) if last else (zeros, zeros)),
            torch.cat([bias, bias if last else nothing]),
        )
    if network.closing is not None:
        kernel, bias = _parameters(network.closing)
        add(both((identity, kernel), (zeros, zeros)), torch.cat([bias, nothing]))
    kernel, bias = _parameters(network.tail)
    add(torch.cat([kernel, torch.zeros_like(kernel)], 1), bias, last=True)
    return weights


def _parameters(convolution: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(convolution, nn.Conv2d)
    assert convolution.bias is not None
    return convolution.weight.detach(), convolution.bias.detach()


@torch.no_grad()
def _difference(network: Plain, weights: dict[str, Tensor]) -> float:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, network.channels, 37, 29, generator=generator)
    return float((network(x) - _compact(weights, x, network.scale)).abs().max())


def _compact(weights: dict[str, Tensor], x: Tensor, scale: int) -> Tensor:
    """The result of the compact network for ``x``."""
    last = max(int(name.split(".")[1]) for name in weights)
    y = x
    for number in range(0, last + 1, 2):
        y = F.conv2d(y, weights[f"body.{number}.weight"], weights[f"body.{number}.bias"], padding=1)
        if number < last:
            y = F.prelu(y, weights[f"body.{number + 1}.weight"])
    return F.pixel_shuffle(y, scale) + F.interpolate(x, scale_factor=scale, mode="nearest")
