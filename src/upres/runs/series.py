"""The folders that the results of series of slices go to."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

Series = dict[Path, tuple[tuple[Path, ...], str]]
"""By the first of its files, the files of each series of slices, and its number."""


def folders_of(
    found: Sequence[tuple[Path, PurePath]], series: Series, mark: str
) -> dict[Path, tuple[tuple[Path, ...], str]]:
    """Of the series that were found, by their first file, all files and the result's folder."""
    here = [source for source, _ in found if source in series]
    alone = Counter(source.parent for source in here)
    names: Counter[tuple[Path, str]] = Counter()
    folders: dict[Path, tuple[tuple[Path, ...], str]] = {}
    for source in here:
        files, number = series[source]
        name = Path(os.path.realpath(source.parent)).name
        if alone[source.parent] > 1:
            name += f"_{number or len(folders) + 1}"
        names[source.parent, name] += 1
        if names[source.parent, name] > 1:
            name += f".{names[source.parent, name]}"
        folders[source] = files, f"{name}_{mark}"
    return folders
