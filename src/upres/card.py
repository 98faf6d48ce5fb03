"""A model file's card, which says what the model is, and what a card may say."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upres.errors import ModelError

if TYPE_CHECKING:
    import onnx
    import openvino

CARD_KEY = "upres"
"""The entry of the ONNX file's metadata that holds the card, as JSON."""

FORMAT_VERSION = 1

Test = Callable[[Any], bool]


def check_card(values: dict[str, Any]) -> None:
    """Raise ``ValueError`` for an entry that no card may have; entries may be missing."""
    for key, (test, wanted) in _RULES.items():
        if key in values and not test(values[key]):
            raise ValueError(f"{key} must be {wanted}, not {values[key]!r:.60}")


def write_card(proto: onnx.ModelProto, card: ModelCard) -> None:
    """Set the card in an ONNX model's metadata; other entries stay as they are."""
    for entry in proto.metadata_props:
        if entry.key == CARD_KEY:
            entry.value = card.to_json()
            return
    proto.metadata_props.add(key=CARD_KEY, value=card.to_json())


def is_whole(value: Any, least: int, most: float = math.inf) -> bool:
    """Whether that is a whole number, and not a truth value, from ``least`` to ``most``."""
    return type(value) is int and least <= value <= most


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_structure(value: Any) -> bool:
    # How many features there are tells how much memory a window takes.
    return isinstance(value, dict) and is_whole(value.get("features", 1), 1)


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(map(_is_number, value))
        and value[0] < value[1]
    )


def _is_score(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"dataset", "images", "psnr", "ssim"}
        and _is_text(value["dataset"])
        and is_whole(value["images"], 1)
        and _is_number(value["psnr"])
        and _is_number(value["ssim"])
    )


def _or_null(test: Test) -> Test:
    return lambda value: value is None or test(value)


_TEXT = (_is_text, "text")
_TEXT_OR_NULL = (_or_null(_is_text), "text or null")

_RULES: dict[str, tuple[Test, str]] = {
    "name": _TEXT,
    "scale": (lambda value: is_whole(value, 1, 8), "a whole number from 1 to 8"),
    "halo": (_or_null(lambda value: is_whole(value, 0)), "a whole number from 0, or null"),
    "network": _TEXT,
    "network_parameters": (_is_structure, "an object, its features a whole number from 1"),
    "parameter_count": (_or_null(lambda value: is_whole(value, 0)), "a whole number, or null"),
    "channels": (lambda value: is_whole(value, 3, 3), "3, as pictures are fed as RGB"),
    "value_range": (_is_range, "two numbers, the lower first"),
    "multiple_of": (lambda value: is_whole(value, 1), "a whole number from 1"),
    "precision": _TEXT,
    "self_ensemble": (lambda value: isinstance(value, bool), "true or false"),
    "degradation": _TEXT,
    "data": _TEXT,
    "recipe": _TEXT_OR_NULL,
    "commit": _TEXT_OR_NULL,
    "protocol": _TEXT_OR_NULL,
    "scores": (
        lambda value: isinstance(value, list) and all(map(_is_score, value)),
        "a list of dataset, images, psnr and ssim",
    ),
}


@dataclass(frozen=True)
class SetScore:
    """Means over one benchmark set, by the card's protocol."""

    dataset: str
    images: int
    psnr: float
    ssim: float


@dataclass(frozen=True)
class ModelCard:
    """What a model is, how to feed it, what trained it and how well it does."""

    name: str
    scale: int
    halo: int | None
    """Receptive-field radius: how many input pixels around one influence its output. None
    is the whole picture, as global pooling makes it: then there can be no tiles."""
    network: str = "unknown"
    network_parameters: dict[str, int | float | bool] = field(default_factory=dict)
    """The structure's parameters, such as ``{"features": 32, "blocks": 7}``."""
    parameter_count: int | None = None
    channels: int = 3
    value_range: tuple[float, float] = (0.0, 1.0)
    multiple_of: int = 1
    """The input's height and width must be multiples of this."""
    precision: str = "fp32"
    self_ensemble: bool = False
    """Whether the engine takes the mean of what the network gives for the eight ways to flip
    and turn its input. Source: Timofte, Rothe and Van Gool, "Seven ways to improve
    example-based single image super resolution", CVPR 2016, section 3.6."""
    degradation: str = "unknown"
    """What the model undoes: ``bicubic`` (clean pictures), or what else it saw."""
    data: str = "unknown"
    """What pictures trained it, and their licence."""
    recipe: str | None = None
    commit: str | None = None
    """The commit of upres that trained it."""
    protocol: str | None = None
    scores: tuple[SetScore, ...] = ()
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """The card as it is stored in the model file."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read a card; keys that a later version added are passed over.

        Raises ``ValueError`` if it is not a card that this version can read.
        """
        try:
            values = json.loads(text)
        except RecursionError:
            raise ValueError("its JSON is nested too deeply") from None
        if not isinstance(values, dict) or not is_whole(values.get("format_version"), 1):
            raise ValueError("the card is not a JSON object with a format_version")
        if values["format_version"] > FORMAT_VERSION:
            raise ValueError(
                f"the card's format is {values['format_version']}, newer than the "
                f"{FORMAT_VERSION} that this upres reads: update upres"
            )
        for key in ("name", "scale", "halo"):
            if key not in values:
                raise ValueError(f"{key} is missing")
        check_card(values)
        known = {f.name for f in dataclasses.fields(cls)}
        values = {key: value for key, value in values.items() if key in known}
        values["scores"] = tuple(SetScore(**score) for score in values.get("scores", ()))
        values["value_range"] = tuple(values.get("value_range", (0.0, 1.0)))
        return cls(**values)


@dataclass(frozen=True, eq=False)
class Model:
    """A model file and its card."""

    path: Path
    card: ModelCard
    graph: openvino.Model = field(repr=False)
    """As read from the file, not compiled."""
    bfloat16: bool = False
    """Whether what the file has in floating point is computed in bfloat16, but for the picture
    that is added at the end: what int8 leaves, where the processor is made for it."""

    @property
    def label(self) -> str:
        """Such as ``fast x2``."""
        return f"{self.card.name} x{self.card.scale}"

    def require_scale(self, scale: int) -> None:
        """Raise ``ModelError`` if the model does not enlarge ``scale`` times."""
        if self.card.scale != scale:
            raise ModelError(
                f"{self.path}: this model enlarges {self.card.scale} times, not {scale} times"
            )
