"""Runs a model on windows of one shape."""

from __future__ import annotations

import math
import os
import threading
import weakref
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from upres.card import Model
from upres.engine.machine import bfloat16_is_native
from upres.errors import ModelError
from upres.models import core
from upres.raster.pixels import Float32Array

if TYPE_CHECKING:
    import openvino


SMALL_PIXELS = 128 * 128
"""Windows of at most this many pixels have one thread each, and run beside each other: to
share one among threads would cost more than it gives."""


ORIENTATIONS = [(flips, turned) for flips in ((), (2,), (3,), (2, 3)) for turned in (False, True)]
"""The eight ways to flip a picture, N x C x H x W, along axes, and then to swap the last two."""


KEPT_BYTES = 2**24
"""Windows whose result takes at most this many leave their memory to the next picture's. Of larger
ones, whose pictures take longer anyway, it may be wanted for other things meanwhile."""


AMX_WIDTH = 16
"""With AMX, windows whose width is a multiple of this are up to four times as fast as others, as
processors take as many pixels of a row at once. Measured: benchmarks/WIDTHS.md."""


class Engine(Protocol):
    """Takes N x C x H x W float32 of the one shape it was made for; gives the enlarged, in memory
    that nothing else has.
    """

    def __call__(self, window: Float32Array, /) -> Float32Array: ...


def compile_window(model: Model, height: int, width: int) -> Engine:
    """Compile ``model`` for windows of 1 x channels x ``height`` x ``width``.

    A fixed shape lets the engine choose its kernels and memory once. Precision is pinned
    to float32, or to bfloat16 if ``model`` says so: left alone, OpenVINO takes bfloat16
    wherever the processor has it, which is less exact and, without AMX, slower.

    Raises ``ModelError`` if the model does not take windows of that size, or does not give
    what its card says; or in a process that was forked from one that has compiled already.
    """
    if _process() != os.getpid():
        raise ModelError(
            f"{model.path}: the engine ran before this process was forked, and would wait for "
            "ever here: start processes by spawn, multiprocessing.get_context('spawn')"
        )
    engine = upright = _compile_network(model, height, width)
    if model.card.self_ensemble:
        turned = upright if height == width else _compile_network(model, width, height)
        engine = _self_ensembled(upright, turned)
    return engine if model.card.value_range == (0, 1) else _ranged(engine, *model.card.value_range)


@cache
def _process() -> int:
    """The process that first compiled; of the engine's threads a fork of it has none."""
    return os.getpid()


def fast_multiples(model: Model) -> tuple[int, int]:
    """What the height and width of windows should be multiples of, for ``model`` to be fast."""
    by_amx = bfloat16_is_native() and (model.bfloat16 or model.card.precision == "int8")
    # What looks at the whole picture gets it whole, whatever its size.
    width = AMX_WIDTH if by_amx and model.card.halo is not None else 1
    # An ensemble sees its windows turned, too.
    return (width if model.card.self_ensemble else 1), width


def _ranged(engine: Engine, low: float, high: float) -> Engine:
    """What takes and gives values in [0, 1], of an engine for such in [``low``, ``high``]."""
    start, length = np.float32(low), np.float32(high - low)

    def run(window: Float32Array, /) -> Float32Array:
        result = engine(window * length + start)
        result -= start
        result /= length
        return result

    return run


def _self_ensembled(upright: Engine, turned: Engine) -> Engine:
    """The mean over ``ORIENTATIONS``; ``turned`` takes windows with height and width swapped."""

    def run(window: Float32Array, /) -> Float32Array:
        total: Float32Array | None = None
        for flips, swaps in ORIENTATIONS:
            given = np.flip(window, flips)
            result = turned(given.swapaxes(2, 3)).swapaxes(2, 3) if swaps else upright(given)
            result = np.flip(result, flips)
            total = result if total is None else np.add(total, result, out=total)
        assert total is not None
        return np.multiply(total, np.float32(1 / len(ORIENTATIONS)), out=total)

    return run


def _compile_network(model: Model, height: int, width: int) -> Engine:
    compiled = _compile(model, height, width)
    if height * width <= SMALL_PIXELS:
        return lambda window: _request_of_this_thread(compiled)(window)
    result_bytes = 4 * math.prod(compiled.output(0).shape)
    return _latest_request(compiled) if result_bytes <= KEPT_BYTES else _Request(compiled)


class _Request:
    """Runs a compiled model, a window at a time, in memory that it keeps for the next one.

    To fetch new memory from the system takes time: for the results of ``fast`` x4 in int8 up to
    10 ms beside 17 of computing, where the system is a virtual one, and for what is between its
    layers 5.
    """

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._shape = tuple(compiled.output(0).shape)
        self._request = compiled.create_infer_request()
        self._free = threading.Lock()
        self._results: list[Float32Array] = []
        """Memory of results that nobody has any more."""

    def __call__(self, window: Float32Array, /) -> Float32Array:
        from openvino import Tensor

        result = self._new_result()
        # The window's own memory: given to infer() as an array, it would take 0.2 ms to look
        # at. A copy, if one was needed, has to have a name here, as the tensor does not keep it.
        window = np.ascontiguousarray(window)
        with self._free:
            self._request.set_input_tensor(Tensor(window, shared_memory=True))
            # Not the request's own memory, as it would give the same again.
            self._request.set_output_tensor(Tensor(result, shared_memory=True))
            self._request.infer()
        return result

    def _new_result(self) -> Float32Array:
        try:
            memory = self._results.pop()
        except IndexError:  # another thread may have taken the last one
            memory = np.empty(math.prod(self._shape), np.float32)
        # An array that is not simply a view of the memory, whose own views would keep that alone:
        # of this one all keep it, and it goes with the last of them.
        owner = np.frombuffer(memory.data, np.float32)
        weakref.finalize(owner, self._results.append, memory).atexit = False
        return owner.reshape(self._shape)


