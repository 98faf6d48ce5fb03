"""Writes the findings of an evaluation into the model's file."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING

from upres.card import CARD_KEY, ModelCard, SetScore, write_card
from upres.errors import InputError, MissingExtraError, ModelError
from upres.evaluation.benchmark import Evaluation
from upres.files import replacing

if TYPE_CHECKING:
    import onnx


def record_scores(model_path: Path, evaluation: Evaluation) -> None:
    """Write the model's means of each set, and their protocol, into its card.

    Scores of other sets that the card has by the same protocol stay. The file is written
    under another name first, so that it is never half a model.

    Raises ``ValueError`` if the model is not among those evaluated, ``InputError`` if a
    PSNR is infinite, ``ModelError`` if the file cannot be read or has no card,
    ``OutputError`` if it cannot be written, ``MissingExtraError`` without ``onnx``.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("recording scores", "train") from None
    new = _set_scores(model_path, evaluation)
    try:
        # Weights kept in a file beside the model stay there.
        proto = onnx.load(model_path, load_external_data=False)
    except Exception as error:  # protobuf's own is no public class
        raise ModelError(f"{model_path}: not an ONNX model that can be read") from error
    card = _read_card(model_path, proto)
    measured = {entry.dataset for entry in new}
    # Figures by another protocol must not stand beside these.
    old = card.scores if card.protocol == evaluation.protocol else ()
    kept = tuple(entry for entry in old if entry.dataset not in measured)
    write_card(proto, dataclasses.replace(card, scores=kept + new, protocol=evaluation.protocol))
    with replacing(model_path) as temporary:
        onnx.save(proto, temporary)


def _set_scores(model_path: Path, evaluation: Evaluation) -> tuple[SetScore, ...]:
    """The model's means; three digits more than any table prints would be noise."""
    scores = []
    for each in evaluation.sets:
        own = [
            method
            for method in each.methods
            if method.model is not None and method.model.resolve() == model_path.resolve()
        ]
        if not own:
            raise ValueError(f"{model_path} is not among the models that were evaluated")
        means = own[0].means
        if not math.isfinite(means.psnr):
            raise InputError(
                f"{each.folder}: the model gave a picture of it back exactly, and infinite "
                "PSNR cannot be recorded: is its LR really smaller and made from its HR?"
            )
        scores.append(
            SetScore(each.dataset, len(own[0].images), round(means.psnr, 4), round(means.ssim, 6))
        )
    return tuple(scores)


def _read_card(model_path: Path, proto: onnx.ModelProto) -> ModelCard:
    for entry in proto.metadata_props:
        if entry.key == CARD_KEY:
            try:
                return ModelCard.from_json(entry.value)
            except (ValueError, TypeError) as error:
                raise ModelError(f"{model_path}: its card cannot be read: {error}") from None
    raise ModelError(
        f"{model_path}: has no card to record scores in: only models that upres exported have"
    )
