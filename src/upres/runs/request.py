"""A request to enlarge pictures: which, where to, and how; planned, and run to its end."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from upres import __version__
from upres.card import Model
from upres.engine.backends import Device, default_backend
from upres.engine.protocol import Backend
from upres.enlarging.compressed import COMPRESSED_MODEL
from upres.enlarging.options import Existing, Options
from upres.enlarging.plan import default_scale
from upres.errors import UpresError, UsageError
from upres.files import make_folder, remove_leftovers
from upres.formats.video.settings import VideoSettings
from upres.models import DEFAULT_MODEL, Settled, open_model, require_mode, settle_modes
from upres.models.hub import is_reference
from upres.runs.batch import Summary, carry_on, enlarge_files
from upres.runs.estimate import space_warning
from upres.runs.executors import MOST_WORKERS, Executor, Making, Threads
from upres.runs.jobs import Job, destinations, find
from upres.runs.journal import Journal, fingerprint, opened
from upres.runs.local import LocalWork
from upres.runs.series import Series
from upres.runs.video import VideoRun, open_any, settle


@dataclass(frozen=True)
class Request:
    """Which pictures are to be enlarged, where to, and how existing results are dealt with."""

    inputs: tuple[Path, ...]
    """Files, folders and patterns."""
    options: Options = field(default_factory=Options)
    target: Path | None = None
    """The one result's file. Without it and ``folder``, each result lies beside its picture."""
    folder: Path | None = None
    """Where the results go, folders mirrored. Only then the run has a journal to resume from."""
    suffix: str | None = None
    """Of the results; ``None`` is that of each input."""
    device: Device = "auto"
    threads: int | None = None
    """How many compute, and how many pictures are worked on at once, at most; ``None`` goes by the
    processors that this process may use."""
    recursive: bool = False
    existing: Existing = "refuse"
    resume: bool = False
    """Go on with the run into ``folder`` that was interrupted, or with parts of videos."""
    video: VideoSettings = field(default_factory=VideoSettings)
    cluster: str | None = None
    """Where the work is done: ``auto`` starts a cluster on this machine, ``ray://host:10001`` is
    the address of one; ``None`` is in threads of this process."""

    @property
    def backend(self) -> Backend:
        """The one for the device; raises as ``default_backend`` does."""
        return default_backend(self.device, self.threads)

    @property
    def threads_each(self) -> int | None:
        """How many compute in a process; a cluster's workers have one each where nothing is said:
        that is the fastest for many pictures.
        """
        return self.threads if self.cluster is None else self.threads or 1

    @property
    def at_once(self) -> int | None:
        """How many pictures are worked on at once by threads of a process, at most."""
        return None if self.threads is None else min(MOST_WORKERS, self.threads)


@dataclass(frozen=True)
class Work:
    """A request, worked out."""

    jobs: list[Job]
    unusable: list[tuple[Path, UpresError]]
    """Of the inputs, those that name no picture or cannot be looked at."""
    passed_over: list[Path] = field(default_factory=list)
    """Files in the folders that are pictures by their name or content, which upres does not take
    by that name."""

    @property
    def name(self) -> str:
        """The run's name while it is shown."""
        if len(self.jobs) > 1:
            return f"{len(self.jobs):,} pictures"
        only = self.jobs[0]
        return (only.target if only.members else only.source).name


def arranged(request: Request) -> Work:
    """Find the pictures and name their results; nothing is written.

    Raises errors of ``find`` and ``destinations``, and ``ModelError`` if there is no such model.
    """
    _ = request.backend  # that there is one, before anything is looked at
    passed: list[Path] = []
    series: Series = {}
    found, unusable = find(
        request.inputs,
        recursive=request.recursive,
        leave_out=request.folder,
        passed_over=passed,
        series=series,
    )
    jobs = destinations(
        found,
        request.target or request.folder,
        request.options,
        folder=request.folder is not None,
        default_scale=default_scale(request.options),
        suffix=request.suffix,
        again=request.resume or request.existing == "skip",
        series=series,
    )
    maps = request.options.error_map
    if maps and (len(jobs) > 1 or request.folder):
        raise UsageError(f"{maps[0]}: an error map is that of one picture: give one alone")
    return Work(jobs, unusable, passed)


