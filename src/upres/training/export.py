"""From a trained network to files, checked against the engine that will run it; and back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import onnx
import safetensors.torch
import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from upres.card import CARD_KEY, ModelCard
from upres.errors import ModelError, OutputError, RecipeError, Remedy, TrainingError, UsageError
from upres.files import replacing
from upres.models import read_model
from upres.training import community
from upres.training.checkpoint import read_checkpoint
from upres.training.config import Recipe, recipe_from
from upres.training.graph import onnx_graph, write_checked
from upres.training.half import restore_from_half
from upres.training.networks import Network, NetworkConfig, build, deployed, trainable_parameters
from upres.training.sources import PairedSource


def make_card(
    recipe: Recipe, network: Network, recipe_file: str | None, commit: str | None
) -> ModelCard:
    """The card of a network that this recipe trained, as yet without scores."""
    structure = dataclasses.asdict(recipe.network)
    # How low resolution was made that files give, only they know.
    given = any(isinstance(source, PairedSource) for source in recipe.data.train)
    return ModelCard(
        name=recipe.name,
        scale=recipe.scale,
        halo=network.halo,
        network=structure.pop("name"),
        network_parameters=structure,
        parameter_count=trainable_parameters(deployed(network)),
        channels=network.channels,
        multiple_of=network.multiple_of,
        degradation="unknown" if given else recipe.data.degradation,
        data=recipe.data.licence,
        recipe=recipe_file,
        commit=commit,
    )


def export_onnx(network: Network, card: ModelCard, path: Path) -> float:
    """Write ``network`` with ``card`` to ``path``; return how far the engine is from torch.

    The file has the network as deployed, with branches merged; ``network`` itself
    stays as it is. Raises ``TrainingError`` as ``write_checked`` does, and ``OutputError``
    if the file cannot be written.
    """
    copied = deployed(network).float().cpu()
    copied.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    graph = onnx_graph(copied, channels=card.channels, multiple_of=network.multiple_of)
    return write_checked(graph, card, copied, path)


def save_weights(network: Network, card: ModelCard, path: Path) -> None:
    """Write the weights, branches included, and ``card`` to a ``.safetensors`` file.

    Raises ``OutputError`` if it cannot be written.
    """
    weights = {name: w.detach().cpu().contiguous() for name, w in network.state_dict().items()}
    metadata = {"format": "pt", CARD_KEY: card.to_json()}
    content = safetensors.torch.save(weights, metadata)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def load_network(path: Path) -> tuple[Network, ModelCard]:
    """The network in a file of upres and its card: in evaluation mode, on the CPU.

    ``path`` is a ``.safetensors`` file, a run's checkpoint (``.pt``, whose averaged
    weights are taken), or an ``.onnx`` model, which holds its weights as deployed.

    Raises ``TrainingError`` if it cannot be read or is not one of these.
    """
    try:
        if path.suffix.lower() == ".safetensors":
            network, card = _from_safetensors(path)
        elif path.suffix.lower() == ".pt":
            network, card = _from_checkpoint(path)
        elif path.suffix.lower() == ".onnx":
            network, card = _from_onnx(path)
        else:
            raise TrainingError(f"{path}: not a .safetensors, .pt or .onnx file of upres")
    except OSError as error:
        raise TrainingError(f"{path}: cannot read this file: {error.strerror or error}") from None
    return network.eval(), card


def read_safetensors_card(path: Path) -> str | None:
    """The JSON of the card in a ``.safetensors`` file; None if it is not one of upres.

    Raises ``OSError`` or ``TrainingError`` if it cannot be read.
    """
    path.open("rb").close()  # safetensors does not say why it cannot read
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get(CARD_KEY)
    except SafetensorError:
        raise TrainingError(f"{path}: not a .safetensors file, or a damaged one") from None


def _from_safetensors(path: Path) -> tuple[Network, ModelCard]:
    text = read_safetensors_card(path)
    if text is None:
        raise TrainingError(f"{path}: has no card of upres in it, so its network is not known")
    try:
        card = ModelCard.from_json(text)
    except (ValueError, TypeError) as error:
        raise TrainingError(f"{path}: its card cannot be read: {error}") from None
    network = _network_of(card, path)
    _set_weights(network, safetensors.torch.load_file(path), path)
    return network, card


def _from_checkpoint(path: Path) -> tuple[Network, ModelCard]:
    content = read_checkpoint(path)
    try:
        recipe = recipe_from(content["recipe"], str(path))
    except (RecipeError, TypeError):  # as that of another version may be
        raise TrainingError(f"{path}: holds a recipe that this upres cannot read") from None
    network = build(recipe.network, recipe.scale, recipe.channels)
    _set_weights(network, content["average"], path)
    return network, make_card(recipe, network, None, None)


def _from_onnx(path: Path) -> tuple[Network, ModelCard]:
    path.stat()
    try:
        card = read_model(path).card
        graph = onnx.load(path).graph
        restore_from_half(graph)
    except ModelError as error:
        raise TrainingError(str(error)) from None
    if card.precision != "fp32":
        raise TrainingError(
            f"{path}: its weights are {card.precision}: give the fp32 model it was made of"
        )
    network = deployed(_network_of(card, path))
    weights = {w.name: torch.tensor(onnx.numpy_helper.to_array(w)) for w in graph.initializer}
    own = set(network.state_dict())
    if not weights.keys() >= own:
        # Batch normalisation, for one, is gone: it became part of the convolutions.
        raise TrainingError(
            f"{path}: some weights of a {card.network} have no name of their own in this file: "
            "give the .safetensors or .pt of the same run"
        )
    _set_weights(network, {name: weights[name] for name in own}, path)
    return network, card


def _network_of(card: ModelCard, path: Path) -> Network:
    adapter: TypeAdapter[NetworkConfig] = TypeAdapter(
        Annotated[NetworkConfig, Field(discriminator="name")]
    )
    values = {"name": card.network, **card.network_parameters}
    try:
        config = adapter.validate_json(json.dumps(values))
    except ValidationError:
        raise TrainingError(
            f"{path}: its card says network {card.network!r} with {card.network_parameters}, "
            "which this upres cannot build"
        ) from None
    return build(config, card.scale, card.channels)


def _set_weights(network: Network, weights: dict[str, Tensor], path: Path) -> None:
    try:
        network.load_state_dict(weights)
    except (RuntimeError, TypeError):  # whose texts list all that does not fit
        raise TrainingError(f"{path}: its weights do not fit the network that it names") from None


def to_onnx(
    source: Path, target: Path | None = None, *, scale: int | None = None, force: bool = False
) -> tuple[Path, ModelCard]:
    """Turn a file of weights into a model file; return its path and card.

    ``source`` is a ``.safetensors`` or checkpoint of upres, or a community checkpoint (see
    ``upres.training.community``). ``target`` is by default beside it, as ``.onnx``.
    ``scale`` must be the network's own, if given.

    Raises ``UsageError`` if a name does not suit, ``OutputError`` if the target exists
    (unless ``force``) or cannot be written, ``ModelError`` if the scale is another or the
    checkpoint cannot serve, ``TrainingError`` if a file of upres is damaged, and
    ``MissingExtraError`` if a community checkpoint needs packages that are not there.
    """
    if source.suffix.lower() == ".onnx":
        raise UsageError(f"{source}: is a model file already")
    target = target or source.with_suffix(".onnx")
    check_target(target, force)
    if not _is_own(source):
        return target, community.convert(source, target, scale=scale)
    network, card = load_network(source)
    if scale not in (None, card.scale):
        raise ModelError(f"{source}: this network enlarges {card.scale} times, not {scale} times")
    export_onnx(network, card, target)
    return target, card


def check_target(target: Path, force: bool) -> None:
    """Raise ``UsageError`` if it is no name for a model file, ``OutputError`` if it is taken."""
    if target.suffix.lower() != ".onnx":
        raise UsageError(f"{target}: a model file's name ends in .onnx")
    if target.exists() and not force:
        raise OutputError(f"{target}: exists already", Remedy("force", "replaces it", True))


def _is_own(path: Path) -> bool:
    try:
        if path.suffix.lower() == ".safetensors":
            return read_safetensors_card(path) is not None
        read_checkpoint(path)
    except (OSError, TrainingError):
        return False  # the community's loader says why
    return True
