"""OpenVINO, on the processor: a ``Backend``."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from upres.card import Compute, Model, ModelCard, Stamp, file_stamp
from upres.engine.forks import require_own_process
from upres.engine.machine import Processor, this_processor, thread_limit, usable_processors
from upres.engine.memory import ResultMemory, affordable_pixels
from upres.engine.openvino_graphs import add_head, add_picture_in_float32, core, graph_of
from upres.engine.precisions import in_bfloat16, table_choice
from upres.engine.protocol import Choice, Engine, Limits
from upres.engine.trials import trial_choice
from upres.errors import ModelError
from upres.raster.pixels import Float32Array

if TYPE_CHECKING:
    import openvino


SMALL_PIXELS = 128 * 128
"""Windows of at most this many pixels have one thread each, and run beside each other: to
share one among threads would cost more than it gives."""


KEPT_BYTES = 2**24
"""Windows whose result takes at most this many leave their memory to the next picture's. Of larger
ones, whose pictures take longer anyway, it may be wanted for other things meanwhile."""


WINDOW_PIXELS = 512 * 512
"""Largest window, in input pixels."""


WINDOW_BYTES = 160 * 2**20
"""Memory of a network's work on one window, about."""


AMX_WIDTH = 16
"""With AMX, windows whose width is a multiple of this are up to four times as fast as others, as
processors take as many pixels of a row at once. Measured: benchmarks/WIDTHS.md."""


@dataclass(frozen=True)
class OpenVINO:
    """OpenVINO on a processor, by default this machine's."""

    processor: Processor = field(default_factory=this_processor)
    threads: int | None = None
    """How many compute at most; ``None`` is as many as this process may use processors."""

    @property
    def name(self) -> str:
        return "OpenVINO"

    @property
    def device(self) -> Literal["cpu", "gpu"]:
        return "cpu"

    def open(self, model: Model) -> OpenVINONetwork:
        if not self.can_compute(model.compute):
            raise ModelError(
                f"{model.path}: OpenVINO cannot compute in {model.compute} on this processor: "
                "choose fp32"
            )
        stamp = file_stamp(model.path)
        graph_of(model.path, stamp)
        return OpenVINONetwork(model, stamp, self.threads)

    def limits(self, model: Model) -> Limits:
        card = model.card
        by_amx = self.processor.bfloat16 and (model.compute == "bf16" or card.precision == "int8")
        # What looks at the whole picture gets it whole, whatever its size.
        width = AMX_WIDTH if by_amx and card.halo is not None else 1
        # An ensemble sees its windows turned, too.
        height = width if card.self_ensemble else 1
        return Limits(
            min(WINDOW_PIXELS, affordable_pixels(card, WINDOW_BYTES)),
            (height, width),
            # On one processor, nothing would be gained.
            ahead=(self.threads or usable_processors()) > 1,
        )

    def choose(self, variants: Sequence[Model]) -> Choice:
        ways = [replace(each, compute=self.best_compute(each.card)) for each in variants]
        known = table_choice(ways, self.processor.kind)
        if known is not None:
            return known
        if ways[0].card.precision == "fp32" and self.can_compute("bf16"):
            ways[1:1] = [in_bfloat16(ways[0])]
        return trial_choice(ways, self)

    def best_compute(self, card: ModelCard) -> Compute:
        # What int8 leaves in floating point is then as fast. Else that would be less exact than
        # the file, which nobody has asked for.
        return "bf16" if card.precision == "int8" and self.processor.bfloat16 else "fp32"

    def can_compute(self, compute: Compute) -> bool:
        # Without asking OpenVINO, which takes time to load, where that is clear.
        if compute == "bf16" and not self.processor.bfloat16:
            return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return compute != "fp16"


@dataclass(frozen=True)
class OpenVINONetwork:
    """A model file that OpenVINO has read."""

    model: Model
    stamp: Stamp
    """The file's, when it was opened."""
    threads: int | None = None

    def compile(self, height: int, width: int) -> Engine:
        """Compile it for windows of 1 x channels x ``height`` x ``width``.

        A fixed shape lets OpenVINO choose its kernels and memory once. That takes longer than a
        small window does, so these share what is compiled for all their sizes. Precision is
        pinned: left alone, it takes bfloat16 wherever the processor has it, which is less exact
        and, without AMX, slower.
        """
        path, card = self.model.path, self.model.card
        require_own_process(path)
        key = (path, self.stamp, self.model.compute, thread_limit(self.threads))
        head = self.model.head
        heads = None if head is None else (head, file_stamp(head))
        given, size = card.channels, (height * card.scale, width * card.scale)
        channels = (given,) if head is None else (given, 1)
        if height * width <= SMALL_PIXELS:
            convolves = card.multiple_of == 1 and card.halo is not None
            # What int8 leaves would be rounded to bfloat16 at other places than in large windows:
            # a tenth to a third of the samples would differ.
            # And of other networks in bfloat16 nobody has looked.
            same = card.network == "plain" and card.precision == "fp32"
            convolves &= same or self.model.compute == "fp32"
            compiled = _compile_small(*key, given, card.scale, heads) if convolves else None
            if compiled is None:
                compiled = _compile(*key, given, card.scale, height, width, heads)
            return lambda window: _request_of_this_thread(compiled, channels, size)(window)
        compiled = _compile(*key, given, card.scale, height, width, heads)
        if 4 * sum(channels) * math.prod(size) <= KEPT_BYTES:
            return _latest_request(compiled, channels, size)
        return _Request(compiled.create_infer_request(), channels, size)


