"""Pieces of windows: put together, they are the whole picture reduced."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from upres.enlarging import tiles
from upres.enlarging.pieces import Axis, Piece
from upres.raster.resize import bicubic

SCALE, LENGTH, HALO = 3, 41, 7
SIZES = pytest.mark.parametrize("size", [123, 122, 100, 61, 42, 41])
COUNTS = pytest.mark.parametrize("count", [1, 2, 5])


def pieces(size: int, count: int) -> Iterator[tuple[Piece, slice]]:
    """Each window's piece, and where the window lies in the picture as the model enlarges it."""
    axis = Axis(LENGTH, size, SCALE)
    for span in tiles.cut(LENGTH, count, halo=HALO):
        yield axis.piece(span), slice(span.start * SCALE, span.stop * SCALE)


def enlarged(axis: int) -> NDArray[np.float32]:
    """Three bands as a model makes them: 123 samples along one axis, 5 along the other."""
    shape = (3, SCALE * LENGTH, 5) if axis == 1 else (3, 5, SCALE * LENGTH)
    return np.random.default_rng(2).random(shape, np.float32)


def part_of(planes: NDArray[np.float32], axis: int, part: slice) -> NDArray[np.float32]:
    return planes[:, part] if axis == 1 else planes[:, :, part]


@SIZES
@COUNTS
def test_they_cover_the_result_once(size: int, count: int) -> None:
    places = [(piece.start, piece.stop) for piece, _ in pieces(size, count)]
    assert len(places) >= min(count, 2)
    assert (places[0][0], places[-1][1]) == (0, size)
    assert all(before[1] == after[0] for before, after in pairwise(places))
    assert all(piece.is_reduced == (size != 123) for piece, _ in pieces(size, count))


@SIZES
@COUNTS
@pytest.mark.parametrize("axis", [1, 2])
def test_reduced_pieces_are_the_whole_reduced(size: int, count: int, axis: int) -> None:
    planes = enlarged(axis)
    got = np.concatenate(
        [piece.reduced(part_of(planes, axis, part), axis) for piece, part in pieces(size, count)],
        axis,
    )
    lengths = (size, 5) if axis == 1 else (5, size)
    expected = np.moveaxis(bicubic(np.moveaxis(planes, 0, 2), size=lengths), 2, 0)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6)


@SIZES
@COUNTS
@pytest.mark.parametrize("axis", [0, 1])
def test_nearest_pieces_are_samples_at_the_centres(size: int, count: int, axis: int) -> None:
    plane = np.moveaxis(np.arange(SCALE * LENGTH * 5).reshape(SCALE * LENGTH, 5), 0, axis)
    got = [
        piece.nearest(plane[part] if axis == 0 else plane[:, part], axis)
        for piece, part in pieces(size, count)
    ]
    # In whole numbers: sample i of the result is centred on (2 i + 1) / (2 size) of the whole.
    nearest = [(2 * i + 1) * SCALE * LENGTH // (2 * size) for i in range(size)]
    np.testing.assert_array_equal(np.concatenate(got, axis), plane.take(nearest, axis))
