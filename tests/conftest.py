"""What several test modules share."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from upres.card import ModelCard
from upres.engine.openvino_graphs import import_openvino

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from upres.training.networks import Plain

# Before a test imports it by itself, and it reports that to its makers.
import_openvino()

pytest.register_assert_rewrite("engine.contract", "fakes")

# The tests' networks are tiny: threads cost them more than they give, and on a busy machine
# a hundred times more. PyTorch asks for this when it is loaded, which takes seconds: only those
# tests do it that need a network.
os.environ["OMP_NUM_THREADS"] = "1"

# Whoever runs the tests in the background may have them ignore Ctrl-C, and what they start with
# them: some tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no reason to fail, and a run that others can repeat is worth more than
# one that draws anew each time.
settings.register_profile("upres", deadline=None, derandomize=True)
settings.load_profile("upres")


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's own folder of caches stays as it is: trials of precisions write there."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("caches"))
        for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
            patch.setenv(variable, folder)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data beside the repository, which a clone does not have: skips without it."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the project's ../shared/data, which is not here")
    return folder


@pytest.fixture(scope="session")
def bench(shared_data: Path) -> Path:
    """The benchmark sets: Set5, Set14 and B100."""
    return shared_data / "bench"


@pytest.fixture(scope="session")
def measuring() -> ModuleType:
    """The benchmarks' module that times, counts and tabulates."""
    file = Path(__file__).parents[1] / "benchmarks" / "measuring.py"
    if not file.is_file():
        pytest.skip("needs benchmarks/, which a source distribution does not have")
    spec = importlib.util.spec_from_file_location("measuring", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def random_network() -> Plain:
    """A small x2 network whose every weight matters: none is zero, as at the start."""
    import torch

    from upres.training.networks import Plain

    torch.manual_seed(7)
    network = Plain(scale=2, features=8, blocks=2)
    for parameter in network.parameters():
        # Deviations of about one throughout, and a residual that seldom leaves [0, 1].
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
        torch.nn.init.normal_(parameter, std=fan_in**-0.5)
    with torch.no_grad():
        network.tail.weight *= 0.1
    return network


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory, random_network: Plain) -> Path:
    """``random_network`` as a model file, with its card."""
    from upres.training.export import export_onnx

    path = tmp_path_factory.mktemp("models") / "random-x2.onnx"
    structure: dict[str, int | float | bool] = {"features": 8, "blocks": 2}
    card = ModelCard(
        name="random",
        scale=2,
        halo=random_network.halo,
        network="plain",
        network_parameters=structure,
    )
    export_onnx(random_network, card, path)
    return path


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """A photograph-like picture: 45 x 61 RGB, smooth and with edges."""
    y, x = np.mgrid[:45, :61]
    smooth = 127 + 100 * np.sin(np.stack([x / 9, y / 7, (x + y) / 11], axis=2))
    smooth[10:30, 20:40] = (250, 30, 90)
    return smooth.astype(np.uint8)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window; skips where it or its driver is missing."""
    api: Any = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs the browser chromium")
    with api.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Packages of npm that tests of pages use; skips without them."""
    folder = Path(__file__).parents[1] / ".npm" / "node_modules"
    if not folder.is_dir():
        pytest.skip("needs packages of npm in .npm, which .ci/run installs")
    return folder
