"""The command ``upres calibrate``: parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from upres.cli.console import say
from upres.cli.help import argument, option
from upres.cli.process import set_up_libvips
from upres.errors import needs_extra


def calibrate(
    model: Annotated[str, argument("MODEL")],
    data: Annotated[
        list[Path],
        option(
            *("--data", "-d"),
            takes="PATH",
            help="A tar file or folder of pictures that train the head; may be repeated.",
        ),
    ],
    calibration: Annotated[
        Path,
        option(
            *("--calibration", "-c"),
            takes="PATH",
            help="A tar file or folder of 200 pictures or more that trained nothing.",
        ),
    ],
    scale: Annotated[
        int | None,
        option(*("--scale", "-s"), takes="FACTOR", help="Which of a shipped model's scales."),
    ] = None,
    licence: Annotated[
        str,
        option(
            "--licence",
            takes="WORDS",
            help="The calibration pictures and their licence, for the head's card.",
        ),
    ] = "",
) -> None:
    """Give a model a head, which bounds the error of each pixel of its results.

    MODEL is an .onnx file in float32, or a shipped model's name. The head is trained, calibrated,
    and written beside the model's file; and so is that of the model in int8 beside it.
    """
    set_up_libvips()
    from upres.models import open_model

    with needs_extra("upres calibrate", "train"):
        from upres.training.calibrating import HeadRequest
        from upres.training.calibrating import calibrate as calibrate_model

    path = open_model(model, scale=scale).path
    request = HeadRequest(path, tuple(data), calibration, licence=licence)
    for written, card in calibrate_model(request, tell=say):
        print(
            f"wrote {written}: {card.coverage:.1%} of samples covered in the mean over "
            f"{card.pictures} pictures, {card.least_coverage:.1%} of {card.least_covered}"
        )
