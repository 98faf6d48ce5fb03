"""Whether the error of a result can be bounded, and whether the calibration was made for its input.

The half-widths of a head hold for pictures like those that it was calibrated with: photographs of 8
bits that MATLAB's bicubic made small, and for ``photo`` such as JPEG then changed. For any other
input there is no promise, and it is refused with the reason, unless bounds are forced.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from upres.card import Model
from upres.enlarging.compressed import COMPRESSED_MODEL
from upres.enlarging.light import seen_bands
from upres.enlarging.options import Bounding
from upres.enlarging.steps import bands_together
from upres.errors import InputError, ModelError, Remedy
from upres.head import HeadCard, head_card_of, head_path
from upres.models import INT8, shipped_models
from upres.raster.info import COLOUR_ROLES, REPEATED_ROLES, RasterInfo

JPEG_QUALITIES = (30, 95)
"""Of the files that ``photo`` was calibrated with, drawn for each."""

STRETCH = 1.25
"""By how much a picture's values may be stretched to the whole range before a network sees them. An
8-bit picture is never stretched, and none that was calibrated with was."""

FORCE = Remedy("errors", "bounds them all the same, without a promise", "force")


def with_head(
    info: RasterInfo,
    errors: Bounding,
    models: Sequence[Model],
    size: tuple[int, int],
) -> tuple[tuple[Model, ...], str]:
    """A plan's only model, with its head, and why its calibration is not for the raster, if so.

    Raises ``InputError`` where errors cannot be bounded at all, or the calibration is not for this
    raster and they are not forced; ``ModelError`` if the model has no head.
    """
    model = models[0]
    factor = model.card.scale
    if len(models) > 1 or size != (info.height * factor, info.width * factor):
        raise InputError(
            info.problem(
                f"errors are bounded for results that one model makes in one go, and "
                f"{size[1]}x{size[0]} is none of {model.card.name}"
            ),
            Remedy("scale", "gives a factor of the model's own"),
        )
    if info.colours == "linear" or not bounded_groups(info):
        raise InputError(info.problem("errors are bounded of gamma-encoded colours and of greys"))
    card = head_card_of(model)
    if card is None:
        raise ModelError(f"{model.path}: has no head to bound errors: take {_with_heads()}")
    faults = _faults(info, card)
    reason = faults or _bands(info)
    other = shipped_models().get(COMPRESSED_MODEL, {}).get(factor)
    fitting = JPEG_QUALITIES[0] <= (info.jpeg_quality or 0) <= JPEG_QUALITIES[1]
    if fitting and card.degradation != "jpeg" and other and head_path(other).is_file():
        refuse_unpromised(info, reason, errors, Remedy("model", "is for them", COMPRESSED_MODEL))
    refuse_unpromised(info, reason, errors)
    return (dataclasses.replace(model, head=head_path(model.path)),), reason


def require_range(info: RasterInfo, told: RasterInfo, reason: str, errors: Bounding) -> str:
    """Why the calibration is not for a raster all of whose ranges are measured.

    ``told`` is the same before that, and ``reason`` that from before. Raises ``InputError`` as
    ``with_head`` does.
    """
    if not reason and _only_measured(info, told):
        reason = (
            "only its samples tell their range, and the calibration was made with pictures whose "
            "type tells it"
        )
    stretch = _stretch(info)
    if not reason and stretch > STRETCH:
        part = "no part" if stretch == math.inf else f"1/{stretch:.3g}"
        reason = (
            f"its values take {part} of their range, and the calibration was made with pictures "
            "that take all of theirs"
        )
    if not reason and any(band.gaps for band in info.varying):
        reason = "some samples are missing, and the calibration had none such"
    refuse_unpromised(info, reason, errors)
    return reason


def refuse_unpromised(info: RasterInfo, reason: str, errors: Bounding, *remedies: Remedy) -> None:
    """Raise ``InputError`` if there is a reason that nothing is promised, and none is forced.

    ``remedies`` come before that to force it.
    """
    if reason and errors != "force":
        raise InputError(info.problem(f"no bounds can be promised: {reason}"), *remedies, FORCE)


def bounded_groups(info: RasterInfo) -> list[tuple[int, ...]]:
    """The bands that share a half-width for each pixel, group by group in the head's order.

    Red, green and blue go through the network together, and so do three inks; each other band by
    itself. Alpha, masks and numbers of classes have none.
    """
    together = bands_together(info)
    groups: list[tuple[int, ...]] = [together] if together else []
    alone = (i for i in range(len(info.varying)) if together is None or i not in together)
    unbounded = info.find("alpha", *REPEATED_ROLES)
    return groups + [(number,) for number in alone if number not in unbounded]


def _faults(info: RasterInfo, card: HeadCard) -> str:
    """Why the head is for a raster of another making."""
    quality, least, most = info.jpeg_quality, *JPEG_QUALITIES
    if card.degradation == "jpeg":
        if quality is None or not least <= quality <= most:
            found = "no JPEG file" if quality is None else f"a JPEG file of quality {quality}"
            return f"it is {found}, and photo's calibration is for qualities of {least} to {most}"
        if info.preserves == "bicubic":
            return "a consistent result keeps faults of JPEG, and photo's calibration had none such"
        return ""
    if quality is not None:
        # Even at a quality of 98, coverage on Set14 at x2 falls from 0.88 to 0.84.
        return f"a JPEG file of quality {quality} has faults that {card.model} does not know"
    return ""


def _bands(info: RasterInfo) -> str:
    if info.find("ink"):
        return "its bands are inks, and the calibration was made with photographs"
    if info.find("other"):
        return (
            "its bands are measurements, each enlarged by itself, and the calibration was made "
            "with photographs"
        )
    if info.preserves == "mean":
        return "its result keeps means, and the calibration is for pictures reduced by bicubic"
    return ""


def _only_measured(info: RasterInfo, told: RasterInfo) -> bool:
    """Whether colours have the range of their samples, as nothing else tells one.

    Floats within [0, 1] have that.
    """
    return any(
        band.role in COLOUR_ROLES and given.low is None and (band.low, band.high) != (0, 1)
        for band, given in zip(info.bands, told.bands, strict=True)
    )


def _stretch(info: RasterInfo) -> float:
    """How many times the network's range is as large as that of the band's samples, at most.

    It is infinite where all samples are alike.
    """
    most = 1.0
    for band, seen in zip(info.varying, seen_bands(info), strict=True):
        if band.role not in COLOUR_ROLES or band.low is None or band.high is None:
            continue
        assert seen.low is not None
        assert seen.high is not None
        if band.high > band.low:
            length = seen.high - seen.low
            most = max(most, (band.high - band.low) / length if length > 0 else math.inf)
    return most


def _with_heads() -> str:
    names = []
    for name, scales in shipped_models().items():
        own = [scale for scale, path in sorted(scales.items()) if head_path(path).is_file()]
        if own and not name.endswith(INT8):
            names.append(f"{name} at {' or '.join(f'x{scale}' for scale in own)}")
    return ", ".join(names) or "a model that was calibrated"
