"""ONNX Runtime, on a GPU: a ``Backend``."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from upres.card import Compute, Model, ModelCard, Stamp, file_stamp
from upres.engine.forks import require_own_process
from upres.engine.machine import thread_limit
from upres.engine.memory import ResultMemory, affordable_pixels
from upres.engine.onnx_graphs import prepared
from upres.engine.protocol import Choice, Limits
from upres.errors import DeviceError, ModelError, Remedy, needs_extra
from upres.raster.pixels import Float32Array

if TYPE_CHECKING:
    from types import ModuleType

    import onnxruntime

CPU = "CPUExecutionProvider"

GPU_PROVIDERS = ("CUDAExecutionProvider", "DmlExecutionProvider", "CoreMLExecutionProvider")
"""Those that are taken by themselves, the first before the others. TensorRT's is not among them:
it compiles a model anew for each size of a window, which takes it a minute; ask for it by name."""

PROVIDER_OPTIONS: dict[str, dict[str, str]] = {
    # Not in TF32, which has 10 bits, where float32 is asked for. And to try all of cuDNN's
    # algorithms takes long for each new size of a window, and a folder of pictures has many.
    "CUDAExecutionProvider": {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},
}

FALLBACKS = {"TensorrtExecutionProvider": ["CUDAExecutionProvider"]}
"""Who computes what a provider does not know, before the processor does."""

GPU_WINDOW_PIXELS = 1024 * 1024
"""Largest window, in input pixels. Not measured, as the next is not: a halo of 34 pixels costs it
0.14 times its work, and more windows than that hardly keep a GPU busier."""

GPU_WINDOW_BYTES = 2**30
"""Memory of a network's work on one window, about: a GPU of 4 GB has room for it."""

TRIAL_SIDE = 8
"""Of the picture by which a model's scale is found out, before any other."""


@dataclass(frozen=True)
class OnnxRuntime:
    """ONNX Runtime with one of its execution providers; its own for processors is for tests."""

    provider: str
    threads: int | None = None
    """How many compute on the processor at most; ``None`` is as many as this process may use."""

    @property
    def name(self) -> str:
        return f"ONNX Runtime ({self.provider.removesuffix('ExecutionProvider')})"

    @property
    def device(self) -> Literal["cpu", "gpu"]:
        return "cpu" if self.provider == CPU else "gpu"

    def open(self, model: Model) -> OnnxRuntimeNetwork:
        if not self.can_compute(model.compute):
            raise ModelError(
                f"{model.path}: {self.name} cannot compute in {model.compute}: choose fp32 or fp16"
            )
        if model.card.precision == "int8" and model.compute != "fp32":
            raise ModelError(
                f"{model.path}: is int8, and cannot be computed in {model.compute}: take the model "
                "in fp32"
            )
        if model.head is not None:
            raise ModelError(
                f"{model.path}: {self.name} computes no half-widths",
                Remedy("device", "computes them on the processor", "cpu"),
            )
        stamp = file_stamp(model.path)
        network = OnnxRuntimeNetwork(self, model, stamp)
        _session(*network.key)
        return network

    def limits(self, model: Model) -> Limits:
        return Limits(min(GPU_WINDOW_PIXELS, affordable_pixels(model.card, GPU_WINDOW_BYTES)))

    def choose(self, variants: Sequence[Model]) -> Choice:
        # An int8 model runs, as float32 that is rounded to 8 bits between the layers: so it is
        # slower than the float32 model that it was made of, and less exact.
        model = variants[0]
        compute = self.best_compute(model.card)
        why = "the quickest on GPUs" if compute == "fp16" else "the file's own"
        return Choice(dataclasses.replace(model, compute=compute), why)

    def best_compute(self, card: ModelCard) -> Compute:
        # Of networks that are not ours nobody knows whether their values stay within float16.
        own = card.network != "unknown" and card.precision == "fp32"
        return "fp16" if own and self.device == "gpu" else "fp32"

    def can_compute(self, compute: Compute) -> bool:
        return compute in ("fp32", "fp16")


@dataclass(frozen=True)
class OnnxRuntimeNetwork:
    """A model file that ONNX Runtime has read."""

    backend: OnnxRuntime
    model: Model
    stamp: Stamp
    """The file's, when it was opened."""

    @property
    def key(self) -> tuple[str, int | None, Path, Stamp, Compute]:
        """The file, or its content, of which a session is made."""
        backend, model = self.backend, self.model
        return (
            backend.provider,
            thread_limit(backend.threads),
            model.path,
            self.stamp,
            model.compute,
        )

    def compile(self, height: int, width: int) -> _Engine:
        """An engine for windows of 1 x channels x ``height`` x ``width``.

        One session serves all sizes, as they are free in its graph: only memory is of one size.
        """
        path, card = self.model.path, self.model.card
        require_own_process(path)
        if height % card.multiple_of or width % card.multiple_of:
            raise _cannot_run(path, height, width)
        side = card.multiple_of * math.ceil(TRIAL_SIDE / card.multiple_of)
        session = _session(*self.key)
        given = _trial(*self.key, card.channels, side)
        wanted = (1, card.channels, side * card.scale, side * card.scale)
        if given != wanted:
            raise ModelError(
                f"{path}: of {side}x{side} pixels this model makes {[*given]}, not {[*wanted]}, as "
                "its card says: correct the card, or take another model"
            )
        shape = (1, card.channels, height * card.scale, width * card.scale)
        return _Engine(session, path, shape, self.backend.device)


