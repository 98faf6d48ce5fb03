"""The work of a request, done in a process of its own: looking at a picture, and enlarging it."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from zipfile import ZipFile

from upres.engine.backends import with_threads
from upres.engine.protocol import Backend
from upres.enlarging.costs import BASE_BYTES
from upres.enlarging.error_map import ErrorSummary
from upres.enlarging.files import FileEnlargement, open_file
from upres.enlarging.map_files import PICTURE, disk_beside
from upres.enlarging.options import Options
from upres.enlarging.plan import default_scale
from upres.enlarging.writing import FileCopy
from upres.errors import InputError, OutputError, UpresError
from upres.files import is_full_disk
from upres.formats.image.error_picture import shown_to
from upres.formats.registry import output_format, read_head
from upres.runs.jobs import destinations, suffix_of
from upres.service.problems import ProblemError, one_line, refused

Tell = Callable[[float], None]
"""Is told the part that is done, and may raise to end the work."""


@dataclass(frozen=True)
class Order:
    """A picture that was uploaded, and how it is to be enlarged."""

    folder: Path
    """Of this request alone; everything that is made for it is in there."""
    name: str
    """The file's name, as the client has it: for messages and the result's name only."""
    options: Options
    suffix: str | None = None
    """Of the result's format; ``None`` is the picture's own."""
    zipped: bool = False
    """An error map comes with its result in a zip; otherwise each is a file of its own."""

    @property
    def source(self) -> Path:
        """The picture, whose name is ours."""
        return self.folder / "picture"

    def target(self, suffix: str) -> Path:
        """The result."""
        return self.folder / f"result{suffix}"

    def problem(self, error: UpresError) -> ProblemError:
        """An error on its files, which are called as the client has them."""
        said = {str(self.source): self.name}
        said |= {str(path): f"error_map={path.suffix[1:]}" for path in self.options.error_map}
        said |= {f"{self.folder}{os.sep}": ""}
        problem = refused(error, said=said)
        if is_full_disk(error):
            problem.status, problem.code = 507, "no_room"
        return problem


@dataclass(frozen=True)
class Estimate:
    """The means that an order will take, told from the picture's header, and its result."""

    memory: int
    """Bytes beside those that a process has anyway."""
    disk: int
    seconds: float
    width: int
    height: int
    models: tuple[str, ...]
    suffix: str
    result_name: str


@dataclass(frozen=True)
class Delivered:
    """An order that is carried out."""

    path: Path
    name: str
    width: int
    height: int
    models: tuple[str, ...]
    why: str
    seconds: float
    decibels: float | None
    """How well it agrees with its picture, if that was asked for."""
    not_kept: tuple[str, ...]
    errors: ErrorSummary | None = None
    """The bounds of its errors, if they were asked for."""
    error_map: Path | None = None
    """The file of these, if it is one of its own."""
    shown_to: float | None = None
    """If that is a picture, the half-width of its last colour."""

    @property
    def error_map_name(self) -> str:
        """The name of that file, for the client."""
        suffix = self.error_map.suffix if self.error_map else ""
        return f"{PurePath(self.name).stem}_errors{suffix}"


def look(order: Order, *, backend: Backend, tell: Tell) -> Estimate:
    """Read a picture's header, and plan its result; no pixels are decoded.

    Raises ``ProblemError`` for an order that will not be carried out.
    """
    try:
        opened = open_file(order.source, order.options, backend=backend)
        if opened.pages[0].info.frames is None:
            # No header tells how long it takes, and the command makes parts of it to go on from.
            raise InputError(f"{order.source}: videos are for the command alone, not the service")
        suffix = order.suffix or suffix_of(read_head(order.source), order.source)
        if isinstance(opened, FileEnlargement):
            opened.require_fits(order.target(suffix))
    except UpresError as error:
        raise order.problem(error) from None
    width, height = opened.size
    estimate = Estimate(
        memory=0,
        disk=_disk(order, opened, suffix),
        seconds=0.0,
        width=width,
        height=height,
        models=_models(opened),
        suffix=suffix,
        result_name=_result_name(order, suffix),
    )
    if isinstance(opened, FileCopy):
        return estimate
    row = output_format(order.target(suffix))
    encoder = max(plan.height * plan.width for plan in opened.plans) * row.encoder_bytes
    return dataclasses.replace(
        estimate,
        memory=max(plan.memory for plan in opened.plans) - BASE_BYTES + encoder,
        seconds=sum(plan.seconds for plan in opened.plans),
    )


