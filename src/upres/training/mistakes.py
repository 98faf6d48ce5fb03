"""Mistakes in a recipe, told by its own keys: pydantic's names are of no help in a file."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError


def explain(error: ValidationError, values: Mapping[str, Any], config: type) -> str:
    """The most telling of the errors in ``values``, in one line: the key, and its mistake.

    ``config`` is the dataclass that was to be made of them.
    """
    errors = error.errors()
    unexpected = [each for each in errors if each["type"] == "unexpected_keyword_argument"]
    # A misspelt key may be missed, too, where it belongs; but that says less.
    shown = (unexpected or errors)[0]
    location = _place(shown["loc"], values, missing=shown["type"] == "missing")
    key = ".".join(map(str, location))
    if unexpected:
        spelt = ".".join(part for part in location if isinstance(part, str))
        # The sections that it is in are like it, but no help.
        known = [each for each in _keys(config, values) if not spelt.startswith(f"{each}.")]
        near = difflib.get_close_matches(spelt, known, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
        return f"{key}: no such key{hint}"
    message = shown["msg"].removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]}"


def _place(location: Sequence[int | str], values: Any, *, missing: bool) -> list[int | str]:
    """Where in ``values`` an error is, or, if ``missing``, the key that is not there.

    Without parts that pydantic puts between, as the choice among several structures.
    """
    place: list[int | str] = []
    for part in location:
        in_list = isinstance(values, list) and isinstance(part, int)
        if in_list or (isinstance(values, Mapping) and part in values):
            values = values[part]
            place.append(part)
    return [*place, location[-1]] if missing else place


def _keys(config: Any, given: Any, prefix: str = "") -> list[str]:
    """Every key that there may be, with its section's name before it.

    ``given`` are the values: they choose the structure, where there is a choice.
    """
    keys: list[str] = []
    for name, hint in typing.get_type_hints(config).items():
        if name.startswith("__"):
            continue
        keys.append(prefix + name)
        inner = given.get(name) if isinstance(given, Mapping) else None
        options = _sections(hint)
        if len(options) > 1 and isinstance(inner, Mapping):
            options = [each for each in options if each.name == inner.get("name")] or options
        for option in options:
            keys += _keys(option, inner, f"{prefix}{name}.")
    return list(dict.fromkeys(keys))


def _sections(hint: Any) -> list[Any]:
    """The dataclasses that a type consists of."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return [hint]
    return [section for part in typing.get_args(hint) for section in _sections(part)]
