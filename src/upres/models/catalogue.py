"""The shipped models: their purposes, their speeds, and the variants of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from upres.card import Model, ModelCard
from upres.engine.protocol import Backend, Choice
from upres.models import INT8, open_model, shipped_models

Speed = Literal["fast", "medium", "slow", "unknown"]

FAST_BELOW, SLOW_FROM = 500_000, 5_000_000
"""Multiply-adds for each pixel of the picture that bound the classes of speed."""

SELF_ENSEMBLE = 8
"""How often a self-ensembled model runs its network on a picture."""

PURPOSES = {
    "fast": "clean pictures; the default",
    "balanced": "clean pictures; more faithful",
    "best": "clean pictures; most faithful",
    "photo": "JPEGs with visible faults",
}
"""The purposes of shipped models; that of others is the damage that they were trained to undo."""

_UNDOES = {
    "bicubic": "clean pictures",
    "jpeg": "compressed JPEG files",
    "photo": "photographs with faults",
}


@dataclass(frozen=True)
class Variant:
    """One file of a model: of one scale, in one precision."""

    path: Path
    card: ModelCard

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size

    @property
    def speed(self) -> Speed:
        return speed(self.card)


@dataclass(frozen=True)
class Listed:
    """A model with its variants, by scale and then by precision."""

    name: str
    purpose: str
    variants: tuple[Variant, ...]

    @property
    def scales(self) -> list[int]:
        return sorted({variant.card.scale for variant in self.variants})

    @property
    def precisions(self) -> list[str]:
        return sorted({variant.card.precision for variant in self.variants})


def speed(card: ModelCard) -> Speed:
    """The class of a model's speed, by the multiply-adds for each pixel of the picture.

    A network that works at the picture's own size needs about as many of these as it has
    parameters, and eight times as many if it is self-ensembled. The precision counts nothing:
    how much int8 gives depends on the processor.
    """
    if card.parameter_count is None:
        return "unknown"
    count = card.parameter_count * (SELF_ENSEMBLE if card.self_ensemble else 1)
    return "fast" if count < FAST_BELOW else "medium" if count < SLOW_FROM else "slow"


def catalogue() -> list[Listed]:
    """The shipped models by name; those in int8 are variants of the models they are made of."""
    names = shipped_models()
    return [
        _listed(name, [name, name + INT8])
        for name in names
        if not (name.endswith(INT8) and _base(name) in names)
    ]


def look_up(model: str) -> Listed:
    """A shipped model with all its variants, or a model's file alone.

    The name of a variant in int8, such as ``fast-int8``, gives that variant only.

    Raises ``ModelError`` if there is no such model.
    """
    if model in shipped_models():
        return _listed(model, [model, model + INT8])
    loaded = open_model(model)
    return Listed(loaded.card.name, _purpose(loaded.card), (Variant(loaded.path, loaded.card),))


def chosen_here(listed: Listed, backend: Backend) -> dict[int, Choice]:
    """By scale, the variant that ``backend`` takes unless a precision is asked for; nothing for a
    file, or for a variant in int8, which is one already.
    """
    if listed.name not in shipped_models() or listed.name.endswith(INT8):
        return {}
    found = {}
    for scale in listed.scales:
        variants = [each for each in listed.variants if each.card.scale == scale]
        variants.sort(key=lambda each: each.card.precision != "fp32")
        found[scale] = backend.choose([Model(each.path, each.card) for each in variants])
    return found


def _listed(name: str, variants: Iterable[str]) -> Listed:
    shipped = shipped_models()
    loaded = [
        open_model(variant, scale=scale)
        for variant in variants
        for scale in shipped.get(variant, ())
    ]
    loaded.sort(key=lambda model: (model.card.scale, model.card.precision))
    return Listed(
        name,
        _purpose(loaded[0].card),
        tuple(Variant(model.path, model.card) for model in loaded),
    )


def _base(name: str) -> str:
    """The model that one in int8 is made of; of another, itself."""
    return name.removesuffix(INT8)


def _purpose(card: ModelCard) -> str:
    return PURPOSES.get(_base(card.name)) or _UNDOES.get(card.degradation, "unknown")
