"""The shipped models, and any other model file: opened by name or path."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal, get_args

from upres.card import Compute, Model, ModelCard, Stamp, file_stamp, read_card
from upres.engine.probing import probe
from upres.engine.protocol import Backend
from upres.errors import ModelError
from upres.models.hub import fetched, is_reference

SHIPPED = Path(__file__).parent

DEFAULT_MODEL = "fast"

INT8 = "-int8"
"""Ends the name of a model that was quantised: ``fast-int8`` is made of ``fast``."""

Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
"""Which of a shipped model's variants, and how it is computed: ``auto`` leaves both to the backend;
``bf16`` and ``fp16`` are the variant in fp32, computed in bfloat16 or float16."""


Shipped = Mapping[str, Mapping[int, Path]]
"""Models that have names: name to scale to file."""


@cache
def shipped_models(folder: Path = SHIPPED) -> dict[str, dict[int, Path]]:
    """The models in a folder, that inside the package unless one is given; see ``Shipped``."""
    models: dict[str, dict[int, Path]] = {}
    for name, _, scale in sorted(p.stem.rpartition("-x") for p in folder.glob("*-x*.onnx")):
        # What another process is about to put there is no model yet.
        if scale.isdigit() and not name.startswith("."):
            models.setdefault(name, {})[int(scale)] = folder / f"{name}-x{scale}.onnx"
    return models


def open_model(
    model: str | Path = DEFAULT_MODEL,
    *,
    scale: int | None = None,
    shipped: Shipped | None = None,
) -> Model:
    """Open a shipped model by name and scale, or any super-resolution .onnx by path.

    What begins with ``hf://`` is a repository of Hugging Face, see ``upres.models.hub``. What ends
    in ``.onnx`` or holds a path separator is a path; anything else is a name.
    The model is that one file: the name of a model in float32 is never answered with its int8,
    whose name ends in ``-int8``. Of the file only the card is read; one without a card is probed
    for its scale, receptive field and range of values. ``scale`` chooses among a shipped model's
    scales (default: its largest), and must match a file's own. ``shipped`` are the models that have
    names (default: the package's own).

    Raises ``ModelError`` if there is no such model, the file is not a super-resolution
    model, or it has not the scale.
    """
    text = str(model)
    if is_reference(text):
        opened = read_model(fetched(text, scale))
        if scale is not None:
            opened.require_scale(scale)
        return opened
    if text.endswith(".onnx") or "/" in text or "\\" in text:
        opened = read_model(Path(text))
        if scale is not None:
            opened.require_scale(scale)
        return opened
    if shipped is None:
        shipped = shipped_models()
    if text not in shipped:
        known = ", ".join(shipped) or "none"
        raise ModelError(f"no model is called {text!r}: shipped are {known}; or give an .onnx")
    scales = shipped[text]
    if scale is None:
        scale = max(scales)
    if scale not in scales:
        known = ", ".join(map(str, sorted(scales)))
        raise ModelError(f"model {text!r} has no scale {scale}: it has {known}")
    return read_model(scales[scale])


def at_precision(
    model: str | Path, precision: Precision, backend: Backend, *, shipped: Shipped | None = None
) -> str:
    """The name of ``model``'s variant of that precision, or its path, if it is one.

    ``auto`` is int8 where that suits ``backend``. ``shipped`` are the models that have names
    (default: the package's own).

    Raises ``ModelError`` if there is no such model, variant or precision.
    """
    _require_known(precision)
    name = str(model)
    quantised = name + INT8
    if shipped is None:
        shipped = shipped_models()
    if precision in ("auto", "int8") and quantised in shipped:
        suits = precision == "int8" or backend.suits(open_model(quantised, shipped=shipped).card)
        return quantised if suits else name
    if precision != "auto":
        _require_own(open_model(name, shipped=shipped), precision, name, shipped=shipped)
    return name


def computed_in(model: Model, precision: Precision, backend: Backend) -> Model:
    """``model``, to be computed by ``backend`` in that precision.

    ``auto`` and ``int8`` leave to it in which numbers it computes, unless ``model`` says it.

    Raises ``ModelError`` if there is no such precision, the model is of another, or the backend
    cannot do that here.
    """
    _require_known(precision)
    _require_own(model, precision, str(model.path))
    compute = model.compute
    if precision != "auto" and precision != "int8":
        compute = precision
    elif compute == "fp32":
        compute = backend.best_compute(model.card)
    if not backend.can_compute(compute):
        known = " or ".join(each for each in get_args(Compute) if backend.can_compute(each))
        raise ModelError(
            f"precision {compute}: {backend.name} cannot compute so here: choose {known}"
        )
    return model if compute == model.compute else dataclasses.replace(model, compute=compute)


def _require_known(precision: str) -> None:
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise ModelError(f"no precision is called {precision!r}: there are {known}")


def _require_own(
    model: Model, precision: Precision, name: str, *, shipped: Shipped | None = None
) -> None:
    """Raise ``ModelError`` if a file is of another precision; of shipped models, name the other."""
    own, called = model.card.precision, model.card.name
    asked = "int8" if precision == "int8" else "fp32"
    if precision == "auto" or own == asked:
        return
    if shipped is None:
        shipped = shipped_models()
    other = called + INT8 if asked == "int8" else called.removesuffix(INT8)
    if other in shipped and model.path in shipped.get(called, {}).values():
        raise ModelError(f"model {name!r} is {own}: for {precision}, take {other!r}")
    raise ModelError(f"model {name!r} is {own}, and there is no {precision} of it")


def read_model(path: Path) -> Model:
    """Read a model file's card; probe a file that has none.

    Raises ``ModelError`` if it cannot be read or is not a super-resolution model.
    """
    return Model(path, _card(path, file_stamp(path)))


@lru_cache(maxsize=64)
def _card(path: Path, stamp: Stamp) -> ModelCard:
    # Cached, as probing takes seconds; by the file's identity and time of change, too, so that a
    # file that is replaced is read anew.
    return read_card(path) or probe(path)
