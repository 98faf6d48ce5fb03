from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import upres
from scenes import SHIFTS, as_bytes, frames_of, scene, truth
from upres.engine.backends import default_backend
from upres.enlarging.options import Options
from upres.fusing.api import fuse_arrays
from upres.fusing.frames import Given
from upres.fusing.pipeline import Fusion, fuse_into
from upres.fusing.request import fusing_plan
from upres.raster.arrays import ArraySink, ArraySource
from upres.raster.metrics import psnr

Picture = NDArray[Any]


def fused(frames: list[Picture], scale: int = 2, **options: Any) -> tuple[Picture, Fusion]:
    reference = options.pop("reference", 0)
    sources = [ArraySource(frame) for frame in frames]
    return fuse_arrays(sources, Options(scale=scale, **options), reference=reference)


@pytest.fixture(scope="module")
def picture() -> Picture:
    return scene()


@pytest.fixture(scope="module")
def burst(picture: Picture) -> list[Picture]:
    return [as_bytes(frame) for frame in frames_of(picture, SHIFTS)]


@pytest.fixture(scope="module")
def one(burst: list[Picture]) -> Picture:
    return upres.enlarge(burst[0], scale=2)


@pytest.fixture(scope="module")
def eight(burst: list[Picture]) -> tuple[Picture, Fusion]:
    return fused(burst)


def test_eight_frames_are_better_than_one(
    picture: Picture, one: Picture, eight: tuple[Picture, Fusion]
) -> None:
    result, facts = eight
    assert result.shape == one.shape
    assert result.dtype == np.uint8
    assert len(facts.used) == 8
    assert facts.left_out == ()
    wanted = truth(picture)
    assert psnr(result, wanted) > psnr(one, wanted) + 2.5


def test_held_out_frames_are_predicted_better(eight: tuple[Picture, Fusion]) -> None:
    errors = eight[1].held_out
    assert errors is not None
    # The noise of two levels cannot be predicted.
    assert 1.9 < errors.fused < errors.single
    assert str(errors) == f"fusing helped: {errors.fused:.1f} instead of {errors.single:.1f}"


@pytest.mark.parametrize("count", [2, 3, 5])
def test_any_number_of_frames_is_no_worse(
    picture: Picture, burst: list[Picture], one: Picture, count: int
) -> None:
    result, _ = fused(burst[:count])
    assert psnr(result, truth(picture)) > psnr(one, truth(picture)) + 0.3


@pytest.mark.parametrize("frames", ["one", "repeated"])
def test_one_frame_and_its_repetitions_are_enlarged(
    burst: list[Picture], one: Picture, frames: str
) -> None:
    result, facts = fused(burst[:1] if frames == "one" else [burst[0]] * 4)
    np.testing.assert_array_equal(result, one)
    assert len(facts.used) == 1
    assert [str(each) for each in facts.left_out] == [
        f"picture {n}: left out: it is the same as picture 1"
        for n in range(2, 2 if frames == "one" else 5)
    ]


def test_the_order_of_the_others_changes_nothing(
    burst: list[Picture], eight: tuple[Picture, Fusion]
) -> None:
    order = [0, 5, 2, 7, 1, 3, 6, 4]
    result, _ = fused([burst[i] for i in order])
    np.testing.assert_array_equal(result, eight[0])


def test_the_reference_may_be_any(picture: Picture, burst: list[Picture]) -> None:
    result, facts = fused(burst, reference=4)
    down, across = SHIFTS[4]
    wanted = picture[20 + down : 148 + down, 20 + across : 164 + across]
    own = upres.enlarge(burst[4], scale=2)
    assert psnr(result, wanted) > psnr(own, wanted) + 2.5
    assert facts.used[0] == "picture 5"


def test_a_moving_object_leaves_no_ghost(
    picture: Picture, burst: list[Picture], one: Picture
) -> None:
    moved = [frame.copy() for frame in burst]
    for number, frame in enumerate(moved):
        left = 10 + 6 * number
        frame[20:34, left : left + 12] = (250, 20, 30)
    result, facts = fused(moved)
    assert len(facts.used) == 8
    single = upres.enlarge(moved[0], scale=2)
    # Where the object is in the reference, and where it is in others.
    inside = np.s_[42:66, 22:42]
    np.testing.assert_array_equal(result[inside], single[inside])
    elsewhere = np.s_[38:70, 60:130]
    error = np.abs(result[elsewhere].astype(float) - truth(picture)[elsewhere])
    alone = np.abs(single[elsewhere].astype(float) - truth(picture)[elsewhere])
    assert error.max() < alone.max() + 12
    # The rest gains nevertheless.
    rest = np.s_[80:]
    assert psnr(result[rest], truth(picture)[rest]) > psnr(one[rest], truth(picture)[rest]) + 2


