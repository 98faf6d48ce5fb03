"""What a model's card may say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Test = Callable[[Any], bool]


def check_card(values: dict[str, Any]) -> None:
    """Raise ``ValueError`` for an entry that no card may have; entries may be missing."""
    for key, (test, wanted) in _RULES.items():
        if key in values and not test(values[key]):
            raise ValueError(f"{key} must be {wanted}, not {values[key]!r:.60}")


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
