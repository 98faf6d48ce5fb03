"""The command ``upres fuse``: parses, plans, calls, prints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from upres.cli.console import Reporter, in_one_line, lacking, progress_bar
from upres.cli.enlarge_options import (
    RESULTS,
    SIZE,
    DeviceOption,
    ForceOption,
    FormatOption,
    KeepCmykOption,
    MaxPixelsOption,
    ModelOption,
    Pictures,
    PrecisionOption,
    QualityOption,
    QuietOption,
    RecursiveOption,
    ThreadsOption,
)
from upres.cli.help import option
from upres.cli.process import keep_libraries_quiet, set_up_libvips, share_python_s_lock
from upres.errors import OutputError, Remedy, UsageError
from upres.signals import stop_on_signals

if TYPE_CHECKING:
    from upres.fusing.files import FileFusion
    from upres.fusing.pipeline import Fusion

FRAMES = "Which frames"

EXAMPLES = """
Examples:
  upres fuse a.jpg b.jpg c.jpg              makes a_fused_x4.jpg
  upres fuse burst -s 2 -o better.png       all pictures of a folder
  upres fuse stack.tif --reference 5        as the fifth page shows it
"""


WholeScaleOption = Annotated[
    float | None,
    option(
        *("--scale", "-s"),
        takes="FACTOR",
        help="2, 3 or 4 (default: the model's largest factor).",
        panel=SIZE,
    ),
]

OneOutputOption = Annotated[
    str | None,
    option(
        *("--output", "-o"),
        takes="PATH",
        help="The result's file (default: beside the reference).",
        panel=RESULTS,
    ),
]

ReferenceOption = Annotated[
    str,
    option(
        "--reference",
        takes="PICTURE",
        help="The picture whose view, exposure and metadata the result has: its name, or the "
        "number of a frame (default: the first).",
        panel=FRAMES,
        show_default=False,
    ),
]


def fuse(
    pictures: Pictures,
    reference: ReferenceOption = "1",
    recursive: RecursiveOption = False,
    scale: WholeScaleOption = None,
    max_pixels: MaxPixelsOption = None,
    model: ModelOption = None,
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    output: OneOutputOption = None,
    format: FormatOption = None,
    quality: QualityOption = None,
    keep_cmyk: KeepCmykOption = False,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fuse several pictures of one scene to one that is better and larger.

    A PICTURE is a file, a folder, or a pattern such as 'burst/*.png'; all pages of a TIFF file and
    all frames of an animation count. Those that are blurred, or show another scene, are left out.
    """
    set_up_libvips(threads)
    keep_libraries_quiet()
    share_python_s_lock()
    from upres.engine.backends import default_backend
    from upres.enlarging.options import MAX_PIXELS, Options
    from upres.files import remove_leftovers
    from upres.fusing.files import open_files
    from upres.runs.jobs import check_suffix, find, suffix_called

    if "" in pictures or "" in (output, format, model, reference):
        raise UsageError("a name is empty: leave it out, or give it a value")
    suffix = suffix_called(format) if format else None
    target = None if output is None else Path(output)
    if target is not None:
        if target.suffix == "" or os.path.isdir(target):
            raise UsageError(f"--output {output}: one result needs a file's name, as {output}.png")
        check_suffix(target, suffix)
    options = Options(
        model=model,
        precision=precision,
        scale=scale,
        quality=quality,
        cmyk=keep_cmyk,
        max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
    )
    found, unusable = find([Path(picture) for picture in pictures], recursive=recursive)
    if unusable:
        raise unusable[0][1]
    paths = _without(target, [path for path, _ in found])
    backend = default_backend(device, threads)
    named = int(reference) if reference.isdecimal() else Path(reference)
    opened = open_files(paths, options, reference=named, beside=target or paths[0], backend=backend)
    if target is None:
        target = _target(opened, suffix)
        others = _without(target, paths)
        if len(others) < len(paths):  # the result of the same folder, made before
            opened = open_files(others, options, reference=named, beside=target, backend=backend)
    if not force and os.path.lexists(target):
        raise OutputError(f"{target}: exists already", Remedy("existing", "replaces it", "replace"))
    remove_leftovers({target.parent})
    with stop_on_signals(insist=True) as stop, progress_bar(quiet) as bar:
        reporter = Reporter(f"{len(opened.given)} frames", bar, quiet=quiet)

        def progress(share: float) -> None:
            # Python drops an exception that a signal raises while something is finalised.
            if stop.is_set():
                raise KeyboardInterrupt
            reporter.progress(share)

        made = opened.write(target, replace=force, progress=progress)
        for each in made.fusion.left_out:
            reporter.tell(in_one_line(f"upres: {each}"))
        reporter.finished(target, _told(made.fusion))
        if made.not_kept:
            reporter.tell(lacking(str(target), made.not_kept))


def _without(target: Path | None, paths: list[Path]) -> list[Path]:
    """The pictures that are not the result itself; all, if there are no others."""
    if target is None:
        return paths
    place = os.path.realpath(target)
    return [path for path in paths if os.path.realpath(path) != place] or paths


def _target(opened: FileFusion, suffix: str | None) -> Path:
    """The result's name where none is given: beside the reference."""
    from upres.runs.jobs import suffix_written

    source = opened.given[opened.reference].source
    path, scale = Path(source.info.name), opened.plan.height // source.info.height
    if suffix is None:
        # One frame of an animation is no animation, and most formats of those have few colours.
        suffix = suffix_written(path) if source.info.frames == 1 else ".png"
    return path.with_name(f"{path.stem}_fused_x{scale}{suffix}")


def _told(fusion: Fusion) -> str:
    """The text to tell of a result."""
    count = len(fusion.used)
    if count == 1:
        return "one frame: as enlarged"
    return ", ".join([f"{count} frames", *([str(fusion.held_out)] if fusion.held_out else [])])
