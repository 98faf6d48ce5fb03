"""The command ``upres export``: parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from upres.errors import UsageError, needs_extra


def export(
    source: Annotated[
        Path,
        typer.Argument(
            help="A run's .pt or .safetensors, a community checkpoint (.pth), or, for --int8, "
            "--half and --self-ensemble, an .onnx file."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The .onnx file (default: beside the source)."),
    ] = None,
    scale: Annotated[
        int | None, typer.Option("--scale", "-s", help="The scale that it must have.")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise the model: two to four times as fast.")
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="A folder or tar file of typical pictures, for --int8."),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Weights in float16: half the file, as fast.")
    ] = False,
    self_ensemble: Annotated[
        bool,
        typer.Option(
            "--self-ensemble",
            help="Let the model take the mean over the eight ways to flip and turn a picture: "
            "better, in eight times the time.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace an existing file.")] = False,
) -> None:
    """Turn trained weights, of upres or of other projects, into a model file."""
    if int8 != (images is not None):
        raise UsageError("--int8 and --images go together: the pictures show what values occur")
    if int8 and half:
        raise UsageError("give one of --int8 and --half: in int8, the weights take less room still")
    if self_ensemble and (int8 or half):
        raise UsageError(
            "give --self-ensemble alone, and then --int8 or --half with the file that it writes"
        )
    if images is not None or half:
        with needs_extra(f"upres export --{'half' if half else 'int8'}", "train"):
            from upres.training.quantise import to_int8
            from upres.training.variants import to_half

        if images is not None:
            path, card, difference = to_int8(source, images, output, scale=scale, force=force)
        else:
            path, card, difference = to_half(source, output, scale=scale, force=force)
        what = "weights in float16" if half else "int8"
        away = f"{255 * difference:.2g} grey levels from fp32 (root mean square)"
        print(f"wrote {path}: {card.network}, x{card.scale}, {what}, {away}")
        return
    with needs_extra("upres export", "train"):
        from upres.training.export import to_onnx
        from upres.training.variants import to_self_ensemble

    make = to_self_ensemble if self_ensemble else to_onnx
    path, card = make(source, output, scale=scale, force=force)
    ensembled = ", self-ensembled" if self_ensemble else ""
    print(f"wrote {path}: {card.network}, x{card.scale}{ensembled}")
