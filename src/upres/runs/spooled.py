"""The making of one result from an object to an object, through local files."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from upres.engine.backends import Device, default_backend
from upres.enlarging.options import Existing, Options
from upres.errors import ExistsError, InputError, OutputError, UpresError
from upres.formats.metadata.geotags import names_beside
from upres.formats.registry import called, suffix_in
from upres.formats.video.settings import VideoSettings
from upres.runs.executors import Done, Room
from upres.runs.listing import StoreJob
from upres.runs.local import memory_of, passed_over, words_on
from upres.runs.places import Location
from upres.runs.stores import Store
from upres.runs.streams import folder
from upres.runs.video import VideoRun, open_any

_count = itertools.count()


@dataclass(frozen=True)
class StoreWork:
    """See ``upres.runs.executors.Making``: of jobs of ``upres.runs.listing``.

    The object is fetched whole to a file, and the result is sent whole from another. Both have the
    names that they would have in a folder, so that the result is that of a local run.
    """

    options: Options
    stores: Mapping[str, Store]
    creates: bool
    """Whether the store of the results refuses to overwrite where that is asked for."""
    existing: Existing = "refuse"
    device: Device = "auto"
    threads: int | None = None
    video: VideoSettings = field(default_factory=VideoSettings)

    def __call__(
        self, job: StoreJob, known: object, room: Room, tell: Callable[[float], None]
    ) -> Done | None:
        try:
            return self._enlarge(job, known, room, tell)
        except passed_over(self.existing, self.options.larger):
            return None

    def _enlarge(
        self, job: StoreJob, known: object, room: Room, tell: Callable[[float], None]
    ) -> Done:
        if called(suffix_in(Path(job.source.name))) is called(".dcm"):
            raise InputError(
                f"{job.source}: slices of DICOM belong together, and are not taken one by one "
                "from a store: copy them to a local folder"
            )
        there = self.stores[job.target.root]
        result = there.head(job.target.key)
        since = known if isinstance(known, float) else None  # else there is no journal
        ours = job.made or (since is not None and result is not None and result.modified >= since)
        replace = ours or self.existing == "replace"
        if result is not None and not replace:
            raise ExistsError(str(job.target))
        with _folder(job) as (source, target):
            self._fetch(job, source)
            backend = default_backend(self.device, self.threads)
            picture = open_any(source, self.options, VideoRun(self.video), backend=backend)
            with room(picture.pixels, memory_of(picture)):
                written = picture.write(target, progress=tell)
                told = words_on(picture.why, written)
            pixels = picture.pixels
            # Those that belong to the result first: it is whole when it is there.
            for each in sorted(target.parent.iterdir(), key=lambda path: path == target):
                key = job.target.key[: -len(job.target.name)] + each.name
                there.send(each, key, create=self.creates and not replace)
        return Done(job.found.stamp, told, written.not_kept, pixels)

    def _fetch(self, job: StoreJob, path: Path) -> None:
        """Fetch an object, and those beside it that are parts of its raster."""
        store = self.stores[job.source.root]
        store.fetch(job.found, path)
        if called(suffix_in(path)) is not called(".tif"):
            return
        for beside in names_beside(path):
            place = Location(job.source.root, job.source.key[: -len(path.name)] + beside.name)
            found = store.head(place.key)
            if found is not None:
                store.fetch(found, beside)


@contextmanager
def _folder(job: StoreJob) -> Iterator[tuple[Path, Path]]:
    """Names of local files for an object and its result, which are there for a while.

    Errors that name the files come out with the objects' names.
    """
    place = _spool() / str(next(_count))
    source, target = place / "in" / job.source.name, place / "out" / job.target.name
    try:
        try:
            for each in (source, target):
                each.parent.mkdir(parents=True)
            yield source, target
        except OSError as error:
            here = f"cannot keep it in {tempfile.gettempdir()}"
            raise OutputError(f"{job.source}: {here}: {error.strerror}") from error
    except UpresError as error:
        for path, name in ((source, job.source), (target, job.target)):
            error.problem = error.problem.replace(str(path), str(name))
        error.problem = error.problem.replace(f"{place}{os.sep}", "")
        # Another output would pass through the same disk.
        others = tuple(each for each in error.remedies if each.option != "output")
        if others != error.remedies:
            error.problem += f" in {tempfile.gettempdir()}"
        error.remedies = others
        error.args = (error.problem, *error.remedies)
        raise
    finally:
        shutil.rmtree(place, ignore_errors=True)


@cache
def _spool() -> Path:
    """The folder of this process; those that ended processes left are removed."""
    stack = ExitStack()
    atexit.register(stack.close)
    return Path(stack.enter_context(folder("objects")))
