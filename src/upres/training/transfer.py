"""What a network takes over from trained ones: weights to start from, and a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from upres.errors import TrainingError
from upres.training.config import TeacherConfig
from upres.training.export import load_network, read_weights
from upres.training.networks import Network
from upres.training.networks.parts import fast_in_bfloat16


def warm_start(network: Network, paths: Sequence[Path]) -> None:
    """Set ``network``'s weights from trained ones; of another scale, all but the tail's.

    ``network`` may have layers more than these, if they start at zero: it gives the same at first.

    ``paths`` are model files, ``.safetensors`` or checkpoints of upres. Of several, the weights'
    mean is taken: of networks that were trained further from the same one, each with other
    batches, it is often better than any. Source: Wortsman et al., "Model soups: averaging weights
    of multiple fine-tuned models improves accuracy without increasing inference time", ICML 2022.

    Raises ``TrainingError`` if one cannot be read or its structure differs.
    """
    own = network.state_dict()
    taken = [_fitting(read_weights(path), own, path) for path in paths]
    shared = [name for name in own if all(name in weights for weights in taken)]
    mean = {name: torch.stack([w[name].float() for w in taken]).mean(0) for name in shared}
    network.load_state_dict(mean, strict=False)


def _fitting(weights: dict[str, Tensor], own: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Of ``weights``, those that a network with ``own`` can take; raises if others differ."""
    tails = {name for name in own if name.startswith("tail.")}
    same_scale = all(name in weights and weights[name].shape == own[name].shape for name in tails)
    if not same_scale:
        weights = {name: w for name, w in weights.items() if not name.startswith("tail.")}
    expected = set(own) if same_scale else set(own) - tails
    added = {name for name in expected - set(weights) if not own[name].any()}
    if set(weights) != expected - added or any(
        own[name].shape != w.shape for name, w in weights.items()
    ):
        raise TrainingError(f"{path}: cannot start from this model: its structure differs")
    return weights


class Teacher:
    """A trained network whose output is a second target."""

    def __init__(
        self, config: TeacherConfig, folder: Path, scale: int, device: torch.device
    ) -> None:
        path = folder / config.model
        network, card = load_network(path)
        if card.scale != scale:
            raise TrainingError(
                f"{path}: a teacher that enlarges {card.scale} times cannot teach {scale} times"
            )
        self.network = network.eval().requires_grad_(False).to(device)
        if device.type == "cuda":
            self.network.compile()
        self.weight = config.weight
        self.self_ensemble = config.self_ensemble

    @torch.no_grad()
    def __call__(self, low: Tensor) -> Tensor:
        """What the teacher makes of ``low``, N x 3 x H x W, H equal to W if self-ensembled."""
        fast = fast_in_bfloat16(low.device)
        with torch.autocast(low.device.type, torch.bfloat16, enabled=fast):
            if not self.self_ensemble:
                output: Tensor = self.network(low)
                return output.float()
            outputs = [
                orient(self.network(orient(low, flips, turned)).float(), flips, turned, back=True)
                for flips in ((), (2,), (3,), (2, 3))
                for turned in (False, True)
            ]
            return torch.stack(outputs).mean(0)


def orient(x: Tensor, flips: tuple[int, ...], turned: bool, *, back: bool = False) -> Tensor:
    """Flip N x C x H x W along axes, then transpose it if ``turned``; ``back`` undoes that."""
    if back:
        x = x.mT if turned else x
        return x.flip(flips) if flips else x
    x = x.flip(flips) if flips else x
    return x.mT if turned else x
