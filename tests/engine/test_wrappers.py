from __future__ import annotations

import numpy as np
import pytest

from fakes import FakeBackend, fake_model
from upres.engine.wrappers import ORIENTATIONS, compile_window
from upres.raster.pixels import Float32Array

WINDOW = np.random.default_rng(0).random((1, 3, 12, 20), np.float32)


def fake(window: Float32Array, **card: object) -> Float32Array:
    return compile_window(FakeBackend(), fake_model(**card), *window.shape[2:])(window)


def test_without_more_it_is_the_network_s_own_engine() -> None:
    backend, model = FakeBackend(), fake_model()
    compile_window(backend, model, 12, 20)
    assert backend.compiled == [(model, 12, 20)]


@pytest.mark.parametrize("value_range", [(0, 255), (-1, 1)])
def test_values_are_in_the_card_s_range_for_the_network_alone(
    value_range: tuple[float, float],
) -> None:
    seen: list[Float32Array] = []
    backend = FakeBackend(before_window=lambda window: seen.append(window.copy()))
    # What it makes of every value, and not at borders, where it sees nothing beside it.
    model = fake_model(halo=0, value_range=value_range)
    got = compile_window(backend, model, 12, 20)(WINDOW)
    low, high = value_range
    np.testing.assert_allclose(seen[0], WINDOW * (high - low) + low, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(got, fake(WINDOW, halo=0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(12, 20), (16, 16)])
def test_an_ensemble_is_the_mean_over_all_ways_to_flip_and_turn(size: tuple[int, int]) -> None:
    backend, model = FakeBackend(), fake_model(halo=2, self_ensemble=True)
    window = np.random.default_rng(1).random((1, 3, *size), np.float32)
    got = compile_window(backend, model, *size)(window)
    # Of a square, one engine does both.
    shapes = [size] if size[0] == size[1] else [size, size[::-1]]
    assert backend.compiled == [(model, *shape) for shape in shapes]
    ways = []
    for quarters in range(4):
        for mirrored in (False, True):
            given = np.rot90(window, quarters, (2, 3))
            given = given[:, :, :, ::-1] if mirrored else given
            result = fake(given, halo=2)
            result = result[:, :, :, ::-1] if mirrored else result
            ways.append(np.rot90(result, -quarters, (2, 3)))
    assert np.abs(ways[0] - ways[1]).max() > 1e-3  # or they would tell nothing
    np.testing.assert_allclose(got, np.mean(ways, axis=0), rtol=0, atol=1e-6)


def test_the_orientations_are_eight() -> None:
    square = np.arange(9).reshape(1, 1, 3, 3)
    turned = {
        (np.flip(square, flips).swapaxes(2, 3) if swaps else np.flip(square, flips)).tobytes()
        for flips, swaps in ORIENTATIONS
    }
    assert len(turned) == 8
