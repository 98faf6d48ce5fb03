"""How much a model weighs and works, counted from its graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from upres.card import Model, ModelCard
from upres.engine.openvino_graphs import read_graph
from upres.engine.wrappers import ORIENTATIONS

if TYPE_CHECKING:
    import openvino

OUTPUT_HEIGHT, OUTPUT_WIDTH = 720, 1280
"""The output that the field counts multiply-adds for."""

# An int8 model keeps its weights as the second of these.
_WEIGHT_TYPES = ("f64", "f32", "f16", "bf16", "i8", "u8")


def parameter_count(model: Model) -> int:
    """How many numbers training adjusted: as the card says, else counted from the graph.

    The count takes every constant of floating point or of 8 bits, so that it holds
    fixed ones, too: the weights of a skip that enlarges, for example.
    """
    if model.card.parameter_count is not None:
        return model.card.parameter_count
    return graph_parameters(read_graph(model.path))


def graph_parameters(graph: openvino.Model) -> int:
    """The numbers in a graph's constants of floating point or of 8 bits."""
    return sum(
        math.prod(node.get_output_shape(0))
        for node in graph.get_ops()
        if node.get_type_name() == "Constant"
        and node.get_element_type().get_type_name() in _WEIGHT_TYPES
    )


def multiply_adds(model: Model) -> int | None:
    """Multiply-adds for an output of 1280x720 pixels; None if the graph does not tell.

    Counted are convolutions, transposed convolutions and matrix products, as the field
    does; nothing that is done once for each element.
    """
    return card_multiply_adds(read_graph(model.path), model.card)


def card_multiply_adds(graph: openvino.Model, card: ModelCard) -> int | None:
    """``multiply_adds`` of the graph of a model with that card."""
    try:
        return for_output(
            lambda height, width: _multiply_adds_at(graph, card, height, width),
            scale=card.scale,
            multiple_of=card.multiple_of,
        )
    except RuntimeError:  # OpenVINO's, for sizes that do not fit or stay unknown
        return None


def for_output(count: Callable[[int, int], int], *, scale: int, multiple_of: int) -> int:
    """The result of ``count``, which is given the input's height and width, for 1280x720 pixels.

    Where 1280x720 is not ``scale`` times a size whose sides are a multiple of ``multiple_of``,
    the next larger one is counted, and its share taken.
    """
    unit = scale * multiple_of
    height, width = (math.ceil(side / unit) * multiple_of for side in (OUTPUT_HEIGHT, OUTPUT_WIDTH))
    total = count(height, width)
    return round(total * OUTPUT_HEIGHT * OUTPUT_WIDTH / (height * width * scale**2))


def multiply_adds_at(model: Model, height: int, width: int) -> int:
    """Multiply-adds for an input of that size: of a self-ensembled model, for all eight ways.

    Raises ``RuntimeError`` if the model does not take that size.
    """
    return _multiply_adds_at(read_graph(model.path), model.card, height, width)


def _multiply_adds_at(graph: openvino.Model, card: ModelCard, height: int, width: int) -> int:
    total = graph_multiply_adds(graph, [1, card.channels, height, width])
    return total * (len(ORIENTATIONS) if card.self_ensemble else 1)


def graph_multiply_adds(graph: openvino.Model, shape: Sequence[int]) -> int:
    """Multiply-adds of a graph's convolutions and matrix products, for one input of ``shape``.

    Raises ``RuntimeError`` if the graph does not take that shape.
    """
    graph = graph.clone()
    graph.reshape(list(shape))
    return sum(_multiply_adds(node) for node in graph.get_ops())


def _multiply_adds(node: openvino.Node) -> int:
    kind = node.get_type_name()
    if kind in ("Convolution", "GroupConvolution"):
        # Each weight meets each position of the output once; groups are an axis of the
        # weights, and not of the output.
        batch, _, *positions = node.get_output_shape(0)
    elif kind in ("ConvolutionBackpropData", "GroupConvolutionBackpropData"):
        batch, _, *positions = node.get_input_shape(0)
    elif kind == "MatMul":
        left = node.get_input_shape(0)
        transposed = node.get_attributes()["transpose_a"] and len(left) > 1
        factors = [*node.get_output_shape(0), left[-2 if transposed else -1]]
        return int(math.prod(factors))
    else:
        return 0
    return int(math.prod([batch, *positions, *node.get_input_shape(1)]))
