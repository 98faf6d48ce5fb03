"""The command ``upres export``: parses, calls, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from upres.cli.help import argument, option
from upres.cli.process import set_up_libvips
from upres.errors import UsageError, needs_extra

FILE = "The model file"
VARIANT = "Variants of an .onnx file"
OTHERS = "For other programs"


def export(
    source: Annotated[str, argument("SOURCE")],
    output: Annotated[
        Path | None,
        option(
            *("--output", "-o"),
            takes="PATH",
            help="The .onnx file (default: beside the source; of a shipped model, here).",
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
    compact: Annotated[
        Path | None,
        option(
            "--compact",
            takes="PATH",
            help="Write a .safetensors file that spandrel, chaiNNer and ComfyUI load.",
            panel=OTHERS,
        ),
    ] = None,
    hub: Annotated[
        Path | None,
        option(
            "--hub",
            takes="FOLDER",
            help="Make a folder to upload to Hugging Face, with a card and all files.",
            panel=OTHERS,
        ),
    ] = None,
) -> None:
    """Turn trained weights, of upres or of other projects, into a model file.

    SOURCE is a run's .pt or .safetensors file, or a community checkpoint (.pth). For --int8,
    --half and --self-ensemble it is an .onnx file.

    Of a shipped model's name, or an .onnx file with --output, a file for other runtimes is made: it
    takes any batch, and of ONNX's operator sets the lowest, 11 (in int8: 13). What upres does for
    best beside its network, the mean over eight ways to turn a picture, is then in the graph.
    """
    if int8 != (images is not None):
        raise UsageError("--int8 and --images go together: the pictures show the values that occur")
    if int8 and half:
        raise UsageError("give one of --int8 and --half: in int8, the weights take less room still")
    if self_ensemble and (int8 or half):
        raise UsageError(
            "give --self-ensemble alone, and then --int8 or --half with the file that it writes"
        )
    given = [flag for flag, value in (("--compact", compact), ("--hub", hub)) if value]
    if given and (int8 or half or self_ensemble or output or len(given) > 1):
        raise UsageError(f"give {given[0]} alone: it names what is written")
    if compact or hub:
        _for_others(source, scale, compact, hub, force=force)
        return
    shipped = _shipped(source, scale)
    if shipped and output is None:
        if int8 or half or self_ensemble:
            raise UsageError(f"{source}: is a shipped model: name the file to write by --output")
        output = Path(shipped[-1].name)
    path = shipped[-1] if shipped else Path(source)
    _model_file(path, output, scale, force, images, half=half, self_ensemble=self_ensemble)


def _model_file(
    source: Path,
    output: Path | None,
    scale: int | None,
    force: bool,
    images: Path | None,
    *,
    half: bool,
    self_ensemble: bool,
) -> None:
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
        from upres.training.variants import to_portable, to_self_ensemble

    if self_ensemble:
        path, card = to_self_ensemble(source, output, scale=scale, force=force)
    elif source.suffix.lower() == ".onnx" and output is not None:
        path, card = to_portable(source, output, scale=scale, force=force)
    else:
        path, card = to_onnx(source, output, scale=scale, force=force)
    ensembled = ", self-ensembled" if self_ensemble else ""
    print(f"wrote {path}: {card.network}, x{card.scale}{ensembled}")


def _for_others(
    source: str, scale: int | None, compact: Path | None, hub: Path | None, *, force: bool
) -> None:
    """Write files that other projects' programs read."""
    shipped = _shipped(source, scale)
    with needs_extra("upres export", "train"):
        from upres.training.compact import to_compact
        from upres.training.repository import to_hub

    if compact:
        path = shipped[-1] if shipped else Path(source)
        _, card, difference = to_compact(path, compact, scale=scale, force=force)
        print(
            f"wrote {compact}: RealESRGAN Compact, x{card.scale}, at most "
            f"{255 * difference:.2g} grey levels from {card.name}"
        )
    if hub:
        files = to_hub(shipped or [Path(source)], hub, force=force)
        scales = ", ".join(f"x{each.card.scale}" for each in files)
        print(f"wrote {hub}: {files[0].card.name}, {scales}")


def _shipped(name: str, scale: int | None) -> list[Path]:
    """The files of a shipped model, of one scale or all, the largest last; none of other names."""
    from upres.models import open_model, shipped_models

    scales = shipped_models().get(name)
    if scales is None:
        return []
    return [open_model(name, scale=scale).path] if scale else [scales[x] for x in sorted(scales)]
