"""The command ``upres export``: parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from upres.cli.help import argument, option
from upres.cli.process import set_up_libvips
from upres.errors import UsageError, needs_extra

FILE = "The model file"
VARIANT = "Variants of an .onnx file"


def export(
    source: Annotated[Path, argument("SOURCE")],
    output: Annotated[
        Path | None,
        option(
            *("--output", "-o"),
            takes="PATH",
            help="The .onnx file (default: beside the source).",
            panel=FILE,
        ),
    ] = None,
    scale: Annotated[
        int | None,
        option(*("--scale", "-s"), takes="FACTOR", help="The scale that it must have.", panel=FILE),
    ] = None,
    force: Annotated[
        bool, option("--force", "-f", help="Replace an existing file.", panel=FILE)
    ] = False,
    int8: Annotated[
        bool,
        option("--int8", help="Quantise the model: two to four times as fast.", panel=VARIANT),
    ] = False,
    images: Annotated[
        Path | None,
        option(
            "--images",
            takes="PATH",
            help="A folder or tar file of typical pictures, for --int8.",
            panel=VARIANT,
        ),
    ] = None,
    half: Annotated[
        bool,
        option("--half", help="Weights in float16: half the file, as fast.", panel=VARIANT),
    ] = False,
    self_ensemble: Annotated[
        bool,
        option(
            "--self-ensemble",
            help="Average over the eight ways to flip and turn a picture: better, in eight times "
            "the time.",
            panel=VARIANT,
        ),
    ] = False,
) -> None:
    """Turn trained weights, of upres or of other projects, into a model file.

    SOURCE is a run's .pt or .safetensors file, or a community checkpoint (.pth). For --int8,
    --half and --self-ensemble it is an .onnx file.
    """
    if int8 != (images is not None):
        raise UsageError("--int8 and --images go together: the pictures show the values that occur")
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
            set_up_libvips()
            path, card, difference = to_int8(source, images, output, scale=scale, force=force)
        else:
            path, card, difference = to_half(source, output, scale=scale, force=force)
        made = "weights in float16" if half else "int8"
        away = f"{255 * difference:.2g} grey levels from fp32 (root mean square)"
        print(f"wrote {path}: {card.network}, x{card.scale}, {made}, {away}")
        return
    with needs_extra("upres export", "train"):
        from upres.training.export import to_onnx
        from upres.training.variants import to_self_ensemble

    make = to_self_ensemble if self_ensemble else to_onnx
    path, card = make(source, output, scale=scale, force=force)
    ensembled = ", self-ensembled" if self_ensemble else ""
    print(f"wrote {path}: {card.network}, x{card.scale}{ensembled}")
