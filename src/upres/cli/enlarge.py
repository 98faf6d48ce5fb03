"""The command ``upres enlarge``: parses, calls, prints."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from upres import __version__
from upres.cli.console import end, in_one_line, progress_bar, say
from upres.errors import UsageError
from upres.signals import stop_on_signals

if TYPE_CHECKING:
    from upres.enlarging.options import Options
    from upres.runs.batch import Existing, Summary
    from upres.runs.jobs import Job
    from upres.runs.journal import Journal

STREAM = Path("-")
"""Standard input or output."""

TELL_AFTER, TELL_FROM = 5, 60
"""After so many seconds of a run, tell how long it will take, if it is at least so many."""


def enlarge(
    pictures: Annotated[
        list[str],
        typer.Argument(
            metavar="<path>",
            help="Picture files, folders, patterns such as 'a/*.png', or - (stdin).",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="<path>",
            help="A file, a folder, or - (stdout); default: photo_x4.jpg beside photo.jpg.",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option("--scale", "-s", help="Factor, such as 2.5 (default: the model's largest)."),
    ] = None,
    width: Annotated[int | None, typer.Option("--width", help="Width of the results.")] = None,
    height: Annotated[int | None, typer.Option("--height", help="Height of the results.")] = None,
    fit: Annotated[
        str | None,
        typer.Option("--fit", metavar="WxH", help="As large as fits in, such as 3840x2160."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="A shipped model's name, or an .onnx file (default: the picture decides).",
        ),
    ] = None,
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "int8"],
        typer.Option("--precision", help="Of the model (auto: what the processor is made for)."),
    ] = "auto",
    format: Annotated[
        str | None,
        typer.Option("--format", help="Of the results: png, jpg... (default: the input's)."),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option("--quality", help="Of JPEG, WebP and AVIF, 1 to 100 (default: high)."),
    ] = None,
    keep_cmyk: Annotated[
        bool, typer.Option("--keep-cmyk", help="Keep CMYK, instead of converting it to sRGB.")
    ] = False,
    max_pixels: Annotated[
        int | None, typer.Option("--max-pixels", help="Refuse results of more pixels than this.")
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look into the folders inside folders, too.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run into --output that was interrupted.")
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Pass over pictures that have a result.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace existing files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Enlarge pictures; colour profile, metadata, bit depth and transparency are kept."""
    from upres.engine.backends import default_backend
    from upres.enlarging.options import MAX_PIXELS, Options
    from upres.enlarging.plan import default_scale
    from upres.models import DEFAULT_MODEL, at_precision
    from upres.runs.jobs import destinations, find, is_folder, suffix_called
    from upres.runs.journal import fingerprint

    if force and skip_existing:
        raise UsageError("--force replaces existing files, --skip-existing keeps them: give one")
    if "" in pictures:
        raise UsageError("a picture's name is empty: name a file, a folder or a pattern")
    given = {"--output": output, "--fit": fit, "--format": format, "--model": model}
    for option, value in given.items():
        if value == "":
            raise UsageError(f"{option}: is empty: leave it out, or give it a value")
    paths = [Path(picture) for picture in pictures]
    options = Options(
        model=model,
        precision=precision,
        scale=scale,
        width=width,
        height=height,
        fit=_size(fit) if fit else None,
        quality=quality,
        cmyk=keep_cmyk,
        max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
    )
    suffix = suffix_called(format) if format else None
    existing: Existing = "replace" if force else "skip" if skip_existing else "refuse"
    target = None if output is None else Path(output)
    # A path has forgotten the slash that says that it is a folder's.
    folder = target if output and target != STREAM and is_folder(output) else None
    if resume and folder is None:
        raise UsageError("--resume needs the --output folder of the run that was interrupted")
    default = default_scale(options, default_backend())
    if STREAM in paths or target == STREAM:
        if folder:
            raise UsageError(f"--output {output}: standard input and output need a file's name")
        _enlarge_stream(paths, target, options, suffix, existing)
        return
    if target is None and any(map(os.path.isdir, paths)):
        raise UsageError("a folder of pictures needs an --output folder for the results")
    found, empty = find(paths, recursive=recursive, leave_out=folder)
    jobs = destinations(
        found,
        target,
        options,
        folder=folder is not None,
        default_scale=default,
        suffix=suffix,
        again=resume or skip_existing,
    )
    if folder is None:
        summary = _run(jobs, options, existing, quiet=quiet)
    else:
        by = fingerprint(at_precision(model or DEFAULT_MODEL, precision, default_backend()))
        if model is None:
            by = f"{by}, or what the picture decides"
        asked = {**vars(options), "model": by, "format": suffix, "upres": __version__}
        with _journal(folder, asked, resume, anew=existing != "refuse") as journal:
            if resume and not journal.continued and existing == "refuse":
                # The run before came to its end, so what is there is whole.
                existing = "skip"
            summary = _run(jobs, options, existing, journal, quiet=quiet)
    summary.failed[:0] = empty
    hint = "the same command with --resume goes on" if folder else "--skip-existing goes on"
    end(summary, hint, quiet=quiet)


