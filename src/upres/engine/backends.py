"""Which backend is taken on this machine."""

from __future__ import annotations

from functools import cache
from typing import Literal

from upres.engine.openvino import OpenVINO
from upres.engine.protocol import Backend

Device = Literal["auto", "cpu", "gpu"]


@cache
def default_backend(device: Device = "auto") -> Backend:
    """The one for a device."""
    return OpenVINO()