def _cannot_run(path: Path, height: int, width: int, *remedies: Remedy) -> ModelError:
    return ModelError(
        f"{path}: the engine cannot run this model on {width}x{height} pixels", *remedies
    )


@lru_cache(maxsize=16)
def _trial(
    provider: str,
    threads: int | None,
    path: Path,
    stamp: Stamp,
    compute: Compute,
    channels: int,
    side: int,
) -> tuple[int, ...]:
    """The shape of what a model makes of a picture of that side."""
    session = _session(provider, threads, path, stamp, compute)
    picture = np.zeros((1, channels, side, side), np.float32)
    try:
        (result,) = session.run(None, {session.get_inputs()[0].name: picture})
    except Exception as error:  # ONNX Runtime's own have no public class in common
        raise _cannot_run(path, side, side) from error
    return tuple(result.shape)


class _Engine:
    """Runs a session on windows of one shape.

    A window is copied to the device once, and its result from there once, straight to where it
    stays; all that is between, and the weights, stay on the device.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        path: Path,
        shape: Sequence[int],
        device: str,
    ) -> None:
        self._session, self._path, self._device = session, path, device
        self._binding = session.io_binding()
        self._input = session.get_inputs()[0].name
        self._output = session.get_outputs()[0].name
        self._free = threading.Lock()
        self._results = ResultMemory(tuple(shape))

    def __call__(self, window: Float32Array, /) -> Float32Array:
        result = self._results.new()
        window = np.ascontiguousarray(window)
        with self._free:
            try:
                self._binding.bind_cpu_input(self._input, window)
                self._binding.bind_output(
                    self._output, "cpu", 0, np.float32, result.shape, result.ctypes.data
                )
                self._session.run_with_iobinding(self._binding)
            except Exception as error:  # see above
                remedy = Remedy("device", "computes on the processor", "cpu")
                remedies = [remedy] if self._device == "gpu" else []
                raise _cannot_run(self._path, *window.shape[2:], *remedies) from error
        return result


@lru_cache(maxsize=4)
def _session(
    provider: str, threads: int | None, path: Path, stamp: Stamp, compute: Compute
) -> onnxruntime.InferenceSession:
    library = import_onnxruntime()
    content = prepared(path, compute)
    if provider in library.get_available_providers():
        try:
            session = _start(provider, content, threads)
        except Exception as error:  # see above
            raise ModelError(f"{path}: ONNX Runtime cannot run this model") from error
        if provider in session.get_providers():
            return session
    raise DeviceError(
        f"{path}: ONNX Runtime cannot use its {provider} here",
        Remedy("device", "computes on the processor", "cpu"),
    )


def _start(
    provider: str, content: bytes, threads: int | None = None
) -> onnxruntime.InferenceSession:
    library = import_onnxruntime()
    options = library.SessionOptions()
    options.log_severity_level = 4  # it logs to the screen; what is an error is raised, too
    # An int8 model as the file has it: fused, on processors alone, it would be rounded elsewhere.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    # On a GPU, for what it does not know; more threads would wait for it, spinning. Zero is as
    # many as suit the processor.
    options.intra_op_num_threads = 1 if provider != CPU else threads or 0
    if provider == "DmlExecutionProvider":
        options.enable_mem_pattern = False  # as it wants it
    names = [provider, *FALLBACKS.get(provider, []), *([CPU] if provider != CPU else [])]
    chosen: list[Any] = [(name, PROVIDER_OPTIONS.get(name, {})) for name in names]
    # To fall back to the processor would be done with many words, or without one.
    return library.InferenceSession(content, options, providers=chosen, enable_fallback=0)


def import_onnxruntime() -> ModuleType:
    """ONNX Runtime, with CUDA's libraries if packages of Python have them.

    Raises ``MissingExtraError`` without it, or without ``onnx``.
    """
    with needs_extra("computing on a GPU", "gpu"):
        import onnx  # noqa: F401
        import onnxruntime
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            onnxruntime.preload_dlls()
    library: ModuleType = onnxruntime
    return library


def gpu_provider() -> str:
    """The provider for this machine's GPU.

    Raises ``DeviceError`` if there is none that works, ``MissingExtraError`` without the packages.
    """
    library = import_onnxruntime()
    offered = library.get_available_providers()
    for provider in GPU_PROVIDERS:
        if provider in offered and _works(provider):
            return provider
    raise DeviceError(
        f"device gpu: ONNX Runtime {library.__version__} finds no GPU that it can use: it has "
        f"{', '.join(offered)}; onnxruntime-gpu, in place of onnxruntime, has NVIDIA's",
        Remedy("device", "computes on the processor", "cpu"),
    )


def _works(provider: str) -> bool:
    """Whether a provider computes: it is offered, too, where there is no card or no driver."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "trial", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    try:
        session = _start(provider, model.SerializeToString())
        session.run(None, {"x": np.zeros(4, np.float32)})
    except Exception:  # see above
        return False
    return provider in session.get_providers()
