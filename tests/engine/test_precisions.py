"""The table of precisions, against the figures that ``benchmarks/precisions.py`` measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

from upres.engine.machine import ProcessorKind
from upres.engine.precisions import MODELS, MOST_LOST, NAMES, TABLE
from upres.models import INT8, shipped_models

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
needs_benchmarks = pytest.mark.skipif(
    not BENCHMARKS.is_dir(), reason="needs benchmarks/, which a source distribution does not have"
)


@pytest.fixture(scope="module")
def precisions() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import precisions
    finally:
        sys.path.remove(str(BENCHMARKS))
    return precisions


def figures() -> dict[str, Any]:
    measured: dict[str, Any] = json.loads((BENCHMARKS / "precisions.json").read_text("utf-8"))
    return measured


def test_the_table_has_all_shipped_models_and_each_kind_of_processor_but_the_unknown() -> None:
    shipped = {
        f"{name} x{scale}"
        for name, scales in shipped_models().items()
        for scale in scales
        if not name.endswith(INT8)
    }
    assert set(MODELS) == shipped
    assert {*TABLE, "unknown"} == set(get_args(ProcessorKind)) == set(NAMES)
    for kind, taken in TABLE.items():
        assert set(taken) == shipped, kind


@needs_benchmarks
@pytest.mark.parametrize("kind", [kind for kind in TABLE if kind != "arm"])
def test_the_table_says_what_was_measured(kind: ProcessorKind, precisions: ModuleType) -> None:
    measured = figures()[kind]["models"]
    for label, own in measured.items():
        taken = TABLE[kind][label]
        mode = "int8+bf16" if (kind, taken) == ("amx", "int8") else taken
        assert precisions.quickest(kind, own) == mode, label
    # Both sizes of network: the others are built as one of these.
    assert {f"{name} x{scale}" for name in ("fast", "balanced") for scale in (2, 3, 4)} <= set(
        measured
    )


@needs_benchmarks
def test_none_that_is_taken_loses_more_than_it_may() -> None:
    for kind, entry in figures().items():
        for label, own in entry["models"].items():
            taken = TABLE[kind][label]  # type: ignore[index]
            assert own["lost"].get(taken, [0.0])[0] <= MOST_LOST, (kind, label)


@needs_benchmarks
def test_the_quickest_that_loses_little_is_taken(precisions: ModuleType) -> None:
    own = {
        "ms": {"fp32": 10.0, "bf16": 4.1, "int8": 4.0, "int8+bf16": 3.0},
        "lost": {"bf16": [0.0, 2], "int8": [0.02, 9], "int8+bf16": [0.02, 9]},
    }
    assert precisions.quickest("avx512_bf16", own) == "bf16"  # as quick, and more exact
    assert precisions.quickest("amx", own) == "int8+bf16"
    own["ms"]["bf16"] = 5.0
    assert precisions.quickest("avx512_bf16", own) == "int8"
    own["lost"]["int8"] = [0.06, 9]
    assert precisions.quickest("avx512_bf16", own) == "bf16"
    own["lost"]["bf16"] = [0.0, 90]
    assert precisions.quickest("avx512_bf16", own) == "fp32"
