"""Networks of one channel: luma goes through them, and colour is enlarged bicubically."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fakes import FakeBackend, enlarged, fake_model
from upres.enlarging.windows import enlarge_windows
from upres.raster.info import RasterInfo, Role, bands_of
from upres.raster.resize import bicubic

BT601 = np.array([0.299, 0.587, 0.114])
# Far from 0 and 1, so that nothing is clipped, and coloured throughout, so that nothing is neutral.
COLOURED = np.array([0.65, 0.5, 0.35])
# Near the borders a network's result is held near the input, band by band.
INNER = np.s_[24:-24, 24:-24]


def run(picture: NDArray[np.float32], *roles: Role, **options: Any) -> NDArray[np.float32]:
    height, width, count = picture.shape
    info = RasterInfo(height, width, bands_of(roles), picture.dtype)
    model = fake_model(scale=3, halo=options.pop("halo", 1), channels=1)
    result = np.full((3 * height, 3 * width, count), np.nan, np.float32)
    backend = options.pop("backend", None) or FakeBackend()
    for top, left, block in enlarge_windows([picture], info, model, backend, **options):
        result[top : top + block.shape[0], left : left + block.shape[1]] = block
    return result


def plane_by_the_fake(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    return enlarged(fake_model(scale=3, halo=1, channels=1), plane[:, :, None])[:, :, 0]


def noise(*shape: int, amount: float = 0.1) -> NDArray[np.float32]:
    return (np.random.default_rng(2).random(shape) * amount).astype(np.float32)


def test_grey_goes_through_as_one_channel() -> None:
    backend = FakeBackend()
    picture = noise(20, 31, 1) + np.float32(0.4)
    got = run(picture, "grey", backend=backend)
    np.testing.assert_allclose(
        got[INNER][:, :, 0], plane_by_the_fake(picture[:, :, 0])[INNER], atol=1e-6
    )
    assert [model.card.channels for model, _, _ in backend.compiled] == [1]


def test_colour_has_the_luma_of_the_network_and_the_rest_of_bicubic() -> None:
    picture = noise(22, 31, 3) + COLOURED.astype(np.float32)
    got = run(picture, "red", "green", "blue").astype(float)
    luma = picture @ BT601
    expected = plane_by_the_fake(luma.astype(np.float32))
    np.testing.assert_allclose((got @ BT601)[INNER], expected[INNER], atol=1e-5)
    rest = bicubic(picture - luma[:, :, None], scale=3)
    np.testing.assert_allclose((got - (got @ BT601)[:, :, None])[INNER], rest[INNER], atol=1e-5)


@pytest.mark.parametrize("halo", [0, 1, 4])
def test_tiled_equals_whole(halo: int) -> None:
    # A network that sees less far than bicubic, too.
    picture = noise(41, 37, 3, amount=0.3) + (COLOURED - 0.1).astype(np.float32)
    roles: tuple[Role, ...] = ("red", "green", "blue")
    whole = run(picture, *roles, halo=halo)
    tiled = run(picture, *roles, halo=halo, window_pixels=18 * 18)
    np.testing.assert_allclose(tiled, whole, atol=1e-6)


def test_other_bands_go_alone_and_classes_are_repeated() -> None:
    picture = noise(22, 31, 5) + np.array([0.65, 0.5, 0.35, 0.9, 0.2], np.float32)
    got = run(picture, "red", "green", "blue", "other", "index")
    np.testing.assert_allclose(
        got[INNER][:, :, 3], plane_by_the_fake(picture[:, :, 3])[INNER], atol=1e-6
    )
    np.testing.assert_array_equal(got[:, :, 4], picture[:, :, 4].repeat(3, 0).repeat(3, 1))
