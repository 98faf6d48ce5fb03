from __future__ import annotations

import tracemalloc

from upres.card import ModelCard
from upres.engine.memory import ResultMemory, affordable_pixels

SHAPE = (1, 3, 200, 300)
NBYTES = 4 * 3 * 200 * 300


def test_memory_is_taken_once_for_results_that_come_one_after_another() -> None:
    memory = ResultMemory(SHAPE)
    tracemalloc.start()
    try:
        for _ in range(10):
            result = memory.new()
            assert result.shape == SHAPE
            del result
        current, peak = tracemalloc.get_traced_memory()
        assert NBYTES <= current <= peak < 2 * NBYTES
    finally:
        tracemalloc.stop()


def test_memory_is_not_given_again_while_anything_shows_it() -> None:
    memory = ResultMemory(SHAPE)
    for view in (memory.new()[0, 1:, ::2], memoryview(memory.new())):
        held = memory.new()
        held[...] = 1
        for _ in range(3):
            memory.new()[...] = 2
        assert (held == 1).all()
        del view


def test_what_a_window_may_have_follows_from_features_and_scale() -> None:
    small, wide = (
        ModelCard("m", 2, 1, network_parameters={"features": features}) for features in (16, 1600)
    )
    most = 10**8
    assert affordable_pixels(wide, most) < affordable_pixels(small, most) / 50
    assert affordable_pixels(ModelCard("m", 4, 1), most) < affordable_pixels(
        ModelCard("m", 2, 1), most
    )
    # Four layers of that many values of four bytes fit.
    assert 4 * 4 * 1600 * affordable_pixels(wide, most) <= most
