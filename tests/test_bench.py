"""The benchmark's arithmetic; what it times is not tested."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from upres.model import read_model
from upres.training.networks import Plain, multiply_adds

FILE = Path(__file__).parents[1] / "benchmarks" / "measuring.py"


@pytest.fixture(scope="module")
def measuring() -> ModuleType:
    if not FILE.is_file():
        pytest.skip("needs benchmarks/, which a source distribution does not have")
    spec = importlib.util.spec_from_file_location("measuring", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_multiply_adds_equal_a_count_by_hand(measuring: ModuleType) -> None:
    import openvino
    from openvino import opset13 as ops

    def weights(*shape: int) -> object:
        return ops.constant(np.ones(shape, np.float32))

    picture = ops.parameter([1, 3, -1, -1], np.float32)
    one = ([1, 1], [1, 1], [1, 1], [1, 1])
    x = ops.convolution(picture, weights(8, 3, 3, 3), *one)
    x = ops.relu(x)
    x = ops.convolution(x, weights(8, 8, 3, 3), [2, 2], [1, 1], [1, 1], [1, 1])
    x = ops.group_convolution(x, weights(8, 1, 1, 3, 3), *one)
    x = ops.convolution_backprop_data(x, weights(8, 3, 2, 2), [2, 2])
    graph = openvino.Model([x], [picture])

    full, half = 10 * 14, 5 * 7
    by_hand = full * 3 * 8 * 9 + half * 8 * 8 * 9 + half * 8 * 9 + half * 8 * 3 * 4
    assert measuring.multiply_adds(graph, (1, 3, 10, 14)) == by_hand
    assert measuring.multiply_adds(graph, (2, 3, 10, 14)) == 2 * by_hand
    assert graph.input(0).get_partial_shape()[2].is_dynamic, "the graph itself was reshaped"


def test_multiply_adds_of_a_model_equal_those_of_its_network(
    measuring: ModuleType, model_file: Path, random_network: Plain
) -> None:
    graph = read_model(model_file).graph
    expected = multiply_adds(random_network, 20, 30)
    assert measuring.multiply_adds(graph, (1, 3, 20, 30)) == expected


def test_a_spread_is_the_median_and_the_extremes(measuring: ModuleType) -> None:
    assert measuring.spread([2.0, 1.25, 1.5]) == "1.50 (1.25 to 2.00)"


def test_ratios_are_taken_within_a_round(measuring: ModuleType) -> None:
    assert measuring.ratios([1.0, 4.0], [2.0, 2.0]) == [0.5, 2.0]
    with pytest.raises(ValueError, match="shorter"):
        measuring.ratios([1.0, 4.0], [2.0])


def test_a_table_is_markdown(measuring: ModuleType) -> None:
    assert measuring.table(["model", "s"], [["fast x2", "0.4"], ["fast x4", "0.1"]]) == (
        "| model | s |\n| --- | ---: |\n| fast x2 | 0.4 |\n| fast x4 | 0.1 |"
    )


def test_every_item_is_timed_once_per_round_after_its_preparation(
    measuring: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "LEAST_SECONDS", 0.0)
    done: list[str] = []
    items = {
        "a": measuring.Item(lambda: done.append("a"), lambda: done.append("prepare a")),
        "b": measuring.Item(lambda: done.append("b")),
    }
    times = measuring.measure(items, 3)
    assert {key: len(seconds) for key, seconds in times.items()} == {"a": 3, "b": 3}
    assert all(done[i - 1] in ("prepare a", "a") for i, what in enumerate(done) if what == "a")
    # Two untimed calls to begin with, then one in each round.
    assert (done.count("a"), done.count("b"), done.count("prepare a")) == (5, 5, 4)


@pytest.mark.skipif(sys.platform == "win32", reason="needs os.wait4")
def test_peak_memory_is_the_commands_own(measuring: ModuleType, tmp_path: Path) -> None:
    held = np.ones(200 * 2**20, np.uint8)  # by this process, and not to be counted
    script = "x = b'x' * (40 * 2**20)"
    bare = measuring.peak_memory([sys.executable, "-c", "pass"], tmp_path)
    used = measuring.peak_memory([sys.executable, "-c", script], tmp_path)
    assert held.nbytes / 2**20 > used
    assert 35 < used - bare < 60
