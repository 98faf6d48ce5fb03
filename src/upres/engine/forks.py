"""Processes that were forked: an engine's threads are not in them."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from upres.errors import ModelError


def require_own_process(path: Path) -> None:
    """Raise ``ModelError`` in a process that was forked from one that has called this already.

    Each engine calls it before it first compiles a model, ``path``.
    """
    if _process() != os.getpid():
        raise ModelError(
            f"{path}: the engine ran before this process was forked, and would wait for "
            "ever here: start processes by spawn, multiprocessing.get_context('spawn')"
        )


@cache
def _process() -> int:
    """The process that first compiled; of the engine's threads a fork of it has none."""
    return os.getpid()
