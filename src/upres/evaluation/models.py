"""Which models to evaluate: shipped ones, files, and checkpoints; and their names."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from upres.card import Model
from upres.errors import ModelError, UsageError
from upres.models import open_model, read_model

CHECKPOINT_SUFFIXES = (".pt", ".safetensors")

Exporter = Callable[[Path, Path], object]
"""Writes the model of a checkpoint, given first, to an .onnx file."""


def is_checkpoint(name: str) -> bool:
    """Whether ``name`` is that of a training run's file rather than of a model."""
    return name.endswith(CHECKPOINT_SUFFIXES)


@dataclass(frozen=True)
class Subject:
    """A model that is evaluated, and the file that was named."""

    model: Model
    source: Path
    """The model's own file, or the checkpoint that it was exported from."""


@contextlib.contextmanager
def open_models(
    names: Sequence[str], *, scale: int | None = None, to_onnx: Exporter
) -> Iterator[list[Subject]]:
    """Open models as ``open_model`` does, and checkpoints (.pt, .safetensors) beside them.

    A checkpoint is exported with ``to_onnx`` to a file that is there until the end; the model is
    called as the checkpoint's file.

    Raises ``ModelError`` as ``open_model`` does, or if there is no such checkpoint;
    ``UsageError`` if a model is given twice; errors of ``to_onnx`` pass through.
    """
    subjects: list[Subject] = []
    with tempfile.TemporaryDirectory(prefix="upres-") as folder:
        for number, name in enumerate(names):
            if is_checkpoint(name):
                subject = _export(Path(name), Path(folder) / f"{number}.onnx", to_onnx)
                if scale is not None:
                    dataclasses.replace(subject.model, path=subject.source).require_scale(scale)
            else:
                model = open_model(name, scale=scale)
                subject = Subject(model, model.path)
            if subject.source.resolve() in (other.source.resolve() for other in subjects):
                raise UsageError(f"{name}: given twice; name each model once")
            subjects.append(subject)
        yield subjects


def _export(checkpoint: Path, target: Path, to_onnx: Exporter) -> Subject:
    if not checkpoint.is_file():
        raise ModelError(f"{checkpoint}: cannot read this checkpoint: no such file")
    to_onnx(checkpoint, target)
    model = read_model(target)
    # Labels say the scale themselves.
    name = checkpoint.stem.removesuffix(f"-x{model.card.scale}")
    card = dataclasses.replace(model.card, name=name)
    return Subject(dataclasses.replace(model, card=card), checkpoint)


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
