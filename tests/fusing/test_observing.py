from __future__ import annotations

import numpy as np
import pytest

from scenes import scene
from upres.fusing.observing import Blur, Normal, Samples, Stretch
from upres.raster.resize import bicubic


def operators(height: int, width: int, scale: int) -> tuple[Blur, tuple[int, int]]:
    blur = Blur(Stretch(0, height, height, scale), Stretch(0, width, width, scale))
    return blur, blur.shape


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_samples_in_place_are_the_bicubic_reduction(scale: int) -> None:
    picture = (scene(48 * scale // 2, 60 * scale // 2)[:, :, 0] / 255).astype(np.float32)
    picture = picture[: 24 * scale // 2 * 2, : 30 * scale // 2 * 2]
    height, width = (side // scale for side in picture.shape)
    picture = picture[: height * scale, : width * scale]
    blur, shape = operators(height, width, scale)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    seen = Samples(shape, x, y)
    assert seen.inside.all()
    wanted = bicubic(picture.astype(np.float64), scale=1 / scale)
    # Borders included, which both extend symmetrically.
    assert np.abs(seen.of(blur.coefficients(picture)) - wanted).max() * 255 < 0.05


def test_samples_between_are_the_reduction_of_a_moved_picture() -> None:
    picture = (scene(100, 120)[:, :, 1] / 255).astype(np.float32)
    blur, shape = operators(50, 60, 2)
    moved = np.roll(picture, (-1, -3), (0, 1))
    wanted = bicubic(moved.astype(np.float64), scale=0.5)[5:-5, 5:-5]
    y, x = np.mgrid[5:45, 5:55].astype(np.float64)
    seen = Samples(shape, x + 1.5, y + 0.5).of(blur.coefficients(picture))
    assert np.abs(seen - wanted).max() * 255 < 0.05


def test_slopes_are_those_of_the_samples() -> None:
    picture = (scene(60, 64)[:, :, 0] / 255).astype(np.float32)
    blur, shape = operators(30, 32, 2)
    known = blur.coefficients(picture)
    y, x = np.mgrid[4:20, 4:20] + 0.3
    across, down = Samples(shape, x, y).slopes(known)
    step = 1e-2
    ahead, behind = (Samples(shape, x + s, y).of(known) for s in (step, -step))
    np.testing.assert_allclose(across, (ahead - behind) / (2 * step), atol=2e-3)
    ahead, behind = (Samples(shape, x, y + s).of(known) for s in (step, -step))
    np.testing.assert_allclose(down, (ahead - behind) / (2 * step), atol=2e-3)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_transposes_are_transposes(scale: int) -> None:
    rng = np.random.default_rng(0)
    blur, shape = operators(40, 35, scale)
    picture = rng.random((40 * scale, 35 * scale), np.float32)
    known = rng.random(shape, np.float32)
    one = np.sum(blur.coefficients(picture).astype(float) * known)
    assert one == pytest.approx(np.sum(picture.astype(float) * blur.back(known)), rel=1e-5)
    seen = Samples(shape, rng.uniform(0, 34, (9, 8)), rng.uniform(0, 39, (9, 8)))
    values = rng.random((9, 8), np.float32)
    one = np.sum(seen.of(known).astype(float) * values)
    assert one == pytest.approx(np.sum(known.astype(float) * seen.back(values)), rel=1e-5)


def test_the_normal_matrix_is_samples_weighted_and_taken_back() -> None:
    rng = np.random.default_rng(1)
    shape = (30, 34)
    normal, known = Normal(shape), rng.random(shape, np.float32)
    wanted = np.zeros(shape)
    for _ in range(3):
        x, y = rng.uniform(-1, 17, (12, 11)), rng.uniform(-1, 15, (12, 11))
        seen, weights = Samples(shape, x, y), rng.random((12, 11), np.float32)
        seen.add_to(normal, weights)
        wanted += seen.back(weights * seen.of(known))
    np.testing.assert_allclose(normal.times(known), wanted, atol=1e-4)


def test_a_part_is_blurred_as_in_the_whole() -> None:
    picture = (scene(160, 120)[:, :, 0] / 255).astype(np.float32)
    whole = Blur(Stretch(0, 80, 80, 2), Stretch(0, 60, 60, 2)).coefficients(picture)
    part = Blur(Stretch(20, 70, 80, 2), Stretch(0, 60, 60, 2)).coefficients(picture[40:140])
    # A part's knots begin one sample before it, and its own margin is what the kernel reaches.
    np.testing.assert_allclose(part[16:-16], whole[40:144][16:-16], atol=1e-6)
