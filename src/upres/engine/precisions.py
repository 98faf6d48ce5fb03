"""The precision of each shipped model that is the quickest on each kind of processor.

A table, as it was measured: ``benchmarks/precisions.py`` writes PRECISIONS.md, which has the times
and the quality, and a test compares. Models and processors that are not in it are tried out, see
``upres.engine.trials``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from upres.card import Model
from upres.engine.machine import ProcessorKind
from upres.engine.protocol import Choice

Taken = Literal["fp32", "bf16", "int8"]
"""In int8, the rest is computed as ``Backend.best_compute`` says."""

MOST_LOST = 0.05
"""dB of PSNR on the validation pictures that a precision may cost."""

NAMES: Mapping[ProcessorKind, str] = {
    "amx": "AMX",
    "avx512_bf16": "AVX-512 with VNNI and bfloat16",
    "avx512_vnni": "AVX-512 with VNNI",
    "avx_vnni": "AVX2 with VNNI",
    "avx512": "AVX-512 without VNNI",
    "avx2": "AVX2 without VNNI",
    "arm": "Arm",
    "unknown": "an unknown processor",
}

_SCALES = {"fast": (2, 3, 4), "balanced": (2, 3, 4), "best": (2, 3, 4), "photo": (1, 2, 3, 4)}
MODELS = tuple(f"{name} x{scale}" for name, scales in _SCALES.items() for scale in scales)
"""The labels of the models that were measured."""

_INT8: Mapping[str, Taken] = dict.fromkeys(MODELS, "int8")
_AMX: Mapping[str, Taken] = dict.fromkeys(("fast x2", "fast x3", "fast x4", "photo x2"), "bf16")

TABLE: Mapping[ProcessorKind, Mapping[str, Taken]] = {
    "amx": {**_INT8, **_AMX},
    "avx512_bf16": _INT8,
    "avx512_vnni": _INT8,
    "avx_vnni": _INT8,
    "avx512": _INT8,
    "avx2": _INT8,
    # Not measured. By its developers, OpenVINO's int8 convolutions there take no scale for each
    # channel, which the shipped models have: these are computed in floating point, rounded to 8
    # bits (openvinotoolkit/openvino, pull requests 33040 and 35280).
    "arm": dict.fromkeys(MODELS, "fp32"),
}


def table_choice(variants: Sequence[Model], kind: ProcessorKind) -> Choice | None:
    """The choice among a shipped model's files by the table; ``None`` if it does not tell.

    ``variants`` are as in ``Backend.choose``, each as it is computed by default.
    """
    taken = TABLE.get(kind, {}).get(variants[0].label)
    why = f"the quickest that loses at most {MOST_LOST} dB, on processors with {NAMES[kind]}"
    if kind == "arm":
        why = "OpenVINO has nothing quicker on Arm that loses little"
    for model in variants:
        if model.card.precision == taken:
            return Choice(model, why)
        if taken == "bf16" and model.card.precision == "fp32":
            return Choice(in_bfloat16(model), why)
    return None


def in_bfloat16(model: Model) -> Model:
    """A model in float32, computed in bfloat16."""
    return replace(model, compute="bf16")
