"""Frames that are reduced by a narrower kernel than MATLAB's, and so have aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import upres
from scenes import as_bytes, scene
from upres.engine.backends import default_backend
from upres.enlarging.options import Options
from upres.fusing.api import fuse_arrays
from upres.fusing.frames import Given
from upres.fusing.pipeline import Fusion, fuse_into
from upres.fusing.request import fusing_plan
from upres.raster.arrays import ArraySink, ArraySource
from upres.raster.metrics import psnr

Picture = NDArray[Any]
SIZE = (72, 80)


def fine_scene() -> Picture:
    """A scene with squares of two pixels, which frames of half its size show as aliases."""
    rng = np.random.default_rng(3)
    squares = np.kron(rng.integers(0, 2, (100, 110)), np.ones((2, 2)))
    picture = scene()
    picture[:, 60:] = 0.4 * picture[:, 60:] + 130 * squares[:, 60:, None]
    return picture


SCENE = fine_scene()


def reduced(picture: Picture, width: float, down: float, across: float) -> Picture:
    """A frame whose first sample lies at 20, 20 of a scene plus a shift, half as large."""
    for axis, (start, count) in enumerate(((20 + down, SIZE[0]), (20 + across, SIZE[1]))):
        places = (np.arange(picture.shape[axis]) - 0.5 - start) / 2
        off = np.abs(places[None] - np.arange(count)[:, None]) / width
        near, far = 1.5 * off**3 - 2.5 * off**2 + 1, -0.5 * off**3 + 2.5 * off**2 - 4 * off + 2
        weights = np.where(off < 1, near, np.where(off < 2, far, 0))
        weights /= weights.sum(1, keepdims=True)
        picture = np.moveaxis(np.tensordot(weights, picture, (1, axis)), 0, axis)
    return picture


def burst(width: float, count: int = 16, seed: int = 0) -> list[Picture]:
    rng = np.random.default_rng(seed)
    shifts = [(0.0, 0.0), *rng.uniform(-3, 3, (count - 1, 2))]
    frames = [reduced(SCENE, width, down, across) for down, across in shifts]
    return [as_bytes(frame + rng.normal(0, 2, frame.shape)) for frame in frames]


def fused(frames: list[Picture]) -> tuple[Picture, Fusion]:
    return fuse_arrays([ArraySource(frame) for frame in frames], Options(scale=2))


WANTED = SCENE[20 : 20 + 2 * SIZE[0], 20 : 20 + 2 * SIZE[1]]


def test_aliases_gain_where_there_are_frames_enough() -> None:
    frames = burst(0.7)
    result, facts = fused(frames)
    assert len(facts.used) == 16
    single = upres.enlarge(frames[0], scale=2)
    assert psnr(result, WANTED) > psnr(single, WANTED) + 1.5
    assert facts.held_out is not None
    assert facts.held_out.fused < 0.7 * facts.held_out.single


@pytest.mark.parametrize(("width", "count", "gain"), [(0.7, 8, 4.5), (0.7, 16, 3), (0.5, 16, 3)])
def test_a_narrower_kernel_is_found_and_gains(width: float, count: int, gain: float) -> None:
    frames = burst(width, count)
    result, facts = fused(frames)
    assert facts.kernel in (0.5, 0.7)
    single = upres.enlarge(frames[0], scale=2)
    assert psnr(result, WANTED) > psnr(single, WANTED) + gain


@pytest.mark.parametrize("count", [5, 8, 16])
def test_no_narrower_kernel_is_taken_for_matlabs(count: int) -> None:
    _, facts = fused(burst(1.0, count))
    assert facts.kernel == 1


def test_tiles_equal_the_whole_by_a_narrower_kernel(tmp_path: Path) -> None:
    frames = burst(0.7)
    sources = [ArraySource(frame / np.float32(255)) for frame in frames]
    given = [Given(f"picture {n}", source, 0) for n, source in enumerate(sources)]
    backend = default_backend()
    plan = fusing_plan(given, 0, Options(scale=2), backend)
    results = []
    for side in (96, 512):
        with ArraySink() as sink:
            facts = fuse_into(
                given, 0, plan, sink, beside=tmp_path / "x", backend=backend, tile_side=side
            )
            sink.commit()
            results.append(255 * sink.result)
        assert facts.kernel < 1
    # By MATLAB's kernel, these aliases make it 17 levels.
    assert np.abs(results[0] - results[1]).max() < 1.5


def test_the_order_of_aliased_frames_changes_nothing() -> None:
    frames = burst(0.7)
    result, _ = fused(frames)
    again, _ = fused([frames[0], *frames[:0:-1]])
    np.testing.assert_array_equal(result, again)


@pytest.mark.parametrize("width", [1.0, 0.7])
def test_a_moving_object_leaves_no_ghost_among_aliases(width: float) -> None:
    frames = burst(width)
    for number, frame in enumerate(frames):
        left = 6 + 4 * number
        frame[20:34, left : left + 10] = (250, 20, 30)
    result, facts = fused(frames)
    assert len(facts.used) == 16
    single = upres.enlarge(frames[0], scale=2)
    # Where the object is in the reference, and all others show the scene behind it.
    inside = np.s_[44:64, 16:28]
    np.testing.assert_array_equal(result[inside], single[inside])
    # Where it is in others, nothing of it is left: the colour is the scene's.
    behind = np.s_[38:70, 48:140]
    error = np.abs(result[behind].astype(float) - WANTED[behind])
    alone = np.abs(single[behind].astype(float) - WANTED[behind])
    assert error.max() < alone.max() + 12
    assert error.mean() < alone.mean()


def test_an_object_that_the_reference_alone_shows_stays() -> None:
    frames = burst(0.7)
    frames[0][30:44, 30:44] = (250, 20, 30)
    result, _ = fused(frames)
    single = upres.enlarge(frames[0], scale=2)
    np.testing.assert_array_equal(result[66:82, 66:82], single[66:82, 66:82])
