"""Graphs as other runtimes take them: of an old operator set, with any batch, doing all themselves.

Everything here changes a graph in place.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

from upres.engine.wrappers import ORIENTATIONS

LOWEST_OPSET = 11
"""The operator set of ONNX 1.6, of 2019: the first whose ``DepthToSpace`` orders channels as
networks here do."""

_SINCE = {
    **{"Add": 7, "Cast": 9, "Concat": 4, "Conv": 11, "DepthToSpace": 11, "Exp": 6, "MaxPool": 11},
    **{"Mul": 7, "PRelu": 9, "ReduceMean": 11, "Relu": 6, "Sigmoid": 6, "Slice": 10, "Sub": 7},
    **{"Transpose": 1, "QuantizeLinear": 13, "DequantizeLinear": 13},
}
"""Since which set an operation does with floating point what it does in the newest, once
``_with_axes_as_attribute`` has seen to it. Source: ONNX's ``Changelog.md``."""

_FAR = -(2**31) + 1
"""Before the first row of any picture; runtimes without 64-bit numbers have it, too."""


def lower_opset(model: onnx.ModelProto) -> None:
    """Let a model ask for the lowest operator set that has all its operations.

    One with an operation that is not known here stays as it is.
    """
    before = onnx.ModelProto()
    before.CopyFrom(model)
    graph = model.graph
    if any(node.domain or node.op_type not in _SINCE for node in graph.node):
        return
    if any(node.op_type == "ReduceMean" for node in graph.node):
        _with_axes_as_attribute(graph)
    version = max(LOWEST_OPSET, *(_SINCE[node.op_type] for node in graph.node))
    current = next(each.version for each in model.opset_import if not each.domain)
    if version >= current:
        model.CopyFrom(before)
        return
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", version))
    model.ir_version = min(model.ir_version, helper.find_min_ir_version_for(model.opset_import))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        model.CopyFrom(before)  # an attribute that is newer


def raise_opset(model: onnx.ModelProto, least: int) -> onnx.ModelProto:
    """``model``, of the operator set ``least`` at least; raises whatever ONNX's converter does."""
    current = next(each.version for each in model.opset_import if not each.domain)
    return model if current >= least else onnx.version_converter.convert_version(model, least)


def free_batch(model: onnx.ModelProto) -> None:
    """Let a model whose input and output have a batch of one take any; for convolutions alone."""
    graph = model.graph
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]


def unroll_self_ensemble(model: onnx.ModelProto) -> None:
    """Put the mean over the eight ways to flip and turn a picture into the graph itself.

    The weights are there once, and what is done to the picture eight times. Source: as for
    ``ModelCard.self_ensemble``.

    Raises ``ValueError`` for a graph with branches or loops in it.
    """
    graph = model.graph
    if any(attribute.HasField("g") or attribute.graphs for attribute in _attributes(graph)):
        raise ValueError("it has branches or loops")
    picture, output = graph.input[0].name, graph.output[0].name
    reached = {picture}
    fixed: list[onnx.NodeProto] = []
    moving: list[onnx.NodeProto] = []
    for node in graph.node:  # sorted, as ONNX has it
        is_reached = not reached.isdisjoint(node.input)
        (moving if is_reached else fixed).append(node)
        if is_reached:
            reached.update(node.output)
    for name, value in (("flip.first", -1), ("flip.last", _FAR), ("flip.step", -1)):
        graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), name))
    for axis in (2, 3):
        values = numpy_helper.from_array(np.array([axis], np.int64), f"flip.axis{axis}")
        graph.initializer.append(values)
    share = np.array(1 / len(ORIENTATIONS), np.float32)
    graph.initializer.append(numpy_helper.from_array(share, "ensemble.share"))
    nodes = [*fixed]
    total = ""
    for number, (flips, turned) in enumerate(ORIENTATIONS):
        way = f"way{number}."
        given, steps = _oriented(picture, way, flips, turned=turned, back=False)
        nodes += steps
        for node in moving:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            copied.name = f"{way}{node.name}" if node.name else ""
            inputs = [
                given if name == picture else f"{way}{name}" if name in reached else name
                for name in node.input
            ]
            outputs = [f"{way}{name}" if name else "" for name in node.output]
            del copied.input[:], copied.output[:]
            copied.input.extend(inputs)
            copied.output.extend(outputs)
            nodes.append(copied)
        result, steps = _oriented(f"{way}{output}", way, flips, turned=turned, back=True)
        nodes += steps
        if total:
            nodes.append(helper.make_node("Add", [total, result], [f"{way}sum"]))
            total = f"{way}sum"
        else:
            total = result
    nodes.append(helper.make_node("Mul", [total, "ensemble.share"], [output]))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)


def _oriented(
    name: str, way: str, flips: tuple[int, ...], *, turned: bool, back: bool
) -> tuple[str, list[onnx.NodeProto]]:
    """Flip along axes and then swap the last two, or the other way round to go ``back``."""
    nodes: list[onnx.NodeProto] = []
    steps: list[int | None] = [*flips, *([None] if turned else [])]
    for axis in reversed(steps) if back else steps:
        result = f"{way}{'back' if back else 'there'}{len(nodes)}"
        if axis is None:
            nodes.append(helper.make_node("Transpose", [name], [result], perm=[0, 1, 3, 2]))
        else:
            given = [name, "flip.first", "flip.last", f"flip.axis{axis}", "flip.step"]
            nodes.append(helper.make_node("Slice", given, [result]))
        name = result
    return name, nodes


def _with_axes_as_attribute(graph: onnx.GraphProto) -> None:
    """Let ``ReduceMean`` have its axes as before set 18, where these are constants."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "ReduceMean" or len(node.input) < 2 or node.input[1] not in constants:
            continue
        axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
        kept = [each for each in node.attribute if each.name == "keepdims"]
        del node.attribute[:], node.input[1:]
        node.attribute.extend([*kept, helper.make_attribute("axes", axes)])
    read = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)


def _attributes(graph: onnx.GraphProto) -> Iterator[onnx.AttributeProto]:
    for node in graph.node:
        yield from node.attribute
