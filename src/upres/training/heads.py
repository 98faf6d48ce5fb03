"""The head that bounds errors: three layers on the last features of a network that stays as it is.

For each pixel it gives a half-width: a quantile of the absolute error, learnt by the pinball loss.
Sources: R. Koenker and G. Bassett, "Regression quantiles", Econometrica 1978; for pictures, A. N.
Angelopoulos et al., "Image-to-image regression with distribution-free uncertainty quantification
and applications in imaging", ICML 2022. Its convolutions after the first look at single pixels, so
that it sees no further than the network, whose windows stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from upres.errors import TrainingError
from upres.training.data import load_pairs
from upres.training.networks import Network
from upres.training.networks.parts import luma_of
from upres.training.patches import Patches

FEATURES = 32

LEVEL = 0.9
"""The part of samples that are to lie within the half-widths."""

PATCHES, PATCH = 512, 48
"""How many patches the network sees, once, and their side in low-resolution pixels."""

GREY_EVERY = 4
"""Every so many of them is grey: a band that goes through the network alone is given so."""

STEPS, BATCH, LEARNING_RATE, WARM_UP = 1500, 8, 4e-3, 50

SHRINK = (0.5,)
"""Training pictures are also taken at that size, as recipes do."""

LEVELS = 255.0


class Head(nn.Module):
    """Takes features, N x channels x height x width; gives N x 1 x ``scale`` times as large.

    That is a half-width, of values in [0, 1]: always above 0, as its logarithm is computed.
    """

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.first = nn.Conv2d(channels, FEATURES, 3, padding=1)
        self.second = nn.Conv2d(FEATURES, FEATURES, 1)
        self.last = nn.Conv2d(FEATURES, scale**2, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.constant_(self.last.bias, math.log(3 / LEVELS))  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        x = F.relu(self.second(F.relu(self.first(features))))
        return F.pixel_shuffle(torch.exp(self.last(x)), self.scale)


class WithFeatures:
    """A network that is run as it is, and what its last layer was given."""

    def __init__(self, network: Network) -> None:
        self.network = network.eval().requires_grad_(False)
        tail = getattr(network, "tail", None)
        if not isinstance(tail, nn.Conv2d) or network.channels != 3:
            raise TrainingError(
                "a head needs a network for RGB whose last layer is one convolution, such as plain"
            )
        self.channels = tail.in_channels
        self._seen: list[Tensor] = []
        tail.register_forward_pre_hook(lambda _, given: self._seen.append(given[0]))

    @torch.no_grad()
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The network's result for ``x``, and its last features."""
        self._seen.clear()
        return self.network(x), self._seen[0]


def pinball(errors: Tensor, widths: Tensor) -> Tensor:
    """The mean pinball loss of the roots of half-widths against those of errors, both in levels.

    Of quantiles any rising function may be taken: by the root, large errors do not outweigh all
    others. Half a level is added to the errors, as the truth is rounded: so half-widths lie
    between whole levels, where a little more or less changes no coverage.
    """
    difference = (errors + 0.5).sqrt() - widths.sqrt()
    return torch.maximum(LEVEL * difference, (LEVEL - 1) * difference).mean()


def train_head(
    network: Network,
    data: Sequence[Path],
    degradation: str,
    *,
    seed: int = 0,
    steps: int = STEPS,
    patches: int = PATCHES,
    tell: Callable[[str], object] = lambda text: None,
) -> Head:
    """Train a head for ``network``, whose low resolution ``degradation`` makes.

    ``data`` are tar files or folders of pictures. ``tell`` is told how far it is. Raises
    ``InputError`` if pictures cannot be read, ``TrainingError`` if the network is of another kind.
    """
    runs = WithFeatures(network)
    torch.manual_seed(seed)
    head = Head(runs.channels, network.scale)
    features, errors = _seen_patches(runs, data, degradation, seed, patches)
    tell(f"the network has seen {len(features)} patches")
    optimiser = torch.optim.Adam(head.parameters(), LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    total = 0.0
    for step in range(steps):
        rate = 0.5 * (1 + math.cos(math.pi * step / steps)) * min(1, (step + 1) / WARM_UP)
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * rate
        chosen = torch.randint(len(features), (BATCH,), generator=generator)
        loss = pinball(errors[chosen].float(), head(features[chosen].float()) * LEVELS)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += float(loss.detach())
        if (step + 1) % 500 == 0:
            tell(f"step {step + 1:,}: pinball loss {total / 500:.4f}")
            total = 0.0
    if not all(bool(weight.isfinite().all()) for weight in head.parameters()):
        raise TrainingError("the head's weights are no longer finite")
    return head.eval()


def _seen_patches(
    runs: WithFeatures, data: Sequence[Path], degradation: str, seed: int, count: int
) -> tuple[Tensor, Tensor]:
    """Features as float16, and errors of all samples in whole levels of 8 bits."""
    scale = runs.network.scale
    pairs = load_pairs([*map(str, data)], Path(), scale, shrink=SHRINK)
    source = Patches(
        pairs,
        candidates=1,
        seed=seed,
        device=torch.device("cpu"),
        degradation=degradation,  # type: ignore[arg-type]
    )
    large = PATCH * scale
    features = torch.empty(count, runs.channels, PATCH, PATCH, dtype=torch.float16)
    errors = torch.empty(count, 3, large, large, dtype=torch.uint8)
    for start in range(0, count, BATCH):
        low, high = source.sample(start, patch=PATCH, batch=min(BATCH, count - start))
        for x in (low, high):
            grey = (luma_of(x[::GREY_EVERY]) * LEVELS).round() / LEVELS
            x[::GREY_EVERY] = grey.expand(-1, 3, -1, -1)
        output, seen = runs(low)
        made = (output * LEVELS).round().clamp(0, LEVELS)
        errors[start : start + BATCH] = (made - high * LEVELS).abs().round().byte()
        features[start : start + BATCH] = seen.half()
    return features, errors
