"""From a trained network to a model file, checked against the engine that will run it."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch

from upres.engine import compile_window
from upres.errors import TrainingError
from upres.evaluation.record import write_card
from upres.formats import replacing
from upres.model import Model, ModelCard, read_model
from upres.training.networks import Plain

TOLERANCE = 1e-4
"""Largest difference allowed between torch and the engine, of values in [0, 1]: a
fortieth of an 8-bit grey level."""


def export_onnx(network: Plain, card: ModelCard, path: Path) -> float:
    """Write ``network`` with ``card`` to ``path``; return how far the engine is from torch.

    The file is checked before it gets its name: the engine must give what torch gives,
    to ``TOLERANCE``. Raises ``TrainingError`` if it does not.
    """
    network.float().cpu().eval()
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    example = torch.rand(1, card.channels, 24, 32, generator=torch.Generator().manual_seed(0))
    # It also tells at length of packages that are not installed and not needed.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter deprecates parts of itself
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=({2: "height", 3: "width"},),
        )
    assert program is not None  # as it is with dynamo=True
    proto = program.model_proto
    # The exporter notes source lines of every operation, with the machine's paths.
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    write_card(proto, card)
    onnx.checker.check_model(proto)
    with replacing(path) as temporary:
        onnx.save(proto, temporary)
        difference = _difference(network, read_model(temporary), card)
        if difference > TOLERANCE:
            raise TrainingError(
                f"{path}: the engine differs from torch by {difference:.2g}, more than "
                f"{TOLERANCE:g}; the model was not written"
            )
    return difference


def _difference(network: Plain, model: Model, card: ModelCard) -> float:
    # Another size than the one exported with, so that a size frozen in would show.
    x = torch.rand(1, card.channels, 37, 29, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(x).numpy()
    got = compile_window(model, 37, 29)(x.numpy())
    return float(np.abs(expected - got).max())


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights in a model file that upres exported, by their names in the network.

    Raises ``OSError`` or ``ValueError`` if the file cannot be read.
    """
    try:
        proto = onnx.load(path)
    except OSError:
        raise
    except Exception as error:  # protobuf's own, which is no public class
        raise ValueError("not an ONNX file") from error
    return {
        tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        for tensor in proto.graph.initializer
        if tensor.name.endswith((".weight", ".bias"))
    }
