"""The means of this machine: its processor's instructions, and memory."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Processor:
    """The instructions that a processor has."""

    int8: bool
    """It multiplies int8 into int32 in one instruction (VNNI or AMX). On others int8 is little
    faster than float32, and sums of two products may overflow."""
    bfloat16: bool
    """It multiplies matrices of bfloat16 (AMX). With AVX-512 alone, OpenVINO is slower in bfloat16
    than in float32."""

    @classmethod
    def with_flags(cls, flags: Iterable[str]) -> Processor:
        """The one that has these, as Linux calls them."""
        has = set(flags)
        return cls(
            int8=not has.isdisjoint({"avx512_vnni", "avx_vnni", "amx_int8"}),
            bfloat16="amx_bf16" in has,
        )


@cache
def this_processor() -> Processor:
    """The machine's own."""
    with suppress(OSError):
        return Processor.with_flags(Path("/proc/cpuinfo").read_text("ascii", "replace").split())
    # Elsewhere than on Linux, NumPy knows, though not of AVX-VNNI.
    with suppress(ImportError):
        from numpy._core._multiarray_umath import __cpu_features__  # type: ignore[import-not-found]

        return Processor(int8=bool(__cpu_features__.get("AVX512VNNI")), bfloat16=False)
    return Processor(int8=False, bfloat16=False)


def operations_per_second(precision: str, compute: str) -> float:
    """Additions and multiplications of a network that this machine does in a second, about.

    Measured of the shipped models on two cores (benchmarks/RESULTS.md, RESULTS-VNNI.md): the least
    that any of them reached, as a plan had better tell too long than too short.
    """
    processor = this_processor()
    if precision == "int8" and processor.int8:
        core = 500e9 if processor.bfloat16 else 250e9
    elif compute == "bf16" and processor.bfloat16:
        core = 250e9
    else:
        core = 50e9
    return core * (os.cpu_count() or 1)


def machine_memory() -> int | None:
    """Bytes of memory that the machine has; ``None`` where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
