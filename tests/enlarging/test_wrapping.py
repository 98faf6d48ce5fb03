"""Tiles, whose opposite edges continue each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

import fakes
import upres
from upres.enlarging.api import enlarge_array
from upres.enlarging.options import Options
from upres.raster.arrays import ArraySource

Array = NDArray[Any]


def tile(height: int = 48, width: int = 60, channels: int = 3) -> Array:
    """A texture that goes on beyond its edges, with edges of its own."""
    y, x = np.mgrid[:height, :width]
    turns = 2 * np.pi
    waves = [
        np.sin(turns * (2 * x / width + band * y / height)) * np.cos(turns * 3 * y / height)
        for band in range(1, channels + 1)
    ]
    picture = 127 + 90 * np.stack(waves, 2)
    picture[(x // 5 + y // 6) % 4 == 0] += 30
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(
    ("scale", "shift"), [(2, (24, 30)), (4, (7, 59)), (3, (1, 1)), (2.5, (8, 4))]
)
def test_a_shifted_tile_becomes_the_same_shifted(
    scale: float, shift: tuple[int, int], precision: Any
) -> None:
    picture = tile()
    result = upres.enlarge(picture, scale=scale, wrap=True, precision=precision)
    moved = np.roll(picture, shift, (0, 1))
    back = upres.enlarge(moved, scale=scale, wrap=True, precision=precision)
    back = np.roll(back, [-int(side * scale) for side in shift], (0, 1))
    difference = np.abs(result.astype(int) - back)
    # The same numbers at other places in a window may be rounded otherwise.
    assert difference.max() <= (1 if precision == "fp32" else 6)
    assert difference.mean() < (0.01 if precision == "fp32" else 0.4)


@pytest.mark.parametrize("scale", [2, 4, 2.5, 8])
def test_the_seam_is_like_the_interior(scale: float) -> None:
    picture = tile()
    middle = upres.enlarge(np.tile(picture, (3, 3, 1)), scale=scale, precision="fp32")
    height, width = len(middle) // 3, middle.shape[1] // 3
    expected = middle[height : 2 * height, width : 2 * width].astype(int)
    wrapped = upres.enlarge(picture, scale=scale, wrap=True, precision="fp32")
    assert np.abs(wrapped - expected).max() <= 1
    apart = upres.enlarge(picture, scale=scale, precision="fp32")
    assert np.abs(apart - expected).max() > 8, "else this sees nothing"


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (17, 5)])
def test_a_tile_may_be_smaller_than_what_a_network_sees(size: tuple[int, int]) -> None:
    picture = tile(*size)
    result = upres.enlarge(picture, scale=2, wrap=True)
    assert result.shape == (2 * size[0], 2 * size[1], 3)


@pytest.mark.parametrize("asked", [{"scale": 2}, {"width": 101}, {"scale": 1.3}])
def test_windows_change_nothing(asked: dict[str, Any]) -> None:
    results = [
        enlarge_array(
            ArraySource(tile(channels=2)),
            Options(model=fakes.fake_model(halo=3), wrap=True, **asked),
            backend=fakes.FakeBackend(window_pixels=pixels),
        )
        for pixels in (900, 2**20)
    ]
    np.testing.assert_allclose(*[each.astype(int) for each in results], rtol=0, atol=1)


def test_files_of_all_kinds_wrap(tmp_path: Path) -> None:
    picture = np.dstack([tile(), tile(channels=1)])
    PIL.Image.fromarray(picture).save(tmp_path / "a.png")
    PIL.Image.fromarray(np.roll(picture, (11, 21), (0, 1))).save(tmp_path / "b.png")
    results = []
    for name in "ab":
        target = tmp_path / f"{name}_x2.png"
        upres.enlarge_file(tmp_path / f"{name}.png", target, scale=2, wrap=True, precision="fp32")
        results.append(np.asarray(PIL.Image.open(target)).astype(int))
    difference = np.abs(results[0] - np.roll(results[1], (-22, -42), (0, 1)))
    assert difference[:, :, 3].max() <= 1
    assert difference[results[0][:, :, 3] > 0].max() <= 1
