"""Which pictures are to be enlarged, the names of their results, and whether they will fit."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from upres.enlarging.options import Options
from upres.errors import InputError, OutputError, Remedy, UpresError, UsageError
from upres.files import place_of
from upres.formats.registry import (
    HEAD_BYTES,
    OTHER_SUFFIXES,
    OUTPUT_SUFFIXES,
    SUFFIXES,
    called,
    recognised,
    suffix_in,
    suffix_of_name,
)
from upres.formats.slices import DIRECTORY, in_series, is_slice
from upres.runs.series import Series, folders_of

COG = "cog"
"""A name of a format whose files are called .tif."""


@dataclass(frozen=True)
class Job:
    """A picture to enlarge, and where to."""

    source: Path
    target: Path
    members: tuple[Path, ...] = ()
    """The files of a series of slices; ``source`` is the first, and ``target`` is a folder."""

    weight = 1
    """Each job counts alike for how far a run is."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All that are read."""
        return self.members or (self.source,)

    def opened(self, open_picture: Callable[..., Any], options: Options, **how: Any) -> Any:
        """The picture, opened by ``open_file`` or one like it."""
        more = {"members": self.members} if self.members else {}
        return open_picture(self.source, options, **more, **how)


def find(
    inputs: Sequence[Path],
    *,
    recursive: bool = False,
    leave_out: Path | None = None,
    passed_over: list[Path] | None = None,
    series: Series | None = None,
) -> tuple[list[tuple[Path, PurePath]], list[tuple[Path, UpresError]]]:
    """The pictures that files, folders and glob patterns name, each with its relative path;
    and which of these name none, or folders in them cannot be read, with the error that says so.

    Of a folder, the pictures in it by their suffix, ``recursive``ly if asked, hidden ones
    and those inside the folder ``leave_out`` not; relative to that folder. Of a pattern, too,
    pictures inside ``leave_out`` are left out, unless all are. A file that is named is taken
    whatever its suffix. A file that is named twice is taken once. ``passed_over`` gets the files in
    the folders that are pictures by their suffix or content, too, but not by a suffix that is read.
    DICOM files of one series in one folder are one picture, called by the first of them; ``series``
    gets the others, and the series' number.

    Raises ``InputError`` if none of them names a picture, ``UsageError`` if there is nothing
    but the folder ``leave_out`` itself, whose results would become pictures. A file that is
    missing is taken: it fails when its turn comes, and stops no other.
    """
    found: dict[str, tuple[Path, PurePath]] = {}
    known: dict[str, str] = {}
    empty: list[tuple[Path, UpresError]] = []
    passed_over = [] if passed_over is None else passed_over
    series = {} if series is None else series
    left_out = leave_out and Path(os.path.realpath(leave_out))
    for given in inputs:
        paths = [given]
        if glob.has_magic(str(given)) and not os.path.exists(given):
            paths = [Path(path) for path in sorted(glob.glob(str(given), recursive=True))]
            if not paths:
                empty.append((given, InputError(f"{given}: no file matches this pattern")))
            if left_out:
                others = [
                    path for path in paths if not Path(place_of(path)).is_relative_to(left_out)
                ]
                paths = others or paths
        for path in paths:
            if os.path.isdir(path):
                if left_out and place_of(path) == str(left_out):
                    continue  # the shell's patterns match it, too
                errors, before = len(empty), len(passed_over)
                inside = list(_inside(path, recursive, left_out, empty, passed_over, series))
                if not inside and len(empty) == errors:
                    deeper = Remedy("recursive", "looks into its folders, too", True)
                    remedies = () if recursive else (deeper,)
                    unread = [other.name for other in passed_over[before:]]
                    named = f" that upres reads by their names: {', '.join(unread)}"
                    problem = f"{path}: no pictures in this folder{named if unread else ''}"
                    error = InputError(problem, *remedies)
                    empty.append((path, error))
            else:
                inside = [path]
            for picture in inside:
                relative = picture.relative_to(path) if picture != path else PurePath(path.name)
                found.setdefault(place_of(picture, known), (picture, relative))
    if empty and not found:
        raise empty[0][1]
    if not found:
        raise UsageError(f"{leave_out}: is the folder of the pictures itself: choose another")
    return list(found.values()), empty


def destinations(
    found: Sequence[tuple[Path, PurePath]],
    output: Path | None,
    options: Options,
    *,
    folder: bool,
    default_scale: int,
    suffix: str | None = None,
    again: bool = False,
    series: Series | None = None,
) -> list[Job]:
    """Pair each picture with the file that it is to be enlarged to.

    Without ``output``, ``harbour.jpg`` becomes ``harbour_x4.jpg`` beside it, or, by
    ``options``, ``harbour_1920x1080.jpg`` and the like. ``output`` is a ``folder`` (see
    ``is_folder``), and folders are mirrored into it; otherwise it is the one result's file.
    ``suffix`` replaces that of the results, which is their picture's, or ``.tif`` where files of
    that suffix are read only. When a run is made ``again``, pictures that are results of others are
    left out: a pattern matches both now. ``series``, those of ``find``, become a folder each.

    Raises ``UsageError`` if several inputs are to go to one file or ``suffix`` is not that
    of ``output``, ``OutputError`` if two pictures would get one name, or one the name of a
    picture that is to be read.
    """
    if output is not None and not folder:
        if len(found) > 1:
            raise UsageError(f"{output}: {len(found)} pictures need a folder, not a file")
        check_suffix(output, suffix)
        if found[0][0] in (series or {}):
            raise UsageError(f"{output}: a series of slices needs a folder, not a file")
        return [Job(found[0][0], output)]
    mark = mark_of(options, default_scale)
    jobs, known = [], dict[str, str]()
    folders = folders_of(found, series or {}, mark)
    for source, relative in found:
        if source in folders:
            files, name = folders[source]
            if output is None or called(suffix or ".dcm") is not called(".dcm"):
                raise UsageError(f"{source.parent}: a series of slices becomes a folder of DICOM")
            jobs.append(Job(source, output / relative.parent.parent / name, files))
            continue
        bare = suffix_in(source) not in SUFFIXES and is_slice(source)  # as on scanners' disks
        name = (
            f"{source.name}_{mark}{suffix or '.dcm'}" if bare else result_name(source, mark, suffix)
        )
        jobs.append(Job(source, (output / relative if output else source).with_name(name)))
    if again:
        results = {place_of(job.target, known) for job in jobs}
        jobs = [job for job in jobs if place_of(job.source, known) not in results]
    sources = {place_of(job.source, known) for job in jobs}
    taken: dict[str, Path] = {}
    for job in jobs:
        source, target, place = job.source, job.target, place_of(job.target, known)
        if place in taken:
            raise OutputError(f"{target}: both {taken[place]} and {source} would be written here")
        if place in sources:
            raise OutputError(
                f"{target}: {source} would be written here, over another input",
                Remedy("output", "names a folder for the results"),
            )
        taken[place] = source
    return jobs


