"""Models made of models: with weights in float16, and self-ensembled."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx

from upres.card import Model, ModelCard, write_card
from upres.engine.openvino import OpenVINO
from upres.engine.wrappers import compile_window
from upres.enlarging.tiles import round_up
from upres.errors import ModelError, TrainingError
from upres.files import replacing
from upres.models import computed_in, read_model
from upres.raster.pixels import Float32Array
from upres.training.export import check_target, to_onnx
from upres.training.half import restore_from_half, store_in_half
from upres.training.portable import free_batch, lower_opset, unroll_self_ensemble

HALF_TOLERANCE = 0.0005
"""The same of weights in float16: an eighth of an 8-bit grey level, which at a PSNR of 38 dB
costs 0.007 dB. The shipped models differ by less than a third of that."""

CONVOLUTIONAL = ("plain", "pooled", "srresnet", "edsr", "rcan")
"""Networks of upres, whose graphs have nothing in them that depends on the batch."""

NOISE_SIDE = 64
"""Side of the picture by which they are compared."""


def to_half(
    source: Path, target: Path | None = None, *, scale: int | None = None, force: bool = False
) -> tuple[Path, ModelCard, float]:
    """Round a model's weights to float16; return its path, its card, and how far it is from before.

    ``source`` is as for ``to_int8``; ``target`` is by default beside it, as ``.onnx``. The
    difference is the root of the mean squared one, of values in [0, 1], on noise. The engine
    computes in float32 as before, and as fast.

    Raises the errors of ``to_onnx``; ``ModelError`` if the model is in int8, and
    ``TrainingError`` if the result is too far from before.
    """
    target = target or source.with_suffix(".onnx")
    check_target(target, force)
    with as_float32_model(source, scale) as model:
        graph = onnx.load(model.path)
        restore_from_half(graph.graph)
        store_in_half(graph.graph)
        card = dataclasses.replace(model.card, scores=(), protocol=None)
        write_card(graph, card)
        side = round_up(NOISE_SIDE, card.multiple_of)
        shape = (1, card.channels, side, side)
        noise = np.random.default_rng(0).random(shape, np.float32)
        difference = _save_alike(graph, target, model, noise, f"{source}: with weights in float16")
    return target, card, difference


def to_self_ensemble(
    source: Path, target: Path | None = None, *, scale: int | None = None, force: bool = False
) -> tuple[Path, ModelCard]:
    """Make a model that takes the mean over the eight ways to flip and turn its input.

    The weights stay as they are: the card says it, and the engine does it, in eight times the
    time. ``source`` is a model file, in any precision, or weights that ``to_onnx`` takes.
    ``target``, whose name becomes the model's, is by default beside ``source``, with
    ``-ensemble`` in its name. Returns its path and card, which is without scores.

    Raises the errors of ``to_onnx``, and ``ModelError`` if the model is so already.
    """
    target = target or variant_path(source, "-ensemble")
    check_target(target, force)
    with as_model(source, scale) as model:
        if model.card.self_ensemble:
            raise ModelError(f"{source}: is self-ensembled already")
        graph = onnx.load(model.path)
        name = target.stem.removesuffix(f"-x{model.card.scale}")
        card = dataclasses.replace(
            model.card, name=name, self_ensemble=True, scores=(), protocol=None
        )
        write_card(graph, card)
        with replacing(target) as temporary:
            onnx.save(graph, temporary)
    return target, card


def to_portable(
    source: Path, target: Path, *, scale: int | None = None, force: bool = False
) -> tuple[Path, ModelCard]:
    """Write a model file that other runtimes take as it is; return its path and card.

    It takes any batch, asks for the lowest operator set that has all its operations, and a
    self-ensembled model has the eight ways in its graph, where another runtime would leave them
    out. Weights stay as they are. ``source`` is a model file of upres.

    Raises ``ModelError`` if the model cannot be read or has no card; ``UsageError`` and
    ``OutputError`` as ``to_onnx`` does; ``TrainingError`` if the result differs from before.
    """
    check_target(target, force)
    with as_model(source, scale) as model:
        card, graph = model.card, onnx.load(model.path)
        if card.network == "unknown":
            raise ModelError(f"{source}: has no card of upres: other runtimes take it as it is")
        if card.self_ensemble:
            try:
                unroll_self_ensemble(graph)
            except ValueError as error:
                raise ModelError(f"{source}: its graph cannot be repeated: {error}") from None
            # Not by the network's name, as its weights alone no longer make it.
            network = f"{card.network}, eight times"
            card = dataclasses.replace(card, network=network, self_ensemble=False)
        if card.network.split(",")[0] in CONVOLUTIONAL:
            free_batch(graph)
        lower_opset(graph)
        write_card(graph, card)
        # Not a square, as of one rows and columns might be swapped unnoticed.
        height, width = (round_up(side, card.multiple_of) for side in (NOISE_SIDE, NOISE_SIDE + 9))
        noise = np.random.default_rng(0).random((1, card.channels, height, width), np.float32)
        _save_alike(graph, target, model, noise, f"{source}: for other runtimes")
    return target, card


def _save_alike(
    graph: onnx.ModelProto, target: Path, model: Model, noise: Float32Array, variant: str
) -> float:
    """Write a variant of a model; return how far it is from the model on ``noise``.

    Raises ``TrainingError``, which names the ``variant``, if that is too far.
    """
    with replacing(target) as temporary:
        onnx.save(graph, temporary)
        difference = difference_between(model, read_model(temporary), [noise])
        if not difference <= HALF_TOLERANCE:
            raise TrainingError(
                f"{variant} it would differ by {difference:.2g}, more than {HALF_TOLERANCE:g}; the "
                "model was not written"
            )
    return difference


def variant_path(source: Path, mark: str) -> Path:
    """``fast-int8-x2.onnx`` beside ``fast-x2``, if ``mark`` is ``-int8``, as shipped models are
    called; of other names, the mark is at the end.
    """
    name, separator, scale = source.stem.rpartition("-x")
    whole = f"{name}{mark}-x{scale}" if separator and scale.isdigit() else source.stem + mark
    return source.with_name(f"{whole}.onnx")


@contextlib.contextmanager
def as_model(source: Path, scale: int | None) -> Iterator[Model]:
    """Read a model file, or one that ``to_onnx`` makes of other weights.

    Raises ``ModelError`` if it does not enlarge ``scale`` times, if that is given.
    """
    with tempfile.TemporaryDirectory(prefix="upres-") as folder:
        path = source
        if source.suffix.lower() != ".onnx":
            path, _ = to_onnx(source, Path(folder) / "model.onnx", scale=scale)
        model = read_model(path)
        if scale is not None:
            model.require_scale(scale)
        yield model


@contextlib.contextmanager
def as_float32_model(source: Path, scale: int | None) -> Iterator[Model]:
    """``as_model``, which must be in float32."""
    with as_model(source, scale) as model:
        if model.card.precision != "fp32":
            raise ModelError(
                f"{source}: is {model.card.precision} already: give the fp32 model it was made of"
            )
        yield model


def difference_between(one: Model, other: Model, windows: Sequence[Float32Array]) -> float:
    """The root of the mean squared difference between two models' results for ``windows``."""
    backend, shape = OpenVINO(), windows[0].shape[2:]
    first, second = (
        compile_window(backend, computed_in(model, "auto", backend), *shape)
        for model in (one, other)
    )
    return float(np.sqrt(np.mean([np.mean((first(w) - second(w)) ** 2) for w in windows])))
