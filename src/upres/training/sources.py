"""Pictures to train on, from folders in the field's layouts and from tar shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Discriminator, Tag

from upres.engine.machine import usable_processors
from upres.errors import InputError, Remedy
from upres.formats.archives import read_tar
from upres.formats.image.vips import read_rgb8
from upres.formats.registry import SUFFIXES


@dataclass(frozen=True)
class PairedSource:
    """A folder of high-resolution pictures, and one of the same in low resolution.

    The low-resolution picture of ``a/0001.png`` is ``a/0001`` or, with the scale, as the
    field names it, ``a/0001x2``, of any format.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    hr: str
    lr: str


_DATA = Remedy("data", "names the folder that sources are relative to")

A = TypeVar("A")
B = TypeVar("B")


def _kind(value: Any) -> str:
    return "path" if isinstance(value, str) else "pair"


DataSource = Annotated[
    Annotated[str, Tag("path")] | Annotated[PairedSource, Tag("pair")], Discriminator(_kind)
]
"""Relative to the data folder; where it is one path: a tar shard, or a folder."""


LeftOut = Callable[[InputError], object]
"""Is told of a picture that cannot be read, and is therefore left out."""


def read_pictures(
    sources: Sequence[Path], *, left_out: LeftOut | None = None
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield (name, height x width x 3) of every picture in tar shards and folders.

    Sorted by name within each source; folders are searched to their depths. Raises
    ``InputError`` for a source that is missing or holds no picture, and for a picture that
    cannot be read, unless ``left_out`` is there to be told.
    """
    for source in sources:
        if source.is_dir():
            pictures = ((str(path), path) for path in _pictures(source))
            yield from _readable(_decoded(pictures), left_out)
        elif not source.exists():
            raise InputError(f"{source}: no such tar file or folder of pictures")
        else:
            count = 0
            for item in _decoded(_from_tar(source)):
                count += 1
                yield from _readable([item], left_out)
            if count == 0:
                raise _empty(source)


def read_pairs(
    source: PairedSource, folder: Path, scale: int, *, left_out: LeftOut | None = None
) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield (name, LR, HR), height x width x 3, of a source's pairs, sorted by name.

    HR that is larger than its LR by less than ``scale`` pixels at the bottom or on the
    right, as its size was no multiple, is cropped there. Raises ``InputError`` for a
    folder that is missing or empty, a picture without its other half, and a pair whose
    sizes do not fit; the last names both files. A picture that cannot be read is left out with
    its other half if ``left_out`` is there to be told.
    """
    paths = _matched(folder / source.hr, folder / source.lr, scale)
    # High and low in turns, so that one pool reads both.
    decoded = _decoded((str(path), path) for pair in paths for path in pair)
    for pair in zip(decoded, decoded, strict=True):
        readable = list(_readable(pair, left_out))
        if len(readable) < 2:
            continue
        (name, high), (low_name, low) = readable
        height, width = (side * scale for side in low.shape[:2])
        surplus = (high.shape[0] - height, high.shape[1] - width)
        if not all(0 <= pixels < scale for pixels in surplus):
            raise InputError(
                f"{name}: its {_size(high)} pixels are not {scale} times the {_size(low)} of "
                f"{low_name}: pair it with the picture that was made of it at x{scale}"
            )
        yield name, low, high[:height, :width]


def source_files(source: DataSource, folder: Path) -> list[Path]:
    """The files that a source consists of: pictures, or the one tar shard.

    Raises ``InputError`` as ``read_pictures`` does for one that is missing or empty.
    """
    if isinstance(source, PairedSource):
        return _pictures(_checked(folder / source.hr)) + _pictures(_checked(folder / source.lr))
    path = folder / source
    if path.is_dir():
        return _pictures(path)
    if not path.exists():
        raise InputError(f"{path}: no such tar file or folder of training pictures", _DATA)
    return [path]


def in_parallel(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """``map``, but several at a time, in threads; the order stays.

    For work of NumPy's or libvips': they let go of the interpreter meanwhile.
    """
    items = iter(items)
    with ThreadPoolExecutor(min(8, usable_processors())) as pool:
        # In portions, as results ahead of their use take memory.
        while portion := list(islice(items, 32)):
            yield from pool.map(function, portion)


def _pictures(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise _empty(folder)
    return paths


def _checked(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of training pictures", _DATA)
    return folder


def _matched(high_folder: Path, low_folder: Path, scale: int) -> list[tuple[Path, Path]]:
    high = _by_stem(_checked(high_folder))
    low = _by_stem(_checked(low_folder))
    matched = []
    for stem, path in high.items():
        own = next((name for name in (stem, f"{stem}x{scale}") if name in low), None)
        if own is None:
            raise InputError(
                f"{path}: has no low-resolution picture in {low_folder}; expected "
                f"{stem}{path.suffix} or {stem}x{scale}{path.suffix}"
            )
        matched.append((path, low.pop(own)))
    for path in low.values():
        raise InputError(f"{path}: has no high-resolution picture in {high_folder}")
    return matched


def _by_stem(folder: Path) -> dict[str, Path]:
    """Pictures by their path in ``folder``, less the suffix."""
    found: dict[str, Path] = {}
    for path in _pictures(folder):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise InputError(f"{path}: cannot be told from {found[stem]}: rename or remove one")
        found[stem] = path
    return found


def _decoded(
    pictures: Iterable[tuple[str, Path | bytes]],
) -> Iterator[tuple[str, NDArray[np.uint8] | InputError]]:
    """Names and pictures; an error in place of one that cannot be read, as others may follow."""

    def read(item: tuple[str, Path | bytes]) -> tuple[str, NDArray[np.uint8] | InputError]:
        try:
            return item[0], read_rgb8(item[1], name=item[0])
        except InputError as error:
            return item[0], error

    return in_parallel(read, pictures)


def _readable(
    decoded: Iterable[tuple[str, NDArray[np.uint8] | InputError]], left_out: LeftOut | None
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for name, pixels in decoded:
        if not isinstance(pixels, InputError):
            yield name, pixels
        elif left_out is None:
            raise pixels
        else:
            left_out(pixels)


def _from_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    return ((f"{path}:{name}", content) for name, content in read_tar(path))


def _empty(source: Path) -> InputError:
    return InputError(f"{source}: holds no pictures; expected {', '.join(SUFFIXES)}")


def _size(image: NDArray[np.uint8]) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
