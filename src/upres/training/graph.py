"""A network as an ONNX file, checked against the engine that will run it."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from upres.card import ModelCard, write_card
from upres.engine.openvino import OpenVINO
from upres.engine.wrappers import compile_window
from upres.enlarging.tiles import round_up
from upres.errors import TrainingError
from upres.files import replacing
from upres.models import read_model
from upres.training.portable import lower_opset

EXPORT_TOLERANCE = 1e-4
"""Largest difference allowed between torch and the engine, of values in [0, 1]: a
fortieth of an 8-bit grey level."""


def onnx_graph(network: nn.Module, *, channels: int, multiple_of: int) -> onnx.ModelProto:
    """``network``, on the CPU and in evaluation mode, as ONNX with free batch, height and width.

    The operator set is the lowest that serves, see ``upres.training.portable``. A network whose
    shapes torch cannot tell of any batch, as some of other projects, gets a batch of one.

    Raises whatever torch's exporter does.
    """
    try:
        graph = _exported(network, channels, multiple_of, batch=2)  # of one, it would keep one
    except Exception:
        graph = _exported(network, channels, multiple_of, batch=1)
    lower_opset(graph)
    return graph


def _exported(
    network: nn.Module, channels: int, multiple_of: int, *, batch: int
) -> onnx.ModelProto:
    dimensions: dict[int, object] = {2: "height", 3: "width"}
    if multiple_of > 1:
        rows, columns = torch.export.Dim("rows"), torch.export.Dim("columns")
        dimensions = {2: multiple_of * rows, 3: multiple_of * columns}
    if batch > 1:
        dimensions[0] = torch.export.Dim("batch") if multiple_of > 1 else "batch"
    # It also tells at length of packages that are not installed and not needed.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter deprecates parts of itself
        program = torch.onnx.export(
            network,
            (_example(channels, 24, 32, multiple_of).repeat(batch, 1, 1, 1),),
            dynamo=True,
            verbose=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=(dimensions,),
        )
    assert program is not None  # as it is with dynamo=True
    graph = program.model_proto
    # The exporter notes source lines of every operation, with the machine's paths.
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    return graph


def write_checked(graph: onnx.ModelProto, card: ModelCard, network: nn.Module, path: Path) -> float:
    """Write a model file; return how far the engine is from ``network``, run by torch.

    The file is checked before it gets its name: the engine must give the same as torch,
    to ``EXPORT_TOLERANCE``. Raises ``TrainingError`` if it does not.
    """
    write_card(graph, card)
    onnx.checker.check_model(graph)
    # Another size than the one exported with, so that a size frozen in would show.
    x = _example(card.channels, 37, 29, card.multiple_of)
    with torch.no_grad():
        expected = network(x).numpy()
    with replacing(path) as temporary:
        onnx.save(graph, temporary)
        engine = compile_window(OpenVINO(), read_model(temporary), *x.shape[2:])
        difference = float(np.abs(expected - engine(x.numpy())).max())
        if not difference <= EXPORT_TOLERANCE:  # nor if it is no number
            raise TrainingError(
                f"{path}: the engine differs from torch by {difference:.2g}, more than "
                f"{EXPORT_TOLERANCE:g}; the model was not written"
            )
    return difference


def _example(channels: int, height: int, width: int, multiple_of: int) -> Tensor:
    height, width = (round_up(side, multiple_of) for side in (height, width))
    if height == width:  # or a swap of the two would not show
        width += multiple_of
    seed = torch.Generator().manual_seed(height)
    return torch.rand(1, channels, height, width, generator=seed)
