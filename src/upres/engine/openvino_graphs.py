"""OpenVINO's own: its import, its core, and models' graphs as it reads and rewrites them."""

from __future__ import annotations

import sys
import threading
from functools import cache, lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from upres.card import Stamp, file_stamp
from upres.errors import ModelError

if TYPE_CHECKING:
    import openvino

_FIRST = threading.Lock()


def import_openvino() -> ModuleType:
    """OpenVINO, imported without its telemetry if nobody has imported it before.

    By itself it reports each time that it is imported to its makers, over the network, and keeps
    a number for that in the user's home. Where a program has imported it already, that was its
    own choice, and so is its use of ``openvino_telemetry`` afterwards.
    """
    with _FIRST:
        if "openvino" in sys.modules:
            return import_module("openvino")  # which waits for it, if another thread is at it
        name = "openvino_telemetry"
        before = {name: sys.modules[name]} if name in sys.modules else {}
        sys.modules[name] = None  # type: ignore[assignment]  # its import then fails
        try:
            return import_module("openvino")
        finally:
            del sys.modules[name]
            sys.modules.update(before)


@cache
def core() -> openvino.Core:
    """The process's OpenVINO core: reads model files and compiles them."""
    library = import_openvino()
    # OpenVINO sets something up when it first meets an array, and may wait for ever if two
    # threads meet theirs at once: so here, one thread at a time.
    with _FIRST:
        library.Tensor(np.zeros(1, np.float32))
    return library.Core()


def read_graph(path: Path) -> openvino.Model:
    """A model file's graph, not compiled, with pictures in and out in float32.

    It is shared: clone it before changing it.

    Raises ``ModelError`` if the file cannot be read, or takes or gives whole numbers.
    """
    return graph_of(path, file_stamp(path))


@lru_cache(maxsize=16)
def graph_of(path: Path, stamp: Stamp) -> openvino.Model:
    """``read_graph``, of a file as it was when it got its ``stamp``."""
    # Cached, as reading costs more than enlarging a thumbnail.
    import_openvino()
    from openvino.frontend import FrontEndManager

    # Asked for any kind of model, OpenVINO tries all its readers, and they log to the screen.
    reader = FrontEndManager().load_by_framework("onnx")
    try:
        graph = reader.convert(reader.load(str(path)))
    except Exception:  # OpenVINO's own have no public class in common
        raise ModelError(f"{path}: not an ONNX model that can be read") from None
    if not graph.inputs or not graph.outputs:
        raise ModelError(f"{path}: not an ONNX model that can be read")
    return _in_float32(path, graph)


def _in_float32(path: Path, graph: openvino.Model) -> openvino.Model:
    """``graph``, which may be changed, with pictures in and out in float32, as we feed it."""
    from openvino import Type

    ends = [*graph.inputs, *graph.outputs]
    for end in ends:
        if not end.get_element_type().is_real():
            raise ModelError(
                f"{path}: takes or gives values of type {end.get_element_type().get_type_name()}: "
                "export it with pictures in floating point"
            )
    if len(ends) == 2 and any(end.get_element_type() != Type.f32 for end in ends):
        from openvino.preprocess import PrePostProcessor

        steps = PrePostProcessor(graph)
        steps.input().tensor().set_element_type(Type.f32)
        steps.output().tensor().set_element_type(Type.f32)
        graph = steps.build()
    return graph


def add_head(path: Path, graph: openvino.Model, head: openvino.Model) -> None:
    """Let a head take the last features of a model's ``graph``, which gets its result as another.

    The last features are the input of the last convolution. Raises ``ModelError`` if there is none,
    or it has another number of channels than the head takes.
    """
    features = _last_features(graph.output(0).get_node().input_value(0))
    taken = head.inputs[0].get_partial_shape()
    if features is None or features.get_partial_shape()[1] != taken[1]:
        raise ModelError(f"{path}: its last features are not those that its head is for")
    for reader in head.get_parameters()[0].output(0).get_target_inputs():
        reader.replace_source_output(features)
    graph.add_results(head.get_results())


def _last_features(output: openvino.Output) -> openvino.Output | None:
    """The input of the convolution that is the nearest before ``output``, unless the picture is."""
    found = [output]
    while found:
        node = found.pop(0).get_node()
        if node.get_type_name() == "Convolution":
            given = node.input_value(0)
            if given.get_node().get_type_name() != "Parameter":
                return given
        else:
            found += [each.get_source_output() for each in node.inputs()]
    return None


def add_picture_in_float32(graph: openvino.Model) -> None:
    """Let the picture that a network adds at its end stay in float32 where all else does not.

    The file has it as a convolution that repeats each of the input's channels, which is added to
    the last convolution, and the sum is shuffled. The engine computes convolutions in
    bfloat16, and a picture would show its 8 bits. So the picture is added after the shuffle, each
    row to all that come of it. And the shuffle becomes one transposition of values with
    channels last, as convolutions give them: otherwise the engine reorders them before, and as
    slowly.
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
        channels = picture.get_partial_shape()[1].get_length()
        # Bounds that nothing meets are computed together with the last convolution, which then
        # gives float32, and not bfloat16 for the next: that would cost up to half a level.
        bound = np.finfo(np.float32).max
        last = ops.transpose(ops.clamp(total.input_value(1 - index), -bound, bound), [0, 2, 3, 1])
        # Zero is the size as it is, which may be free.
        squares = ops.reshape(last, [0, 0, 0, channels, scale, scale], True)
        rows = ops.transpose(squares, [0, 3, 1, 4, 2, 5])
        enlarged = np.array([1, 1, scale, scale], np.int64)
        size = ops.multiply(ops.shape_of(picture), ops.constant(enlarged))
        whole = ops.reshape(ops.add(rows, ops.unsqueeze(picture, [3, 5])), size, False)
        for reader in shuffle.output(0).get_target_inputs():
            reader.replace_source_output(whole.output(0))


def _repeated(node: openvino.Node, times: int) -> openvino.Output | None:
    """The graph's input, if ``node`` is a convolution that only repeats its channels."""
    if node.get_type_name() != "Convolution":
        return None
    given, weights = node.input_value(0), _constant(node.input_value(1).get_node())
    if given.get_node().get_type_name() != "Parameter" or weights is None:
        return None
    repeat = np.eye(given.get_partial_shape()[1].get_length()).repeat(times, 0)[:, :, None, None]
    return given if np.array_equal(weights, repeat) else None


def _constant(node: openvino.Node) -> NDArray[Any] | None:
    """The values of a constant, which may be stored in another type; None if it is none."""
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return node.data if node.get_type_name() == "Constant" else None
