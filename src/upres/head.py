"""The file of a head: a small network that bounds the error of another one's result.

It lies beside the model's file, ``fast-x2.head.onnx`` beside ``fast-x2.onnx``, and takes that
network's last features. For every pixel of the result it gives a half-width: the samples of the
truth lie that far from those of the result at most, in so many parts of all pixels as its card
promises. The model's own file knows nothing of it.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from upres.card import (
    Model,
    Rule,
    Stamp,
    check_entry,
    file_stamp,
    is_text,
    is_whole,
    values_in,
)
from upres.errors import ModelError
from upres.onnx_files import network_digest, read_entry

HEAD_KEY = "upres-head"
"""The entry of the ONNX file's metadata that holds the head's card, as JSON."""

HEAD_FORMAT = 1


def _is_part(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _is_factor(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < 1000


_RULES: dict[str, Rule] = {
    "model": (is_text, "text"),
    "scale": (lambda value: is_whole(value, 1, 8), "a whole number from 1 to 8"),
    "precision": (is_text, "text"),
    "network": (is_text, "text"),
    "degradation": (is_text, "text"),
    "level": (_is_part, "a number from 0 to 1"),
    "factor": (_is_factor, "a number above 0"),
    "pictures": (lambda value: is_whole(value, 1), "a whole number from 1"),
    "coverage": (_is_part, "a number from 0 to 1"),
    "least_coverage": (_is_part, "a number from 0 to 1"),
    "least_covered": (is_text, "text"),
    "data": (is_text, "text"),
    "protocol": (is_text, "text"),
    "commit": (lambda value: value is None or is_text(value), "text or null"),
}


@dataclass(frozen=True)
class HeadCard:
    """The description of a head: what it promises, and the pictures by which that was found."""

    model: str
    """The name of the model that it belongs to."""
    scale: int
    precision: str
    """Of the model that it was calibrated with: ``fp32`` or ``int8``."""
    network: str
    """The digest of that model's network, see ``upres.onnx_files.network_digest``."""
    degradation: str
    """Of the pictures that it was calibrated with, as in the model's card."""
    level: float
    """The part of all samples that is promised to lie within the bounds, in the mean over
    pictures."""
    factor: float
    """Times the network's own half-widths gives those that keep the promise."""
    pictures: int
    """How many it was calibrated with. None of them trained the model or the head."""
    coverage: float
    """The mean part of these pictures' samples that lies within the bounds."""
    least_coverage: float
    """The same of the picture that has the least."""
    least_covered: str
    """That picture's name."""
    data: str = ""
    """The pictures, and their licence."""
    protocol: str = ""
    commit: str | None = None
    """The commit of upres that calibrated it."""
    format_version: int = HEAD_FORMAT

    def to_json(self) -> str:
        """The card as it is stored in the head's file."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> HeadCard:
        """Read a card; keys that a later version added are passed over.

        Raises ``ValueError`` if it is not a card that this version can read.
        """
        values = values_in(text)
        if not isinstance(values, dict) or values.get("format_version") != HEAD_FORMAT:
            raise ValueError(f"its format is not {HEAD_FORMAT}: update upres")
        known = {each.name: each for each in dataclasses.fields(cls)}
        for key, rule in _RULES.items():
            if key in values:
                check_entry(key, values[key], rule)
            elif known[key].default is dataclasses.MISSING:
                raise ValueError(f"{key} is missing")
        return cls(**{key: value for key, value in values.items() if key in known})


def head_path(model_path: Path) -> Path:
    """Where the head of a model's file is, if it has one."""
    return model_path.with_name(f"{model_path.stem}.head.onnx")


def head_card_of(model: Model) -> HeadCard | None:
    """The card of the head beside a model's file; ``None`` if there is none.

    Raises ``ModelError`` if it cannot be read, or is that of another model.
    """
    path = head_path(model.path)
    if not path.is_file():
        return None
    card = _card(path, file_stamp(path))
    own = (model.card.scale, model.card.precision)
    if (card.scale, card.precision) != own:
        raise ModelError(
            f"{path}: is the head of a model x{card.scale} in {card.precision}, not of {model.path}"
        )
    if card.network != _digest(model.path, file_stamp(model.path)):
        raise ModelError(
            f"{path}: was calibrated with other weights than those of {model.path}: "
            "calibrate it again"
        )
    return card


@lru_cache(maxsize=64)
def _digest(path: Path, stamp: Stamp) -> str:
    return network_digest(path)


@lru_cache(maxsize=64)
def _card(path: Path, stamp: Stamp) -> HeadCard:
    text = read_entry(path, HEAD_KEY)
    if text is None:
        raise ModelError(f"{path}: has no card of a head in it")
    try:
        return HeadCard.from_json(text)
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path}: its card cannot be read: {error}") from None
