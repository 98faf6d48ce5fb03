"""How many threads compute: as many as are asked for, or as this process may use processors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from upres.engine.backends import default_backend, with_threads
from upres.engine.onnxruntime import CPU, OnnxRuntime
from upres.engine.openvino import OpenVINO, compile_settings
from upres.errors import UsageError
from upres.models import open_model

PROPERTIES = """
import sys
from upres.engine.machine import thread_limit, usable_processors
from upres.engine.openvino import OpenVINO, _compile
from upres.models import open_model
from upres.card import file_stamp

model = open_model(sys.argv[1])
key = (model.path, file_stamp(model.path), "fp32", thread_limit(None))
compiled = _compile(*key, 3, 2, 200, 200, None)
print(usable_processors(), compiled.get_property("INFERENCE_NUM_THREADS"))
"""


@pytest.mark.skipif(shutil.which("taskset") is None, reason="needs taskset")
def test_a_process_bound_to_one_processor_computes_on_one_thread(model_file: Path) -> None:
    command = [sys.executable, "-c", PROPERTIES, str(model_file)]
    processor = str(min(os.sched_getaffinity(0)))
    bound = subprocess.run(
        ["taskset", "-c", processor, *command], capture_output=True, text=True, check=True
    )
    assert bound.stdout.split() == ["1", "1"]


def test_settings_name_threads_only_where_there_is_a_limit() -> None:
    assert compile_settings(200, 200, "fp32", 3)["INFERENCE_NUM_THREADS"] == "3"
    assert "INFERENCE_NUM_THREADS" not in compile_settings(200, 200, "fp32")


AFFINITIES = """
import os, sys, threading
from contextlib import suppress
import numpy as np
from upres.engine.openvino import OpenVINO
from upres.models import open_model

engine = OpenVINO(threads=1).open(open_model(sys.argv[1])).compile(900, 900)
window, bound = np.zeros((1, 3, 900, 900), np.float32), set()
own = os.sched_getaffinity(0)
computing = threading.Thread(target=lambda: [engine(window) for _ in range(5)])
computing.start()
while computing.is_alive():
    for thread in os.listdir("/proc/self/task"):
        with suppress(OSError):
            bound |= own - os.sched_getaffinity(int(thread))
print(bound)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_processes_of_few_threads_do_not_meet_on_one_processor(model_file: Path) -> None:
    """Each would bind its threads to the first processors, as the others do."""
    command = [sys.executable, "-c", AFFINITIES, str(model_file)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told == "set()\n"


def test_threads_change_nothing_of_the_result(model_file: Path) -> None:
    model = open_model(model_file)
    window = np.random.default_rng(0).random((1, 3, 140, 150), np.float32)
    one, two = (OpenVINO(threads=count).open(model).compile(140, 150)(window) for count in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-6)
    other = OnnxRuntime(CPU, threads=1).open(model).compile(140, 150)(window)
    np.testing.assert_allclose(other, one, atol=1e-5)


def test_backends_by_number_of_threads() -> None:
    backend = default_backend("cpu", 3)
    assert isinstance(backend, OpenVINO)
    assert backend.threads == 3
    assert default_backend("cpu") == OpenVINO()
    with pytest.raises(UsageError, match=r"^threads must be at least 1, not 0$"):
        default_backend("cpu", 0)
    with pytest.raises(UsageError, match=r"^threads must be a whole number, not 1\.5$"):
        default_backend("cpu", 1.5)  # type: ignore[arg-type]


def test_a_backend_gets_fewer_threads_and_never_more() -> None:
    assert with_threads(OpenVINO(), 1) == OpenVINO(threads=1)
    assert with_threads(OpenVINO(threads=2), 4) == OpenVINO(threads=2)
    other = OnnxRuntime(CPU, threads=3)
    assert with_threads(other, 1) is other
