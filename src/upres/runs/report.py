"""How a run ended, as JSON, for programs."""

from __future__ import annotations

import json
from pathlib import Path

from upres import __version__
from upres.engine.machine import usable_processors
from upres.files import replacing
from upres.runs.batch import Summary


def write_run_report(path: Path, summary: Summary, seconds: float) -> None:
    """Write a run's report; ``seconds`` is its time by the clock. Raises ``OutputError``."""
    # Threads share the processors of this machine; a cluster's workers tell how long they had one.
    core_seconds = summary.core_seconds or seconds * usable_processors()
    report = {
        "upres": __version__,
        "done": summary.done,
        "skipped": summary.skipped,
        "failed": [
            {"source": str(source), "code": error.code, "reason": str(error)}
            for source, error in summary.failed
        ],
        "left": summary.left,
        "not_read": [str(place) for place in summary.not_read],
        "stopped_by": summary.stopped_by,
        "pixels": summary.pixels,
        "seconds": round(seconds, 3),
        "core_hours": round(core_seconds / 3600, 6),
    }
    with replacing(path) as name:
        name.write_text(f"{json.dumps(report, indent=1)}\n", "utf-8")
