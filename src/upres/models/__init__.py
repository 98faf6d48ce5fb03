"""The model file: an ONNX file that carries a card saying what it is."""

from __future__ import annotations

import dataclasses
import json
import threading
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from upres.card import check_card, is_whole
from upres.engine.machine import bfloat16_is_native, int8_is_native
from upres.engine.probing import in_float32, probe
from upres.errors import ModelError

if TYPE_CHECKING:
    import openvino

CARD_KEY = "upres"
"""The entry of the ONNX file's metadata that holds the card, as JSON."""

FORMAT_VERSION = 1

SHIPPED = Path(__file__).parent

DEFAULT_MODEL = "fast"

INT8 = "-int8"
"""Ends the name of a model that was quantised: ``fast-int8`` is made of ``fast``."""

Precision = Literal["auto", "fp32", "bf16", "int8"]
"""Which of a shipped model's variants, and how it is computed: ``auto`` is int8 where the processor
is made for it, else fp32; ``bf16`` is the one in fp32, computed in bfloat16."""


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
