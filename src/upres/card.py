"""A model file's card, which is the model's own description, and the rules for its entries."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from upres.errors import ModelError
from upres.onnx_files import read_entry, write_entry

if TYPE_CHECKING:
    import onnx

CARD_KEY = "upres"
"""The entry of the ONNX file's metadata that holds the card, as JSON."""

FORMAT_VERSION = 1

Compute = Literal["fp32", "bf16", "fp16"]
"""The numbers that a network is computed in."""

Test = Callable[[Any], bool]
Rule = tuple[Test, str]
"""The test of an entry, and the words for all that passes it."""


def check_card(values: dict[str, Any]) -> None:
    """Raise ``ValueError`` for an entry that no card may have; entries may be missing."""
    for key, rule in _RULES.items():
        if key in values:
            check_entry(key, values[key], rule)


def check_entry(key: str, value: Any, rule: Rule) -> None:
    """Raise ``ValueError`` if an entry is not as its rule wants it."""
    test, wanted = rule
    if not test(value):
        raise ValueError(f"{key} must be {wanted}, not {value!r:.60}")


def values_in(text: str) -> Any:
    """The content of a card's JSON, of any type; raises ``ValueError`` if it is no JSON."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None


def write_card(proto: onnx.ModelProto, card: ModelCard) -> None:
    """Set the card in an ONNX model's metadata; other entries stay as they are."""
    write_entry(proto, CARD_KEY, card.to_json())


def is_whole(value: Any, least: int, most: float = math.inf) -> bool:
    """Whether that is a whole number, and not a truth value, from ``least`` to ``most``."""
    return type(value) is int and least <= value <= most


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def is_text(value: Any) -> bool:
    """Whether that is text."""
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
        and is_text(value["dataset"])
        and is_whole(value["images"], 1)
        and _is_number(value["psnr"])
        and _is_number(value["ssim"])
    )


def _or_null(test: Test) -> Test:
    return lambda value: value is None or test(value)


_TEXT = (is_text, "text")
_TEXT_OR_NULL = (_or_null(is_text), "text or null")

_RULES: dict[str, Rule] = {
    "name": _TEXT,
    "scale": (lambda value: is_whole(value, 1, 8), "a whole number from 1 to 8"),
    "halo": (_or_null(lambda value: is_whole(value, 0)), "a whole number from 0, or null"),
    "network": _TEXT,
    "network_parameters": (_is_structure, "an object, its features a whole number from 1"),
    "parameter_count": (_or_null(lambda value: is_whole(value, 0)), "a whole number, or null"),
    "channels": (lambda value: is_whole(value, 1, 3) and value != 2, "1 for luma or 3 for RGB"),
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
    """A model's description: its kind, how to feed it, its training and its scores."""

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
    """3 for RGB; 1 for luma: then colour is enlarged bicubically."""
    value_range: tuple[float, float] = (0.0, 1.0)
    multiple_of: int = 1
    """The input's height and width must be multiples of this."""
    precision: str = "fp32"
    self_ensemble: bool = False
    """Whether the engine takes the mean of the network's results for the eight ways to flip
    and turn its input. Source: Timofte, Rothe and Van Gool, "Seven ways to improve
    example-based single image super resolution", CVPR 2016, section 3.6."""
    degradation: str = "unknown"
    """The damage that the model undoes: ``bicubic`` (clean pictures), or another that it saw."""
    data: str = "unknown"
    """The pictures that trained it, and their licence."""
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
        values = values_in(text)
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


@dataclass(frozen=True)
class Model:
    """A model file, its card, and how it is computed."""

    path: Path
    card: ModelCard
    compute: Compute = "fp32"
    """Of all that the file has in floating point. The picture that is added at the end stays in
    float32."""
    head: Path | None = None
    """The file of a head that is computed with it, see ``upres.head``: then there is one channel
    more, of half-widths."""

    def __hash__(self) -> int:
        # Without the card, whose parameters are a dict.
        return hash((self.path, self.compute, self.head))

    @property
    def label(self) -> str:
        """Its name and scale: ``fast x2``."""
        return f"{self.card.name} x{self.card.scale}"

    @property
    def mode(self) -> str:
        """The numbers that it is computed in, such as ``bf16``; of one in int8, behind a plus those
        of the rest, unless that is in float32: ``int8+bf16``.
        """
        own = self.card.precision
        if own == "fp32":
            return self.compute
        return own if self.compute == "fp32" else f"{own}+{self.compute}"

    def require_scale(self, scale: int) -> None:
        """Raise ``ModelError`` if the model does not enlarge ``scale`` times."""
        if self.card.scale != scale:
            raise ModelError(
                f"{self.path}: this model enlarges {self.card.scale} times, not {scale} times"
            )


Stamp = tuple[int, ...]


def file_stamp(path: Path) -> Stamp:
    """A model file's identity, time of change and size: who keeps its content reads it anew when
    they change.

    Raises ``ModelError`` if there is no such file.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ModelError(f"{path}: cannot read this model file: {error.strerror}") from None
    return status.st_ino, status.st_mtime_ns, status.st_size


def read_card(path: Path) -> ModelCard | None:
    """The card in a model file; ``None`` if the file has none.

    Raises ``ModelError`` if the file cannot be read, is not an ONNX file or is damaged there, or
    if its card is none that this version can read.
    """
    text = read_entry(path, CARD_KEY)
    if text is None:
        return None
    try:
        return ModelCard.from_json(text)
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path}: its card cannot be read: {error}") from None
