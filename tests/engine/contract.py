"""What every backend has to do, whichever it is: subclass it, and give it a ``backend``."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from upres.card import CARD_KEY, Compute, Model, ModelCard
from upres.engine.protocol import Backend, Engine
from upres.engine.wrappers import compile_window
from upres.errors import ModelError
from upres.models import open_model
from upres.training.export import export_onnx
from upres.training.networks import Network, Plain, PooledConfig, RcanConfig, build

Window = NDArray[np.float32]

SIZES = [(45, 61), (64, 64), (13, 90), (100, 3), (1, 1), (1, 50), (130, 131)]
"""Some are small, as OpenVINO has it, some are not."""


def noise(*shape: int, seed: int = 0) -> Window:
    return np.random.default_rng(seed).random(shape, np.float32)


def by_torch(network: Network, window: Window) -> Window:
    with torch.no_grad():
        result: Window = network(torch.from_numpy(np.ascontiguousarray(window))).numpy()
    return result


def write_model(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, NDArray[Any]],
    *,
    card: ModelCard | None = None,
    taken: int = TensorProto.FLOAT,
    given: int = TensorProto.FLOAT,
) -> Path:
    """A model file from ``x`` to ``y``."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", taken, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("y", given, [None] * 4)],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if card:
        helper.set_model_props(model, {CARD_KEY: card.to_json()})
    onnx.save(model, path)
    return path


