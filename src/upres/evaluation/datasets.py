"""Benchmark sets: which files belong together, and reading them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upres.errors import InputError
from upres.evaluation.compression import Jpeg, through_jpeg
from upres.formats.archives import read_tar
from upres.formats.image.vips import read_rgb8
from upres.formats.registry import SUFFIXES
from upres.raster.resize import bicubic

Rgb8 = NDArray[np.uint8]

SSIM_WINDOW = 11
"""The least side of a picture, once its border is cut off."""


@dataclass(frozen=True)
class Pair:
    """A picture of a benchmark set and, where the set has it, its low-resolution file."""

    name: str
    hr: Path
    """Of a picture in a tar file, that file's path, a colon and the name inside."""
    lr: Path | None
    content: bytes | None = field(default=None, repr=False)
    """Of HR's file, where it is in a tar file."""


def find_pairs(folder: Path, scale: int) -> list[Pair]:
    """The pictures of a benchmark set, ordered by name.

    A set is a folder with ``HR_x{scale}`` (else ``HR``) and, if it brings its own
    low-resolution pictures, ``LR_x{scale}`` with files of equal names; or just a folder
    of pictures, or a tar file of them. At x1 the pictures of any ``HR_x`` do.

    Raises ``InputError`` if it is missing, has no pictures, or has an HR picture without
    its LR or the reverse.
    """
    if folder.is_file():
        return _pairs_in_tar(folder)
    hr_folder, lr_folder = _layout(folder, scale)
    pictures = _pictures(hr_folder)
    if not pictures:
        raise InputError(
            f"{hr_folder}: no pictures there: put some in, of a kind that upres reads "
            f"({', '.join(SUFFIXES)})"
        )
    if lr_folder is None:
        return [Pair(_text(name), path, None) for name, path in pictures.items()]
    small = _pictures(lr_folder)
    for name in sorted(pictures.keys() ^ small.keys()):
        there, missing = hr_folder / name, lr_folder / name
        if name in small:
            there, missing = missing, there
        raise InputError(f"{there}: has no counterpart {missing}: add that or remove this")
    return [Pair(_text(name), path, small[name]) for name, path in pictures.items()]


def set_name(folder: Path) -> str:
    """The name of a set in tables: that of its folder, or of its tar file without suffix."""
    return folder.resolve().name.removesuffix(".tar")


def _text(name: str) -> str:
    """A file's name, with escapes for bytes that are not UTF-8, as tables and reports need it."""
    return name.encode("utf-8", "backslashreplace").decode()


def _pairs_in_tar(path: Path) -> list[Pair]:
    pairs = [Pair(name, Path(f"{path}:{name}"), None, content) for name, content in read_tar(path)]
    if not pairs:
        raise InputError(f"{path}: holds no pictures; expected {', '.join(SUFFIXES)}")
    return pairs


def _layout(folder: Path, scale: int) -> tuple[Path, Path | None]:
    """Where a set keeps its HR pictures and its LR ones, if it has those."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a benchmark set's, or a tar file")
    own, common, lr = folder / f"HR_x{scale}", folder / "HR", folder / f"LR_x{scale}"
    lr_folder = lr if lr.is_dir() else None
    # At x1 a picture is compared with itself, whatever scale it was cut for.
    cut = sorted(path for path in folder.glob("HR_x?") if path.is_dir()) if scale == 1 else []
    for hr_folder in (own, common, *cut):
        if hr_folder.is_dir():
            return hr_folder, lr_folder
    if lr_folder is not None:
        raise InputError(f"{lr}: has neither {own.name} nor HR beside it: add one of them")
    # Else pictures lying beside HR_x2 would be taken for the set at x3.
    others = sorted(path.name for path in folder.glob("HR_x*") if path.is_dir())
    if others:
        raise InputError(
            f"{folder}: has neither {own.name} nor HR, only {', '.join(others)}: add one "
            "of them or evaluate at another scale"
        )
    return folder, None


def _pictures(folder: Path) -> dict[str, Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror})") from error
    return {
        path.name: path
        for path in paths
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    }


def read_pair(pair: Pair, scale: int, jpeg: Jpeg | None = None) -> tuple[Rgb8, Rgb8]:
    """The HR picture, cut at the bottom and right to a multiple of ``scale``, and the LR.

    Both uint8 RGB, height x width x 3. Where the set has no LR, HR is shrunk as MATLAB
    does. With ``jpeg``, the LR has then been through a file of the quality that it says.

    Raises ``InputError`` if a file cannot be read, the two sizes do not fit the scale, or
    HR is too small to be compared.
    """
    hr = read_rgb8(pair.hr if pair.content is None else pair.content, name=str(pair.hr))
    height, width = (side - side % scale for side in hr.shape[:2])
    least = SSIM_WINDOW + 2 * scale
    if min(height, width) < least:
        raise InputError(
            f"{pair.hr}: {hr.shape[1]}x{hr.shape[0]} pixels are too few to compare at "
            f"x{scale}: each side should have at least {least + -least % scale}; remove it"
        )
    hr = hr[:height, :width]
    lr = bicubic(hr, scale=1 / scale) if pair.lr is None else read_rgb8(pair.lr)
    if (lr.shape[0] * scale, lr.shape[1] * scale) != (height, width):
        raise InputError(
            f"{pair.lr}: {lr.shape[1]}x{lr.shape[0]} pixels do not fit the {width}x{height} "
            f"of {pair.hr}: at x{scale} it should have {width // scale}x{height // scale}"
        )
    return hr, lr if jpeg is None else through_jpeg(lr, jpeg.quality(pair.name))
