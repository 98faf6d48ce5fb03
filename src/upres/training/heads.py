"""The head that bounds errors: three layers on the last features of a network that stays as it is.

For each pixel it gives a half-width: a quantile of the absolute error, learnt by the pinball loss.
Sources: R. Koenker and G. Bassett, "Regression quantiles", Econometrica 1978; for pictures, A. N.
Angelopoulos et al., "Image-to-image regression with distribution-free uncertainty quantification
and applications in imaging", ICML 2022. Its convolutions after the first look at single pixels, so
that it sees no further than the network, whose windows stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from upres.engine.wrappers import ORIENTATIONS
from upres.enlarging.bounding import JPEG_QUALITIES
from upres.enlarging.error_map import LEVELS
from upres.errors import TrainingError
from upres.formats.image.recompressed import through_jpeg
from upres.raster.pixels import luma
from upres.raster.resize import bicubic
from upres.training.grain import with_grain
from upres.training.networks import Network
from upres.training.sources import read_pictures
from upres.training.transfer import orient

FEATURES = 32

LEVEL = 0.9
"""The part of samples that are to lie within the half-widths."""

PATCHES, PATCH = 400, 48
"""At most so many pictures give a square each, whose side is in low-resolution pixels."""

GREY_EVERY = 4
"""Every so many pictures one is grey: a band that goes through the network alone is given so."""

GRAINY = 0.5
"""This part of all pictures gets grain."""

STEPS, BATCH, LEARNING_RATE, WARM_UP = 900, 8, 4e-3, 50


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
    """A network that is run as it is, self-ensembled or not, and the input of its last layer."""

    def __init__(self, network: Network, *, self_ensemble: bool = False) -> None:
        self.network = network.eval().requires_grad_(False)
        self.self_ensemble = self_ensemble
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
        """The result for ``x``, N x 3 x height x width, and the last features that ``x`` gives.

        A self-ensembled result is the mean over the eight ways to turn ``x``. The features are
        those of ``x`` as it is.
        """
        self._seen.clear()
        ways = ORIENTATIONS if self.self_ensemble else ORIENTATIONS[:1]
        results = [orient(self.network(orient(x, *way)), *way, back=True) for way in ways]
        return torch.stack(results).mean(0), self._seen[0]


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
    self_ensemble: bool = False,
    seed: int = 0,
    steps: int = STEPS,
    patches: int = PATCHES,
    tell: Callable[[str], object] = lambda text: None,
) -> Head:
    """Train a head for ``network``, whose low resolution ``degradation`` makes.

    ``data`` are tar files or folders of pictures. With ``self_ensemble`` the errors are those of
    the mean over the eight ways to turn a picture; the engine takes the mean of their half-widths,
    too. ``tell`` is told how far it is. Raises ``InputError`` if pictures cannot be read,
    ``TrainingError`` if the network is of another kind.
    """
    runs = WithFeatures(network, self_ensemble=self_ensemble)
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
        if (step + 1) % 300 == 0:
            tell(f"step {step + 1:,}: pinball loss {total / 300:.4f}")
            total = 0.0
    if not all(bool(weight.isfinite().all()) for weight in head.parameters()):
        raise TrainingError("the head's weights are no longer finite")
    return head.eval()


def _seen_patches(
    runs: WithFeatures, data: Sequence[Path], degradation: str, seed: int, count: int
) -> tuple[Tensor, Tensor]:
    """Features as float16, and errors of all samples in whole levels of 8 bits."""
    scale = runs.network.scale
    random = np.random.default_rng(seed)
    features, errors = [], []
    for number, high in enumerate(islice(_squares(data, PATCH * scale, random), count)):
        if runs.self_ensemble:  # it is to know all ways
            turned = np.rot90(high[:, :: random.choice((-1, 1))], int(random.integers(4)))
            high = np.ascontiguousarray(turned)  # torch takes no other
        grey = number % GREY_EVERY == 0
        given = degraded(high, scale, degradation, random, grey=grey)
        low, truth = (torch.from_numpy(each).permute(2, 0, 1)[None].float() for each in given)
        output, seen = runs(low / LEVELS)
        made = (output * LEVELS).round().clamp(0, LEVELS)
        errors.append((made - truth).abs().byte())
        features.append(seen.half())
    return torch.cat(features), torch.cat(errors)


def _squares(
    data: Sequence[Path], side: int, random: np.random.Generator
) -> Iterator[NDArray[np.uint8]]:
    """A square of each picture that is large enough, of every second at half of its size."""
    for number, (_, image) in enumerate(read_pictures(data)):
        larger = side * (1 + number % 2)
        if min(image.shape[:2]) < larger:
            continue
        top, left = (int(random.integers(length - larger + 1)) for length in image.shape[:2])
        square = image[top : top + larger, left : left + larger]
        yield square if larger == side else bicubic(square, size=(side, side))


def degraded(
    high: NDArray[np.uint8],
    scale: int,
    degradation: str,
    random: np.random.Generator,
    *,
    grey: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Low and high resolution, height x width x 3, of a picture whose sides are multiples.

    Every second gets grain, before it is made small, and so does the truth. ``grey`` ones are three
    times the luma; for ``jpeg``, low resolution goes through a file of a quality that is drawn.
    """
    if random.random() < GRAINY:
        high = with_grain(high, random)
    if grey:
        level = luma(np.moveaxis(high, 2, 0).astype(np.float32)).round().astype(np.uint8)
        high = np.repeat(level[:, :, None], 3, axis=2)
    low = bicubic(high, size=(high.shape[0] // scale, high.shape[1] // scale))
    if degradation == "jpeg":
        low = through_jpeg(low, int(random.integers(JPEG_QUALITIES[0], JPEG_QUALITIES[1] + 1)))
    return low, high