def is_folder(output: str) -> bool:
    """Whether a path means a folder: it is one, ends like one, or has no suffix."""
    separators = (os.sep, os.altsep or os.sep)
    return output.endswith(separators) or os.path.isdir(output) or Path(output).suffix == ""


def check_suffix(output: PurePath, suffix: str | None) -> None:
    """Raise ``UsageError`` if a result's file is not called by the suffix that is asked for."""
    if suffix and suffix_in(output) != suffix:
        raise UsageError(f"{output}: is not called {suffix}, the format that is asked for")


def suffix_called(name: str) -> str:
    """The suffix of a format, such as ``.png`` of ``PNG``; raises ``UsageError`` if unknown."""
    suffix = ".tif" if is_cog(name) else "." + name.lower().removeprefix(".")
    if suffix not in OUTPUT_SUFFIXES:
        known = ", ".join(known.removeprefix(".") for known in (*OUTPUT_SUFFIXES, COG))
        raise UsageError(f"format {name}: not a format that upres writes: {known}")
    return suffix


def is_cog(name: str | None) -> bool:
    """Whether the name of a format is that of the Cloud Optimized GeoTIFF."""
    return name is not None and name.lower().removeprefix(".") == COG


def suffix_of(head: bytes, path: Path | None = None) -> str:
    """The suffix of results of a file that begins so: its own, if its format is written."""
    row = recognised(head, path)
    return ".tif" if row is None else row.suffixes[0] if row.writes else row.becomes


def _inside(
    folder: Path,
    recursive: bool,
    left_out: Path | None,
    errors: list[tuple[Path, UpresError]],
    passed_over: list[Path],
    series: Series,
) -> Iterator[Path]:
    """The pictures in a folder, sorted; hidden ones are none of the user's.

    Folders that cannot be read are added to ``errors``, and pictures that no suffix tells to be
    readable to ``passed_over``.
    """

    def fail(error: OSError) -> None:
        path = Path(error.filename)
        errors.append((path, InputError(f"{path}: cannot read this folder: {error.strerror}")))

    for parent, folders, files in os.walk(folder, onerror=fail):
        if left_out and Path(os.path.realpath(parent)) == left_out:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if recursive and name[0] != ".")
        paths = [Path(parent, name) for name in files if name[0] != "."]
        together = in_series(path for path in paths if is_slice(path))
        series |= {path: found for path, found in together.items() if len(found[0]) > 1}
        others = {path for found, _ in together.values() for path in found} - together.keys()
        for name in sorted(path.name for path in paths if path not in others):
            if suffix_in(Path(name)) in SUFFIXES or Path(parent, name) in together:
                yield Path(parent, name)
            elif name.upper() != DIRECTORY and _is_picture(Path(parent, name)):
                passed_over.append(Path(parent, name))


def _is_picture(path: Path) -> bool:
    """Whether a file is a picture by its suffix or its content, in whatever format."""
    if path.suffix.lower() in OTHER_SUFFIXES:
        return True
    if not os.path.isfile(path):  # to open a pipe would wait for whoever writes to it
        return False
    try:
        with path.open("rb") as file:
            row = recognised(file.read(HEAD_BYTES), path)
    except OSError:
        return False
    return row is not None and row.telling


def mark_of(options: Options, default_scale: int) -> str:
    """The size in a result's name."""
    if options.fit:
        return f"{options.fit[0]}x{options.fit[1]}"
    if options.width:
        return f"w{options.width}"
    if options.height:
        return f"h{options.height}"
    return f"x{options.scale or default_scale:g}"


def result_name(source: PurePath, mark: str, suffix: str | None) -> str:
    """The name of a picture's result; ``suffix`` replaces that of the picture."""
    return result_of_name(source.name, mark, suffix)


def result_of_name(name: str, mark: str, suffix: str | None) -> str:
    """The same of a name alone."""
    own = suffix_of_name(name)
    return f"{name[: len(name) - len(own)]}_{mark}{suffix or _suffix_written(name, own)}"


def suffix_written(source: PurePath) -> str:
    """The suffix of a picture's result; what is only read, such as camera raw, becomes TIFF."""
    return _suffix_written(source.name, suffix_in(source))


def _suffix_written(name: str, own: str) -> str:
    row = called(own)
    return name[len(name) - len(own) :] if row is None or row.writes else row.becomes
