from __future__ import annotations

import numpy as np
import pytest
import pyvips

from upres.raster.light import decode, encode


def test_up_to_one_it_is_srgb_as_libvips_has_it() -> None:
    encoded = np.arange(0, 65536, 257, dtype=np.uint16)[:, None, None].repeat(3, 2)
    light = pyvips.Image.new_from_array(encoded).copy(interpretation="rgb16").colourspace("scrgb")
    # libvips goes by tables of 16 bits.
    np.testing.assert_allclose(encode(light.numpy()), encoded / 65535, atol=3e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_it_is_undone_from_the_darkest_tone_to_the_brightest(sign: int) -> None:
    light = sign * np.geomspace(1e-30, 3e38, 100_001, dtype=np.float32)
    back = decode(encode(light))
    error = np.abs(back.astype(np.float64) / light - 1)
    ordinary = np.abs(light) <= 65504  # of half precision
    assert error[ordinary].max() < 2e-6
    assert error.max() < 2e-5
    assert np.isfinite(back).all()


def test_it_rises_throughout_without_a_jump() -> None:
    light = np.concatenate([np.linspace(-3, 3, 60_001), np.geomspace(3.1, 1e6, 10_001)])
    steps = np.diff(encode(light.astype(np.float32)).astype(np.float64))
    assert (steps > 0).all()
    for place in (0.0031308, 1.0):  # where its parts meet
        around = np.float32([place - 1e-6, place + 1e-6])
        assert np.diff(encode(around))[0] < 3e-5
    # At 1, with one slope.
    below, at, above = encode(np.float32([0.999, 1, 1.001])).astype(np.float64)
    assert (above - at) / (at - below) == pytest.approx(1, rel=2e-3)


def test_zero_stays_zero_and_what_is_below_is_mirrored() -> None:
    light = np.float32([0, 0.002, 0.5, 7, 900])
    assert encode(light[:1])[0] == decode(light[:1])[0] == 0
    np.testing.assert_array_equal(encode(-light), -encode(light))


def test_of_a_light_of_1000_tones_below_one_keep_a_quarter_of_the_range() -> None:
    one, thousand = encode(np.float32([1, 1000]))
    assert one / thousand == pytest.approx(1 / 4.04, rel=1e-3)


def test_arrays_of_any_shape_are_taken(picture: np.ndarray) -> None:
    light = (picture / np.float32(85)).astype(np.float32)
    for shape in ((45, 61, 3), (45, 183), (8235,)):
        given = light.reshape(shape)
        np.testing.assert_allclose(decode(encode(given)), given, rtol=2e-6)
    turned = light.transpose(2, 0, 1)  # whose rows are not next to each other
    np.testing.assert_allclose(decode(encode(turned)), turned, rtol=2e-6)
