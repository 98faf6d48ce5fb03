"""The files that an error map is written to: half-widths as TIFF, a picture of them, a summary."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from upres.enlarging.error_map import ErrorMap, write_summary
from upres.errors import ExistsError, UsageError
from upres.files import check_name
from upres.formats.registry import create_sink
from upres.raster.source import Sink

PICTURE, SUMMARY = ".png", ".json"


@contextmanager
def error_map_into(
    paths: Sequence[Path], others: Sequence[Path], *, pages: int, pixels: int, replace: bool
) -> Iterator[ErrorMap]:
    """An error map that goes to files; they are there once it is committed.

    The result has so many ``pages``, and ``pixels`` all together. ``others`` are the files that it
    is made of and written to. Raises ``UsageError`` if a name is given twice, ``ExistsError`` if a
    file is there and not to be ``replace``d, and the errors of sinks.
    """
    with ExitStack() as stack:
        sinks = []
        taken = [path.absolute() for path in (*others, *paths)]
        for path in paths:
            check_name(path)
            if taken.count(path.absolute()) > 1:
                raise UsageError(f"{path}: named twice: give the error map a name of its own")
            if not replace and os.path.lexists(path):
                raise ExistsError(path)
            if path.suffix.lower() != SUMMARY:
                sinks.append(stack.enter_context(_sink(path, pages, 4 * pixels)))
        yield ErrorMap(sinks)


def commit_error_map(errors: ErrorMap, paths: Sequence[Path], *, replace: bool) -> None:
    """Make all files of an error map be there, each at once and whole."""
    errors.commit(replace=replace)
    for path in paths:
        if path.suffix.lower() == SUMMARY and errors.summary:
            write_summary(errors.summary, path, replace=replace)


def _sink(path: Path, pages: int, content_bytes: int) -> Sink:
    if path.suffix.lower() == PICTURE:
        from upres.formats.image.error_picture import ErrorPictureSink

        return ErrorPictureSink(path)
    return create_sink(path, pages=pages, content_bytes=content_bytes)
