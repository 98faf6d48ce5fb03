"""The means that this machine gives this process: instructions, processors, memory."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from upres.engine.cgroups import group_limits

ProcessorKind = Literal[
    "amx", "avx512_bf16", "avx512_vnni", "avx_vnni", "avx512", "avx2", "arm", "unknown"
]
"""Processors by the instructions that decide which precision is the quickest: the best of those
that it has. Where the system does not tell all of them, it is ``unknown``."""


@dataclass(frozen=True)
class Processor:
    """The instructions that a processor has."""

    int8: bool
    """It multiplies int8 into int32 in one instruction (VNNI or AMX). On others sums of two
    products may overflow: the shipped models lose nothing by that (benchmarks/PRECISIONS.md)."""
    bfloat16: bool
    """It multiplies matrices of bfloat16 (AMX)."""
    avx512: bool = False
    kind: ProcessorKind = "unknown"

    @classmethod
    def with_flags(cls, flags: Iterable[str]) -> Processor:
        """The one that has these, as Linux calls them."""
        has = set(flags)
        return cls(
            int8=not has.isdisjoint({"avx512_vnni", "avx_vnni", "amx_int8"}),
            bfloat16="amx_bf16" in has,
            avx512="avx512f" in has,
            kind=_kind(has),
        )


def _kind(has: set[str]) -> ProcessorKind:
    if has >= {"amx_int8", "amx_bf16"}:
        return "amx"
    if has >= {"avx512f", "avx512_vnni", "avx512_bf16"}:
        return "avx512_bf16"
    if has >= {"avx512f", "avx512_vnni"}:
        return "avx512_vnni"
    # As a processor with both computes in AVX-512, its VNNI of 256 bits counts nothing.
    if "avx512f" in has:
        return "avx512"
    if "avx_vnni" in has:
        return "avx_vnni"
    return "avx2" if "avx2" in has else "unknown"


@cache
def this_processor() -> Processor:
    """The machine's own."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return Processor(int8=False, bfloat16=False, kind="arm")
    with suppress(OSError):
        return Processor.with_flags(Path("/proc/cpuinfo").read_text("ascii", "replace").split())
    # Elsewhere than on Linux, NumPy knows, though not of AVX-VNNI.
    with suppress(ImportError):
        from numpy._core._multiarray_umath import __cpu_features__  # type: ignore[import-not-found]

        return Processor(
            int8=bool(__cpu_features__.get("AVX512VNNI")),
            bfloat16=False,
            avx512=bool(__cpu_features__.get("AVX512F")),
        )
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
    return core * usable_processors()


def usable_processors(root: Path = Path("/")) -> int:
    """How many processors this process may use: of those that it is bound to, as by ``taskset``,
    as many as its container's share of time keeps busy; one at least.

    ``root`` is the folder in which ``proc`` and ``sys`` are.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on every system
        count = os.cpu_count() or 1
    share = group_limits(root).processors
    return count if share is None else max(1, min(count, math.ceil(share)))


def thread_limit(threads: int | None) -> int | None:
    """How many threads an engine may use: ``threads``, if given; else as many as this process may
    use processors, where these are not all that the machine has.

    ``None`` is no limit: engines know best how many of all processors are of use to them.
    """
    if threads is not None:
        return threads
    count = usable_processors()
    return count if count < (os.cpu_count() or 1) else None


def machine_memory(root: Path = Path("/")) -> int | None:
    """Bytes of memory that the machine has, or its container; ``None`` where nothing tells.

    ``root`` is the folder in which ``proc`` and ``sys`` are.
    """
    limit = group_limits(root).memory
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return limit
    return memory if limit is None else min(memory, limit)