class _Request:
    """Runs a compiled model, a window at a time, in memory that it keeps for the next one.

    To fetch new memory from the system takes time: for what is between the layers of ``fast`` x4
    in int8 up to 5 ms beside 17 of computing, where the system is a virtual one.
    """

    def __init__(
        self, request: openvino.InferRequest, channels: tuple[int, ...], size: tuple[int, int]
    ) -> None:
        """``channels`` are those of each output, and ``size`` their height and width."""
        self._request = request
        self._free = threading.Lock()
        self._channels = channels
        self._results = ResultMemory((1, sum(channels), *size))

    def __call__(self, window: Float32Array, /) -> Float32Array:
        from openvino import Tensor

        result = self._results.new()
        # The window's own memory: given to infer() as an array, it would take 0.2 ms to look
        # at. A copy, if one was needed, has to have a name here, as the tensor does not keep it.
        window = np.ascontiguousarray(window)
        with self._free:
            self._request.set_input_tensor(Tensor(window, shared_memory=True))
            # Not the request's own memory, as it would give the same again.
            first = 0
            for number, channels in enumerate(self._channels):
                part = result[:, first : first + channels]
                self._request.set_output_tensor(number, Tensor(part, shared_memory=True))
                first += channels
            # It would give copies of its results otherwise, which nobody looks at: for those of
            # a window of 480x480 pixels with fast x4 in int8 that takes 7 ms beside 77.
            self._request.infer(share_outputs=True)
        return result


@lru_cache(maxsize=1)
def _latest_request(
    compiled: openvino.CompiledModel, channels: tuple[int, ...], size: tuple[int, int]
) -> _Request:
    """The one for windows that are not small. Another beside it would gain nothing, as one takes
    all cores.
    """
    return _Request(compiled.create_infer_request(), channels, size)


_kept = threading.local()


def _request_of_this_thread(
    compiled: openvino.CompiledModel, channels: tuple[int, ...], size: tuple[int, int]
) -> _Request:
    if getattr(_kept, "compiled", None) is not compiled:
        _kept.compiled, _kept.inferring = compiled, compiled.create_infer_request()
        _kept.size = None
    if _kept.size != size:
        _kept.size, _kept.request = size, _Request(_kept.inferring, channels, size)
    request: _Request = _kept.request
    return request


def compile_settings(
    height: int, width: int, compute: Compute, threads: int | None = None
) -> dict[str, str]:
    """OpenVINO's settings of a graph for windows of ``height`` x ``width``.

    Without ``threads``, it takes as many as suit the processor.
    """
    limit = {}
    if threads is not None:
        # Else OpenVINO binds the threads to the first processors, as another process does, too: two
        # workers of one thread each shared one processor, and the second one idled.
        limit = {"INFERENCE_NUM_THREADS": str(threads), "ENABLE_CPU_PINNING": "NO"}
    return limit | {
        "INFERENCE_PRECISION_HINT": "bf16" if compute == "bf16" else "f32",
        "PERFORMANCE_HINT": "THROUGHPUT" if height * width <= SMALL_PIXELS else "LATENCY",
    }


@lru_cache(maxsize=4)
def _compile(
    path: Path,
    stamp: Stamp,
    compute: Compute,
    threads: int | None,
    channels: int,
    scale: int,
    height: int,
    width: int,
    head: tuple[Path, Stamp] | None,
) -> openvino.CompiledModel:
    try:
        graph = _graph(path, stamp, channels, scale, height, width, head)
        if compute == "bf16":
            add_picture_in_float32(graph)
        settings = compile_settings(height, width, compute, threads)
        return core().compile_model(graph, "CPU", settings)
    except RuntimeError as error:
        raise ModelError(
            f"{path}: the engine cannot run this model on {width}x{height} pixels"
        ) from error


@lru_cache(maxsize=4)
def _compile_small(
    path: Path,
    stamp: Stamp,
    compute: Compute,
    threads: int | None,
    channels: int,
    scale: int,
    head: tuple[Path, Stamp] | None,
) -> openvino.CompiledModel | None:
    """The same for small windows of any size; ``None`` where each size has to be compiled.

    The first window of a size takes 10 ms then, and not 160, with ``fast`` in int8; later ones take
    as long as with a fixed shape. The results are the same in float32 and bfloat16; in int8 a few
    samples of a hundred are rounded otherwise.
    """
    from openvino import Dimension, PartialShape

    try:
        graph = _graph(path, stamp, channels, scale, 20, 24, head)
        side = Dimension(1, SMALL_PIXELS)
        graph.reshape(PartialShape([1, channels, side, side]))
        if compute == "bf16":
            add_picture_in_float32(graph)
        return core().compile_model(graph, "CPU", compile_settings(1, 1, compute, threads))
    except (RuntimeError, ModelError):
        return None  # and the one for the size at hand says the error


def _graph(
    path: Path,
    stamp: Stamp,
    channels: int,
    scale: int,
    height: int,
    width: int,
    head: tuple[Path, Stamp] | None,
) -> openvino.Model:
    """A copy of the graph for windows of that size, with its head.

    Raises ``ModelError`` if its result has not the size that the card says, and ``RuntimeError``
    if it does not take the window.
    """
    graph = graph_of(path, stamp).clone()
    if head is not None:
        add_head(path, graph, graph_of(*head).clone())
    graph.reshape([1, channels, height, width])
    # What of the result's memory the model does not fill would be whatever was there before.
    given = graph.output(0).get_partial_shape()
    wanted = [1, channels, height * scale, width * scale]
    if given.is_dynamic or list(given.to_shape()) != wanted:
        raise ModelError(
            f"{path}: of {width}x{height} pixels this model makes {given}, not {wanted}, as its "
            "card says: correct the card, or take another model"
        )
    if head is not None and list(graph.output(1).shape) != [1, 1, *wanted[2:]]:
        raise ModelError(f"{head[0]}: this head gives no half-width for each pixel of {path}")
    return graph
