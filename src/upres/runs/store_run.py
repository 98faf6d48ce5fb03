"""A request to enlarge pictures in object stores, or into one: worked out, and run to its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from upres.enlarging.plan import default_scale
from upres.errors import OutputError, UpresError, UsageError, needs_extra
from upres.runs.batch import Summary, carry_on
from upres.runs.executors import Executor, Making
from upres.runs.jobs import check_suffix, mark_of
from upres.runs.listing import Count, Pictures, chosen_inputs, refuse_output, stores_of
from upres.runs.places import FILES, Location, located
from upres.runs.request import Request, as_begun, asked_of, executor_of, settled
from upres.runs.spooled import StoreWork
from upres.runs.store_journal import honours_create, opened_in, reading


@dataclass(frozen=True)
class StoreRequest:
    """Which pictures are to be enlarged, and where to, where stores take part."""

    inputs: tuple[str, ...]
    """URLs and local paths of folders and files."""
    output: str
    """A URL or a local path."""
    single: bool
    """The output is the one result, no folder."""
    how: Request
    """All else that a run is asked for; its inputs and outputs do not count."""


@dataclass(frozen=True)
class StoreTask:
    """A request, worked out."""

    listing: Pictures
    unusable: list[tuple[Any, UpresError]]
    """Of the inputs, those that name nothing."""

    @property
    def name(self) -> str:
        """The run's name while it is shown."""
        return f"pictures of {self.listing.chosen[0].place}"


def arranged_in_stores(request: StoreRequest) -> StoreTask:
    """Look at each input; nothing is listed whole, and nothing is written.

    Raises ``MissingExtraError`` without the library for stores, ``UsageError`` for inputs or
    outputs that cannot be meant so, ``InputError`` if there are none, ``ModelError`` if there is no
    such model.
    """
    with needs_extra("an object store", "fleet"):
        import obstore  # noqa: F401
    how = request.how
    if how.video.like is not None or how.video.preview is not None:
        raise UsageError("a store's objects are enlarged one by one: like and preview need files")
    output = located(request.output)
    places = [located(text) for text in request.inputs]
    stores = stores_of([output, *places])
    chosen, missing = chosen_inputs(request.inputs, stores)
    refuse_output(output, chosen, single=request.single)
    if request.single:
        check_suffix(PurePosixPath(output.name), how.suffix)
    mark = mark_of(how.options, default_scale(how.options))
    listing = Pictures(
        chosen, stores, output, request.single, mark, how.suffix, recursive=how.recursive
    )
    return StoreTask(listing, [*missing])


def carry_out_in_stores(
    request: StoreRequest,
    task: StoreTask,
    *,
    stop: threading.Event,
    told: Callable[[str], None],
    progress: Callable[[float], None] | None = None,
    finished: Callable[[Any, str], None] | None = None,
    not_kept: Callable[[Any, Sequence[str]], None] | None = None,
    make_executor: Callable[[Request, Making, threading.Event], Executor] = executor_of,
) -> Summary:
    """Enlarge all pictures of a request, with a journal if they go into a folder.

    ``told`` is told a line on the store of the results before the work; the others are as in
    ``upres.runs.batch.carry_on``. ``make_executor`` says where the work is done.

    Raises the errors of ``upres.runs.store_journal.opened_in``, of the stores, and of the cluster.
    """
    how, output = settled(request.how), task.listing.output
    store, existing, journal = task.listing.stores[output.root], how.existing, None
    listing = task.listing
    if not request.single:
        creates = honours_create(store, output)
        told(_on_creating(output, creates))
        anew = existing != "refuse"
        made_by = how.options.settled
        asked = asked_of(how)
        journal = opened_in(store, output, asked, resume=how.resume, anew=anew, settled=made_by)
        how = as_begun(how, journal.settled)
        listing = Pictures(**{**vars(listing), "journal": journal})
    else:
        creates = False  # it is looked for right before the work
    work = StoreWork(
        how.options, listing.stores, creates, existing, how.device, how.threads_each, how.video
    )
    try:
        counted = listing.count()
        if counted.finished:
            told(f"{counted.finished:,} are finished, {counted.pictures:,} to go")
        executor = make_executor(how, work, stop)
    except BaseException:
        if journal is not None and journal.is_empty:
            journal.remove()  # there is nothing to go on with
        raise
    summary = carry_on(
        listing.jobs(),
        executor,
        counted.weight,
        journal=journal,
        stop=stop,
        progress=progress,
        finished=finished,
        not_kept=not_kept,
    )
    summary.skipped += counted.finished
    summary.failed[:0] = task.unusable
    summary.not_read += counted.not_read
    if summary.stopped_by is not None:
        made = summary.done + summary.skipped + len(summary.failed) - len(task.unusable)
        summary.left = counted.pictures + counted.finished - made
    return summary


def counted_in_stores(request: StoreRequest, task: StoreTask) -> tuple[Pictures, Count]:
    """The pictures that a run would make; nothing is written."""
    listing = task.listing
    if request.how.resume and not request.single:
        try:
            journal = reading(listing.stores[listing.output.root], listing.output)
        except OutputError:
            journal = None
        listing = Pictures(**{**vars(listing), "journal": journal})
    return listing, listing.count()


def _on_creating(output: Location, creates: bool) -> str:
    place = output if output.root == FILES else output.root
    if creates:
        return f"{place}: this store refuses to overwrite, so no result is written over"
    return (
        f"{place}: this store overwrites without a word: each result is looked for before "
        "it is made, and no other program should write there meanwhile"
    )
