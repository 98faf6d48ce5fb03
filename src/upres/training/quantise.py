"""Models in int8: most of their convolutions have whole numbers of 8 bits.

Processors that are made for it multiply these three to four times as fast as float32.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from upres.card import Model, ModelCard, write_card
from upres.enlarging.tiles import round_up
from upres.errors import InputError, ModelError, TrainingError
from upres.files import replacing
from upres.models import INT8, read_model
from upres.raster.pixels import Float32Array, luma
from upres.raster.resize import bicubic
from upres.training.export import check_target
from upres.training.half import restore_from_half
from upres.training.portable import raise_opset
from upres.training.sources import read_pictures
from upres.training.variants import as_float32_model, difference_between, variant_path

PICTURES, SIDE = 128, 64
"""At most so many pictures are looked at, of each the middle, so many pixels a side."""

PERCENTILE = 99.99
"""Of a tensor's values, this share lies within its range; the others are clipped."""

QUANTISED_OPSET = 13
"""The first operator set whose quantised weights have a scale for each channel."""

INT8_TOLERANCE = 0.01
"""Largest root mean square difference of int8 from float32 allowed, of values in [0, 1]."""


def to_int8(
    source: Path,
    images: Path,
    target: Path | None = None,
    *,
    scale: int | None = None,
    force: bool = False,
) -> tuple[Path, ModelCard, float]:
    """Quantise a model; return its path, its card, and how far it is from float32.

    ``source`` is a model file, or weights that ``to_onnx`` takes. ``images`` is a folder or
    tar file of pictures, by which the ranges of values are found: they are shrunk by the
    model's scale, as its training did. ``target`` is by default beside ``source``, with
    ``-int8`` in its name. The difference is the root of the mean squared one, of values in
    [0, 1], on these pictures.

    Weights get a scale for each output channel, activations one for each tensor. The first
    and the last convolution stay in float32, and so does the way around convolutions:
    the stream of features to which residual blocks add.

    Raises the errors of ``to_onnx``; ``ModelError`` if the model is int8 already or cannot be
    quantised, ``InputError`` for pictures that cannot be read or are too small, and
    ``TrainingError`` if the result is too far from float32.
    """
    target = target or variant_path(source, INT8)
    check_target(target, force)
    with as_float32_model(source, scale) as model:
        return target, *_quantise(source, model, images, target)


def _quantise(source: Path, model: Model, images: Path, target: Path) -> tuple[ModelCard, float]:
    card = model.card
    side = round_up(SIDE, card.multiple_of)
    windows = list(islice(calibration_windows(images, card, side), PICTURES))
    if not windows:
        raise InputError(
            f"{images}: no picture in it has {side * card.scale} pixels a side, as quantising needs"
        )
    # Of an older set, weights could not have a scale for each channel.
    graph = raise_opset(onnx.load(model.path), QUANTISED_OPSET)
    restore_from_half(graph.graph)
    for index, node in enumerate(graph.graph.node):
        node.name = node.name or f"node_{index}"  # convolutions are told apart by it
    outer = _outermost_convolutions(graph.graph)
    with replacing(target) as temporary:
        try:
            low, high = (np.float32(end) for end in card.value_range)
            given = (low + window * (high - low) for window in windows)
            _insert_quantisers(graph, outer, given, temporary)
        except Exception as error:  # the library's own are of many kinds
            raise ModelError(f"{source}: cannot be quantised: {error}") from None
        quantised = onnx.load(temporary)
        _bypass_quantisers(quantised.graph, outer)
        card = dataclasses.replace(
            card, name=f"{card.name}{INT8}", precision="int8", scores=(), protocol=None
        )
        write_card(quantised, card)
        onnx.save(quantised, temporary)
        difference = difference_between(model, read_model(temporary), windows)
        if not difference <= INT8_TOLERANCE:
            raise TrainingError(
                f"{source}: in int8 it would differ by {difference:.2g}, more than "
                f"{INT8_TOLERANCE:g}; the model was not written"
            )
    return card, difference


def calibration_windows(images: Path, card: ModelCard, side: int) -> Iterator[Float32Array]:
    """Middles of pictures that were shrunk as often: 1 x channels x side x side, in [0, 1]."""
    full = side * card.scale
    for _, image in read_pictures([images]):
        top, left = ((length - full) // 2 for length in image.shape[:2])
        if min(top, left) >= 0:
            middle = image[top : top + full, left : left + full]
            low = bicubic(middle, size=(side, side)).transpose(2, 0, 1)
            window = low.astype(np.float32) / np.float32(255)
            yield (window if card.channels == 3 else luma(window)[None])[None]


def in_int8(graph: onnx.ModelProto, windows: Iterable[Float32Array]) -> onnx.ModelProto:
    """A graph with all its convolutions in int8; ``windows`` are examples of what it is given."""
    graph = raise_opset(graph, QUANTISED_OPSET)
    for index, node in enumerate(graph.graph.node):
        node.name = node.name or f"node_{index}"
    with tempfile.TemporaryDirectory(prefix="upres-") as folder:
        path = Path(folder, "model.onnx")
        _insert_quantisers(graph, set(), windows, path)
        quantised = onnx.load(path)
    _bypass_quantisers(quantised.graph, set())
    return quantised


def _outermost_convolutions(graph: onnx.GraphProto) -> set[str]:
    """Names of the convolutions before or after which there is no other."""
    outer = set()
    forwards, backwards = ("input", "output"), ("output", "input")
    for (near, far), nodes in ((forwards, graph.node), (backwards, reversed(graph.node))):
        passed: set[str] = set()  # tensors with a convolution between them and that end
        for node in nodes:  # which are sorted, as ONNX has it
            inner = not passed.isdisjoint(getattr(node, near))
            if node.op_type == "Conv" and not inner:
                outer.add(node.name)
            if node.op_type == "Conv" or inner:
                passed.update(getattr(node, far))
    return outer


def _insert_quantisers(
    graph: onnx.ModelProto, outer: set[str], windows: Iterable[Float32Array], target: Path
) -> None:
    """Write ``graph`` to ``target``, with all convolutions but ``outer`` in int8.

    ``windows`` hold values as the graph itself takes them.
    """
    name = graph.graph.input[0].name

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.windows = iter(windows)

        def get_next(self) -> dict[str, Float32Array] | None:
            window = next(self.windows, None)
            return None if window is None else {name: window}

    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # advice for networks of other kinds
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            quantize_static(
                graph,
                str(target),
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=sorted(outer),
                per_channel=True,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QUInt8,
                calibrate_method=CalibrationMethod.Percentile,
                extra_options={
                    "CalibPercentile": PERCENTILE,
                    "QuantizeBias": False,
                    "OpTypesToExcludeOutputQuantization": ["Conv"],
                    "QDQKeepRemovableActivations": True,
                },
            )
    finally:
        logging.disable(disabled)


def _bypass_quantisers(graph: onnx.GraphProto, outer: set[str]) -> None:
    """Let only the convolutions in int8 have their input quantised.

    The library quantises a tensor for all that read it. Of ``fast`` x2, the stream of
    features in 8 bits cost 0.05 dB, and otherwise nothing did 0.01.
    """
    makers = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        if node.op_type == "Conv" and node.name not in outer:
            continue
        for index, tensor in enumerate(node.input):
            maker = makers.get(tensor)
            if maker is not None and maker.op_type == "DequantizeLinear":
                quantiser = makers.get(maker.input[0])
                if quantiser is not None:  # else it is a weight
                    node.input[index] = quantiser.input[0]
