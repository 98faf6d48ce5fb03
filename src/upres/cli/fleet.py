"""``upres enlarge`` over object stores and a cluster: its options, and its runs."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

from upres.cli.console import Reporter, duration, in_one_line, progress_bar, say
from upres.cli.enlarge_options import MANY
from upres.cli.help import option
from upres.errors import UsageError
from upres.runs.places import SCHEMES, is_url
from upres.signals import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from upres.runs.batch import Summary
    from upres.runs.estimate import Forecast
    from upres.runs.request import Request
    from upres.runs.store_run import StoreRequest

ClusterOption = Annotated[
    str | None,
    option(
        "--cluster",
        takes="ADDRESS",
        help="Work on a Ray cluster: auto starts one here, ray://host:10001 joins one.",
        panel=MANY,
    ),
]
ReportOption = Annotated[
    str | None,
    option("--report", takes="FILE", help="Write how the run ended as JSON.", panel=MANY),
]
DryRunOption = Annotated[
    bool,
    option("--dry-run", help="Tell what would be done, and how much it takes.", panel=MANY),
]


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def check_cluster(address: str | None) -> None:
    """Raise ``UsageError`` for an address of no kind, ``MissingExtraError`` without the library."""
    if address is not None:
        from upres.runs.cluster import require

        require(address)


def in_stores(pictures: Sequence[str], output: str | None, how: Request) -> StoreRequest | None:
    """The request, if any input or the output is in a store; else ``None``."""
    from upres.runs.store_run import StoreRequest

    for text in (*pictures, output or ""):
        if _SCHEME.match(text) and not is_url(text):
            raise UsageError(f"{text}: no kind of place that upres knows: {', '.join(SCHEMES)}")
    if not any(map(is_url, (*pictures, output or ""))):
        return None
    if output is None:
        raise UsageError("pictures in a store need an --output for the results")
    if "-" in (*pictures, output):
        raise UsageError("standard input and output (-) cannot be had together with a store")
    if how.options.errors:
        raise UsageError("--error-map is for files that are here, not for objects of a store")
    single = not output.endswith("/") and PurePosixPath(output).suffix != ""
    if how.resume and single:
        raise UsageError("--resume needs the --output folder of the run that was interrupted")
    return StoreRequest(tuple(pictures), output, single, how)


def run_in_stores(request: StoreRequest, *, quiet: bool, dry: bool) -> Summary | None:
    """Enlarge objects, showing how far it is; ``None`` if it is only told of."""
    from upres.runs.store_run import arranged_in_stores, carry_out_in_stores, counted_in_stores

    task = arranged_in_stores(request)
    if dry:
        from upres.runs.estimate import estimate_in_stores

        listing, count = counted_in_stores(request, task)
        tell_estimate(estimate_in_stores(listing, count, request.how.options))
        return None
    with stop_on_signals() as stop, progress_bar(quiet) as bar:
        reporter = Reporter(task.name, bar, quiet=quiet, warms_up=True)
        return carry_out_in_stores(
            request,
            task,
            stop=stop,
            told=lambda line: reporter.tell(in_one_line(f"upres: {line}")),
            progress=reporter.progress,
            finished=reporter.finished,
            not_kept=reporter.not_kept,
        )


def tell_estimate(estimate: Forecast) -> None:
    """Print on standard output what a run would make and take."""
    rows = {
        "items": f"{estimate.items:,}",
        "finished": f"{estimate.finished:,}" if estimate.finished else "",
        "cannot be enlarged": f"about {estimate.unusable:.0%} of {estimate.looked_at} looked at"
        if estimate.unusable
        else "",
        "models": ", ".join(estimate.models),
        "pixels": f"about {estimate.pixels:,.0f}",
        "core-hours": f"about {estimate.core_hours:,.2f}",
        "time here": f"about {duration(estimate.seconds)}",
        "disk": f"about {estimate.disk / 1e6:,.0f} MB for the results",
        "traffic": f"about {estimate.fetched / 1e6:,.0f} MB in, {estimate.sent / 1e6:,.0f} MB out"
        if estimate.fetched
        else "",
    }
    for name, value in rows.items():
        if value:
            print(f"{name + ':':<20}{value}")


def reported(path: str | None, run: Callable[[], Summary | None]) -> Summary | None:
    """Do a run, and write its report if one is asked for, whichever way it ended."""
    start = time.monotonic()
    summary = run()
    if path is not None and summary is not None:
        from upres.runs.report import write_run_report

        write_run_report(Path(path), summary, time.monotonic() - start)
    return summary


def check_report(path: str | None, *, dry: bool) -> None:
    """Raise ``UsageError`` before the work where a report cannot be written, or of none is one."""
    if path is None:
        return
    if dry:
        raise UsageError("--report tells of a run that is done: leave it out with --dry-run")
    if is_url(path):
        raise UsageError(f"--report {path}: name a local file")
    folder = Path(path).absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK) or Path(path).is_dir():
        raise UsageError(
            f"--report {path}: cannot be written: name a file in a folder where you may write"
        )


def dry_run(request: Request, work: Any) -> None:
    """Tell what a run over local files would make and take."""
    from upres.runs.estimate import estimate

    tell_estimate(estimate(work.jobs, request.options, request.backend))
    for path, error in work.unusable:
        say(in_one_line(f"upres: {path}: {error.problem}"))
