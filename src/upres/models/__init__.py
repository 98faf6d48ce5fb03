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


Settled = tuple[tuple[str, str], ...]
"""How models are computed whatever the machine: pairs of a label, such as ``fast x2``, and a
``Model.mode``. That of a shipped model has the name that was asked for."""


def scales_of(
    model: str | Path, precision: Precision, *, shipped: Shipped | None = None
) -> list[int]:
    """The scales that a model has in that precision, in order; a model by its path has its own.

    ``shipped`` are the models that have names (default: the package's own).

    Raises ``ModelError`` if there is no such model, variant or precision.
    """
    _require_known(precision)
    name = str(model)
    shipped = shipped_models() if shipped is None else shipped
    quantised = shipped.get(name + INT8, {})
    if precision == "int8" and quantised:
        return sorted(quantised)
    if name in shipped and precision == "auto":
        return sorted({*shipped[name], *quantised})
    opened = open_model(name, shipped=shipped)
    _require_own(opened, precision, name, shipped=shipped)
    return sorted(shipped[name]) if name in shipped else [opened.card.scale]


def open_at(
    model: str | Path,
    scale: int,
    precision: Precision,
    backend: Backend,
    *,
    shipped: Shipped | None = None,
    settled: Settled = (),
) -> Model:
    """``model``'s variant of that precision and scale, as ``backend`` is to compute it.

    ``auto`` is the one that ``backend`` chooses, unless it is ``settled``. ``shipped`` are the
    models that have names (default: the package's own).

    Raises ``ModelError`` if there is no such model, scale, variant or precision, or the backend
    cannot compute so.
    """
    _require_known(precision)
    name = str(model)
    shipped = shipped_models() if shipped is None else shipped
    files = [shipped[each][scale] for each in (name, name + INT8) if scale in shipped.get(each, ())]
    if not files:
        return computed_in(open_model(name, scale=scale), precision, backend, settled=settled)
    variants = [read_model(path) for path in files]
    mode = dict(settled).get(f"{name} x{scale}")
    if mode is None and precision == "auto" and variants[0].card.precision == "fp32":
        return backend.choose(variants).model
    own = "int8" if (mode or precision).startswith("int8") else "fp32"
    fitting = [each for each in variants if own == each.card.precision]
    opened = fitting[0] if fitting and (mode or precision != "auto") else variants[0]
    if mode is None:
        return computed_in(opened, precision, backend)
    return _as_settled(opened, mode, backend)


def settle_modes(
    model: str | Path | Model,
    precision: Precision,
    backend: Backend,
    *,
    shipped: Shipped | None = None,
) -> Settled:
    """How ``backend`` computes a model at all of its scales, for others to do the same; nothing
    where the precision that is asked for says it already.

    Raises ``ModelError`` as ``open_at`` does.
    """
    _require_known(precision)
    if precision not in ("auto", "int8"):
        return ()
    if isinstance(model, Model):
        return ((model.label, computed_in(model, precision, backend).mode),)
    if str(model) not in (shipped_models() if shipped is None else shipped):
        opened = open_model(model)
        return ((opened.label, computed_in(opened, precision, backend).mode),)
    return tuple(
        (f"{model} x{scale}", open_at(model, scale, precision, backend, shipped=shipped).mode)
        for scale in scales_of(model, precision, shipped=shipped)
    )


def computed_in(
    model: Model, precision: Precision, backend: Backend, *, settled: Settled = ()
) -> Model:
    """``model``, to be computed by ``backend`` in that precision.

    ``auto`` and ``int8`` leave to it in which numbers it computes, unless ``model`` says it, or it
    is ``settled``.

    Raises ``ModelError`` if there is no such precision, the model is of another, or the backend
    cannot do that here.
    """
    _require_known(precision)
    _require_own(model, precision, str(model.path))
    if (mode := dict(settled).get(model.label)) is not None:
        return _as_settled(model, mode, backend)
    compute = model.compute
    if precision != "auto" and precision != "int8":
        compute = precision
    elif compute == "fp32":
        compute = backend.best_compute(model.card)
    return _in_numbers(model, compute, backend)


def require_mode(label: str, mode: str, backend: Backend) -> None:
    """Raise ``ModelError`` if ``backend`` cannot compute in a mode that was settled elsewhere."""
    if not (known := _numbers(mode)) or not backend.can_compute(known[0]):
        raise ModelError(
            f"{label}: the run was begun in {mode}, and {backend.name} cannot compute so "
            "here: go on with it on a machine like that one, or begin anew"
        )


def _numbers(mode: str) -> list[Compute]:
    """The numbers of what a mode leaves in floating point; none of an unknown mode."""
    own, _, rest = mode.partition("+")
    numbers = rest or ("fp32" if own == "int8" else own)
    return [each for each in get_args(Compute) if each == numbers]


def _as_settled(model: Model, mode: str, backend: Backend) -> Model:
    require_mode(model.label, mode, backend)
    own = "int8" if mode.startswith("int8") else "fp32"
    if model.card.precision != own:
        raise ModelError(f"{model.path}: is {model.card.precision}, and the run is in {mode}")
    return _in_numbers(model, _numbers(mode)[0], backend)


def _in_numbers(model: Model, compute: Compute, backend: Backend) -> Model:
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
