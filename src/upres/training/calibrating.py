"""From a model to the head beside it: trained, in the model's precision, and calibrated."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from upres.card import Model
from upres.engine.openvino import OpenVINO
from upres.enlarging.api import enlarge_bounded
from upres.enlarging.bounding import JPEG_QUALITIES
from upres.enlarging.error_map import LEAST, LEVELS
from upres.enlarging.options import Options
from upres.errors import InputError, ModelError
from upres.files import replacing
from upres.head import HEAD_KEY, HeadCard, head_path
from upres.models import INT8, read_model
from upres.onnx_files import network_digest, write_entry
from upres.raster.arrays import ArraySource
from upres.training import run as runs
from upres.training.conformal import Calibrated, calibrated, coverage_by_factor
from upres.training.export import load_network
from upres.training.graph import onnx_graph
from upres.training.half import store_in_half
from upres.training.heads import GREY_EVERY, LEVEL, STEPS, Head, WithFeatures, degraded, train_head
from upres.training.networks import Network
from upres.training.quantise import calibration_windows, in_int8
from upres.training.sources import read_pictures
from upres.training.variants import variant_path

LEAST_PICTURES = 200

INT8_PICTURES, INT8_SIDE = 64, 64
"""Pictures, and pixels a side of each, by which the ranges of a head's values in int8 are found."""

TellHow = Callable[[str], object]


@dataclass(frozen=True)
class HeadRequest:
    """A head to be made."""

    model: Path
    """A model file in float32. The one in int8 beside it gets a head, too."""
    data: tuple[Path, ...]
    """Tar files or folders of the pictures that train the head, as they may have trained the model.
    """
    calibration: Path
    """A tar file or folder of pictures that trained neither model nor head."""
    steps: int = STEPS
    licence: str = ""
    """A description of the calibration pictures, and their licence."""


def calibrate(
    request: HeadRequest, *, tell: TellHow = lambda text: None
) -> list[tuple[Path, HeadCard]]:
    """Train a model's head, and write it and its card beside the model's file, for each precision.

    ``tell`` is told how far it is. The result depends on the pictures, and on no clock.

    Raises ``TrainingError`` if the model's network is of another kind or cannot be read,
    ``InputError`` if pictures cannot be read or are fewer than ``LEAST_PICTURES``, ``OutputError``
    if a head cannot be written.
    """
    network, card = load_network(request.model)
    if card.precision != "fp32":
        raise ModelError(f"{request.model}: give the fp32 model that this one was made of")
    pictures = list(_pictures(request.calibration))
    if len(pictures) < LEAST_PICTURES:
        raise InputError(
            f"{request.calibration}: {len(pictures)} pictures are too few to calibrate with: give "
            f"{LEAST_PICTURES} at least"
        )
    head = train_head(
        network,
        request.data,
        card.degradation,
        self_ensemble=card.self_ensemble,
        steps=request.steps,
        tell=tell,
    )
    made = []
    quantised = variant_path(request.model, INT8)
    for path in (request.model, quantised):
        if not path.is_file():
            continue
        model = read_model(path)
        graph = _graph(head, network, model, request)
        made.append((head_path(path), _calibrate(model, graph, pictures, request, tell)))
    return made


def _pictures(source: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for name, image in read_pictures([source]):
        yield Path(name.rpartition(":")[2]).name, image


def _graph(head: Head, network: Network, model: Model, request: HeadRequest) -> onnx.ModelProto:
    """The head as the engine takes it, in the precision of ``model``."""
    runs = WithFeatures(network)
    graph = onnx_graph(head, channels=runs.channels, multiple_of=1)
    if model.card.precision != "int8":
        store_in_half(graph.graph)
        return graph
    windows = calibration_windows(request.data[0], model.card, INT8_SIDE)
    given = (
        runs(torch.from_numpy(window))[1].numpy()
        for window, _ in zip(windows, range(INT8_PICTURES), strict=False)
    )
    return in_int8(graph, given)


def _calibrate(
    model: Model,
    graph: onnx.ModelProto,
    pictures: list[tuple[str, NDArray[np.uint8]]],
    request: HeadRequest,
    tell: TellHow,
) -> HeadCard:
    """Find the factors of a head, and write it beside ``model``."""
    card = HeadCard(
        model=model.card.name,
        scale=model.card.scale,
        precision=model.card.precision,
        network=network_digest(model.path),
        degradation=model.card.degradation,
        level=LEVEL,
        factor=1.0,
        pictures=len(pictures),
        coverage=0.0,
        least_coverage=0.0,
        least_covered="",
        data=request.licence,
        protocol=_protocol(model),
        commit=runs.commit(),
    )
    with _beside_a_copy(model, graph, card) as copied:
        found = _factor(copied, pictures)
    tell(f"{model.card.name} x{model.card.scale}: factor {found.factor:.3f}")
    least = int(np.argmin(found.coverages))
    card = dataclasses.replace(
        card,
        # Up: a smaller one does not keep the promise.
        factor=math.ceil(found.factor * 1e4) / 1e4,
        coverage=round(float(np.mean(found.coverages)), 4),
        least_coverage=round(found.coverages[least], 4),
        least_covered=pictures[least][0],
    )
    write_entry(graph, HEAD_KEY, card.to_json())
    with replacing(head_path(model.path)) as temporary:
        onnx.save(graph, temporary)
    return card


@contextlib.contextmanager
def _beside_a_copy(model: Model, graph: onnx.ModelProto, card: HeadCard) -> Iterator[Model]:
    """A copy of the model's file with a head beside it, whose half-widths are as it gives them."""
    with tempfile.TemporaryDirectory(prefix="upres-") as folder:
        path = Path(folder, model.path.name)
        path.write_bytes(model.path.read_bytes())
        write_entry(graph, HEAD_KEY, card.to_json())
        onnx.save(graph, head_path(path))
        yield read_model(path)


def _factor(model: Model, pictures: list[tuple[str, NDArray[np.uint8]]]) -> Calibrated:
    degradation = model.card.degradation
    given = partial(_given, scale=model.card.scale, degradation=degradation)
    options, backend = Options(model=model, errors="force"), OpenVINO()
    coverages = []
    for number, (name, image) in enumerate(pictures):
        grey = number % GREY_EVERY == 0
        low, high = given(name, image, grey=grey)
        result, widths = enlarge_bounded(ArraySource(low), options, backend=backend)
        errors = np.abs(result.astype(np.float32) - high)
        # Those of nothing are within any half-width: the least one is half a level.
        errors[errors < LEAST] = 0
        coverages.append(coverage_by_factor(errors, widths if grey else widths[:, :, None]))
    return calibrated(coverages, LEVEL)


def _given(
    name: str, image: NDArray[np.uint8], *, scale: int, grey: bool, degradation: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture in low and high resolution, made as the model expects it, whatever came before."""
    height, width = (side - side % scale for side in image.shape[:2])
    random = np.random.default_rng([*name.encode()])
    low, high = degraded(image[:height, :width], scale, degradation, random, grey=grey)
    return (low[:, :, 0], high[:, :, 0]) if grey else (low, high)


def _protocol(model: Model) -> str:
    through = ""
    if model.card.degradation == "jpeg":
        through = (
            f", through JPEG files of quality {JPEG_QUALITIES[0]} to {JPEG_QUALITIES[1]}, 4:2:0"
        )
    return (
        f"samples of red, green and blue in {LEVELS + 1} levels, all pixels, low resolution by "
        f"MATLAB's bicubic{through}, every second picture with grain, every fourth grey; conformal "
        "risk control, in the mean over pictures"
    )
