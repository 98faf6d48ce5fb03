from __future__ import annotations

import numpy as np
import pytest

from upres.raster.info import Band, RasterInfo, bands_of

SCENE = RasterInfo(
    height=100,
    width=80,
    bands=(Band("other"), *bands_of(("blue", "green", "red")), Band("alpha", constant=True)),
    dtype=np.dtype(np.int16),
    spacing=(0.5, 0.7),
    # Turned: columns go to the north-east, rows to the south-east.
    transform=(6.0, 8.0, 1000.0, 8.0, -6.0, 2000.0),
)


def test_bands_are_found_by_their_roles() -> None:
    assert SCENE.colour_bands == (3, 2, 1)
    assert SCENE.alpha is None
    assert SCENE.find("other", "blue") == (0, 1)
    assert len(SCENE.varying) == 4
    assert RasterInfo(1, 1, bands_of(("red", "red", "blue")), SCENE.dtype).colour_bands is None


def place(info: RasterInfo, column: float, row: float) -> tuple[float, float]:
    assert info.transform is not None
    a, b, c, d, e, f = info.transform
    return a * column + b * row + c, d * column + e * row + f


@pytest.mark.parametrize("size", [(200, 160), (250, 200), (133, 111)])
def test_a_larger_raster_covers_the_same_ground(size: tuple[int, int]) -> None:
    large = SCENE.resized(*size)
    assert (large.height, large.width) == size
    for column in (0, 1):
        for row in (0, 1):
            corner = place(SCENE, column * SCENE.width, row * SCENE.height)
            assert place(large, column * large.width, row * large.height) == pytest.approx(corner)
    assert large.spacing is not None
    assert large.spacing[0] * large.height == pytest.approx(0.5 * 100)
    assert large.spacing[1] * large.width == pytest.approx(0.7 * 80)


def test_ranges_that_are_not_known_are_told() -> None:
    assert SCENE.is_measured
    assert not RasterInfo(1, 1, (Band("other", None, None),), SCENE.dtype).is_measured
