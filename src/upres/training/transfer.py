"""A network's inheritance from trained ones: weights to start from, and a teacher."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from upres.engine.wrappers import ORIENTATIONS
from upres.errors import TrainingError
from upres.training.config import TeacherConfig
from upres.training.export import load_network
from upres.training.networks import Network, enlarge_whole
from upres.training.networks.parts import luma_of


def warm_start(network: Network, paths: Sequence[Path]) -> None:
    """Set ``network``'s weights from trained ones; of another scale, all but the tail's.

    ``paths`` are model files, ``.safetensors`` or checkpoints of upres. Of several, the weights'
    mean is taken: of networks that were trained further from the same one, each with other
    batches, it is often better than any. Source: Wortsman et al., "Model soups: averaging weights
    of multiple fine-tuned models improves accuracy without increasing inference time", ICML 2022.

    ``network`` may have more layers and more features than these if the new ones add nothing
    before training, as in ``plain``. Source: Chen, Goodfellow and Shlens, "Net2Net:
    accelerating learning via knowledge transfer", ICLR 2016, though there new features repeat
    old ones, and here they are as newly initialised, with zeros wherever old ones would read them.

    Raises ``TrainingError`` if one cannot be read, or its structure differs from the first's or
    does not fit.
    """
    sources = [load_network(path)[0] for path in paths]
    taken = []
    for source, path in zip(sources, paths, strict=True):
        if _shapes(source.state_dict()) != _shapes(sources[0].state_dict()):
            raise TrainingError(f"{path}: no mean with {paths[0]}: its structure differs")
        taken.append(_fitting(source, network, path))
    mean = {name: torch.stack([w[name].float() for w in taken]).mean(0) for name in taken[0]}
    network.load_state_dict(mean, strict=False)


def _shapes(weights: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in weights.items()}


def _fitting(source: Network, network: Network, path: Path) -> dict[str, Tensor]:
    """``source``'s weights, enlarged to the sizes of ``network``'s; raises if they do not fit."""
    if source.channels != network.channels:
        raise TrainingError(
            f"{path}: cannot start from this model: it has {source.channels} channels, and the "
            f"recipe asks for {network.channels}"
        )
    own, weights = network.state_dict(), source.state_dict()
    if source.scale != network.scale:
        own, weights = _without_tail(own), _without_tail(weights)
    if _shapes(weights) == _shapes(own):
        return weights
    if source.scale == network.scale and all(
        name in own and _contains(own[name], w) for name, w in weights.items()
    ):
        enlarged = {name: _enlarged(w, own[name]) for name, w in weights.items()}
        grown = copy.deepcopy(network).eval()
        grown.load_state_dict(enlarged, strict=False)
        x = torch.rand(1, network.channels, *[8 * network.multiple_of] * 2)
        with torch.no_grad():
            if torch.allclose(grown(x), source(x), atol=1e-5):
                return enlarged
    raise TrainingError(f"{path}: cannot start from this model: its structure differs")


def _without_tail(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight for name, weight in weights.items() if not name.startswith("tail.")}


def _contains(own: Tensor, weight: Tensor) -> bool:
    """Whether ``weight`` is a corner of a tensor like ``own``, with kernels of one size."""
    if own.ndim != weight.ndim or own.shape[2:] != weight.shape[2:]:
        return False
    return all(large >= small for large, small in zip(own.shape, weight.shape, strict=True))


def _enlarged(weight: Tensor, own: Tensor) -> Tensor:
    """``weight`` in ``own``'s size: it computes the same as before, from the same inputs alone."""
    enlarged = own.clone()
    enlarged[: weight.shape[0]] = 0
    enlarged[tuple(slice(side) for side in weight.shape)] = weight
    return enlarged


class Teacher:
    """A trained network whose output is a second target."""

    def __init__(
        self,
        config: TeacherConfig,
        folder: Path,
        scale: int,
        device: torch.device,
        *,
        bfloat16: bool,
        channels: int = 3,
    ) -> None:
        """``config.model`` is relative to ``folder``; with ``bfloat16`` it computes in that.

        Raises ``TrainingError`` if it cannot be read, or is not of ``scale`` and ``channels``.
        """
        path = folder / config.model
        network, card = load_network(path)
        if card.scale != scale:
            raise TrainingError(
                f"{path}: a teacher that enlarges {card.scale} times cannot teach {scale} times"
            )
        if card.channels != channels:
            raise TrainingError(
                f"{path}: a teacher of {card.channels} channels cannot teach one of {channels}"
            )
        # On CPUs, too, NHWC is the faster where there is no way back: 76 against 60 GFLOP/s.
        self.network = network.eval().requires_grad_(False)
        self.network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.path, self.device, self.bfloat16 = path, device, bfloat16
        if device.type == "cuda" and not config.whole:
            self.network.compile()
        self.weight = config.weight
        self.whole = config.whole
        self.self_ensemble = config.self_ensemble

    @torch.no_grad()
    def __call__(self, low: Tensor) -> Tensor:
        """The teacher's result for ``low``, N x 3 x H x W, H equal to W if self-ensembled."""
        if not self.self_ensemble:
            return self._enlarged(low, *ORIENTATIONS[0])
        return torch.stack([self._enlarged(low, *way) for way in ORIENTATIONS]).mean(0)

    @torch.no_grad()
    def label(
        self, index: int, low: NDArray[np.uint8], high: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """The replacement of training picture number ``index``, by a teacher of whole ones.

        That is ``high``, mixed with the teacher's result for ``low``; all height x width x 3.
        """
        x = torch.from_numpy(np.array(low)).to(self.device).permute(2, 0, 1)[None].float() / 255
        x = luma_of(x) if self.network.channels == 1 else x
        ways = ORIENTATIONS if self.self_ensemble else [ORIENTATIONS[index % len(ORIENTATIONS)]]
        output = torch.stack([self._enlarged(x, *way) for way in ways]).mean(0)[0]
        target = torch.from_numpy(np.array(high)).to(self.device).permute(2, 0, 1).float()
        # One of luma changes red, green and blue alike: what the student sees of it is luma.
        mixed = torch.lerp(target, output.clamp(0, 1).expand_as(target) * 255, self.weight)
        label: NDArray[np.uint8] = mixed.round().byte().permute(1, 2, 0).cpu().numpy()
        return label

    def _enlarged(self, low: Tensor, flips: tuple[int, ...], turned: bool) -> Tensor:
        """The network's result for ``low``, flipped and turned before, and turned back."""
        turned_low = orient(low, flips, turned).contiguous(memory_format=torch.channels_last)
        with torch.autocast(low.device.type, torch.bfloat16, enabled=self.bfloat16):
            output = enlarge_whole(self.network, turned_low).float()
        return orient(output, flips, turned, back=True)


def orient(x: Tensor, flips: tuple[int, ...], turned: bool, *, back: bool = False) -> Tensor:
    """Flip N x C x H x W along axes, then transpose it if ``turned``; ``back`` undoes that."""
    if back:
        x = x.mT if turned else x
        return x.flip(flips) if flips else x
    x = x.flip(flips) if flips else x
    return x.mT if turned else x
