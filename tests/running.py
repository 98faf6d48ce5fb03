"""Runs the command as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def upres(
    *arguments: object, cwd: Path, columns: int = 200, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``upres`` in a terminal of so many columns, in the folder ``cwd``."""
    return subprocess.run(
        [sys.executable, "-m", "upres", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "COLUMNS": str(columns), **(environment or {})},
    )
