"""Which models enlarge a picture: those asked for, or those that its file decides for."""

from __future__ import annotations

from upres.card import Model
from upres.enlarging.options import Options
from upres.enlarging.windows import stages
from upres.models import DEFAULT_MODEL, shipped_models

COMPRESSED_MODEL = "photo"
"""The shipped model for pictures that JPEG has changed; ``DEFAULT_MODEL`` is for clean ones."""

CLEAN_QUALITY = {2: 92, 4: 97}
"""By ``photo``'s scale: JPEG of this quality or better counts as clean. On valid.tar, ``photo`` x2
and ``fast`` give the same PSNR at a quality of 92, between what was measured at 90 (``photo``
0.46 dB better) and at 95 (0.52 worse); x4, which is a larger network, at 97 (95: 0.25 better)."""


def choose_models(options: Options, factor: float, quality: int | None) -> tuple[list[Model], str]:
    """The models that enlarge a picture ``factor`` times, one after another, and why.

    ``quality`` is that of its JPEG file, ``None`` of another. Why is a short text for the
    user, such as ``model photo: JPEG of quality 62``; it is empty where there was nothing to
    choose.

    Raises ``ModelError`` if there is no such model, or it does not enlarge.
    """
    if options.model is not None:
        return stages(options.model, factor, options.precision), ""
    if COMPRESSED_MODEL not in shipped_models():
        return stages(DEFAULT_MODEL, factor, options.precision), ""
    clean = stages(DEFAULT_MODEL, factor, options.precision)
    if quality is None:
        return clean, ""
    why = f"JPEG of quality {quality}"
    if quality >= max(CLEAN_QUALITY.values()):
        return clean, f"model {DEFAULT_MODEL}: {why}"  # without loading the other
    # Only the first: what it has made of the picture is clean.
    models = stages(DEFAULT_MODEL, factor, options.precision, first=COMPRESSED_MODEL)
    if quality >= CLEAN_QUALITY.get(models[0].card.scale, min(CLEAN_QUALITY.values())):
        return clean, f"model {DEFAULT_MODEL}: {why}"
    if models[0].path == clean[0].path:
        return clean, f"model {DEFAULT_MODEL}: {why}, but {COMPRESSED_MODEL} has no scale for this"
    return models, f"model {COMPRESSED_MODEL}: {why}"