def test_borders_that_no_other_frame_shows_are_those_of_one(
    burst: list[Picture], one: Picture, picture: Picture
) -> None:
    far = [as_bytes(f) for f in frames_of(picture, [(0, 0), (24, 0), (25, 1)])]
    result, facts = fused(far)
    assert len(facts.used) == 3
    single = upres.enlarge(far[0], scale=2)
    np.testing.assert_array_equal(result[:20], single[:20])
    assert np.abs(result[40:].astype(int) - single[40:]).max() > 3


def test_full_pixel_shifts_lessen_noise_and_invent_nothing() -> None:
    flat = np.full((200, 220, 3), 128.0)
    flat[60:100, 60:120] = 90
    shifts = [(0, 0), (2, 0), (0, 2), (-2, 2), (4, -2), (2, 2), (-4, 0), (0, -4)]
    frames = [as_bytes(frame) for frame in frames_of(flat, shifts, noise=3.0)]
    result, _ = fused(frames)
    single = upres.enlarge(frames[0], scale=2)
    wanted = truth(flat)
    assert psnr(result, wanted) > psnr(single, wanted) + 5
    calm = np.s_[100:, :]
    assert result[calm].std() < single[calm].std() / 2


def test_exposure_and_white_balance_may_differ(
    picture: Picture, burst: list[Picture], one: Picture
) -> None:
    frames = frames_of(picture, SHIFTS)
    gains = np.random.default_rng(0).uniform(0.85, 1.1, (8, 3))
    gains[0] = 1
    result, facts = fused([as_bytes(f * g) for f, g in zip(frames, gains, strict=True)])
    assert len(facts.used) == 8
    wanted = truth(picture)
    # Highlights that were clipped differ.
    assert psnr(result, wanted) > psnr(one, wanted) + 1.5


def test_unfit_frames_are_left_out_by_name(picture: Picture, burst: list[Picture]) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    blurred = as_bytes(ndimage.gaussian_filter(burst[2].astype(float), (1.2, 1.2, 0)))
    other = as_bytes(frames_of(scene(seed=9), [(0, 0)])[0])
    askew = as_bytes(ndimage.rotate(burst[3].astype(float), 70, reshape=False, mode="reflect"))
    result, facts = fused([burst[0], blurred, other, askew, *burst[4:6]])
    assert facts.used == ("picture 1", "picture 5", "picture 6")
    told = {each.name: each.reason for each in facts.left_out}
    assert told["picture 2"] == "it is blurred"
    assert set(told) == {"picture 2", "picture 3", "picture 4"}
    np.testing.assert_array_equal(result, fused([burst[0], *burst[4:6]])[0])


def test_a_frame_of_other_bands_or_type_is_left_out(burst: list[Picture], one: Picture) -> None:
    grey, deep = burst[1][:, :, 0], burst[1].astype(np.uint16)
    result, facts = fused([burst[0], grey, deep])
    np.testing.assert_array_equal(result, one)
    assert [each.reason for each in facts.left_out] == [
        "it has other bands than the reference",
        "its samples are uint16, those of the reference uint8",
    ]


@pytest.mark.parametrize("kind", ["uint16", "float32", "grey", "five"])
def test_other_types_and_bands_gain_too(picture: Picture, kind: str) -> None:
    frames = frames_of(picture, SHIFTS)
    wanted = truth(picture)
    given: list[Picture]
    options: dict[str, Any] = {}
    if kind == "uint16":
        given = [np.rint(np.clip(f, 0, 255) * 257).astype(np.uint16) for f in frames]
    elif kind == "float32":
        given = [np.clip(f / 255, 0, 1).astype(np.float32) for f in frames]
    elif kind == "grey":
        given, wanted = [as_bytes(f[:, :, 1]) for f in frames], wanted[:, :, 1]
    else:
        roles = ["red", "green", "blue", "other", "other"]
        given = [as_bytes(np.dstack([f, f[:, :, 1:]])) for f in frames]
        wanted, options = np.dstack([wanted, wanted[:, :, 1:]]), {"bands": roles}
    result = upres.fuse(given, scale=2, **options)
    single = upres.enlarge(given[0], scale=2, **options)
    assert result.shape == single.shape
    assert result.dtype == single.dtype
    most = {"uint16": 65535.0, "float32": 1.0}.get(kind, 255.0)
    levels = [psnr(each / most * 255, wanted) for each in (result, single)]
    assert levels[0] > levels[1] + 2


