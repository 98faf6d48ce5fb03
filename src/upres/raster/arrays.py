"""Arrays as rasters: NumPy's, and all objects that offer themselves as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from upres.errors import InputError, Remedy
from upres.raster.info import SAMPLE_TYPES, Band, RasterInfo, Role, usual_roles
from upres.raster.pixels import Float32Array, copy_planes, from_bands, rounding
from upres.raster.source import Rows

PLAIN_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N", "F", "RGB", "RGBA")
"""PIL's modes whose samples are grey or RGB. Those of others are inks, numbers of a palette, or
colours of another space, and would be taken for something else."""

MANY = 16
"""More bands than this are likelier to be a picture's width, its axes in another order."""


class ArraySource:
    """A picture in memory; see ``upres.enlarge`` for which arrays there may be.

    Raises ``InputError`` for an object that is no array, or one of another shape or sample type.
    """

    def __init__(
        self,
        image: object,
        *,
        bands: Sequence[Role] | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        _check_mode(image, bands)
        array = _as_array(image)
        self.dtype = array.dtype
        """With the byte order of ``image``; that of ``pixels`` and ``info`` is the machine's."""
        self.pixels = array.astype(array.dtype.newbyteorder("="), copy=False)
        self.flat = self.pixels.ndim == 2
        if self.flat:
            self.pixels = self.pixels[:, :, None]
        height, width, _ = self.pixels.shape
        roles = _roles(bands, self.pixels.shape)
        low, high = _range(self.pixels, value_range)
        seen = (None, None) if value_range is None else (low, high)
        own = _alpha_range(self.pixels.dtype)
        self.info = RasterInfo(
            height=height,
            width=width,
            bands=tuple(
                Band(r, *own) if r == "alpha" else Band(r, low, high, least=seen[0], most=seen[1])
                for r in roles
            ),
            dtype=self.pixels.dtype,
        )
        self.carried: object = None

    def frames(self, beside: Path) -> Iterator[Iterator[Rows]]:
        """The array itself, as one block."""
        yield iter([self.pixels])


class ArraySink:
    """Puts windows together to ``result``: height x width x bands, or without bands if ``flat``."""

    def __init__(self, *, flat: bool = False) -> None:
        self.flat = flat

    @property
    def not_kept(self) -> Sequence[str]:
        """Nothing: arrays carry nothing."""
        return ()

    def begin(self, info: RasterInfo, carried: object) -> None:
        self.info = info
        self._array = np.empty((info.height, info.width, len(info.bands)), info.dtype)
        self._places = [i for i, band in enumerate(info.bands) if not band.constant]
        for number, band in enumerate(info.bands):
            if band.constant:
                self._array[:, :, number] = band.high

    def write(self, frame: int, top: int, left: int, block: Float32Array) -> None:
        rows, columns, count = block.shape
        place = self._array[top : top + rows, left : left + columns]
        samples = from_bands(block, self.info.varying, self.info.dtype, self.info.nodata)
        if self._places == list(range(count)):
            copy_planes(place[:, :, :count], samples)
        else:
            for number, band in enumerate(self._places):
                place[:, :, band] = samples[:, :, number]

    def commit(self, *, replace: bool = True) -> None:
        self.result: NDArray[Any] = self._array[:, :, 0] if self.flat else self._array

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


def _check_mode(image: object, bands: Sequence[Role] | None) -> None:
    """Raise ``InputError`` for a PIL image whose samples are not grey or RGB, unless ``bands`` say.

    PIL is not imported: its images tell their mode, and so does nothing else that is an array.
    """
    mode = getattr(image, "mode", None)
    is_pil = isinstance(mode, str) and hasattr(image, "getbands")
    if bands is None and is_pil and mode not in PLAIN_MODES:
        raise InputError(
            f"a PIL image of mode {mode}, whose samples are neither grey nor RGB: "
            'image.convert("RGB") makes one',
            Remedy("bands", "says what each band is"),
        )


def _as_array(image: object) -> NDArray[Any]:
    """NumPy's view of an array, a PIL image, a tensor on the CPU: all that says that it is one."""
    kind = type(image).__name__
    if not isinstance(image, np.ndarray) and not any(
        hasattr(image, name) for name in ("__array_interface__", "__array__")
    ):
        raise InputError(f"expected an array, got {kind}: numpy.asarray(picture) makes one")
    try:
        # Not a subclass, whose indexing and arithmetic may differ: numpy.matrix stays of two axes.
        array = np.asarray(image)
    except (TypeError, ValueError, RuntimeError) as error:
        # As by a tensor on a GPU, or one that needs its gradient.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"this {kind} cannot be seen as an array: {reason}") from None
    if isinstance(image, np.ma.MaskedArray) and np.ma.is_masked(image):
        raise InputError(
            "some samples of this array are masked, and a result has no mask: "
            "picture.filled(value) says what they are to be"
        )
    if array.ndim == 4:
        raise InputError(
            f"expected one picture, got a batch of shape {array.shape}: take them one by one, "
            "[upres.enlarge(picture) for picture in batch]"
        )
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(f"expected a picture of height x width [x bands], got shape {array.shape}")
    if array.dtype.newbyteorder("=").name not in SAMPLE_TYPES:
        known = ", ".join(SAMPLE_TYPES)
        raise InputError(f"expected samples of {known}, got {array.dtype}")
    return array


def _roles(bands: Sequence[Role] | None, shape: tuple[int, ...]) -> tuple[Role, ...]:
    count = shape[2]
    if bands is None:
        roles = usual_roles(count)
        if roles is None:
            if shape[0] <= MANY < count:
                raise InputError(
                    f"expected height x width x bands, got shape {shape}: if bands come first, "
                    "numpy.moveaxis(picture, 0, -1) puts them last"
                )
            raise InputError(
                f"a picture of {count} bands may be anything",
                Remedy("bands", "names each role, such as ['red', 'green', 'blue', 'other']"),
            )
        return roles
    if isinstance(bands, str) or not set(bands) <= set(get_args(Role)):
        known = ", ".join(get_args(Role))
        raise InputError(f"bands={bands!r}: expected a sequence of {known}")
    if len(bands) != count:
        raise InputError(f"bands={list(bands)!r}: the picture has {count} bands, not {len(bands)}")
    if list(bands).count("alpha") > 1:
        raise InputError(f"bands={list(bands)!r}: only one band can be alpha")
    return tuple(bands)


def _range(
    pixels: NDArray[Any], given: tuple[float, float] | None
) -> tuple[float | None, float | None]:
    """The least and the largest sample that there may be; ``None`` if they are to be measured."""
    if pixels.dtype.kind == "f" and np.isinf(pixels).any():
        raise InputError("some samples are infinite")
    if given is not None:
        wrong = InputError(f"value_range={given!r}: expected two finite numbers, the less first")
        try:
            low, high = map(float, given)
        except (TypeError, ValueError):
            raise wrong from None
        if not (np.isfinite([low, high, high - low]).all() and low < high):
            raise wrong
        return low, high
    if pixels.dtype in (np.uint8, np.uint16):
        return 0.0, float(np.iinfo(pixels.dtype).max)
    if pixels.dtype.kind != "f":
        return None, None
    # Where a sample is NaN there is none.
    least, most = np.fmin.reduce(pixels, None), np.fmax.reduce(pixels, None)
    beyond = rounding(pixels.dtype)
    if least < -beyond or most > 1 + beyond:
        raise InputError(
            f"floating-point samples must lie in [0, 1], got {least:.9g} to {most:.9g}",
            Remedy("value_range", f"says how far they go, as {_around(least, most)} would"),
        )
    return 0.0, 1.0


def _around(least: float, most: float) -> tuple[float, float]:
    """A range that may be meant by samples that go so far: a usual one, or that far."""
    usual = ((0, 1), (0, 255), (-1, 1), (0, 65535))
    wide = [r for r in usual if r[0] <= least and most <= r[1] and most > r[1] / 2]
    return wide[0] if wide else (float(least), float(most))


def _alpha_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    return 0.0, float(np.iinfo(dtype).max) if dtype.kind in "iu" else 1.0
