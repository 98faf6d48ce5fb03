"""The command ``upres enlarge``: parses, plans, calls, prints."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from upres.cli.console import Reporter, end, progress_bar
from upres.cli.help import OTHER, argument, option
from upres.cli.process import set_up_libvips, share_python_s_lock
from upres.cli.streaming import STREAM, through_streams
from upres.cli.video import (
    Codec,
    Crf,
    From,
    KeepDamaged,
    Like,
    Lossless,
    Preview,
    To,
    video_settings,
)
from upres.errors import UsageError
from upres.signals import stop_on_signals

if TYPE_CHECKING:
    from upres.enlarging.options import Existing
    from upres.runs.batch import Summary
    from upres.runs.request import Request

SIZE = "How large"
MODEL = "Which model, and where it runs"
RESULTS = "Results"
MANY = "Runs over many files"

EXAMPLES = """
Examples:
  upres enlarge photo.jpg                      makes photo_x4.jpg
  upres enlarge scan.tif --fit 3840x2160       as large as a 4K screen
  upres enlarge *.png -s 2 -o large/           several, into a folder
  upres enlarge photos -r -o large --resume    a folder; goes on after a stop
  curl URL | upres enlarge - > large.png       through pipes
"""


def enlarge(
    pictures: Annotated[list[str], argument("PICTURE")],
    scale: Annotated[
        float | None,
        option(
            *("--scale", "-s"),
            takes="FACTOR",
            help="At least 1, as 2.5 (default: the model's largest factor).",
            panel=SIZE,
        ),
    ] = None,
    width: Annotated[
        int | None, option("--width", takes="PIXELS", help="Width of the results.", panel=SIZE)
    ] = None,
    height: Annotated[
        int | None, option("--height", takes="PIXELS", help="Height of the results.", panel=SIZE)
    ] = None,
    fit: Annotated[
        str | None,
        option(
            "--fit",
            takes="WxH",
            help="Largest size that fits, such as 3840x2160.",
            panel=SIZE,
        ),
    ] = None,
    max_pixels: Annotated[
        int | None,
        option(
            "--max-pixels",
            takes="PIXELS",
            help="Refuse larger results (default: 1,073,741,824).",
            panel=SIZE,
        ),
    ] = None,
    model: Annotated[
        str | None,
        option(
            *("--model", "-m"),
            takes="MODEL",
            help="A name that upres models lists, an .onnx file, or hf://owner/name@revision, "
            "which is fetched from Hugging Face (default: the picture decides).",
            panel=MODEL,
        ),
    ] = None,
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16", "int8"],
        option(
            "--precision",
            takes="NAME",
            help="fp32, bf16, fp16, int8, or auto (default): the device decides.",
            panel=MODEL,
            show_default=False,
        ),
    ] = "auto",
    device: Annotated[
        Literal["auto", "cpu", "gpu"],
        option(
            "--device",
            takes="NAME",
            help="cpu, gpu, or auto (default): a GPU where ONNX Runtime has one.",
            panel=MODEL,
            show_default=False,
        ),
    ] = "auto",
    threads: Annotated[
        int | None,
        option(
            "--threads",
            takes="NUMBER",
            help="Of the processor, at most (default: what the container leaves, or all).",
            panel=MODEL,
        ),
    ] = None,
    output: Annotated[
        str | None,
        option(
            *("--output", "-o"),
            takes="PATH",
            help="A file, a folder, or - for standard output (default: beside the picture).",
            panel=RESULTS,
        ),
    ] = None,
    format: Annotated[
        str | None,
        option(
            "--format", takes="NAME", help="png, jpg... (default: the picture's).", panel=RESULTS
        ),
    ] = None,
    quality: Annotated[
        int | None,
        option(
            "--quality",
            takes="NUMBER",
            help="Of JPEG, WebP and AVIF, 1 to 100 (default: the picture's, but high).",
            panel=RESULTS,
        ),
    ] = None,
    keep_cmyk: Annotated[
        bool,
        option("--keep-cmyk", help="Keep CMYK instead of converting it to sRGB.", panel=RESULTS),
    ] = False,
    consistent: Annotated[
        bool,
        option(
            "--consistent",
            help="Make results agree with their pictures: reduced again, they are the same.",
            panel=RESULTS,
        ),
    ] = False,
    force_consistent: Annotated[
        bool,
        option(
            "--force-consistent",
            help="The same, even with what JPEG has changed.",
            panel=RESULTS,
        ),
    ] = False,
    check: Annotated[
        bool,
        option("--check", help="Tell how well results agree with their pictures.", panel=RESULTS),
    ] = False,
    force: Annotated[
        bool, option("--force", "-f", help="Replace existing files.", panel=RESULTS)
    ] = False,
    codec: Codec = None,
    crf: Crf = None,
    lossless: Lossless = False,
    start: From = None,
    stop: To = None,
    preview: Preview = None,
    like: Like = None,
    keep_damaged: KeepDamaged = False,
    recursive: Annotated[
        bool,
        option("--recursive", "-r", help="Look into the folders inside folders, too.", panel=MANY),
    ] = False,
    resume: Annotated[
        bool,
        option("--resume", help="Go on with an interrupted run into --output.", panel=MANY),
    ] = False,
    skip_existing: Annotated[
        bool,
        option("--skip-existing", help="Pass over pictures that have a result.", panel=MANY),
    ] = False,
    quiet: Annotated[bool, option("--quiet", "-q", help="Print errors only.", panel=OTHER)] = False,
) -> None:
    """Enlarge pictures; colour profile, metadata, bit depth and transparency are kept.

    A PICTURE is a file, a folder, a pattern such as 'a/*.png', or - for standard input.
    """
    set_up_libvips(threads)
    share_python_s_lock()
    from upres.enlarging.options import MAX_PIXELS, Options
    from upres.runs.jobs import is_folder, is_video, suffix_called
    from upres.runs.request import Request

    if "" in pictures:
        raise UsageError("a picture's name is empty: name a file, a folder or a pattern")
    _refuse_empty({"--output": output, "--fit": fit, "--format": format, "--model": model})
    target = None if output is None else Path(output)
    # A path has forgotten the slash that says that it is a folder's.
    to_folder = output is not None and target != STREAM and is_folder(output)
    request = Request(
        inputs=tuple(map(Path, pictures)),
        options=Options(
            model=model,
            precision=precision,
            scale=scale,
            width=width,
            height=height,
            fit=_size(fit) if fit else None,
            quality=quality,
            cmyk=keep_cmyk,
            consistent="force" if force_consistent else consistent,
            check=check,
            max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
        ),
        target=None if to_folder else target,
        folder=target if to_folder else None,
        suffix=suffix_called(format) if format else None,
        device=device,
        threads=threads,
        recursive=recursive,
        existing=_existing(force, skip_existing),
        resume=resume,
        video=video_settings(codec, crf, lossless, start, stop, like, preview, keep_damaged),
    )
    if format is None and (target is None or to_folder) and (lossless or preview):
        request = dataclasses.replace(request, suffix=".png" if preview else ".mkv")
    if resume and not (to_folder or all(map(is_video, request.inputs))):
        raise UsageError("--resume needs the --output folder of the run that was interrupted")
    if STREAM in (*request.inputs, target):
        end(through_streams(request, quiet=quiet), quiet=True)
        return
    if target is None and any(map(os.path.isdir, request.inputs)):
        raise UsageError("a folder of pictures needs an --output folder for the results")
    goes_on = to_folder or all(map(is_video, request.inputs))
    hint = "the same command with --resume goes on" if goes_on else "--skip-existing goes on"
    end(_run(request, quiet=quiet), hint, quiet=quiet)


def _refuse_empty(given: Mapping[str, str | None]) -> None:
    """Raise ``UsageError`` for an option without a value, as a shell's unset variable gives it."""
    for name, value in given.items():
        if value == "":
            raise UsageError(f"{name}: is empty: leave it out, or give it a value")


def _existing(force: bool, skip: bool) -> Existing:
    if force and skip:
        raise UsageError("--force replaces existing files, --skip-existing keeps them: give one")
    return "replace" if force else "skip" if skip else "refuse"


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,9})[xX](\d{1,9})", text)
    if match is None:
        raise UsageError(f"--fit {text}: give width and height, such as 3840x2160")
    return int(match[1]), int(match[2])


def _run(request: Request, *, quiet: bool) -> Summary:
    """Enlarge files, showing how far it is."""
    from upres.runs.request import arranged, carry_out

    work = arranged(request)
    with stop_on_signals() as stop, progress_bar(quiet) as bar:
        reporter = Reporter(work.name, bar, quiet=quiet)
        return carry_out(
            request,
            work,
            stop=stop,
            warned=reporter.warned,
            progress=reporter.progress,
            finished=reporter.finished,
            not_kept=reporter.not_kept,
        )
