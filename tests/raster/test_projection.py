from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from upres.raster.projection import (
    product_inverse,
    pseudo_inverse,
    reduced,
    reduced_rows,
    transposed,
)
from upres.raster.resize import bicubic

SIZES = [(20, 31), (40, 3), (2, 5), (1, 1), (1, 70)]


def matrix(length: int, scale: int) -> NDArray[np.float64]:
    """D along one axis, column by column: what ``bicubic`` makes of each unit vector."""
    units = np.eye(length * scale)
    return np.asarray(bicubic(units, size=(length, length * scale)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [2, 3, 4, 5, 8])
def test_it_reduces_as_bicubic_does(size: tuple[int, int], scale: int) -> None:
    picture = np.random.default_rng(1).standard_normal((size[0] * scale, size[1] * scale))
    np.testing.assert_allclose(reduced(picture, scale), bicubic(picture, size=size), atol=1e-12)
    single = reduced(picture.astype(np.float32), scale)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, bicubic(picture, size=size), atol=3e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_rows_are_those_of_the_whole(scale: int) -> None:
    picture = np.random.default_rng(2).standard_normal((50 * scale, 9 * scale))
    whole = reduced(picture, scale)
    for first, last in ((0, 3), (7, 44), (45, 50)):
        parts = [rows for _, _, rows in reduced_rows(picture, scale, first, last)]
        np.testing.assert_allclose(np.concatenate(parts), whole[first:last], atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [2, 3, 4, 5])
def test_the_transpose_is_adjoint(size: tuple[int, int], scale: int) -> None:
    rng = np.random.default_rng(3)
    large = rng.standard_normal((size[0] * scale, size[1] * scale))
    small = rng.standard_normal(size)
    ahead, back = np.sum(reduced(large, scale) * small), np.sum(large * transposed(small, scale))
    assert ahead == pytest.approx(back, abs=1e-10)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_pseudo_inverse_is_least_squares(scale: int) -> None:
    size = (11, 14)
    small = np.random.default_rng(4).uniform(-1, 1, size)
    both = np.kron(matrix(size[0], scale), matrix(size[1], scale))
    # Of all pictures that are reduced to it, LAPACK gives the least.
    least, _, rank, _ = np.linalg.lstsq(both, small.ravel(), rcond=None)
    assert rank == small.size
    got = pseudo_inverse(small, scale)
    np.testing.assert_allclose(got.ravel(), least, rtol=0, atol=6e-6)
    np.testing.assert_allclose(reduced(got, scale), small, rtol=0, atol=3e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_inverse_of_the_product_is_off_by_no_more_than_it_says(
    size: tuple[int, int], scale: int
) -> None:
    # The worst that samples of at most 1 can do to the first, at a border, and to one inside.
    rows, columns = (matrix(length, scale) for length in size)
    for place in ((0, 0), (size[0] // 2, size[1] // 2)):
        impulse = np.zeros(size)
        impulse[place] = 1
        inverse = product_inverse(impulse, scale)
        error = rows @ rows.T @ inverse @ columns @ columns.T - impulse
        assert np.abs(error).sum() <= 3e-6


def test_other_sizes_and_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="9x8"):
        reduced(np.zeros((8, 9)), 4)
    with pytest.raises(ValueError, match="at least 2, got 1"):
        transposed(np.zeros((8, 9)), 1)
