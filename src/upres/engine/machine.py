"""What this machine's processor is made for."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def int8_is_native() -> bool:
    """Whether the processor multiplies int8 into int32 in one instruction (VNNI or AMX).

    On others int8 is little faster than float32, and sums of two products may overflow.
    """
    if flags := _processor_flags():
        return not {"avx512_vnni", "avx_vnni", "amx_int8"}.isdisjoint(flags)
    # Elsewhere than on Linux, NumPy knows, though not of AVX-VNNI.
    with suppress(ImportError):
        from numpy._core._multiarray_umath import __cpu_features__  # type: ignore[import-not-found]

        return bool(__cpu_features__.get("AVX512VNNI"))
    return False


@cache
def bfloat16_is_native() -> bool:
    """Whether the processor multiplies matrices of bfloat16 (AMX).

    With AVX-512 alone, the engine is slower in bfloat16 than in float32.
    """
    return "amx_bf16" in _processor_flags()


def _processor_flags() -> list[str]:
    """Of Linux; elsewhere none."""
    with suppress(OSError):
        return Path("/proc/cpuinfo").read_text("ascii", "replace").split()
    return []


def machine_memory() -> int | None:
    """Bytes of memory that the machine has; ``None`` where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
