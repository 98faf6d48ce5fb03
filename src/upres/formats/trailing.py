"""Data in a file behind the end of its picture, which readers pass over."""

from __future__ import annotations

from pathlib import Path

from upres.formats.registry import HEAD_BYTES, recognised

FURTHER_PICTURES, OTHER = "further pictures", "data behind the picture"


def trailing(path: Path, end: int | None) -> tuple[str, ...]:
    """A name for what is in a file from ``end`` on; none if that is nothing, or zeros.

    ``None`` stands for an end that is not known.
    """
    if end is None:
        return ()
    if path.stat().st_size == end:  # as it is with most
        return ()
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(end)
        head = file.read(HEAD_BYTES)
        # Programs pad files; a film begins with no more than a few zeros.
        if not head.strip(b"\0") and size - end <= _PADDING:
            head += file.read()
    if not head.strip(b"\0"):
        return ()
    row = recognised(head)
    return (OTHER,) if row is None or row.endless else (FURTHER_PICTURES,)


_PADDING = 2**20
"""Bytes behind a picture within which something other than zeros is looked for."""
