"""The files that an error map is written to: half-widths as TIFF, a picture of them, a summary."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from upres.enlarging.error_map import ErrorMap, write_summary
from upres.enlarging.writing import check_disk
from upres.errors import ExistsError, OutputError, Remedy, UsageError
from upres.files import check_name, place_of, temporary
from upres.formats.registry import create_sink
from upres.raster.source import Sink

PICTURE, SUMMARY = ".png", ".json"

PIXEL_BYTES = 8
"""Of free disk needed for a pixel of a map: a half-width in float32 while it is made, and again in
the file."""


def check_maps(paths: Sequence[Path], *, pages: int, frames: int) -> None:
    """Raise ``OutputError`` if files by these names cannot hold the map of such a result.

    It has so many ``pages``, and each has so many ``frames`` at most.
    """
    for path in paths:
        suffix = path.suffix.lower()
        if suffix != SUMMARY and frames > 1:
            raise OutputError(
                f"{path}: an error map of {frames} frames is a summary only: name it .json"
            )
        if suffix == PICTURE and pages > 1:
            raise OutputError(
                f"{path}: a picture of an error map has one page: choose .tif for several"
            )


def lacks_map(target: Path, paths: Sequence[Path]) -> bool:
    """Whether a result is there, and not all files of its map: then both are to be made again.

    Raises ``OutputError`` if the result is not there, and a file of the map is: that may be about
    another result.
    """
    there = [path for path in paths if os.path.lexists(path)]
    if os.path.lexists(target):
        return len(there) < len(paths)
    if there:
        raise OutputError(
            f"{there[0]}: exists already, and {target} does not: it may be the map of another "
            "result",
            Remedy("existing", "replaces it", "replace"),
        )
    return False


def disk_beside(target: Path, paths: Sequence[Path], pixels: int) -> int:
    """Bytes that the map of a result of so many ``pixels`` needs on the disk of ``target``."""
    count = 0
    for path in paths:
        with suppress(OSError):  # a folder that is not there is told of later
            same = path.parent.stat().st_dev == target.parent.stat().st_dev
            count += same and path.suffix.lower() != SUMMARY
    return count * PIXEL_BYTES * pixels


@contextmanager
def error_map_into(
    paths: Sequence[Path], others: Sequence[Path], *, pages: int, pixels: int, replace: bool
) -> Iterator[ErrorMap]:
    """An error map that goes to files; they are there once it is committed.

    The result has so many ``pages``, and ``pixels`` all together. ``others`` are the files that it
    is made of and written to. Raises ``UsageError`` if a name is given twice, ``ExistsError`` if a
    file is there and not to be ``replace``d, ``OutputError`` if one cannot be written, and the
    errors of sinks.
    """
    # To find places takes a call of the system for each folder above.
    taken = [place_of(path) for path in (*others, *paths)] if paths else []
    with ExitStack() as stack:
        sinks = []
        for path in paths:
            check_name(path)
            if taken.count(place_of(path)) > 1:
                raise UsageError(f"{path}: named twice: give the error map a name of its own")
            if not replace and os.path.lexists(path):
                raise ExistsError(path)
            _require_writable(path)
            if path.suffix.lower() != SUMMARY:
                check_disk(path, PIXEL_BYTES * pixels, named_by="error_map")
                sinks.append(stack.enter_context(_sink(path, pages, 4 * pixels)))
        yield ErrorMap(sinks)


def commit_with_map(sink: Sink, errors: ErrorMap, paths: Sequence[Path], *, replace: bool) -> None:
    """Make all files of an error map be there, each at once and whole, and then the result.

    If one of them cannot be, none of the map's is left: it would be about another result.
    """
    made: list[Path] = []
    try:
        drawn = [path for path in paths if path.suffix.lower() != SUMMARY]
        for path, each in zip(drawn, errors.sinks, strict=True):
            _commit(each, path, replace=replace)
            made.append(path)
        for path in paths:
            if path.suffix.lower() == SUMMARY and errors.summary:
                write_summary(errors.summary, path, replace=replace)
                made.append(path)
        sink.commit(replace=replace)
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise


def _commit(sink: Sink, path: Path, *, replace: bool) -> None:
    try:
        sink.commit(replace=replace)
    except OSError as error:
        raise OutputError(f"{path}: cannot write this file: {error.strerror}") from error


def _require_writable(path: Path) -> None:
    """Raise ``OutputError`` unless files can be made beside ``path``: the work takes long."""
    try:
        with temporary(path, path.suffix):
            pass
    except OSError as error:
        raise OutputError(f"{path}: cannot write here: {error.strerror}") from error


def _sink(path: Path, pages: int, content_bytes: int) -> Sink:
    if path.suffix.lower() == PICTURE:
        from upres.formats.image.error_picture import ErrorPictureSink

        return ErrorPictureSink(path)
    return create_sink(path, pages=pages, content_bytes=content_bytes)
