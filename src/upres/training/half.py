"""Weights of model files as float16, which takes half the room; the engine makes float32 of them.

ONNX has no other word for that than an operation, ``Cast``, behind each tensor of weights.
"""

from __future__ import annotations

import numpy as np
import onnx

_SUFFIX = ".half"
"""Ends the names of weights that are stored as float16."""


def store_in_half(graph: onnx.GraphProto) -> None:
    """Round a graph's float32 weights, of two axes or more, to float16, and store them so."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
            continue  # biases are few
        name, stored = tensor.name, tensor.name + _SUFFIX
        with np.errstate(over="ignore"):  # infinite ones show when the engine runs it
            weights = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(weights, stored))
        casts.append(onnx.helper.make_node("Cast", [stored], [name], to=onnx.TensorProto.FLOAT))
    _set_nodes(graph, [*casts, *graph.node])  # sorted, as ONNX has it


def restore_from_half(graph: onnx.GraphProto) -> None:
    """Make of weights that ``store_in_half`` has stored float32 again, rounded as they are."""
    names = set()
    for tensor in graph.initializer:
        if tensor.name.endswith(_SUFFIX) and tensor.data_type == onnx.TensorProto.FLOAT16:
            name = tensor.name.removesuffix(_SUFFIX)
            weights = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(weights, name))
            names.add(name)
    _set_nodes(graph, [node for node in graph.node if names.isdisjoint(node.output)])


def _set_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    del graph.node[:]
    graph.node.extend(nodes)
