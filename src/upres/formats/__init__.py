"""Adapters between files and arrays, one module a kind of file."""

from pathlib import Path

from upres.errors import OutputError


def make_folder(folder: Path) -> None:
    """Make a folder for results, with its parents; raise ``OutputError`` if it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make this folder: {error.strerror}") from None
