from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.contract import BackendTests, noise
from upres.card import Compute, Model, ModelCard, file_stamp
from upres.engine.machine import Processor, this_processor
from upres.engine.openvino import WINDOW_BYTES, OpenVINO, _compile, _compile_small
from upres.engine.openvino_graphs import read_graph
from upres.models import open_model


class TestOpenVINO(BackendTests):
    source = "from upres.engine.openvino import OpenVINO; backend = OpenVINO()"

    @pytest.fixture
    def backend(self) -> OpenVINO:
        return OpenVINO()


PLAIN = Processor(int8=False, bfloat16=False)
VNNI = Processor(int8=True, bfloat16=False)
AMX = Processor(int8=True, bfloat16=True)

MODEL = Model(Path("none.onnx"), ModelCard("m", 2, 5))
INT8 = replace(MODEL, card=replace(MODEL.card, precision="int8"))


def test_amx_wants_widths_of_its_own_and_ensembles_heights_too() -> None:
    ensemble = replace(MODEL, compute="bf16", card=replace(MODEL.card, self_ensemble=True))
    whole = replace(INT8, card=replace(INT8.card, halo=None))
    models = [MODEL, INT8, ensemble, whole]
    wanted = [(1, 1), (1, 16), (16, 16), (1, 1)]
    assert [OpenVINO(AMX).limits(model).multiples for model in models] == wanted
    assert [OpenVINO(VNNI).limits(model).multiples for model in models] == [(1, 1)] * 4


def test_windows_are_smaller_where_the_network_needs_more_memory() -> None:
    wide = replace(MODEL, card=replace(MODEL.card, network_parameters={"features": 2048}))
    # Four layers' values, in float32.
    assert 4 * 4 * 2048 * OpenVINO().limits(wide).window_pixels <= WINDOW_BYTES


@pytest.mark.parametrize(
    ("flags", "name", "scale", "mode"),
    [
        ("avx2", "fast", 2, "int8"),
        ("avx2 avx512f avx512_vnni avx512_bf16 avx_vnni", "fast", 2, "int8"),
        ("avx2 avx512f avx512_vnni avx512_bf16 amx_int8 amx_bf16", "fast", 2, "bf16"),
        ("avx2 avx512f avx512_vnni avx512_bf16 amx_int8 amx_bf16", "balanced", 2, "int8+bf16"),
    ],
)
def test_the_table_chooses_for_processors_without_running_anything(
    flags: str, name: str, scale: int, mode: str
) -> None:
    variants = [
        Model(Path(f"{each}.onnx"), ModelCard(each, scale, 5, precision=precision))
        for each, precision in ((name, "fp32"), (f"{name}-int8", "int8"))
    ]
    choice = OpenVINO(Processor.with_flags(flags.split())).choose(variants)
    assert choice.model.mode == mode
    assert "quickest" in choice.why


@pytest.mark.skipif(not this_processor().int8, reason="the processor is not made for int8")
@pytest.mark.parametrize(("name", "expected"), [("fast", 0), ("fast-int8", 0.8)])
def test_convolutions_are_computed_in_the_precision_of_the_name(name: str, expected: float) -> None:
    model = open_model(name, scale=2)
    compiled = _compile(model.path, file_stamp(model.path), "fp32", None, 3, 2, 64, 64, None)
    found = [
        operation.get_rt_info()["runtimePrecision"].astype(str)
        for operation in compiled.get_runtime_model().get_ops()
        if operation.get_rt_info()["layerType"].astype(str) == "Convolution"
    ]
    assert len(found) > 5
    in_int8 = sum(precision in ("i8", "u8") for precision in found) / len(found)
    # The first and the last ones of a model in int8 stay in float32.
    assert in_int8 >= expected
    assert (in_int8 > 0) == (expected > 0)


def test_what_int8_leaves_is_computed_in_bfloat16_where_that_is_native() -> None:
    for processor, expected in ((PLAIN, "fp32"), (VNNI, "fp32"), (AMX, "bf16")):
        assert OpenVINO(processor).best_compute(INT8.card) == expected
        assert OpenVINO(processor).best_compute(MODEL.card) == "fp32"


@pytest.mark.parametrize(
    ("name", "compute", "most"),
    [("fast", "fp32", 0.0), ("fast", "bf16", 0.0), ("fast-int8", "fp32", 1 / 255)],
)
def test_small_windows_of_all_sizes_share_what_is_compiled(
    name: str, compute: Compute, most: float
) -> None:
    if not OpenVINO().can_compute(compute):
        pytest.skip("this processor does not compute so")
    model = open_model(name, scale=2)
    network = OpenVINO().open(replace(model, compute=compute))
    _compile_small.cache_clear()
    _compile.cache_clear()
    for height, width in ((20, 31), (64, 64), (41, 90), (20, 31), (1, 128)):
        window = noise(1, 3, height, width)
        got = network.compile(height, width)(window)
        assert _compile.cache_info().misses == 0
        fixed = _compile(
            model.path, file_stamp(model.path), compute, None, 3, 2, height, width, None
        )
        _compile.cache_clear()
        expected = fixed(window)[0]
        assert np.abs(got - expected).mean() <= most / 10
        assert np.abs(got - expected).max() <= 4 * most
    assert _compile_small.cache_info().misses == 1


@pytest.mark.parametrize("side", [24, 200])  # beside each other, and one at a time
def test_memory_of_results_is_kept(model_file: Path, side: int) -> None:
    engine = OpenVINO().open(open_model(model_file)).compile(side, side)
    window = noise(1, 3, side, side)
    for _ in range(2):  # until the next one, OpenVINO holds the last result, too
        result_bytes = engine(window).nbytes
    tracemalloc.start()
    try:
        for _ in range(5):
            engine(window)
        assert tracemalloc.get_traced_memory()[1] < result_bytes  # no result took new memory
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compute", ["fp32", "bf16"])
def test_compiling_leaves_the_graph_as_it_was(tmp_path: Path, compute: Compute) -> None:
    if not OpenVINO().can_compute(compute):
        pytest.skip("this processor does not compute so")
    path = Path(shutil.copy(open_model("fast", scale=2).path, tmp_path / "mine.onnx"))
    graph = read_graph(path)
    before = [node.get_type_name() for node in graph.get_ordered_ops()]
    OpenVINO().open(replace(open_model(path), compute=compute)).compile(20, 30)
    assert read_graph(path) is graph
    assert [node.get_type_name() for node in graph.get_ordered_ops()] == before
    assert graph.input(0).get_partial_shape()[2].is_dynamic


IMPORTS = """
import sys
{before}
from upres.engine.openvino_graphs import import_openvino
first = import_openvino()
assert first is import_openvino() is sys.modules["openvino"]
print(sys.modules.get("openvino_telemetry", "not imported"))
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "not imported"),
        ("sys.modules['openvino_telemetry'] = 'the host its own'", "the host its own"),
        ("sys.modules['openvino_telemetry'] = None", "None"),
    ],
)
def test_openvino_is_imported_without_its_telemetry_and_leaves_that_to_the_host(
    before: str, after: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", IMPORTS.format(before=before)]
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    result = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | home
    )
    assert result.stdout.strip() == after
    # Where it would keep the number under which it reports to its makers.
    assert not list(tmp_path.iterdir())


def test_an_openvino_that_the_host_has_imported_is_taken_as_it_is() -> None:
    code = IMPORTS.format(before="import types; sys.modules['openvino'] = types.ModuleType('its')")
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "not imported"