def _run(
    jobs: Sequence[Job],
    options: Options,
    existing: Existing,
    journal: Journal | None = None,
    *,
    quiet: bool,
) -> Summary:
    """Enlarge, showing how far it is."""
    from rich.markup import escape

    from upres.files import remove_leftovers
    from upres.runs import batch
    from upres.runs.jobs import space_warning

    with stop_on_signals() as stop, progress_bar(quiet) as bar:

        def tell(line: str) -> None:
            if not bar.disable:
                bar.console.print(line, soft_wrap=True, highlight=False, markup=False, emoji=False)
            elif not quiet:
                say(line)

        name = jobs[0].source.name if len(jobs) == 1 else f"{len(jobs):,} pictures"
        task = bar.add_task(escape(name), total=1.0)
        start = time.monotonic()
        told = False

        def show(part: float) -> None:
            nonlocal told
            bar.update(task, completed=part)
            passed = time.monotonic() - start
            if not told and passed > TELL_AFTER and part > 0:
                told = True
                left = passed / part - passed
                if left >= TELL_FROM:
                    tell(f"{name}: about {_duration(left)} to go")

        remove_leftovers({job.target.parent for job in jobs})
        warning = space_warning(jobs, options) if len(jobs) > 1 else None
        if warning:
            tell(f"upres: warning: {warning}")
        # Threads that come back from the engine or from libvips would else wait for Python's
        # lock for longer than most of their work takes: a tenth of the time of small pictures.
        sys.setswitchinterval(0.0005)
        return batch.enlarge_files(
            jobs,
            options,
            existing=existing,
            journal=journal,
            stop=stop,
            progress=show,
            finished=lambda target, why: tell(in_one_line(f"wrote {target}{why and f' ({why})'}")),
        )


@contextmanager
def _journal(
    folder: Path, asked: Mapping[str, object], resume: bool, *, anew: bool
) -> Iterator[Journal]:
    """The journal of a run into a folder, which is made for it and goes if nothing is in it."""
    from upres.files import make_folder
    from upres.runs import journal

    new = not os.path.exists(folder)
    make_folder(folder)
    try:
        with journal.opened(folder, asked, resume=resume, anew=anew) as opened:
            try:
                yield opened
            except KeyboardInterrupt:  # before there was anything to go on with
                if opened.is_empty:
                    opened.remove()
                raise
    finally:
        if new:
            with suppress(OSError):
                folder.rmdir()


def _enlarge_stream(
    pictures: Sequence[Path],
    output: Path | None,
    options: Options,
    suffix: str | None,
    existing: Existing,
) -> None:
    """Enlarge one picture from standard input, or to standard output, through files."""
    from upres.formats.registry import HEAD_BYTES, read_head
    from upres.runs import streams
    from upres.runs.jobs import Job, suffix_of

    if len(pictures) > 1 or os.path.isdir(pictures[0]):
        raise UsageError("standard input and output (-) are for one picture at a time")
    to_stream = output in (None, STREAM)
    for stream, used in ((sys.stdin, pictures[0] == STREAM), (sys.stdout, to_stream)):
        if used and stream is None:
            raise UsageError("standard input or output (-) is closed: redirect it")
    if to_stream and sys.stdout.isatty():
        raise UsageError("standard output is a terminal: redirect it, or name a file by --output")
    with streams.folder() as folder:
        source = pictures[0]
        if source == STREAM:
            source = Path(folder, "standard input")
            streams.read_into(source)
        else:
            read_head(source)
        if to_stream or output is None:
            with source.open("rb") as file:
                suffix = suffix or suffix_of(file.read(HEAD_BYTES))
            output = Path(folder, f"standard output{suffix}")
        elif suffix and output.suffix.lower() != suffix:
            raise UsageError(f"--output {output}: is not called {suffix}, as --format says")
        summary = _run([Job(source, output)], options, existing, quiet=True)
        # The folder is nothing that users know of.
        summary.failed = [
            (path, type(error)(str(error).replace(f"{folder}{os.sep}", "")))
            for path, error in summary.failed
        ]
        if summary.done and to_stream:
            streams.write_from(output)
    end(summary, quiet=True)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,9})[xX](\d{1,9})", text)
    if match is None:
        raise UsageError(f"--fit {text}: give width and height, such as 3840x2160")
    return int(match[1]), int(match[2])


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} minute{'s' * (minutes != 1)}"
    return f"{minutes / 60:.1f} hours"
