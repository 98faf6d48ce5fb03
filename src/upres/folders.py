"""Writes folders so that nothing is lost: temporary names, replacing at once and whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from upres.errors import ExistsError
from upres.files import FOLDER_LOCK, create_locked, temporary_name


@contextmanager
def temporary_folder(path: Path, suffix: str = "") -> Iterator[Path]:
    """Give the name of a new folder beside ``path``, which is there for a while.

    A file in it is locked meanwhile. Raises ``OSError`` if it cannot be made.
    """
    name = temporary_name(path, suffix)
    name.mkdir()
    descriptor = create_locked(name / FOLDER_LOCK)
    try:
        yield name
    finally:
        os.close(descriptor)
        shutil.rmtree(name, ignore_errors=True)


def publish_folder(name: Path, path: Path, *, replace: bool) -> None:
    """Make the folder ``name``, of ``temporary_folder``, be called ``path``, at once and whole.

    Raises ``ExistsError`` if ``path`` is there and is not to be ``replace``d, ``OSError`` if it
    cannot be.
    """
    if os.path.lexists(path) and not replace:
        raise ExistsError(path)
    with temporary_folder(path) as old:
        if os.path.lexists(path):
            os.rename(path, old / "before")
        try:
            (name / FOLDER_LOCK).unlink()
            os.rename(name, path)
        except OSError:
            if os.path.lexists(old / "before"):
                os.rename(old / "before", path)
            raise