def carry_out(
    request: Request,
    work: Work,
    *,
    stop: threading.Event | None = None,
    warned: Callable[[str], None] | None = None,
    progress: Callable[[float], None] | None = None,
    finished: Callable[[Path, str], None] | None = None,
    not_kept: Callable[[Path, Sequence[str]], None] | None = None,
) -> Summary:
    """Enlarge all pictures of a request, with a journal if they go into a folder.

    ``warned`` is told, before the work, if the results will probably not fit on the disk; the
    others are as in ``enlarge_files``.

    Raises ``OutputError`` if the journal cannot be written or another process works in the folder,
    ``UsageError`` if the run that is to be resumed was asked for with other options.
    """
    video = VideoRun(request.video, request.resume)
    if request.folder is not None or request.cluster is not None:
        request = settled(request)
    open_picture = partial(open_any, video=video, backend=request.backend)
    with _journal(request) as journal:
        existing = request.existing
        if journal is not None:
            request = as_begun(request, journal.settled)
        if journal and request.resume and not journal.continued and existing == "refuse":
            existing = "skip"  # the run before came to its end, so its results are whole
        if request.resume:
            for job in work.jobs:
                settle(job.target)
            if journal is None and existing == "refuse":
                existing = "skip"  # a video without parts beside it is whole
        remove_leftovers({job.target.parent for job in work.jobs})
        warning = space_warning(work.jobs, request.options) if len(work.jobs) > 1 else None
        if warning and warned:
            warned(warning)
        how: dict[str, Any] = {"progress": progress, "finished": finished, "not_kept": not_kept}
        how |= {"journal": journal, "stop": stop or threading.Event()}
        if request.cluster is None:
            summary = enlarge_files(
                work.jobs,
                request.options,
                open_picture=open_picture,
                existing=existing,
                workers=request.at_once,
                **how,
            )
        else:
            opener = partial(open_on_worker, request.device, request.threads_each, video)
            local = LocalWork(request.options, opener, existing)
            executor = executor_of(request, local, how["stop"])
            summary = carry_on(work.jobs, executor, len(work.jobs), **how)
            if summary.stopped_by is not None:  # workers were ended in the middle of their work
                remove_leftovers({job.target.parent for job in work.jobs})
    summary.failed[:0] = work.unusable
    summary.not_read += work.passed_over
    return summary


def settled(request: Request) -> Request:
    """The same, with its models' precisions settled for all machines and for the run's whole life.

    Raises ``ModelError`` if there is no such model or precision.
    """
    options = request.options
    models = (DEFAULT_MODEL, COMPRESSED_MODEL) if options.model is None else (options.model,)
    found = [settle_modes(model, options.precision, request.backend) for model in models]
    return _with(request, tuple(pair for pairs in found for pair in pairs))


def as_begun(request: Request, settled: Settled | None) -> Request:
    """The same, in the precisions of the run that it goes on with, if it does.

    Raises ``ModelError`` if this machine cannot compute in them.
    """
    if settled is None or settled == request.options.settled:
        return request
    for label, mode in settled:
        require_mode(label, mode, request.backend)
    return _with(request, settled)


def _with(request: Request, settled: Settled) -> Request:
    return dataclasses.replace(
        request, options=dataclasses.replace(request.options, settled=settled)
    )


def executor_of(request: Request, work: Making, stop: threading.Event) -> Executor:
    """The one that does the work of a request; ``stop`` ends that of threads, and a wait.

    Raises the errors of ``upres.runs.cluster.connected``.
    """
    if request.cluster is None:
        return Threads(work, stop, request.at_once)
    from upres.runs.cluster import Cluster

    given = request.options.model
    path = str(given.path) if isinstance(given, Model) else str(given or "")
    model = os.path.abspath(path) if os.path.isfile(path) else None
    return Cluster(request.cluster, work, request.threads_each or 1, model=model, stop=stop)


def open_on_worker(
    device: Device, threads: int | None, video: VideoRun, path: Path, options: Options, **how: Any
) -> Any:
    """``open_any`` with the backend of this process."""
    return open_any(path, options, video, backend=default_backend(device, threads), **how)


@contextmanager
def _journal(request: Request) -> Iterator[Journal | None]:
    """The journal of a run into a folder, which is made for it and goes if nothing is in it."""
    folder = request.folder
    if folder is None:
        yield None
        return
    asked = asked_of(request)
    new = not os.path.exists(folder)
    make_folder(folder)
    try:
        anew = request.existing != "refuse"
        made_by = request.options.settled
        with opened(folder, asked, resume=request.resume, anew=anew, settled=made_by) as journal:
            try:
                yield journal
            except BaseException:  # perhaps before there was anything to go on with
                if journal.is_empty:
                    journal.remove()
                raise
    finally:
        if new:
            with suppress(OSError):
                folder.rmdir()


def asked_of(request: Request) -> Mapping[str, object]:
    """All that decides the bytes of the results."""
    options = request.options
    model = options.model or DEFAULT_MODEL
    name = model.path if isinstance(model, Model) else model
    # A repository's name says nothing of what is in it.
    by = fingerprint(str(open_model(name).path if is_reference(str(name)) else name))
    if options.model is None:
        by = f"{by}, or as the picture decides"
    # The precision that was asked for counts, and not the machine's choice: that is the journal's.
    telling = ("check", "errors", "error_map", "settled")
    decisive = {name: value for name, value in vars(options).items() if name not in telling}
    asked = {**decisive, "model": by, "format": request.suffix, "upres": __version__}
    if request.video != VideoSettings():
        asked["video"] = {name: str(value) for name, value in vars(request.video).items()}
    return asked
