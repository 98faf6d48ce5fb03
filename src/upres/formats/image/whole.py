"""Pictures whose library decodes them as a whole: their info, and their rows, upright."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.engine.machine import machine_memory
from upres.errors import InputError
from upres.formats.metadata.carried import Carried
from upres.raster.info import Band, RasterInfo, Role
from upres.raster.source import Rows
from upres.raster.spool import ROWS_BYTES

Decode = Callable[[], NDArray[Any]]
"""Gives all samples, height x width x bands, as the file stores them: not yet turned by
``Carried.orientation``. Raises ``InputError`` if the file is damaged."""


class WholeSource:
    """A picture that ``decode`` gives as a whole, each time that it is asked for.

    ``decoder_bytes`` is the memory for each pixel that decoding takes, the samples included.
    Raises ``InputError`` if that is more than half of the machine's.
    """

    def __init__(
        self, info: RasterInfo, carried: Carried, decode: Decode, *, decoder_bytes: int
    ) -> None:
        self.info, self.carried = info, carried
        self._decode = decode
        check_memory(info, info.pixels * decoder_bytes)

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """The picture, in blocks of rows from the top."""
        yield self._rows()

    def _rows(self) -> Iterator[Rows]:
        pixels = turned(self._decode(), self.carried.orientation)
        expected = (self.info.height, self.info.width, len(self.info.bands))
        if pixels.shape != expected:
            raise InputError(
                self.info.problem(
                    f"its header tells of {expected[1]}x{expected[0]} pixels of {expected[2]} "
                    f"channels, and it has {pixels.shape[1]}x{pixels.shape[0]} of "
                    f"{pixels.shape[2]}: it is damaged, or of a kind that upres does not read"
                )
            )
        rows = max(1, ROWS_BYTES // (math.prod(expected[1:]) * pixels.itemsize))
        for top in range(0, len(pixels), rows):
            yield pixels[top : top + rows]


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Height x width x bands, turned as an EXIF orientation says; a view, no copy."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    up_down, left_right = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return pixels[:: -1 if up_down else 1, :: -1 if left_right else 1]


def bands_of_picture(
    dtype: np.dtype[Any], *, colours: int, alpha: bool, high: float | None = None
) -> tuple[Band, ...]:
    """Grey, or red, green and blue, perhaps with alpha, and the values that they take.

    Integers range to ``high``, by default to their type's largest; the range of other samples is
    to be measured, apart from alpha's.
    """
    roles: tuple[Role, ...] = ("grey",) if colours == 1 else ("red", "green", "blue")
    if dtype.kind == "u":
        most = float(np.iinfo(dtype).max) if high is None else high
        bands = [Band(role, 0.0, most) for role in roles]
        return (*bands, *[Band("alpha", 0.0, most)] * alpha)
    return (*[Band(role, None, None) for role in roles], *[Band("alpha")] * alpha)


def scaled(samples: NDArray[Any], bits: int) -> NDArray[Any]:
    """Unsigned samples of so many bits as uint8 or uint16: the largest becomes the largest."""
    dtype, largest = (np.uint8, 255) if bits <= 8 else (np.uint16, 65535)
    if bits in (8, 16):
        return samples.astype(dtype, copy=False)
    most = (1 << bits) - 1
    numbers = np.arange(most + 1, dtype=np.uint64)
    table = ((numbers * 2 * largest + most) // (2 * most)).astype(dtype)
    result: NDArray[Any] = table[np.minimum(samples, most)]
    return result


def check_memory(info: RasterInfo, needed: int) -> None:
    """Raise ``InputError`` if decoding takes more than half of the machine's memory."""
    memory = machine_memory()
    if memory is not None and needed > memory // 2:
        raise InputError(
            info.problem(
                f"its {info.width}x{info.height} pixels are decoded as a whole, which takes "
                f"{needed:,} bytes, more than half of this machine's {memory:,}: convert it to "
                "TIFF or PNG, which take little"
            )
        )


@contextmanager
def telling_of_damage(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Raise ``InputError`` with a library's words when it cannot go on reading ``path``."""
    try:
        yield
    except MemoryError:
        raise InputError(f"{path}: there is not enough memory to decode this picture") from None
    except errors as error:
        lines = str(error).splitlines()
        told = f": {lines[0].strip()}" if lines and lines[0].strip() else ""
        raise InputError(f"{path}: this picture is damaged or truncated{told}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot read this picture: {error.strerror}") from None