class BackendTests:
    """Subclasses have a fixture ``backend``."""

    source: str
    """Python that makes the same backend in another process, imports included."""

    tolerance = 2e-6
    """Largest difference from PyTorch in float32, of values in [0, 1]."""

    @pytest.mark.parametrize("size", SIZES)
    def test_an_engine_gives_what_torch_gives(
        self, backend: Backend, model_file: Path, random_network: Plain, size: tuple[int, int]
    ) -> None:
        window = noise(1, 3, *size)
        got = backend.open(open_model(model_file)).compile(*size)(window)
        assert got.dtype == np.float32
        expected = by_torch(random_network, window)
        np.testing.assert_allclose(got, expected, rtol=0, atol=self.tolerance)

    def test_networks_of_other_kinds(self, backend: Backend, tmp_path: Path) -> None:
        torch.manual_seed(0)
        for config in (
            RcanConfig(features=4, groups=1, blocks=1, reduction=2),
            PooledConfig(features=4),
        ):
            network = build(config, 2).eval()
            card = ModelCard("other", 2, network.halo, multiple_of=network.multiple_of)
            export_onnx(network, card, tmp_path / "other.onnx")
            window = noise(1, 3, 40, 56)
            got = backend.open(open_model(tmp_path / "other.onnx")).compile(40, 56)(window)
            expected = by_torch(network, window)
            np.testing.assert_allclose(got, expected, rtol=0, atol=self.tolerance)

    @pytest.mark.parametrize("side", [64, 160])
    def test_a_window_s_memory_is_in_any_order_and_stays_as_it_is(
        self, backend: Backend, model_file: Path, side: int
    ) -> None:
        engine = backend.open(open_model(model_file)).compile(side, side)
        for pixels in noise(8, side, side, 3):
            view = pixels.transpose(2, 0, 1)[None]
            before = view.copy()
            assert not view.flags.c_contiguous
            np.testing.assert_array_equal(engine(view), engine(np.ascontiguousarray(view)))
            np.testing.assert_array_equal(view, before)

    @pytest.mark.parametrize("side", [24, 200])
    def test_results_share_memory_only_with_those_that_nobody_has(
        self, backend: Backend, model_file: Path, side: int
    ) -> None:
        engine = backend.open(open_model(model_file)).compile(side, side)
        windows = noise(3, 1, 3, side, side)
        expected = [engine(window).copy() for window in windows]
        view = np.moveaxis(engine(windows[0])[0, :, 3:], 0, 2)
        samples = memoryview(view)
        again = engine(windows[1])
        assert np.array_equal(view, np.moveaxis(expected[0][0, :, 3:], 0, 2))
        del view
        engine(windows[2])
        assert np.array_equal(again, expected[1])
        assert np.array_equal(np.asarray(samples), np.moveaxis(expected[0][0, :, 3:], 0, 2))
        results = [engine(window) for window in windows]
        for result, right in zip(results, expected, strict=True):
            assert np.array_equal(result, right)
            result[...] = 0  # it is the caller's

    @pytest.mark.parametrize("side", [24, 200])
    def test_threads_may_share_an_engine(
        self, backend: Backend, model_file: Path, side: int
    ) -> None:
        engine = backend.open(open_model(model_file)).compile(side, side)
        windows = noise(40, 1, 3, side, side)
        expected = [engine(window) for window in windows]
        with ThreadPoolExecutor(4) as threads:
            for result, right in zip(threads.map(engine, windows), expected, strict=True):
                assert np.array_equal(result, right)

    def test_engines_of_several_models_and_sizes_stay_apart(
        self, backend: Backend, model_file: Path
    ) -> None:
        models = [open_model(model_file), open_model("fast", scale=3)]
        engines: dict[tuple[int, int], Engine] = {}
        shapes = [(20, 30), (30, 20), (140, 130), (130, 140)]
        for _ in range(2):  # the second time some are compiled anew, as only a few are kept
            for number, model in enumerate(models):
                for size in shapes:
                    engine = backend.open(model).compile(*size)
                    before = engines.setdefault((number, hash(size)), engine)
                    window = noise(1, 3, *size)
                    assert np.array_equal(engine(window), before(window))
                    assert engine(window).shape[2] == size[0] * model.card.scale

    def test_a_file_that_is_replaced_is_opened_anew(self, backend: Backend, tmp_path: Path) -> None:
        window, card = noise(1, 3, 9, 9), ModelCard("m", 1, 0)
        for factor in (0.5, 0.25):
            by = {"by": np.array(factor, np.float32)}
            path = tmp_path / "new.onnx"
            write_model(path, [helper.make_node("Mul", ["x", "by"], ["y"])], by, card=card)
            os.replace(path, tmp_path / "m.onnx")
            engine = backend.open(open_model(tmp_path / "m.onnx")).compile(9, 9)
            np.testing.assert_array_equal(engine(window), window * np.float32(factor))

    def test_no_such_file(self, backend: Backend, tmp_path: Path) -> None:
        model = Model(tmp_path / "none.onnx", ModelCard("none", 2, 1))
        with pytest.raises(ModelError, match=r"none\.onnx: cannot read this model file: No such"):
            backend.open(model)

    @pytest.mark.parametrize("part", ["half", "other"])
    def test_a_damaged_network(
        self, backend: Backend, model_file: Path, tmp_path: Path, part: str
    ) -> None:
        model = open_model(model_file)
        path = tmp_path / "damaged.onnx"
        content = model_file.read_bytes()
        path.write_bytes(content[: len(content) // 2] if part == "half" else b"\x08\x07" * 50)
        with pytest.raises(ModelError, match=r"damaged\.onnx: not an ONNX model") as caught:
            backend.open(replace(model, path=path)).compile(20, 20)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("scale", [1, 3])
    def test_a_card_that_says_another_size_is_refused(
        self, backend: Backend, model_file: Path, scale: int
    ) -> None:
        """Else what lay in memory would be taken for a part of the picture."""
        model = open_model(model_file)
        wrong = replace(model, card=replace(model.card, scale=scale))
        message = r"random-x2\.onnx: of \d+x\d+ pixels this model makes \[1, ?3,.*, not \[1, 3,"
        with pytest.raises(ModelError, match=message):
            backend.open(wrong).compile(45, 61)

    def test_sizes_that_the_model_does_not_take(self, backend: Backend, tmp_path: Path) -> None:
        shuffles = [
            helper.make_node("SpaceToDepth", ["x"], ["s"], blocksize=4),
            helper.make_node("DepthToSpace", ["s"], ["y"], blocksize=4),
        ]
        card = ModelCard("m", 1, 0, multiple_of=4)
        path = write_model(tmp_path / "m.onnx", shuffles, {}, card=card)
        network, window = backend.open(open_model(path)), noise(1, 3, 12, 8)
        np.testing.assert_array_equal(network.compile(12, 8)(window), window)
        message = r"m\.onnx: the engine cannot run this model on 9x8 pixels"
        with pytest.raises(ModelError, match=message):
            network.compile(8, 9)

    @pytest.mark.parametrize(
        ("taken", "given"),
        [
            (TensorProto.FLOAT16, TensorProto.FLOAT16),
            (TensorProto.FLOAT, TensorProto.FLOAT16),
            (TensorProto.DOUBLE, TensorProto.FLOAT),
        ],
    )
    def test_models_that_take_or_give_other_numbers(
        self, backend: Backend, tmp_path: Path, taken: int, given: int
    ) -> None:
        nodes = [
            helper.make_node("Mul", ["x", "by"], ["m"]),
            helper.make_node("Cast", ["m"], ["y"], to=given),
        ]
        by = {"by": np.array(0.5, helper.tensor_dtype_to_np_dtype(taken))}
        card = ModelCard("m", 1, 0)
        path = write_model(tmp_path / "m.onnx", nodes, by, card=card, taken=taken, given=given)
        window = noise(1, 3, 20, 20)
        got = backend.open(open_model(path)).compile(20, 20)(window)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, window / 2, rtol=2**-10)

    def test_models_of_whole_numbers_are_refused(self, backend: Backend, tmp_path: Path) -> None:
        kind = TensorProto.UINT8
        nodes = [helper.make_node("Identity", ["x"], ["y"])]
        card = ModelCard("m", 1, 0)
        path = write_model(tmp_path / "m.onnx", nodes, {}, card=card, taken=kind, given=kind)
        message = r"m\.onnx: takes or gives values of type u(int)?8: export it"
        with pytest.raises(ModelError, match=message):
            backend.open(open_model(path))

    def test_what_the_card_says_is_done_around_the_network(
        self, backend: Backend, model_file: Path, random_network: Plain
    ) -> None:
        model = open_model(model_file)
        window = noise(1, 3, 20, 32)
        card = replace(model.card, self_ensemble=True, value_range=(-1.0, 3.0))
        got = compile_window(backend, replace(model, card=card), 20, 32)(window)
        ways: list[Callable[[Window], Window]] = [
            lambda x: x,
            lambda x: x[:, :, ::-1],
            lambda x: x[:, :, :, ::-1],
            lambda x: x[:, :, ::-1, ::-1],
        ]
        results = []
        for way in ways:
            for turned in (False, True):
                given = way(window) * 4 - 1
                given = given.swapaxes(2, 3) if turned else given
                result = by_torch(random_network, given)
                results.append(way(result.swapaxes(2, 3) if turned else result))
        expected = (np.mean(results, axis=0) + 1) / 4
        np.testing.assert_allclose(got, expected, rtol=0, atol=4 * self.tolerance)

    def test_limits_are_told_from_the_card_alone(self, backend: Backend) -> None:
        small, large = (
            Model(Path("none.onnx"), ModelCard("m", 2, 5, network_parameters={"features": count}))
            for count in (32, 2048)
        )
        few, many = backend.limits(large), backend.limits(small)
        assert many.window_pixels >= 128 * 128
        assert 0 < few.window_pixels < many.window_pixels
        assert min(many.multiples) >= 1

    def test_it_computes_as_it_says_that_it_does_best(self, backend: Backend) -> None:
        assert backend.can_compute("fp32")
        for precision in ("fp32", "int8"):
            card = ModelCard("m", 2, 1, network="plain", precision=precision)
            assert backend.can_compute(backend.best_compute(card))

    def test_one_of_the_files_of_a_model_is_taken(self, backend: Backend, model_file: Path) -> None:
        shipped = [open_model(name, scale=2) for name in ("fast", "fast-int8")]
        for variants in (shipped, [open_model(model_file)]):
            choice = backend.choose(variants)
            assert choice.model.path in [each.path for each in variants]
            assert backend.can_compute(choice.model.compute)
            assert choice.why

    def test_what_it_cannot_compute_is_refused(self, backend: Backend, model_file: Path) -> None:
        computes: tuple[Compute, ...] = ("fp32", "bf16", "fp16")
        for compute in computes:
            model = replace(open_model(model_file), compute=compute)
            if backend.can_compute(compute):
                backend.open(model)
                continue
            with pytest.raises(ModelError, match=f"random-x2.onnx: .* cannot compute in {compute}"):
                backend.open(model)

    @pytest.mark.parametrize("compute", ["bf16", "fp16"])
    def test_the_picture_itself_stays_in_float32(
        self, backend: Backend, tmp_path: Path, compute: Compute
    ) -> None:
        if not backend.can_compute(compute):
            pytest.skip(f"{backend.name} does not compute in {compute} here")
        # A network that is not trained adds nothing to the picture, repeated.
        network = Plain(scale=2, features=8, blocks=1)
        card = ModelCard(name="new", scale=2, halo=network.halo)
        export_onnx(network, card, tmp_path / "new.onnx")
        model = replace(open_model(tmp_path / "new.onnx"), compute=compute)
        window = noise(1, 3, 45, 61)
        got = backend.open(model).compile(45, 61)(window)
        np.testing.assert_array_equal(got, window.repeat(2, 2).repeat(2, 3))

    @pytest.mark.parametrize("scale", [2, 3, 4])
    @pytest.mark.parametrize(("compute", "bits"), [("bf16", 8), ("fp16", 11)])
    def test_half_precision_is_near_float32(
        self, backend: Backend, compute: Compute, bits: int, scale: int
    ) -> None:
        if not backend.can_compute(compute):
            pytest.skip(f"{backend.name} does not compute in {compute} here")
        y, x = np.mgrid[:45, :61].astype(np.float32)
        window = (0.5 + 0.4 * np.sin(np.stack([x / 9, y / 7, (x + y) / 11])))[None]
        window[:, :, 10:30, 20:40] = 0.2
        exact, near = (
            backend.open(replace(open_model(scale=scale), compute=each)).compile(45, 61)(window)
            for each in ("fp32", compute)
        )
        added = exact - window.repeat(scale, 2).repeat(scale, 3)
        # Of what the network adds, each of its 16 convolutions rounds values and weights, by half
        # a unit of the last place at most; that this adds up is the worst that can be.
        assert 0 < np.abs(near - exact).max() < 16 * 2 * 2.0**-bits / 2 * np.abs(added).max()
        assert np.square(near - exact).mean() < (0.2 / 255) ** 2

    @pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
    def test_a_fork_is_told_instead_of_waiting(self, backend: Backend, model_file: Path) -> None:
        code = f"{self.source}\n{inspect.getsource(_in_forks)}\n_in_forks(backend)"
        command = [sys.executable, "-W", "ignore", "-c", code, str(model_file)]
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        before, after = result.stdout.splitlines()
        assert before == "(1, 3, 16, 18)"
        assert str(model_file) in after
        assert "forked" in after
        assert "spawn" in after

    def test_models_are_opened_from_threads_at_once(
        self, backend: Backend, model_file: Path, tmp_path: Path
    ) -> None:
        paths = [Path(shutil.copy(model_file, tmp_path / f"{n}.onnx")) for n in range(8)]
        window = noise(1, 3, 8, 9)

        def run(path: Path) -> Window:
            return backend.open(open_model(path)).compile(8, 9)(window)

        with ThreadPoolExecutor(8) as threads:
            first, *others = threads.map(run, paths)
        for other in others:
            np.testing.assert_array_equal(first, other)


def _in_forks(backend):  # type: ignore[no-untyped-def]
    """Run a model in a process forked before the engine ran, and in one forked after."""
    import os
    import signal
    import sys

    import numpy as np

    import upres

    model = upres.open_model(sys.argv[1])

    def run():  # type: ignore[no-untyped-def]
        return backend.open(model).compile(8, 9)(np.zeros((1, 3, 8, 9), np.float32)).shape

    def child():  # type: ignore[no-untyped-def]
        number = os.fork()
        if number == 0:
            signal.alarm(60)  # or it would wait for ever
            try:
                print(run(), flush=True)
            except upres.UpresError as error:
                print(error, flush=True)
            os._exit(0)
        os.waitpid(number, 0)

    child()
    run()
    child()
