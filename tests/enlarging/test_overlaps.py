from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from upres.enlarging.overlaps import Block, with_margins
from upres.raster.pixels import Float32Array


def parts_of(picture: Float32Array, height: int, width: int) -> Iterator[Block]:
    """Windows as ``enlarge_windows`` gives them: planes, seen as rows x columns x bands."""
    for top in range(0, picture.shape[0], height):
        for left in range(0, picture.shape[1], width):
            part = picture[top : top + height, left : left + width]
            yield top, left, np.moveaxis(np.moveaxis(part, 2, 0).copy(), 0, 2)


@pytest.mark.parametrize("window", [(7, 9), (40, 50), (13, 50), (40, 4), (1, 1), (100, 100)])
@pytest.mark.parametrize(("margin", "multiple"), [(8, 4), (3, 1), (0, 1), (30, 3)])
def test_areas_cover_the_result_once_and_know_what_lies_around(
    window: tuple[int, int], margin: int, multiple: int, tmp_path: Path
) -> None:
    size = (40, 50)
    picture = np.random.default_rng(1).random((*size, 2), np.float32)
    result = np.full_like(picture, np.nan)
    areas = with_margins(
        parts_of(picture, *window),
        size,
        2,
        margin=margin,
        multiple=multiple,
        beside=tmp_path / "result.png",
    )
    for area in areas:
        known = picture[area.rows.start : area.rows.stop, area.columns.start : area.columns.stop]
        np.testing.assert_array_equal(np.moveaxis(area.planes, 0, 2), known)
        for extent, length in ((area.rows, 40), (area.columns, 50)):
            assert extent.start <= max(0, extent.first - margin)
            assert extent.stop >= min(length, extent.last + margin)
            for end in (extent.start, extent.first, extent.last):
                assert end % multiple == 0 or end == length
        top, left, block = area.part()
        place = result[top : top + block.shape[0], left : left + block.shape[1]]
        assert np.isnan(place).all(), "areas overlap"
        place[:] = block
        area.planes[:] = 7  # it is the taker's own
    np.testing.assert_array_equal(result, picture)
    assert not list(tmp_path.iterdir())


def test_a_result_of_one_part_is_not_copied(tmp_path: Path) -> None:
    ((top, left, block),) = parts_of(np.ones((6, 8, 3), np.float32), 6, 8)
    (area,) = with_margins([(top, left, block)], (6, 8), 3, margin=2, beside=tmp_path / "a")
    assert np.shares_memory(area.planes, block)