def fulfil(
    order: Order,
    suffix: str,
    result_name: str,
    threads: int | None,
    *,
    backend: Backend,
    tell: Tell,
) -> Delivered:
    """Enlarge a picture to a file whose bytes are those that ``upres enlarge`` writes.

    Of its network at most so many ``threads`` compute, if they are limited. Raises
    ``ProblemError`` if that fails.
    """
    backend = backend if threads is None else with_threads(backend, threads)
    start = time.monotonic()
    # Files that libraries keep for a while are to go with the folder.
    os.environ["TMPDIR"] = tempfile.tempdir = str(order.folder)
    try:
        opened = open_file(order.source, order.options, backend=backend)
        written = opened.write(order.target(suffix), progress=tell)
        width, height = opened.size
        done = Delivered(
            path=order.target(suffix),
            name=result_name,
            width=width,
            height=height,
            models=_models(opened),
            # By its plan: the hint at pixel art, which the command adds, looks at all pixels once
            # more.
            why=_why(opened),
            seconds=0.0,
            decibels=written.agreement.decibels if written.agreement else None,
            not_kept=written.not_kept,
            errors=written.errors,
            error_map=next(iter(order.options.error_map), None),
        )
        if done.error_map and order.zipped:
            done = _zipped(done)
        elif done.error_map and done.error_map.suffix == PICTURE:
            done = dataclasses.replace(done, shown_to=shown_to(done.error_map))
    except UpresError as error:
        raise order.problem(error) from None
    except MemoryError:
        short = InputError(f"{order.source}: there is not enough memory for this picture")
        raise order.problem(short) from None
    return dataclasses.replace(done, seconds=time.monotonic() - start)


def _disk(order: Order, opened: FileEnlargement | FileCopy, suffix: str) -> int:
    """Bytes of free disk that an order needs, at most."""
    if isinstance(opened, FileCopy) or not order.options.error_map:
        return opened.disk
    beside = disk_beside(order.target(suffix), order.options.error_map, opened.pixels)
    zipped = order.zipped * (opened.content_bytes + beside)
    return opened.disk + beside + zipped


def _zipped(done: Delivered) -> Delivered:
    """A result and its error map as one file, stored as they are.

    Raises ``OutputError`` if the disk is full.
    """
    assert done.error_map
    target = done.path.with_name("both.zip")
    try:
        with ZipFile(target, "w") as archive:
            for path, name in ((done.path, done.name), (done.error_map, done.error_map_name)):
                archive.write(path, name)
                path.unlink()
    except OSError as error:
        raise OutputError(f"{target}: cannot write this file: {error.strerror}") from error
    name = f"{PurePath(done.name).stem}.zip"
    return dataclasses.replace(done, path=target, name=name, error_map=None)


def _result_name(order: Order, suffix: str) -> str:
    """The name that the command would give the result."""
    name = PurePath(order.name)
    (job,) = destinations(
        [(Path(name), name)],
        None,
        order.options,
        folder=False,
        default_scale=default_scale(order.options),
        suffix=suffix,
    )
    return one_line(job.target.name)


def _models(opened: FileEnlargement | FileCopy) -> tuple[str, ...]:
    """The names of the models, in turn; of pages that go by others, those of the first."""
    if isinstance(opened, FileCopy):
        return ()
    return tuple(f"{model.card.name}-x{model.card.scale}" for model in opened.plans[0].models)


def _why(opened: FileEnlargement | FileCopy) -> str:
    if isinstance(opened, FileCopy):
        return opened.why
    return opened.plans[0].why if len(opened.plans) == 1 else ""
