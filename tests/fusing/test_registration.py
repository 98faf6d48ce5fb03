from __future__ import annotations

import numpy as np
import pytest

from scenes import frames_of, scene
from upres.fusing import motion
from upres.fusing.motion import Homography
from upres.fusing.registration import Fit
from upres.fusing.start import pyramid, rough_fit
from upres.raster.resize import bicubic

GREY = np.array([0.299, 0.587, 0.114])


def found(reference: np.ndarray, frame: np.ndarray) -> Fit:
    planes = [(each @ GREY / 255).astype(np.float32) for each in (reference, frame)]
    fit = rough_fit(pyramid(planes[0]), pyramid(planes[1]))
    assert fit is not None
    return fit


def off(fit: Fit, known: Homography, height: int, width: int) -> float:
    """The root mean square of the corners' distances from where they belong."""
    x, y = motion.corners(height, width)
    wanted, got = motion.moved(known, x, y), motion.moved(fit.matrix, x, y)
    return float(np.sqrt(np.mean(np.square(np.subtract(wanted, got)).sum(0))))


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_shifts_are_found_to_a_hundredth_of_a_sample(noise: float) -> None:
    picture = scene(320, 360)
    shifts = [(0, 0), (1, 0), (3, -5), (-7, 2)]
    reference, *others = frames_of(picture, shifts, size=(128, 144), noise=noise)
    errors = []
    for (down, across), frame in zip(shifts[1:], others, strict=True):
        fit = found(reference, frame)
        assert fit.kind == "shift"
        errors.append(off(fit, motion.shift(across / 2, down / 2), 128, 144))
    assert np.sqrt(np.mean(np.square(errors))) < 0.01


def test_a_large_shift_is_found() -> None:
    picture = scene(400, 400)
    reference, frame = frames_of(picture, [(60, 60), (0, 112)], size=(128, 128))
    fit = found(reference, frame)
    assert off(fit, motion.shift(26, -30), 128, 128) < 0.05


def turned(picture: np.ndarray, place: Homography, size: tuple[int, int]) -> np.ndarray:
    """A frame of a scene by a homography, its samples of half the scene's."""
    ndimage = pytest.importorskip("scipy.ndimage")
    y, x = np.mgrid[: 2 * size[0], : 2 * size[1]].astype(float)
    u, v = motion.moved(motion.at_scale(place, 2), x, y)
    planes = [
        ndimage.map_coordinates(picture[:, :, c], [v + 20, u + 20], order=5, mode="reflect")
        for c in range(3)
    ]
    return bicubic(np.stack(planes, 2), scale=0.5)


def about_the_centre(degrees: float, zoom: float, tilt: float, size: tuple[int, int]) -> Homography:
    c, s = zoom * np.cos(np.deg2rad(degrees)), zoom * np.sin(np.deg2rad(degrees))
    to = motion.shift((size[1] - 1) / 2, (size[0] - 1) / 2)
    return motion.with_last_one(
        to @ np.array([[c, -s, 1.3], [s, c, -0.6], [tilt, -tilt / 2, 1]]) @ np.linalg.inv(to)
    )


@pytest.mark.parametrize(("tilt", "kind"), [(0.0, "affine"), (4e-4, "homography")])
def test_a_turned_zoomed_and_tilted_frame_is_found(tilt: float, kind: str) -> None:
    picture, size = scene(340, 380), (140, 150)
    place = about_the_centre(0.9, 1.01, tilt, size)
    rng = np.random.default_rng(3)
    reference, frame = (
        turned(picture, each, size) + rng.normal(0, 2, (*size, 3)) for each in (np.eye(3), place)
    )
    fit = found(reference, frame)
    assert fit.kind == kind
    assert off(fit, place, *size) < 0.04


def test_exposure_and_a_moving_object_mislead_nobody() -> None:
    picture = scene(320, 360)
    reference, frame = frames_of(picture, [(0, 0), (3, -5)], size=(128, 144))
    frame = frame * 0.8 + 12
    frame[30:70, 40:90] = np.random.default_rng(0).uniform(0, 255, (40, 50, 3))
    fit = found(reference, frame)
    assert off(fit, motion.shift(-2.5, 1.5), 128, 144) < 0.02
    assert fit.gain == pytest.approx(0.8, abs=0.02)


def test_shifts_are_found_where_opencv_finds_them() -> None:
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(5)
    shifts = [(0, 0), *((int(a), int(b)) for a, b in rng.integers(-7, 8, (8, 2)))]
    reference, *others = frames_of(scene(320, 360), shifts, size=(128, 144))
    own, ecc = [], []
    planes = [(each @ GREY).astype(np.float32) for each in (reference, *others)]
    for (down, across), frame, plane in zip(shifts[1:], others, planes[1:], strict=True):
        known = motion.shift(across / 2, down / 2)
        own.append(off(found(reference, frame), known, 128, 144))
        start = np.array([[1, 0, -round(across / 2)], [0, 1, -round(down / 2)]], np.float32)
        ends = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-7)
        _, warp = cv2.findTransformECC(
            planes[0], plane, start, cv2.MOTION_TRANSLATION, ends, None, 5
        )
        ecc.append(float(np.hypot(warp[0, 2] + across / 2, warp[1, 2] + down / 2)))
    # OpenCV finds the same places, by another method, and less exactly.
    assert np.sqrt(np.mean(np.square(ecc))) < 0.05
    assert np.sqrt(np.mean(np.square(own))) < 0.015
