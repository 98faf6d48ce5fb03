from __future__ import annotations

import pytest

from upres.engine.machine import Processor


@pytest.mark.parametrize(
    ("flags", "int8", "bfloat16"),
    [
        ("fpu avx2 avx512f", False, False),
        ("fpu avx512_vnni", True, False),
        ("avx2 avx_vnni", True, False),
        ("avx512_bf16 avx512f", False, False),
        ("avx512_bf16 amx_bf16 amx_int8", True, True),
    ],
)
def test_what_processors_are_made_for(flags: str, int8: bool, bfloat16: bool) -> None:
    assert Processor.with_flags(flags.split()) == Processor(
        int8, bfloat16, avx512="avx512f" in flags
    )
