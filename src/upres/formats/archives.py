"""Pictures in tar files."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from upres.errors import InputError
from upres.formats.registry import SUFFIXES


def read_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each picture in a tar file, told by its suffix, by name.

    Raises ``InputError`` if ``path`` cannot be read as a tar file.
    """
    try:
        with tarfile.open(path) as archive:
            members = (m for m in archive.getmembers() if m.isfile())
            for member in sorted(members, key=lambda member: member.name):
                if Path(member.name).suffix.lower() in SUFFIXES:
                    file = archive.extractfile(member)
                    assert file is not None  # isfile() was checked
                    yield member.name, file.read()
    except (OSError, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path}: cannot read this tar file: {error}") from error
