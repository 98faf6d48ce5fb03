from __future__ import annotations

import pytest

from upres.engine.machine import Processor, ProcessorKind


@pytest.mark.parametrize(
    ("flags", "int8", "bfloat16", "kind"),
    [
        ("fpu sse4_2", False, False, "unknown"),
        ("fpu avx2", False, False, "avx2"),
        ("fpu avx2 avx512f", False, False, "avx512"),
        ("fpu avx2 avx512f avx512_vnni", True, False, "avx512_vnni"),
        ("avx2 avx_vnni", True, False, "avx_vnni"),
        ("avx512_bf16 avx2 avx512f", False, False, "avx512"),
        ("avx512_bf16 avx2 avx512f avx512_vnni avx_vnni", True, False, "avx512_bf16"),
        ("avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_int8", True, True, "amx"),
    ],
)
def test_what_processors_are_made_for(
    flags: str, int8: bool, bfloat16: bool, kind: ProcessorKind
) -> None:
    expected = Processor(int8, bfloat16, avx512="avx512f" in flags, kind=kind)
    assert Processor.with_flags(flags.split()) == expected
