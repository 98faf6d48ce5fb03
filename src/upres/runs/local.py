"""The making of one result from local files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from upres.enlarging.map_files import lacks_map
from upres.enlarging.options import Existing, Larger, Options
from upres.enlarging.writing import Written
from upres.errors import ExistsError, InputError, LargeEnoughError, UpresError
from upres.files import check_name, make_folder
from upres.runs.executors import Done, Room
from upres.runs.jobs import Job
from upres.runs.known import Known, SourceStamp


class Enlargement(Protocol):
    """A picture that is open, with its plan: see ``upres.enlarging.files``."""

    @property
    def pixels(self) -> int: ...

    @property
    def why(self) -> str: ...

    def write(
        self, target: Any, *, replace: bool = True, progress: Callable[[float], None] | None = None
    ) -> Written: ...


def passed_over(existing: Existing, larger: Larger) -> tuple[type[UpresError], ...]:
    """The errors that a run takes for no failure, but passes over."""
    skipped: dict[type[UpresError], bool] = {
        ExistsError: existing == "skip",
        LargeEnoughError: larger == "skip",
    }
    return tuple(error for error, skips in skipped.items() if skips)


def memory_of(picture: object) -> int:
    """Bytes that the plans of an open picture predict, 0 of one without."""
    plans = getattr(picture, "plans", None) or [getattr(picture, "plan", None)]
    return max((plan.memory for plan in plans if plan is not None), default=0)


def words_on(why: str, written: Written) -> str:
    """The text to tell of a result: why it was made so, and how well it agrees."""
    facts = (why, written.agreement, written.errors)
    return ", ".join(str(fact) for fact in facts if fact)


@dataclass(frozen=True)
class LocalWork:
    """See ``upres.runs.executors.Making``: of jobs of ``upres.runs.jobs``."""

    options: Options
    open_picture: Callable[..., Enlargement]
    existing: Existing = "refuse"

    def __call__(
        self, job: Job, known: Known, room: Room, tell: Callable[[float], None]
    ) -> Done | None:
        try:
            return self._enlarge(job, known, room, tell)
        except passed_over(self.existing, self.options.larger):
            return None

    def _enlarge(
        self, job: Job, known: Known, room: Room, tell: Callable[[float], None]
    ) -> Done | None:
        try:
            check_name(job.target, folder=bool(job.members))
            stamp = SourceStamp.of(*job.files) if os.path.exists(job.source) else SourceStamp(0, 0)
            if known.has_done(job.source, stamp, job.target):
                return None
            replace = known.has_made(job.source, job.target) or self.existing == "replace"
            if self.existing == "skip":
                replace = replace or lacks_map(job.target, self.options.error_map)
            if not replace and os.path.lexists(job.target):
                raise ExistsError(job.target)
        except OSError as error:
            raise InputError(f"{job.source}: cannot look at this file: {error.strerror}") from error
        picture = job.opened(self.open_picture, self.options)
        with room(picture.pixels, memory_of(picture)):
            make_folder(job.target.parent)
            written = picture.write(job.target, replace=replace, progress=tell)
            told = words_on(picture.why, written)
        return Done(stamp, told, written.not_kept, picture.pixels)
