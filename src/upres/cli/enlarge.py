"""The command ``upres enlarge``: parses, plans, calls, prints."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from upres.cli.console import Reporter, end, progress_bar
from upres.cli.enlarge_options import (
    CheckOption,
    ConsistentOption,
    DeviceOption,
    ErrorMapOption,
    FitOption,
    ForceConsistentOption,
    ForceErrorMapOption,
    ForceOption,
    FormatOption,
    HeightOption,
    KeepCmykOption,
    KeepMeansOption,
    LabelsOption,
    LargerOption,
    MaxPixelsOption,
    ModelOption,
    OutputOption,
    PaletteOption,
    Pictures,
    PrecisionOption,
    QualityOption,
    QuietOption,
    RecursiveOption,
    ResumeOption,
    ScaleOption,
    SkipExistingOption,
    ThreadsOption,
    ThroughPlaneOption,
    WidthOption,
    WrapOption,
)
from upres.cli.fleet import (
    ClusterOption,
    DryRunOption,
    ReportOption,
    check_cluster,
    check_report,
    dry_run,
    in_stores,
    reported,
    run_in_stores,
)
from upres.cli.process import keep_libraries_quiet, set_up_libvips, share_python_s_lock
from upres.cli.streaming import STREAM, through_streams
from upres.cli.video import (
    CodecOption,
    CrfOption,
    FromOption,
    KeepDamagedOption,
    LikeOption,
    LosslessOption,
    PreviewOption,
    SteadyOption,
    ToOption,
    refuse_unused,
    video_settings,
)
from upres.errors import UsageError
from upres.signals import stop_on_signals

if TYPE_CHECKING:
    from upres.enlarging.options import Existing
    from upres.runs.batch import Summary
    from upres.runs.request import Request

EXAMPLES = """
Examples:
  upres enlarge photo.jpg                      makes photo_x4.jpg
  upres enlarge scan.tif --fit 3840x2160       as large as a 4K screen
  upres enlarge *.png -s 2 -o large/           several, into a folder
  upres enlarge photos -r -o large --resume    a folder; goes on after a stop
  curl URL | upres enlarge - > large.png       through pipes
"""


def enlarge(
    pictures: Pictures,
    scale: ScaleOption = None,
    width: WidthOption = None,
    height: HeightOption = None,
    fit: FitOption = None,
    larger: LargerOption = "refuse",
    max_pixels: MaxPixelsOption = None,
    model: ModelOption = None,
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    output: OutputOption = None,
    format: FormatOption = None,
    quality: QualityOption = None,
    wrap: WrapOption = False,
    palette: PaletteOption = "free",
    keep_cmyk: KeepCmykOption = False,
    consistent: ConsistentOption = None,
    force_consistent: ForceConsistentOption = False,
    check: CheckOption = False,
    error_map: ErrorMapOption = None,
    force_error_map: ForceErrorMapOption = False,
    keep_means: KeepMeansOption = False,
    labels: LabelsOption = False,
    through_plane: ThroughPlaneOption = False,
    force: ForceOption = False,
    codec: CodecOption = None,
    crf: CrfOption = None,
    lossless: LosslessOption = False,
    start: FromOption = None,
    stop: ToOption = None,
    preview: PreviewOption = None,
    like: LikeOption = None,
    steady: SteadyOption = False,
    keep_damaged: KeepDamagedOption = False,
    recursive: RecursiveOption = False,
    resume: ResumeOption = False,
    skip_existing: SkipExistingOption = False,
    cluster: ClusterOption = None,
    report: ReportOption = None,
    dry: DryRunOption = False,
    quiet: QuietOption = False,
) -> None:
    """Enlarge pictures; colour profile, metadata, bit depth and transparency are kept.

    A PICTURE is a file, a folder, a pattern such as 'a/*.png', or - for standard input.
    """
    set_up_libvips(threads)
    keep_libraries_quiet()
    share_python_s_lock()
    from upres.enlarging.options import MAX_PIXELS, Options
    from upres.runs.jobs import is_cog, is_folder, suffix_called
    from upres.runs.request import Request
    from upres.runs.video import is_video

    if "" in pictures:
        raise UsageError("a picture's name is empty: name a file, a folder or a pattern")
    _refuse_empty({"--output": output, "--fit": fit, "--format": format, "--model": model})
    _refuse_empty({"--cluster": cluster, "--report": report})
    for each in error_map or ():
        _refuse_empty({"--error-map": each})
    check_cluster(cluster)
    check_report(report, dry=dry)
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
            wrap=wrap,
            palette=palette,
            larger=larger,
            consistent="force" if force_consistent else consistent,
            check=check,
            errors="force" if force_error_map else bool(error_map),
            error_map=tuple(map(Path, error_map or ())),
            keep_means=keep_means,
            labels=labels,
            through_plane=through_plane,
            cog=is_cog(format),
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
        video=video_settings(
            codec, crf, lossless, start, stop, like, preview, steady, keep_damaged
        ),
        cluster=cluster,
    )
    refuse_unused(request.inputs, target, request.video, quality)
    if format is None and (target is None or to_folder) and (lossless or preview):
        request = dataclasses.replace(request, suffix=".png" if preview else ".mkv")
    if objects := in_stores(pictures, output, request):
        ended = reported(report, lambda: run_in_stores(objects, quiet=quiet, dry=dry))
        if ended is not None:
            end(ended, "the same command with --resume goes on", quiet=quiet)
        return
    if resume and not (to_folder or all(map(is_video, request.inputs))):
        raise UsageError("--resume needs the --output folder of the run that was interrupted")
    if STREAM in (*request.inputs, target):
        if request.options.errors:
            raise UsageError("--error-map is for files, not for standard input and output")
        if cluster or dry or report:
            raise UsageError("--cluster, --report and --dry-run need files, not a stream (-)")
        end(through_streams(request, quiet=quiet), quiet=True)
        return
    if target is None and any(map(os.path.isdir, request.inputs)):
        raise UsageError("a folder of pictures needs an --output folder for the results")
    videos = all(map(is_video, request.inputs))
    goes_on = to_folder or videos
    hint = "the same command with --resume goes on" if goes_on else "--skip-existing goes on"
    ended = reported(report, lambda: _run(request, quiet=quiet, dry=dry))
    if ended is not None:
        end(ended, hint, quiet=quiet, alone=videos)


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


def _run(request: Request, *, quiet: bool, dry: bool) -> Summary | None:
    """Enlarge files, showing how far it is; ``None`` if it is only told of."""
    from upres.runs.request import arranged, carry_out

    work = arranged(request)
    if dry:
        dry_run(request, work)
        return None
    with stop_on_signals() as stop, progress_bar(quiet) as bar:
        warms_up = request.cluster is not None
        reporter = Reporter(work.name, bar, quiet=quiet, warms_up=warms_up)
        return carry_out(
            request,
            work,
            stop=stop,
            warned=reporter.warned,
            progress=reporter.progress,
            finished=reporter.finished,
            not_kept=reporter.not_kept,
        )
