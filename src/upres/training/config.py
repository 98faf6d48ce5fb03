"""The recipe: everything that determines a trained model, in one TOML file."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from upres.errors import RecipeError, Remedy
from upres.training.degradations import DegradationName
from upres.training.losses import LossName
from upres.training.mistakes import explain
from upres.training.networks import NetworkConfig, PlainConfig
from upres.training.networks.parts import STRICT, PositiveInt
from upres.training.sources import DataSource

PositiveFloat = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Stage:
    """Another size of patches and batches, from a step on."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    step: PositiveInt
    patch: PositiveInt
    batch: PositiveInt


@dataclass(frozen=True)
class DataConfig:
    """Where the pictures are, how they are degraded, and how patches are drawn from them."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    train: Annotated[list[DataSource], Field(min_length=1)]
    """Relative to the data folder. A tar shard or a folder of high-resolution pictures,
    or ``{hr = "folder", lr = "folder"}``, where low-resolution ones are given, too."""
    valid: Annotated[list[DataSource], Field(min_length=1)]
    licence: str
    """A description of the pictures and their licence, for the model's card."""
    shrink: list[Annotated[float, Field(gt=0, lt=1)]] = field(default_factory=list)
    """Factors by which every training picture is shrunk (by bicubic) to be trained on in
    that size, too, as its details are finer there. Source: Dong, Loy and Tang, "Accelerating the
    super-resolution convolutional neural network" (FSRCNN), ECCV 2016, section 4.1."""
    degradation: DegradationName = "bicubic"
    """Makes low-resolution pictures where the sources give none."""
    patch: PositiveInt = 64
    """Side of a training patch, in low-resolution pixels."""
    batch: PositiveInt = 8
    candidates: PositiveInt = 1
    """Patches drawn for each one kept: those with the strongest gradients are kept, as flat sky
    teaches little; but of fast x3, 1, which draws uniformly, gave the better score."""
    later: list[Stage] = field(default_factory=list)
    """Other sizes from later steps on: small patches first learn as much for less work."""

    def stages(self) -> dict[str, Stage]:
        """Every size of patches and batches, by the section that gives it."""
        later = {f"data.later.{index}": stage for index, stage in enumerate(self.later)}
        return {"data": Stage(0, self.patch, self.batch)} | later

    def sizes(self, step: int) -> tuple[int, int]:
        """Patch and batch at ``step``."""
        patch, batch = self.patch, self.batch
        for stage in self.later:
            if step >= stage.step:
                patch, batch = stage.patch, stage.batch
        return patch, batch

    def __post_init__(self) -> None:
        steps = [stage.step for stage in self.later]
        if steps != sorted(set(steps)):
            raise ValueError("later: the stages' steps must rise")


@dataclass(frozen=True)
class OptimiserConfig:
    """The optimiser, and the learning rate's course."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    steps: PositiveInt
    """A run may be resumed with another number: from the step on that it has reached, the schedule
    is that of a run of so many, and the optimiser's state goes on. After a run that had come to the
    end of its cosine, the rate rises again."""
    name: Literal["adam", "adamw", "muon"] = "adam"
    learning_rate: PositiveFloat = 1e-3
    """The highest."""
    schedule: Literal["cosine", "one_cycle", "step"] = "cosine"
    """How the rate falls after the warm-up: see ``upres.training.optimisers``."""
    final_learning_rate: PositiveFloat = 1e-6
    """Where ``cosine`` and ``one_cycle`` end."""
    milestones: list[PositiveInt] = field(default_factory=list)
    """Steps at which ``step`` multiplies the rate by ``decay``."""
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.5
    warmup: Annotated[int, Field(ge=0)] = 500
    """Steps over which the rate rises."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Of ``adamw``, in parts of the weights for each unit of the learning rate."""
    clip: PositiveFloat | None = None
    """Largest norm of all gradients together; a longer one is shortened to it."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the exponential moving average of the weights; that average is exported."""

    def __post_init__(self) -> None:
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError("milestones go with schedule = 'step', and it needs them")
        if self.weight_decay and self.name != "adamw":
            raise ValueError(f"weight_decay goes with name = 'adamw', not {self.name!r}")
        unused = "final_learning_rate" if self.schedule == "step" else "decay"
        if getattr(self, unused) != getattr(OptimiserConfig, unused):
            raise ValueError(f"{unused} does not go with schedule = {self.schedule!r}")


