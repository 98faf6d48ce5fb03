from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from upres.card import ModelCard
from upres.engine.complexity import (
    card_multiply_adds,
    graph_multiply_adds,
    graph_parameters,
    multiply_adds,
    parameter_count,
)
from upres.engine.openvino_graphs import read_graph
from upres.models import open_model, read_model
from upres.training import networks
from upres.training.networks import Plain


def weights(*shape: int) -> Any:
    return ops.constant(np.ones(shape, np.float32))


def graph(output: Any, picture: Any) -> Any:
    return openvino.Model([ops.result(output)], [picture], "by hand")


def card(scale: int = 1, multiple_of: int = 1) -> ModelCard:
    return ModelCard(name="by hand", scale=scale, halo=0, multiple_of=multiple_of)


def picture() -> Any:
    return ops.parameter([1, 3, -1, -1], np.float32)


def convolution(x: Any, filters: Any) -> Any:
    return ops.convolution(x, filters, [1, 1], [1, 1], [1, 1], [1, 1])


PIXELS = 1280 * 720


def test_convolution_by_hand() -> None:
    x = picture()
    each = graph(convolution(x, weights(5, 3, 3, 3)), x)
    assert card_multiply_adds(each, card()) == PIXELS * 5 * 3 * 9
    assert graph_parameters(each) == 5 * 3 * 9


def test_group_convolution_by_hand() -> None:
    x = picture()
    # Three groups, of one channel in and two out.
    output = ops.group_convolution(x, weights(3, 2, 1, 5, 5), [1, 1], [2, 2], [2, 2], [1, 1])
    assert card_multiply_adds(graph(output, x), card()) == PIXELS * 6 * 25


@pytest.mark.parametrize("groups", [1, 3])
def test_transposed_convolution_by_hand(groups: int) -> None:
    x = picture()
    shape = (3 // groups, 4, 6, 6)
    strides, pads = [2, 2], [2, 2]
    if groups == 1:
        output = ops.convolution_backprop_data(x, weights(*shape), strides, None, pads, pads)
    else:
        filters = weights(groups, *shape)
        output = ops.group_convolution_backprop_data(x, filters, strides, None, pads, pads)
    # Each pixel of the input meets each weight of its group.
    assert card_multiply_adds(graph(output, x), card(scale=2)) == 640 * 360 * 3 * 4 * 36


@pytest.mark.parametrize("transposed", [False, True])
def test_matrix_product_by_hand(transposed: bool) -> None:
    x = picture()
    pixels = ops.reshape(x, np.array([1, 3, -1]), False)
    if not transposed:
        pixels = ops.transpose(pixels, np.array([0, 2, 1]))
    output = ops.matmul(pixels, weights(3, 7), transposed, False)
    assert card_multiply_adds(graph(output, x), card()) == PIXELS * 3 * 7


@pytest.mark.parametrize(("scale", "multiple_of"), [(3, 1), (2, 7), (4, 64)])
def test_an_output_that_is_no_multiple_counts_its_share(scale: int, multiple_of: int) -> None:
    x = picture()
    filters = weights(3 * scale**2, 3, 3, 3)
    output = ops.depth_to_space(convolution(x, filters), "blocks_first", scale)
    each = card(scale=scale, multiple_of=multiple_of)
    assert card_multiply_adds(graph(output, x), each) == PIXELS * 3 * 3 * 9


def test_a_graph_that_takes_no_such_size() -> None:
    x = picture()
    fixed = ops.reshape(x, np.array([1, 3, 8, 8]), False)
    assert card_multiply_adds(graph(convolution(fixed, weights(3, 3, 3, 3)), x), card()) is None


def test_a_network_of_ours(model_file: Path, random_network: Plain) -> None:
    each = read_model(model_file)
    assert each.card.parameter_count is None
    assert multiply_adds(each) == networks.network_multiply_adds(random_network, 360, 640)
    # The graph holds the enlarging skip, too, which is not trained.
    fixed = random_network.repeat.numel()
    assert parameter_count(each) == networks.trainable_parameters(random_network) + fixed
    said = dataclasses.replace(each.card, parameter_count=5)
    assert parameter_count(dataclasses.replace(each, card=said)) == 5


def test_counting_leaves_the_model_as_it_was(model_file: Path) -> None:
    each = read_model(model_file)
    multiply_adds(each)
    assert read_graph(each.path).input(0).get_partial_shape()[2].is_dynamic


def test_shipped_models_say_as_much_as_they_hold() -> None:
    fast = open_model("fast", scale=2)
    counted = parameter_count(
        dataclasses.replace(fast, card=dataclasses.replace(fast.card, parameter_count=None))
    )
    # 12 x 3 weights are the enlarging skip's.
    assert counted == parameter_count(fast) + 36


def test_a_graph_is_counted_for_any_shape_and_stays_as_it_is() -> None:
    x = picture()
    inner = ops.relu(convolution(x, weights(8, 3, 3, 3)))
    output = ops.convolution(inner, weights(8, 8, 3, 3), [2, 2], [1, 1], [1, 1], [1, 1])
    each = openvino.Model([output], [x])
    full, half = 10 * 14, 5 * 7
    by_hand = full * 3 * 8 * 9 + half * 8 * 8 * 9
    assert graph_multiply_adds(each, (1, 3, 10, 14)) == by_hand
    assert graph_multiply_adds(each, (2, 3, 10, 14)) == 2 * by_hand
    assert each.input(0).get_partial_shape()[2].is_dynamic, "the graph itself was reshaped"
