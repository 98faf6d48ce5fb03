"""Slices between those of a volume, against the same done by hand with NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from upres.enlarging.between import with_slices_between
from upres.raster.info import Band, RasterInfo
from upres.raster.pixels import Float32Array

RNG = np.random.default_rng(3)


def info_of(
    slices: int,
    height: int,
    width: int,
    volumes: int = 1,
    bands: int = 1,
    dtype: str = "int16",
) -> RasterInfo:
    band = Band("other", -1000.0, 1000.0, least=-100.0, most=100.0, unbounded=True, limited=True)
    return RasterInfo(
        height,
        width,
        (band,) * bands,
        np.dtype(dtype),
        frames=slices * volumes,
        slices=slices,
        preserves="mean",
    )


def enlarge(plane: Float32Array, info: RasterInfo, size: tuple[int, int]) -> Float32Array:
    """Slices x across x bands: repeated, and each a little like its neighbour across."""
    assert plane.shape[:2] == (info.height, info.width)
    assert size[1] == info.width
    factor = size[0] // info.height
    large = plane.repeat(factor, 0)
    ripple = np.linspace(-0.1, 0.1, factor, dtype=np.float32)
    ripple = np.tile(ripple, info.height)[:, None, None]
    return large * np.float32(0.9) + np.roll(large, 1, 1) * np.float32(0.1) + ripple


def by_hand(volume: NDArray[Any], factor: int) -> NDArray[Any]:
    """Slices x rows x columns x bands."""
    large = volume.astype(np.float64).repeat(factor, 0)
    ripple = np.tile(np.linspace(-0.1, 0.1, factor), len(volume))[:, None, None, None]
    across = large * 0.9 + np.roll(large, 1, 2) * 0.1 + ripple
    down = large * 0.9 + np.roll(large, 1, 1) * 0.1 + ripple
    both = (across + down) / 2
    cells = both.reshape(len(volume), factor, *volume.shape[1:])
    cells += (volume - cells.mean(1))[:, None]
    return np.asarray(cells.reshape(both.shape))


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("bands", [1, 3])
def test_both_planes_are_averaged_and_means_are_kept(
    tmp_path: Path, factor: int, bands: int
) -> None:
    volumes = RNG.uniform(0.2, 0.8, (2, 5, 7, 9, bands)).astype(np.float32)
    frames = [iter([f[:3], f[3:]]) for f in volumes.reshape(10, 7, 9, bands)]
    told: list[tuple[int, float]] = []
    made = [
        np.concatenate(list(frame))
        for frame in with_slices_between(
            frames,
            # Whole numbers would be rounded.
            info_of(5, 7, 9, 2, bands, "float32"),
            factor,
            enlarge,
            beside=tmp_path / "x",
            progress=lambda volume, part: told.append((volume, part)),
        )
    ]
    expected = np.concatenate([by_hand(volume, factor) for volume in volumes])
    np.testing.assert_allclose(np.stack(made), expected, rtol=0, atol=2e-6)
    assert (told[15], told[-1]) == ((0, 1), (1, 1))
    assert told == sorted(told)
    assert not list(tmp_path.iterdir())


def test_no_slice_goes_beyond_what_can_be_stored(tmp_path: Path) -> None:
    info = info_of(4, 6, 6)
    # As a network counts them, the limits are -4.5 and 5.5.
    volume = RNG.choice([-4.5, 5.5], (4, 6, 6, 1)).astype(np.float32)

    def wild(plane: Float32Array, seen: RasterInfo, size: tuple[int, int]) -> Float32Array:
        return RNG.normal(0, 9, (*size, 1)).astype(np.float32)

    frames = (iter([frame]) for frame in volume)
    made = np.stack(
        [next(f) for f in with_slices_between(frames, info, 2, wild, beside=tmp_path / "x")]
    )
    assert -4.5 - 1e-5 <= made.min() <= made.max() <= 5.5 + 1e-5
    np.testing.assert_allclose(made.reshape(4, 2, 6, 6, 1).mean(1), volume, rtol=0, atol=1e-5)


def test_what_is_given_up_leaves_nothing_behind(tmp_path: Path) -> None:
    # Of a size that is kept on disk.
    info = info_of(8, 600, 600)
    frames = (iter([np.zeros((600, 600, 1), np.float32)]) for _ in range(8))

    def stop(plane: Float32Array, seen: RasterInfo, size: tuple[int, int]) -> Float32Array:
        assert len(list(tmp_path.iterdir())) == 2
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(with_slices_between(frames, info, 2, stop, beside=tmp_path / "x"))
    assert not list(tmp_path.iterdir())