@dataclass(frozen=True)
class TeacherConfig:
    """Distillation: a trained network whose output is a second target.

    Source: He et al., "FAKD: feature-affinity based knowledge distillation for efficient
    image super-resolution", ICIP 2020: its teacher supervision.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    model: str
    """A model file, ``.safetensors`` or checkpoint of upres, relative to the recipe."""
    weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The teacher's part in the loss; the picture itself has the rest."""
    self_ensemble: bool = False
    """Whether the teacher averages over the eight flips and rotations of its input."""
    whole: bool = False
    """Whether it enlarges every training picture whole and once, before training, and not
    each patch: mixed with the picture by ``weight``, its result takes that one's place. A large
    teacher costs less so; and it sees clean low resolution, whatever ``degradation`` makes of
    the student's. If not self-ensembled, it gets each picture in another of the eight
    ways to turn it, as the student learns the mean of them all the same. Source: Lopez-Paz et
    al., "Unifying distillation and privileged information", ICLR 2016."""


_LONGEST_NAME = 100
"""In bytes; a file's name may have 255 of them, and ends and temporary names take some."""


def _file_name(name: str) -> str:
    control = any(unicodedata.category(character) == "Cc" for character in name)
    if name in ("", ".", "..") or control or "/" in name or "\\" in name:
        raise ValueError(
            f"{name!r} cannot name the model's files: give one part of a path, without / and \\"
        )
    if len(name.encode()) > _LONGEST_NAME:
        raise ValueError(f"{name!r} is longer than {_LONGEST_NAME} bytes: shorten it")
    return name


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


@dataclass(frozen=True)
class Recipe:
    """One training run, completely."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: Annotated[str, AfterValidator(_file_name)]
    """Of the model, and so of its files."""
    scale: Literal[1, 2, 3, 4]
    """1 restores: the pictures keep their size, and lose what ``data.degradation`` does to them."""
    data: DataConfig
    optimiser: OptimiserConfig
    network: Annotated[NetworkConfig, Field(discriminator="name")] = field(
        default_factory=PlainConfig
    )
    channels: Literal[1, 3] = 3
    """Of the network: 3 for RGB, 1 for luma (BT.601), which it then learns of the same pictures."""
    loss: Annotated[dict[LossName, PositiveFloat], Field(min_length=1)] = field(
        default_factory=lambda: {"l1": 1.0}
    )
    """The terms of the loss and their weights."""
    teacher: TeacherConfig | None = None
    start_from: Annotated[list[str], BeforeValidator(_listed)] = field(default_factory=list)
    """Model file, ``.safetensors`` or checkpoint (relative to the recipe) whose weights
    training starts from. Of another scale, its tail is left out. Of several, the mean of their
    weights: see ``upres.training.transfer``. One may be given without brackets."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    validate_every: PositiveInt = 2000
    """Steps."""
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 120.0

    def __post_init__(self) -> None:
        if self.scale == 1 and self.data.degradation == "bicubic":
            raise ValueError(
                "scale 1 learns nothing of degradation = 'bicubic', which leaves pictures as they "
                "are: take 'jpeg' or 'photo'"
            )


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, and change single values of it (``"optimiser.steps=100"``).

    Values of overrides are TOML; a value that does not parse as TOML is taken as a string.
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


def recipe_from(values: Mapping[str, Any], source: str) -> Recipe:
    """Check ``values`` and make a recipe of them; ``source`` is named in errors.

    Raises ``RecipeError`` for a missing or unknown key, a wrong type or a bad value.
    """
    try:
        # By way of JSON, so that TOML's integers serve where a float is asked for; JSON has no
        # dates, and no value of a recipe is one: they become strings.
        return TypeAdapter(Recipe).validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise RecipeError(f"{source}: {explain(error, values, Recipe)}") from None


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """The recipe as TOML and checkpoints hold it: every value, without those that are None."""

    def present(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: present(x) for key, x in value.items() if x is not None}
        return [present(x) for x in value] if isinstance(value, list) else value

    values: dict[str, Any] = present(dataclasses.asdict(recipe))
    return values


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator:
        raise RecipeError(
            f"{override}: sets no value of the recipe", Remedy("overrides", "takes key=value")
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *sections, last = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise RecipeError(f"{override}: {section} is not a section of the recipe")
    values[last] = value
