"""Checkpoints of other projects, of the architectures that spandrel knows, as model files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from upres.card import ModelCard
from upres.enlarging.tiles import round_up
from upres.errors import MissingExtraError, ModelError, TrainingError
from upres.training.graph import onnx_graph, write_checked

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor


def convert(source: Path, target: Path, *, scale: int | None = None) -> ModelCard:
    """Turn a community checkpoint into a model file with a card; return the card.

    Nothing in ``source`` is executed: it is read as tensors alone. Its architecture is
    recognised by its weights' names and shapes. The receptive field is measured.

    Raises ``ModelError`` if the file is no checkpoint of weights, no RGB super-resolution
    network that spandrel knows, or not of ``scale``; ``TrainingError`` if the engine
    differs from torch; ``MissingExtraError`` without spandrel.
    """
    found = recognised_network(source)
    if found.purpose != "SR" or (found.input_channels, found.output_channels) != (3, 3):
        raise ModelError(
            f"{source}: a {found.architecture.name} for {found.purpose}, with "
            f"{found.input_channels} channels in and {found.output_channels} out: "
            "upres runs networks that enlarge RGB pictures"
        )
    if found.size_requirements.square:
        raise ModelError(f"{source}: a {found.architecture.name}, which takes squares only")
    if scale not in (None, found.scale):
        raise ModelError(f"{source}: this network enlarges {found.scale} times, not {scale} times")
    network: nn.Module = found.float().eval().model
    _merge_branches(network)
    multiple_of = found.size_requirements.multiple_of
    _require_plain_call(source, found)
    try:
        graph = onnx_graph(network, channels=3, multiple_of=multiple_of)
    except Exception as error:  # whatever the exporter met
        raise ModelError(
            f"{source}: torch cannot export a {found.architecture.name} for pictures of any size"
        ) from error
    card = ModelCard(
        name=source.stem,
        scale=found.scale,
        halo=receptive_field(
            network,
            scale=found.scale,
            multiple_of=multiple_of,
            minimum=found.size_requirements.minimum,
        ),
        network=found.architecture.name,
        parameter_count=sum(p.numel() for p in network.parameters()),
        multiple_of=multiple_of,
        data=f"unknown: converted from {source.name}",
    )
    write_checked(graph, card, network, target)
    return card


def _merge_branches(network: nn.Module) -> None:
    """Leave the branches out that were trained, where a layer has the convolution that they make.

    SPAN's layers make it anew in each run, by assigning weights: torch's exporter ends the process
    there.
    """
    for layer in network.modules():
        merge = getattr(layer, "update_params", None)
        if callable(merge) and isinstance(getattr(layer, "eval_conv", None), nn.Module):
            merge()
            layer.update_params = _nothing  # type: ignore[assignment]
            for branch in ("conv", "sk"):
                if hasattr(layer, branch):
                    delattr(layer, branch)


def _nothing() -> None:
    pass


def recognised_network(source: Path) -> ImageModelDescriptor[Any]:
    """A checkpoint's network as spandrel builds it, for pictures alone.

    Nothing in ``source`` is executed. Raises ``ModelError`` if it is no checkpoint of weights, or
    of no network that spandrel knows; ``MissingExtraError`` without spandrel.
    """
    return _recognise(source, _read(source))


def _read(path: Path) -> dict[str, Any]:
    """The weights in a checkpoint, perhaps inside further dicts."""
    try:
        if path.suffix.lower() == ".safetensors":
            path.open("rb").close()  # safetensors does not say why it cannot read
            return safetensors.torch.load_file(path)
        # Not by spandrel's own reader, which takes TorchScript, too: that is a program.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(
            f"{path}: cannot read this checkpoint: {error.strerror or error}"
        ) from None
    except SafetensorError:
        raise ModelError(f"{path}: not a .safetensors file, or a damaged one") from None
    except Exception:  # torch raises whatever its reader met
        raise ModelError(
            f"{path}: not a checkpoint of weights alone: damaged, of another kind, or with "
            "code in it, which upres does not run"
        ) from None
    if not isinstance(content, dict) or not content:
        raise ModelError(f"{path}: not a checkpoint: it holds no weights by name")
    return content


def _recognise(path: Path, weights: dict[str, Any]) -> ImageModelDescriptor[Any]:
    try:
        import spandrel
    except ImportError:
        raise MissingExtraError("upres export of community checkpoints", "community") from None
    except RuntimeError as error:  # as torchvision's, made for another torch
        raise TrainingError(
            f"spandrel cannot be imported: {error}: install the torchvision made for torch "
            f"{torch.__version__}"
        ) from None
    try:
        found = spandrel.ModelLoader("cpu").load_from_state_dict(
            spandrel.canonicalize_state_dict(weights)
        )
    except Exception as error:  # of files that look like an architecture and are none, any
        raise ModelError(
            f"{path}: not a network of an architecture that spandrel {spandrel.__version__} knows"
        ) from error
    if not isinstance(found, spandrel.ImageModelDescriptor):
        raise ModelError(f"{path}: a {found.architecture.name}, which needs more than a picture")
    return found


def _require_plain_call(path: Path, found: ImageModelDescriptor[Any]) -> None:
    """Some need more than the picture, a strength for example, which the export would leave out."""
    size = found.size_requirements
    side = round_up(max(32, size.minimum), size.multiple_of)
    x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            output = found.model(x).clamp(0, 1)
        same = torch.allclose(output, found(x), atol=1e-5)
    except Exception:  # wrong arguments, several results, or whatever else
        same = False
    if not same:
        raise ModelError(
            f"{path}: a {found.architecture.name} is not run on the picture alone, "
            "so that upres cannot export it"
        )


def receptive_field(
    network: nn.Module, *, scale: int, multiple_of: int = 1, minimum: int = 0
) -> int | None:
    """How far a network sees, in input pixels; None if that is 500 or more.

    Measured by gradients: a pixel without influence on an output has none, exactly, while a
    change of the output may be lost in rounding. Strips keep that cheap. With
    ``multiple_of``, from the edge of a block of so many pixels. ``minimum`` is the least
    height and width that the network takes.
    """
    network.requires_grad_(False)  # only the input's gradient is asked for
    narrow = round_up(max(16, minimum), multiple_of)
    for length in (128, 1024):
        long = round_up(length, multiple_of)
        reaches = [
            _reach(network, shape, scale, multiple_of) for shape in ((narrow, long), (long, narrow))
        ]
        if None not in reaches:
            return max(reach for reach in reaches if reach is not None)
    return None


def _reach(network: nn.Module, shape: tuple[int, int], scale: int, multiple_of: int) -> int | None:
    """Along the longer side; None if up to a border."""
    axis = int(shape[1] > shape[0])
    first = shape[axis] // multiple_of // 2 * multiple_of
    x = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    x[1] *= 0.2  # a dark picture, too, as ReLUs shut other paths off there
    x.requires_grad_()
    block = network(x).narrow(2 + axis, first * scale, multiple_of * scale)
    (gradient,) = torch.autograd.grad(block.sum(), x)
    touched = gradient.abs().amax((0, 1, 3 - axis)).nonzero()
    if not len(touched):
        return 0
    low, high = int(touched.min()), int(touched.max())
    if low == 0 or high == shape[axis] - 1:
        return None
    return max(0, first - low, high - (first + multiple_of - 1))