def test_alpha_and_classes_are_the_reference_s(picture: Picture) -> None:
    frames = [as_bytes(frame) for frame in frames_of(picture, SHIFTS[:4])]
    alpha = np.full(frames[0].shape[:2], 255, np.uint8)
    alpha[:, :20] = 0
    given = [np.dstack([frame, alpha]) for frame in frames]
    result, single = upres.fuse(given, scale=2), upres.enlarge(given[0], scale=2)
    np.testing.assert_array_equal(result[:, :, 3], single[:, :, 3])
    np.testing.assert_array_equal(result[:, :30], single[:, :30])
    assert np.abs(result[:, 60:].astype(int) - single[:, 60:]).max() > 3
    roles = ["red", "green", "blue", "index"]
    result, single = (
        upres.fuse(given, scale=2, bands=roles),
        upres.enlarge(given[0], scale=2, bands=roles),
    )
    np.testing.assert_array_equal(result[:, :, 3], single[:, :, 3])


def test_the_result_reduced_again_gives_the_frames(eight: tuple[Picture, Fusion]) -> None:
    from upres.raster.resize import bicubic

    clean = frames_of(scene(), SHIFTS, noise=0)
    reduced = bicubic(eight[0].astype(np.float64), scale=0.5)
    inner = np.s_[4:-4, 4:-4]
    # Nearer to the frame without noise than the frame itself is, which has two levels.
    assert np.sqrt(np.mean((reduced - clean[0])[inner] ** 2)) < 1.5


@pytest.mark.parametrize("scale", [2, 4])
def test_tiles_equal_the_whole(scale: int, tmp_path: Path) -> None:
    frames = frames_of(scene(400, 420), SHIFTS[:5], scale, size=(80, 88))
    sources = [ArraySource(np.clip(f / 255, 0, 1).astype(np.float32)) for f in frames]
    given = [Given(f"picture {n}", source, 0) for n, source in enumerate(sources)]
    backend = default_backend()
    made = []
    for side in (48 * scale, 1000):
        with ArraySink() as sink:
            plan = fusing_plan(given, 0, Options(scale=scale), backend)
            beside = tmp_path / "x"
            fuse_into(given, 0, plan, sink, beside=beside, backend=backend, tile_side=side)
            sink.commit()
            made.append(sink.result)
    assert np.abs(made[0] - made[1]).max() * 255 < 0.1


def test_progress_goes_from_nothing_to_all(burst: list[Picture]) -> None:
    told: list[float] = []
    upres.fuse(burst[:3], scale=2, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 2.5}, "scale must be 2, 3 or 4 to fuse pictures, not 2.5"),
        ({"reference": 3}, "reference 3: there are 3 pictures, counted from 0"),
        ({"reference": "a"}, "reference must be the number of a picture, not 'a'"),
    ],
)
def test_wrong_options_are_refused(
    burst: list[Picture], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(upres.UsageError, match=message):
        upres.fuse(burst[:3], **options)


def test_nothing_to_fuse_is_refused() -> None:
    with pytest.raises(upres.InputError, match="there are no pictures to fuse"):
        upres.fuse([])
    with pytest.raises(upres.InputError, match="expected a list of pictures, got NoneType"):
        upres.fuse(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", range(1, 9))
def test_tiny_and_dark_frames_are_taken(burst: list[Picture], size: int) -> None:
    tiny = [frame[20 : 20 + size, 20 : 20 + size] for frame in burst[:5]]
    assert upres.fuse(tiny, scale=2).shape == (2 * size, 2 * size, 3)
    rng = np.random.default_rng(size)
    dark = [rng.integers(0, 2, (size, 40), np.uint8) for _ in range(5)]
    assert upres.fuse(dark, scale=2).shape == (2 * size, 80)


def test_samples_that_are_missing_in_some_frames_are_taken_from_others(
    picture: Picture, burst: list[Picture]
) -> None:
    frames = [(frame / 255).astype(np.float32) for frame in burst]
    whole = upres.fuse(frames, scale=2)
    for number, frame in enumerate(frames[1:]):
        frame[8 * number : 8 * number + 8] = np.nan
    result = upres.fuse(frames, scale=2)
    assert np.isfinite(result).all()
    levels = [psnr(each * 255, truth(picture)) for each in (result, whole)]
    assert levels[0] > levels[1] - 1


def test_too_many_pixels_are_refused(burst: list[Picture]) -> None:
    with pytest.raises(upres.InputError, match="more than the 1,000 pixels"):
        upres.fuse(burst, scale=2, max_pixels=1000)
