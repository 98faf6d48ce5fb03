"""The model file: an ONNX file that carries a card saying what it is."""

from __future__ import annotations

import dataclasses
import threading
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from upres.card import CARD_KEY, Model, ModelCard
from upres.engine.machine import bfloat16_is_native, int8_is_native
from upres.engine.probing import in_float32, probe
from upres.errors import ModelError

if TYPE_CHECKING:
    import openvino

SHIPPED = Path(__file__).parent

DEFAULT_MODEL = "fast"

INT8 = "-int8"
"""Ends the name of a model that was quantised: ``fast-int8`` is made of ``fast``."""

Precision = Literal["auto", "fp32", "bf16", "int8"]
"""Which of a shipped model's variants, and how it is computed: ``auto`` is int8 where the processor
is made for it, else fp32; ``bf16`` is the one in fp32, computed in bfloat16."""


_FIRST = threading.Lock()


@cache
def core() -> openvino.Core:
    """The process's OpenVINO core: reads model files and compiles them."""
    import openvino

    # What OpenVINO sets up when it first meets an array may wait for ever if two threads
    # meet theirs at once: so here, one thread at a time.
    with _FIRST:
        openvino.Tensor(np.zeros(1, np.float32))
    return openvino.Core()


@cache
def shipped_models() -> dict[str, dict[int, Path]]:
    """The models inside the package: name to scale to file."""
    models: dict[str, dict[int, Path]] = {}
    for name, _, scale in sorted(p.stem.rpartition("-x") for p in SHIPPED.glob("*-x*.onnx")):
        # What another process is about to put there is no model yet.
        if scale.isdigit() and not name.startswith("."):
            models.setdefault(name, {})[int(scale)] = SHIPPED / f"{name}-x{scale}.onnx"
    return models


def load_model(model: str | Path = DEFAULT_MODEL, *, scale: int | None = None) -> Model:
    """Load a shipped model by name and scale, or any super-resolution .onnx by path.

    What ends in ``.onnx`` or holds a path separator is a path; anything else is a name.
    A file without a card is probed for its scale, receptive field and range of values.
    ``scale`` chooses among a shipped model's scales (default: its largest), and must match a
    file's own.

    Raises ``ModelError`` if there is no such model, the file is not a super-resolution
    model, or it has not the scale.
    """
    text = str(model)
    if text.endswith(".onnx") or "/" in text or "\\" in text:
        loaded = read_model(Path(text))
        if scale is not None:
            loaded.require_scale(scale)
        return loaded
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


def at_precision(model: str | Path, precision: Precision) -> str:
    """The name of ``model``'s variant of that precision, or its path, if it is one.

    Raises ``ModelError`` if there is no such model, variant or precision.
    """
    _require_known(precision)
    name = str(model)
    shipped = shipped_models()
    if precision in ("auto", "int8") and name + INT8 in shipped:
        return name + INT8 if precision == "int8" or int8_is_native() else name
    if precision != "auto":
        _require_own(load_model(name), precision, name)
    return name


def _require_known(precision: str) -> None:
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise ModelError(f"no precision is called {precision!r}: there are {known}")


def _require_own(model: Model, precision: Precision, name: str) -> None:
    own = model.card.precision
    if precision != "auto" and own != ("int8" if precision == "int8" else "fp32"):
        raise ModelError(f"model {name!r} is {own}, and there is no {precision} of it")


def computed_in(model: Model, precision: Precision) -> Model:
    """``model``, computed in bfloat16 if that is the precision; else as it is.

    Raises ``ModelError`` if there is no such precision, the model is of another, or the engine
    cannot do that here.
    """
    _require_known(precision)
    _require_own(model, precision, str(model.path))
    if precision != "bf16":
        return model
    if not computes_bfloat16():
        raise ModelError("precision bf16: this processor cannot compute so: choose fp32 or int8")
    return _in_bfloat16(model)


def computes_bfloat16() -> bool:
    """Whether the engine can compute in bfloat16 here, be it slower than in float32."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@lru_cache(maxsize=16)
def _in_bfloat16(model: Model) -> Model:
    # Cached, as what is compiled of it is cached by what it is.
    return dataclasses.replace(model, bfloat16=True)


def read_model(path: Path) -> Model:
    """Read a model file and its card; probe a file that has none.

    Raises ``ModelError`` if it cannot be read or is not a super-resolution model.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ModelError(f"{path}: cannot read this model file: {error.strerror}") from None
    return _read_model(path, (status.st_ino, status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=16)
def _read_model(path: Path, stamp: tuple[int, ...]) -> Model:
    # Cached, as reading costs more than enlarging a thumbnail; by the file's identity and
    # time of change, too, so that a file that is replaced is read anew.
    from openvino.frontend import FrontEndManager

    # Asked for any kind of model, OpenVINO tries all its readers, and they log to the screen.
    reader = FrontEndManager().load_by_framework("onnx")
    try:
        graph = reader.convert(reader.load(str(path)))
    except Exception:  # OpenVINO's own have no public class in common
        raise ModelError(f"{path}: not an ONNX model that can be read") from None
    graph = in_float32(path, graph)
    # OpenVINO hands the file's metadata on under this key, if there is any.
    info = graph.get_rt_info()
    # Not a dict: it has no get().
    metadata: Any = info["framework"] if "framework" in info else {}  # noqa: SIM401
    if CARD_KEY not in metadata:
        found = vars(probe(path, graph, core()))
        return Model(path, ModelCard(name=path.stem, **found), graph)
    try:
        card = ModelCard.from_json(metadata[CARD_KEY].astype(str))
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path}: its card cannot be read: {error}") from None
    return Model(path, card, graph, card.precision == "int8" and bfloat16_is_native())
