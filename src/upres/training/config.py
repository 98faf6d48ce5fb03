"""The recipe: everything that determines a trained model, in one TOML file."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from upres.errors import RecipeError

_STRICT = ConfigDict(extra="forbid", strict=True)

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class NetworkConfig:
    """Structure of the network; see ``upres.training.networks``."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: Literal["plain"] = "plain"
    features: PositiveInt = 32
    """Channels of every hidden convolution."""
    blocks: PositiveInt = 7
    """Residual blocks, two convolutions each."""


@dataclass(frozen=True)
class DataConfig:
    """Where the pictures are, and how patches are drawn from them."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    train: list[str]
    """Tar shards or folders of high-resolution pictures, relative to the data folder."""
    valid: list[str]
    licence: str
    """What the pictures are and their licence, for the model's card."""
    patch: PositiveInt = 64
    """Side of a training patch, in low-resolution pixels."""
    batch: PositiveInt = 8
    candidates: PositiveInt = 1
    """Patches drawn for each one kept: those with the strongest gradients are kept.
    Flat sky teaches little; 1 draws uniformly."""


@dataclass(frozen=True)
class OptimiserConfig:
    """Loss, optimiser, and the learning rate's course: linear warm-up, then half a cosine."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    steps: PositiveInt
    name: Literal["adam", "muon"] = "adam"
    loss: Literal["l1", "mse"] = "l1"
    learning_rate: PositiveFloat = 1e-3
    final_learning_rate: PositiveFloat = 1e-6
    warmup: Annotated[int, Field(ge=0)] = 500
    """Steps over which the learning rate rises from zero."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the exponential moving average of the weights, which is what is exported."""


@dataclass(frozen=True)
class Recipe:
    """One training run, completely."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str
    scale: Literal[2, 3, 4]
    data: DataConfig
    optimiser: OptimiserConfig
    network: NetworkConfig = field(default_factory=NetworkConfig)
    start_from: str | None = None
    """Model file (relative to the recipe) whose weights training starts from. Of another
    scale, its last convolution is left out."""
    seed: int = 0
    validate_every: PositiveInt = 2000
    """Steps."""
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 120.0


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, and change single values of it (``"optimiser.steps=100"``).

    Values of overrides are TOML; what does not parse as TOML is taken as a string.
    Raises ``RecipeError`` that names the file and the key.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: cannot read this recipe: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from error
    for override in overrides:
        _apply_override(values, override)
    return recipe_from(values, str(path))


def recipe_from(values: dict[str, Any], source: str) -> Recipe:
    """Check ``values`` and make a recipe of them; ``source`` is named in errors.

    Raises ``RecipeError`` for a missing or unknown key, a wrong type or a bad value.
    """
    try:
        # By way of JSON, so that TOML's integers serve where a float is asked for.
        return TypeAdapter(Recipe).validate_json(json.dumps(values))
    except ValidationError as error:
        first = error.errors()[0]
        raise RecipeError(f"{source}: {_explain(first['loc'], first['msg'])}") from None


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator:
        raise RecipeError(f"--set {override}: write it as key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *sections, last = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise RecipeError(f"--set {override}: {section} is not a section of the recipe")
    values[last] = value


def _explain(location: tuple[int | str, ...], message: str) -> str:
    key = ".".join(map(str, location))
    if "unexpected" in message.lower():
        known = _keys(Recipe)
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
        return f"{key}: no such key{hint}"
    return f"{key}: {message[0].lower()}{message[1:]}"


def _keys(config: Any, prefix: str = "") -> list[str]:
    keys: list[str] = []
    fields: dict[str, FieldInfo] = config.__dataclass_fields__
    sections = {"data": DataConfig, "optimiser": OptimiserConfig, "network": NetworkConfig}
    for name in fields:
        if not prefix and name in sections:
            keys += _keys(sections[name], f"{name}.")
        else:
            keys.append(prefix + name)
    return keys
