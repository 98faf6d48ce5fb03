"""Decoded pictures on disk, which later runs and neighbouring processes map into memory."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from upres.errors import OutputError
from upres.files import make_folder

_FORMAT = 1
"""To be raised when the content, or the making of low resolution, changes."""

Row = tuple[str, NDArray[np.uint8], NDArray[np.uint8]]
"""A picture's name, and its low and high resolution, height x width x 3."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """Pictures laid flat: ``low`` and ``high`` are pixels x 3, uint8, one after the other."""

    names: list[str]
    sizes: list[tuple[int, int]]
    """Height and width of each low-resolution picture."""
    low: NDArray[np.uint8]
    high: NDArray[np.uint8]
    left_out: Sequence[str] = ()
    """Of each picture that cannot be read, why."""


def flat(rows: Iterable[Row], left_out: Sequence[str] = ()) -> Pixels:
    """``rows`` in memory; ``left_out`` fills while they come."""
    pictures = list(rows)
    none = np.empty((0, 3), np.uint8)
    return Pixels(
        names=[name for name, _, _ in pictures],
        sizes=[(low.shape[0], low.shape[1]) for _, low, _ in pictures],
        low=np.concatenate([none, *(low.reshape(-1, 3) for _, low, _ in pictures)]),
        high=np.concatenate([none, *(high.reshape(-1, 3) for _, _, high in pictures)]),
        left_out=left_out,
    )


def cached(
    folder: Path,
    files: Iterable[Path],
    settings: Any,
    scale: int,
    rows: Callable[[], Iterable[Row]],
    left_out: Sequence[str] = (),
) -> Pixels:
    """``rows()``, from ``folder`` if an earlier run left them there, else put there first.

    Its content is for ``files`` as they are now (paths, sizes, times of change) and
    ``settings`` (anything that JSON can hold): if any differs, or a file of the cache is
    missing or cut short, it is made anew. Pixels are mapped into memory, not read, so that
    processes share them. Several may make the same cache at once: one of them wins. ``left_out``
    fills while rows come, and is kept with them.

    Raises ``OutputError`` if it cannot be written, before ``rows`` is called if the
    folder does not allow it.
    """
    stats = [(str(path.resolve()), path.stat()) for path in files]
    state = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]
    digest = hashlib.sha256(json.dumps([_FORMAT, scale, settings, state]).encode())
    target = folder / f"pixels-{digest.hexdigest()[:20]}"
    pixels = _read(target, scale)
    if pixels is None:
        _make(target, scale, rows, left_out)
        pixels = _read(target, scale)
        if pixels is None:
            raise OutputError(f"{target}: this cache cannot be read back: remove it, or use none")
    return pixels


def _read(target: Path, scale: int) -> Pixels | None:
    """A cache's content; None if there is none, or not all of it."""
    try:
        index = json.loads((target / "index.json").read_text("utf-8"))
        left_out = list(map(str, index.get("left_out", [])))
        names, sizes = list(index["names"]), [(int(h), int(w)) for h, w in index["sizes"]]
        # Mapped: that the files are as long as they say is checked here.
        low, high = (np.load(target / f"{name}.npy", mmap_mode="r") for name in ("low", "high"))
    except (OSError, ValueError, TypeError, KeyError, EOFError):
        return None
    count = sum(height * width for height, width in sizes)
    whole = low.shape == (count, 3) and high.shape == (count * scale**2, 3)
    if not whole or len(names) != len(sizes):
        return None
    return Pixels(names, sizes, low, high, left_out)


def _make(
    target: Path, scale: int, rows: Callable[[], Iterable[Row]], left_out: Sequence[str]
) -> None:
    make_folder(target.parent)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.mkdir()
        try:
            _write(temporary, rows(), left_out)
            _move(temporary, target, scale)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"{target.parent}: cannot write the cache of pictures here: {error.strerror}"
        ) from None


def _write(folder: Path, rows: Iterable[Row], left_out: Sequence[str]) -> None:
    names, sizes = [], []
    with (folder / "low.npy").open("wb") as low_file, (folder / "high.npy").open("wb") as high_file:
        # How many pixels there are shows at the end; numpy pads its header to leave room.
        _write_header(low_file, 0)
        _write_header(high_file, 0)
        low_count = high_count = 0
        for name, low, high in rows:
            names.append(name)
            sizes.append(low.shape[:2])
            low_file.write(low.tobytes())
            high_file.write(high.tobytes())
            low_count += low.size // 3
            high_count += high.size // 3
        _write_header(low_file, low_count)
        _write_header(high_file, high_count)
    with (folder / "index.json").open("w", encoding="utf-8") as file:
        json.dump({"names": names, "sizes": sizes, "left_out": list(left_out)}, file)


def _write_header(file: BinaryIO, count: int) -> None:
    file.seek(0)
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, 3)}
    np.lib.format.write_array_header_1_0(file, header)


def _move(temporary: Path, target: Path, scale: int) -> None:
    """Rename ``temporary`` to ``target``, unless another process has been quicker."""
    try:
        os.rename(temporary, target)
    except OSError:
        if not target.is_dir():
            raise
        if _read(target, scale) is None:
            # Damaged, so it goes; who has it mapped keeps it.
            damaged = temporary.with_name(f"{temporary.name}.old")
            os.rename(target, damaged)
            os.rename(temporary, target)
            shutil.rmtree(damaged, ignore_errors=True)
