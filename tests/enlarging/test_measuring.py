"""What only samples tell: ranges, opaque alpha, and light that covers nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from upres.enlarging.measuring import measured
from upres.errors import InputError
from upres.raster.info import Band, RasterInfo, Role

BESIDE = Path("beside")


@dataclass
class Rows:
    """A source of frames that are in memory, which come row by row; it counts them."""

    frames_of_rows: NDArray[Any]
    bands: tuple[Band, ...]
    rest: dict[str, Any] = field(default_factory=dict)
    carried: object = None
    taken: int = 0

    @property
    def info(self) -> RasterInfo:
        count, height, width, _ = self.frames_of_rows.shape
        dtype = self.frames_of_rows.dtype
        return RasterInfo(height, width, self.bands, dtype, name="rows", frames=count, **self.rest)

    def frames(self, beside: Path) -> Iterator[Iterator[NDArray[Any]]]:
        for frame in self.frames_of_rows:
            yield self._rows(frame)

    def _rows(self, frame: NDArray[Any]) -> Iterator[NDArray[Any]]:
        for row in frame:
            self.taken += 1
            yield row[None]


def unknown(*roles: Role) -> tuple[Band, ...]:
    return tuple(Band(role, None, None) for role in roles)


def ranges(info: RasterInfo) -> list[tuple[float | None, float | None]]:
    return [(band.low, band.high) for band in info.bands]


def seen(info: RasterInfo) -> list[tuple[float | None, float | None]]:
    return [(band.least, band.most) for band in info.bands]


def pixels(*values: tuple[float, ...], dtype: Any = np.float32) -> NDArray[Any]:
    """One frame of one column: a pixel a row."""
    return np.array(values, dtype)[None, :, None]


def test_where_all_is_known_nothing_is_read() -> None:
    bands = tuple(Band(role, 0, 255) for role in ("red", "green", "blue"))
    source = Rows(pixels((1, 2, 3), dtype=np.uint8), bands)
    assert measured(source, BESIDE) == source.info
    assert source.taken == 0


@pytest.mark.parametrize(
    ("samples", "low", "high"),
    [((0.25, 0.5), 0, 1), ((0, 1), 0, 1), ((-0.5, 0.5), -0.5, 0.5), ((3, 700), 3, 700)],
)
def test_a_range_is_from_0_to_1_or_as_far_as_samples_go(
    samples: tuple[float, ...], low: float, high: float
) -> None:
    info = measured(Rows(pixels(*((s,) for s in samples)), unknown("grey")), BESIDE)
    assert ranges(info) == [(low, high)]
    assert seen(info) == [samples]


@pytest.mark.parametrize(
    ("samples", "low", "high"), [((0.25, 0.5), 0, 1), ((-0.5, 0.5), -0.5, 1), ((3, 700), 0, 700)]
)
def test_a_range_of_light_has_black_and_white_in_it(
    samples: tuple[float, ...], low: float, high: float
) -> None:
    rest = {"colours": "linear"}
    info = measured(Rows(pixels(*((s,) for s in samples)), unknown("grey"), rest), BESIDE)
    assert ranges(info) == [(low, high)]
    assert seen(info) == [samples]


def test_whole_numbers_of_a_known_range_are_measured_beyond_8_bits() -> None:
    frame = pixels((300, 5), (118, 0), dtype=np.uint16)
    bands = (Band("grey", 0, 65535), Band("alpha", 0, 65535))
    info = measured(Rows(frame, bands), BESIDE)
    assert ranges(info) == [(0, 65535)] * 2
    assert seen(info) == [(118, 300), (None, None)]


def test_colours_share_a_range_each_other_band_has_its_own_and_classes_none() -> None:
    bands = unknown("red", "other", "green", "index", "blue", "alpha")
    info = measured(Rows(pixels((2, 30, 3, 9, -4, 1), (1, -5, 0, 7, 0, 0)), bands), BESIDE)
    assert ranges(info) == [(-4, 3), (-5, 30), (-4, 3), (0, 1), (-4, 3), (0, 1)]


def test_every_frame_counts() -> None:
    frames = np.concatenate([pixels((2,), (3,)), pixels((1,), (40,))])
    assert ranges(measured(Rows(frames, unknown("grey")), BESIDE)) == [(1, 40)]


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_samples_that_are_infinite_are_refused(value: float) -> None:
    with pytest.raises(InputError, match=r"^rows: some samples are infinite or not numbers$"):
        measured(Rows(pixels((1,), (value,)), unknown("grey")), BESIDE)


@pytest.mark.parametrize(
    ("alphas", "constant"), [((255, 255, 255), True), ((255, 255, 254), False), ((0, 0, 0), False)]
)
def test_alpha_that_is_opaque_throughout_is_constant(
    alphas: tuple[int, ...], constant: bool
) -> None:
    bands = (Band("grey", 0, 255), Band("alpha", 0, 255))
    source = Rows(pixels(*((9, alpha) for alpha in alphas), dtype=np.uint8), bands)
    info = measured(source, BESIDE)
    assert [band.constant for band in info.bands] == [False, constant]
    assert ranges(info) == [(0, 255), (0, 255)]
    # Once it is known that something shows through, nothing more is looked at.
    assert source.taken == alphas.index(min(alphas)) + 1 if not constant else 3


def covering(*values: tuple[float, ...], cover: str = "associated") -> RasterInfo:
    """Of red, green, blue and alpha."""
    bands = (*unknown("red", "green", "blue"), Band("alpha", 0, 1))
    rest = {"colours": "linear", "cover": cover}
    return measured(Rows(pixels(*values), bands, rest), BESIDE)


def test_a_range_goes_as_far_as_colours_do_without_alpha() -> None:
    # Divided by one half, 2.505 is a little more than the most that is stored.
    info = covering((5, 1, 0, 1), (2.505, 0, 0, 0.5), (0, 0, 0, 0))
    assert info.cover == "associated"
    assert ranges(info)[:3] == [(0, pytest.approx(5.01))] * 3


def test_light_where_nothing_covers_is_emission() -> None:
    info = covering((5, 1, 0, 1), (0.125, 0, 0, 0))
    assert info.cover == "emission"
    assert ranges(info)[:3] == [(0, 5)] * 3


def test_what_would_be_brighter_than_all_that_is_stored_is_emission() -> None:
    info = covering((5, 1, 0, 1), (3, 0, 0, 0.5))
    assert info.cover == "emission"
    assert ranges(info)[:3] == [(0, 5)] * 3


def test_straight_colours_are_not_divided() -> None:
    info = covering((5, 1, 0, 1), (3, 0, 0, 0.5), (1, 0, 0, 0), cover="straight")
    assert info.cover == "straight"
    assert ranges(info)[:3] == [(0, 5)] * 3