@lru_cache(maxsize=1)
def _latest_request(compiled: openvino.CompiledModel) -> _Request:
    """The one for windows that are not small. Another beside it would gain nothing, as one takes
    all cores.
    """
    return _Request(compiled)


_kept = threading.local()


def _request_of_this_thread(compiled: openvino.CompiledModel) -> _Request:
    if getattr(_kept, "compiled", None) is not compiled:
        _kept.compiled, _kept.request = compiled, _Request(compiled)
    request: _Request = _kept.request
    return request


def compile_settings(height: int, width: int, *, bfloat16: bool) -> dict[str, str]:
    """What OpenVINO is told of a graph for windows of ``height`` x ``width``."""
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        "PERFORMANCE_HINT": "THROUGHPUT" if height * width <= SMALL_PIXELS else "LATENCY",
    }


@lru_cache(maxsize=4)
def _compile(model: Model, height: int, width: int) -> openvino.CompiledModel:
    graph = model.graph.clone()
    channels, scale = model.card.channels, model.card.scale
    try:
        graph.reshape([1, channels, height, width])
        if model.bfloat16:
            _add_picture_in_float32(graph)
        settings = compile_settings(height, width, bfloat16=model.bfloat16)
        compiled = core().compile_model(graph, "CPU", settings)
    except RuntimeError as error:
        raise ModelError(
            f"{model.path}: the engine cannot run this model on {width}x{height} pixels"
        ) from error
    # What of the result's memory the model does not fill would be whatever was there before.
    given = compiled.output(0).get_partial_shape()
    wanted = [1, channels, height * scale, width * scale]
    if given.is_dynamic or list(given.to_shape()) != wanted:
        raise ModelError(
            f"{model.path}: of {width}x{height} pixels this model makes {given}, not {wanted}, as "
            "its card says: correct the card, or take another model"
        )
    return compiled


def _add_picture_in_float32(graph: openvino.Model) -> None:
    """Let the picture that a network adds at its end stay in float32 where all else does not.

    The file has it as a convolution that repeats each of the input's channels, which is added to
    the last convolution, and the sum is shuffled. Convolutions are what the engine computes in
    bfloat16, of whose 8 bits a picture would show. So the picture is added after the shuffle, each
    row to all that come of it. And the shuffle becomes one transposition, of what has its channels
    last, as convolutions give it: otherwise the engine reorders it before, and as slowly.
    """
    import openvino.opset13 as ops

    for shuffle in graph.get_ordered_ops():
        if shuffle.get_type_name() != "DepthToSpace":
            continue
        total, scale = shuffle.input_value(0).get_node(), shuffle.get_attributes()["block_size"]
        if total.get_type_name() != "Add" or shuffle.get_attributes()["mode"] != "depth_first":
            continue
        for index in (0, 1):
            picture = _repeated(total.input_value(index).get_node(), scale**2)
            if picture is not None:
                break
        else:
            continue
        _, channels, height, width = picture.shape
        # Bounds that nothing meets are computed together with the last convolution, which then
        # gives float32, and not bfloat16 to what follows: that would cost up to half a level.
        bound = np.finfo(np.float32).max
        last = ops.transpose(ops.clamp(total.input_value(1 - index), -bound, bound), [0, 2, 3, 1])
        squares = ops.reshape(last, [height, width, channels, scale, scale], False)
        rows = ops.transpose(squares, [2, 0, 3, 1, 4])
        rows = ops.reshape(rows, [channels, height, scale, width * scale], False)
        columns = np.arange(width, dtype=np.int32).repeat(scale)
        wide = ops.gather(ops.reshape(picture, [channels, height, 1, width], False), columns, 3)
        whole = ops.reshape(
            ops.add(rows, wide), [1, channels, height * scale, width * scale], False
        )
        for reader in shuffle.output(0).get_target_inputs():
            reader.replace_source_output(whole.output(0))


def _repeated(node: openvino.Node, times: int) -> openvino.Output | None:
    """The graph's input, if ``node`` is a convolution that only repeats its channels."""
    if node.get_type_name() != "Convolution":
        return None
    given, weights = node.input_value(0), _constant(node.input_value(1).get_node())
    if given.get_node().get_type_name() != "Parameter" or weights is None:
        return None
    repeat = np.eye(given.shape[1]).repeat(times, 0)[:, :, None, None]
    return given if np.array_equal(weights, repeat) else None


def _constant(node: openvino.Node) -> NDArray[Any] | None:
    """The values of a constant, which may be stored in another type; None of what is none."""
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return node.data if node.get_type_name() == "Constant" else None
