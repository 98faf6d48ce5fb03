"""``upres enlarge`` from standard input, or to standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from upres.cli.console import lacking, say
from upres.errors import UsageError
from upres.signals import stop_on_signals

if TYPE_CHECKING:
    from upres.runs.batch import Summary
    from upres.runs.jobs import Job
    from upres.runs.request import Request

STREAM = Path("-")
"""Standard input or output."""


def through_streams(request: Request, *, quiet: bool) -> Summary:
    """Enlarge one picture from standard input, or to standard output."""
    from upres.enlarging.plan import default_scale
    from upres.runs.batch import enlarge_files
    from upres.runs.streams import enlarge_stream
    from upres.runs.video import VideoRun, open_any

    if request.folder:
        raise UsageError(f"--output {request.folder}: standard input and output need a file's name")
    if len(request.inputs) > 1 or os.path.isdir(request.inputs[0]):
        raise UsageError("standard input and output (-) are for one picture at a time")
    backend = request.backend
    default_scale(request.options)  # that there is such a model, before anything is read
    source = None if request.inputs[0] == STREAM else request.inputs[0]
    target = None if request.target == STREAM else request.target
    if target is None and request.options.larger == "skip":
        raise UsageError("--larger skip leaves nothing for standard output: give copy or reduce")
    for stream, used in ((sys.stdin, source is None), (sys.stdout, target is None)):
        if used and stream is None:
            raise UsageError("standard input or output (-) is closed: redirect it")
    if target is None and sys.stdout.isatty():
        raise UsageError("standard output is a terminal: redirect it, or name a file by --output")

    def not_kept(made: Path, names: Sequence[str]) -> None:
        if not quiet:
            say(lacking("standard output" if target is None else str(made), names))

    def enlarge(job: Job) -> Summary:
        with stop_on_signals() as stop:
            return enlarge_files(
                [job],
                request.options,
                open_picture=partial(open_any, video=VideoRun(request.video), backend=backend),
                existing=request.existing,
                stop=stop,
                not_kept=not_kept,
                finished=lambda _, told: say(f"upres: {told}") if request.options.check else None,
            )

    return enlarge_stream(source, target, request.suffix, enlarge)
