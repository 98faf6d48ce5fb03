"""Which backend is taken on this machine."""

from __future__ import annotations

import dataclasses
import numbers
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from typing import Literal, get_args

from upres.engine.openvino import OpenVINO
from upres.engine.protocol import Backend
from upres.errors import DeviceError, MissingExtraError, UsageError

Device = Literal["auto", "cpu", "gpu"]

GPU_PACKAGES = ("onnxruntime-gpu", "onnxruntime-directml")
"""Who has one of these installed wants its GPU to be used. Plain ``onnxruntime`` has a provider for
Apple's GPUs, too: that is taken where ``gpu`` is asked for, as others install it for its own sake.
"""


@cache
def default_backend(device: Device = "auto", threads: int | None = None) -> Backend:
    """The backend for a device; ``auto`` is a GPU where its packages are there and work.

    On the processor, at most so many ``threads`` compute; ``None`` is as many as this process may
    use processors, by what it is bound to and by its container's limits.

    Raises ``DeviceError`` if there is no such device, ``MissingExtraError`` if it needs packages
    that are not installed, ``UsageError`` if ``threads`` is no whole number of at least 1.
    """
    if not (threads is None or isinstance(threads, numbers.Integral)):
        raise UsageError(f"threads must be a whole number, not {threads!r}")
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, not {threads}", option="threads")
    if device not in get_args(Device):
        known = ", ".join(get_args(Device))
        raise DeviceError(f"no device is called {device!r}: there are {known}")
    if device == "gpu":
        return _gpu()
    # To load ONNX Runtime takes time: only where it has something to offer.
    if device == "auto" and any(map(_is_installed, GPU_PACKAGES)):
        try:
            return _gpu()
        except (DeviceError, MissingExtraError):
            pass
    return OpenVINO(threads=threads)


def with_threads(backend: Backend, most: int) -> Backend:
    """The same backend with so many threads at most; one of another library stays as it is."""
    if not isinstance(backend, OpenVINO):
        return backend
    return dataclasses.replace(backend, threads=min(most, backend.threads or most))


def _gpu() -> Backend:
    from upres.engine.onnxruntime import OnnxRuntime, gpu_provider

    return OnnxRuntime(gpu_provider())


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
