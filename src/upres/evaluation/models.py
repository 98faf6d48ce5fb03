"""Which models to evaluate: shipped ones, files, and checkpoints; and their names."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from upres.card import Model
from upres.errors import ModelError, UsageError
from upres.models import load_model, read_model

CHECKPOINT_SUFFIXES = (".pt", ".safetensors")

Exporter = Callable[[Path, Path], object]
"""Writes the model of a checkpoint, given first, to an .onnx file."""


def is_checkpoint(name: str) -> bool:
    """Whether ``name`` is that of a training run's file rather than of a model."""
    return name.endswith(CHECKPOINT_SUFFIXES)


def load_models(
    names: Sequence[str], *, scale: int | None = None, to_onnx: Exporter
) -> list[Model]:
    """Load models as ``load_model`` does, and checkpoints (.pt, .safetensors) beside them.

    A checkpoint is exported with ``to_onnx`` to a file that is then removed; the model
    that comes back has the checkpoint's path, and is called as its file.

    Raises ``ModelError`` as ``load_model`` does, or if there is no such checkpoint;
    ``UsageError`` if a model is given twice; what ``to_onnx`` raises passes through.
    """
    models: list[Model] = []
    for name in names:
        if is_checkpoint(name):
            model = _load_checkpoint(Path(name), to_onnx)
            if scale is not None:
                model.require_scale(scale)
        else:
            model = load_model(name, scale=scale)
        if model.path.resolve() in (other.path.resolve() for other in models):
            raise UsageError(f"{name}: given twice; name each model once")
        models.append(model)
    return models


def _load_checkpoint(path: Path, to_onnx: Exporter) -> Model:
    if not path.is_file():
        raise ModelError(f"{path}: cannot read this checkpoint: no such file")
    with tempfile.TemporaryDirectory(prefix="upres-") as folder:
        target = Path(folder) / "model.onnx"
        to_onnx(path, target)
        model = read_model(target)
    # Labels say the scale themselves.
    name = path.stem.removesuffix(f"-x{model.card.scale}")
    card = dataclasses.replace(model.card, name=name)
    return dataclasses.replace(model, path=path, card=card)


def tell_apart(labels: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """``labels``, with a part of the path added to those that are not the only one.

    That is the parent folder's name where it tells all those of one label apart, else the
    file's name, else the whole path.
    """
    result = []
    for label, path in zip(labels, paths, strict=True):
        namesakes = [p for other, p in zip(labels, paths, strict=True) if other == label]
        if len(namesakes) == 1:
            result.append(label)
        elif len({p.resolve().parent.name for p in namesakes}) == len(namesakes):
            result.append(f"{label} ({path.resolve().parent.name})")
        elif len({p.name for p in namesakes}) == len(namesakes):
            result.append(f"{label} ({path.name})")
        else:
            result.append(f"{label} ({path})")
    return result
