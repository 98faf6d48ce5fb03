"""Models' graphs as ONNX Runtime gets them: with pictures in float32, and all else in float16."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from upres.card import Compute
from upres.errors import ModelError

if TYPE_CHECKING:
    import onnx

IN_HALF = {
    *("Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Sub", "Mul", "Div", "Concat"),
    *("Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "Tanh", "Softmax"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "DepthToSpace", "SpaceToDepth"),
    *("Resize", "Upsample", "Pad", "Reshape", "Slice", "Split", "Gather", "Expand"),
    *("Squeeze", "Unsqueeze", "Transpose", "Identity"),
}
"""Operations that are computed in float16; all others stay in float32."""

ONLY_PICTURE_IN_HALF = {"Resize", "Upsample"}
"""Of these, the first input alone; the others are factors, which ONNX wants in float32."""


def prepared(path: Path, compute: Compute) -> bytes:
    """A model file for ONNX Runtime: it takes and gives float32, of any height and width.

    Where a network adds the picture itself, repeated, at its end, that is copied, and added in
    float32: as the convolution that the file has for it, it would be rounded wherever convolutions
    are, to float16 or to TF32's 10 bits, and a picture would show it. With ``fp16``, all
    before is in float16.

    Raises ``ModelError`` if the file cannot be read, or takes or gives whole numbers.
    """
    import onnx

    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception:  # protobuf's own is no public class
        raise ModelError(f"{path}: not an ONNX model that can be read") from None
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    given = [value for value in graph.input if value.name not in stored]
    if len(given) != 1 or len(graph.output) != 1:
        raise ModelError(f"{path}: takes or gives several things, not one picture")
    _picture_ends_in_float32(path, graph, given[0])
    _free_size(graph, given[0])
    exact = _copy_picture(graph, given[0].name)
    if compute == "fp16":
        _to_half(path, model, exact)
    return bytes(model.SerializeToString())


def _picture_ends_in_float32(
    path: Path, graph: onnx.GraphProto, picture: onnx.ValueInfoProto
) -> None:
    from onnx import TensorProto, helper

    for value, goes_in in ((picture, True), (graph.output[0], False)):
        kind = value.type.tensor_type.elem_type
        if kind == TensorProto.FLOAT:
            continue
        if kind not in (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE):
            raise ModelError(
                f"{path}: takes or gives values of type {TensorProto.DataType.Name(kind).lower()}: "
                "export it with pictures in floating point"
            )
        inner = f"{value.name}.inner"
        for node in graph.node:
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    if name == value.name:
                        names[index] = inner
        if goes_in:
            cast = helper.make_node("Cast", [value.name], [inner], to=kind)
            _set_nodes(graph, [cast, *graph.node])
        else:
            cast = helper.make_node("Cast", [inner], [value.name], to=TensorProto.FLOAT)
            graph.node.append(cast)
        value.type.tensor_type.elem_type = TensorProto.FLOAT


def _free_size(graph: onnx.GraphProto, picture: onnx.ValueInfoProto) -> None:
    """Let height and width be any; the shapes that follow from them are found out again."""
    from onnx import TensorProto, helper

    kind = TensorProto.FLOAT
    given = picture.type.tensor_type.shape.dim
    channels = 1 if len(given) == 4 and given[1].dim_value == 1 else 3
    free = [1, channels, "height", "width"]
    picture.CopyFrom(helper.make_tensor_value_info(picture.name, kind, free))
    result = graph.output[0]
    result.CopyFrom(helper.make_tensor_value_info(result.name, kind, [None] * 4))
    del graph.value_info[:]


def _copy_picture(graph: onnx.GraphProto, picture: str) -> set[str]:
    """Copy the picture where a convolution did nothing else; give the tensors to stay in float32.

    That is the names of the results: of copying it, of adding it, and of shuffling that.
    """
    from onnx import helper, numpy_helper

    exact: set[str] = set()
    nodes = []
    for node in graph.node:
        channels = _copied_channels(graph, node) if picture in node.input else None
        if channels is not None:
            (result,) = node.output
            index = numpy_helper.from_array(channels, f"{result}.channels")
            graph.initializer.append(index)
            node = helper.make_node("Gather", [picture, index.name], [result], axis=1)
            exact.update((result, *_sums(graph, result)))
        nodes.append(node)
    _set_nodes(graph, nodes)
    return exact


def _copied_channels(graph: onnx.GraphProto, node: onnx.NodeProto) -> NDArray[np.int64] | None:
    """Of a convolution that only copies channels of its input, which ones; of others, None."""
    from onnx import helper

    if node.op_type != "Conv" or len([name for name in node.input if name]) != 2:
        return None
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    if attributes.get("group", 1) != 1 or {*attributes.get("strides", [1])} != {1}:
        return None
    weights = _constants(graph).get(node.input[1])
    if weights is None or weights.shape[2:] != (1, 1) or any(attributes.get("pads", [])):
        return None
    rows = weights[:, :, 0, 0]
    if not np.array_equal(rows, rows.astype(bool)) or not (rows.sum(axis=1) == 1).all():
        return None
    channels: NDArray[np.int64] = rows.argmax(axis=1).astype(np.int64)
    return channels


def _sums(graph: onnx.GraphProto, name: str) -> Iterator[str]:
    """The results of additions of that tensor, and of the shuffling that follows one."""
    for node in graph.node:
        if node.op_type == "Add" and name in node.input:
            yield node.output[0]
            for later in graph.node:
                if later.op_type == "DepthToSpace" and node.output[0] in later.input:
                    yield later.output[0]


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """The values of tensors that are stored, some of them in another type."""
    from onnx import TensorProto, helper, numpy_helper

    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in values:
            kind = next(each.i for each in node.attribute if each.name == "to")
            if kind in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
                dtype = helper.tensor_dtype_to_np_dtype(kind)
                values[node.output[0]] = values[node.input[0]].astype(dtype)
    return values


_HALF = ".float16"
"""Ends the names of tensors in float16."""


def _to_half(path: Path, model: onnx.ModelProto, exact: set[str]) -> None:
    """Compute the operations of ``IN_HALF`` in float16, but for the results called ``exact``."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph, constants = model.graph, _constants(model.graph)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    kinds = {
        value.name: value.type.tensor_type.elem_type
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
    }
    kinds.update((name, TensorProto.FLOAT) for name, v in constants.items() if v.dtype == "f4")
    halves: set[str] = set()
    """Tensors that have a twin in float16, whose name ends in ``_HALF``."""
    nodes: list[onnx.NodeProto] = []

    def half(name: str) -> str:
        """The name of a tensor in float16, of one that is in float32."""
        result = f"{name}{_HALF}"
        if name not in halves:
            halves.add(name)
            if name in constants:
                with np.errstate(over="ignore"):  # infinite ones are looked for
                    values = constants[name].astype(np.float16)
                if not np.isfinite(values).all():
                    raise ModelError(f"{path}: its weights are too large for fp16: choose fp32")
                graph.initializer.append(numpy_helper.from_array(values, result))
            else:
                nodes.append(helper.make_node("Cast", [name], [result], to=TensorProto.FLOAT16))
        return result

    for node in graph.node:
        is_float = [kinds.get(name) == TensorProto.FLOAT for name in node.input]
        if node.op_type in ONLY_PICTURE_IN_HALF:
            is_float[1:] = [False] * (len(is_float) - 1)
        known = node.op_type in IN_HALF and not node.domain
        if not known or not any(is_float) or not exact.isdisjoint(node.output):
            nodes.append(node)
            continue
        for index, name in enumerate(node.input):
            if is_float[index]:
                node.input[index] = half(name)
        nodes.append(node)
        for index, name in enumerate(node.output):
            if kinds.get(name) == TensorProto.FLOAT:
                node.output[index] = f"{name}{_HALF}"
                halves.add(name)
                # For who wants it in float32; where nobody does, it is left out below.
                back = helper.make_node("Cast", [node.output[index]], [name], to=TensorProto.FLOAT)
                nodes.append(back)
    wanted = {*_names_read(nodes), graph.output[0].name}
    _set_nodes(graph, [node for node in nodes if not wanted.isdisjoint(node.output)])


def _names_read(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """The tensors that nodes read, by graphs inside them, too."""
    for node in nodes:
        yield from node.input
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _names_read(inner.node)


def _set_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    del graph.node[:]
    graph.node.extend(nodes)
