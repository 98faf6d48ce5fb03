"""How much a run will make and take, about, before its work."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress

from upres.enlarging.options import Options
from upres.runs.jobs import Job
from upres.runs.video import open_any

BYTES_PER_PIXEL = dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), 0.5)
BYTES_PER_PIXEL |= {".webp": 0.4, ".avif": 0.3, ".gif": 0.6}
BYTES_PER_PIXEL |= dict.fromkeys((".mp4", ".m4v", ".mov", ".mkv", ".webm"), 0.05)
BYTES_PER_PIXEL |= {".jxl": 0.6, ".heic": 0.6, ".heif": 0.6}
"""Of compressed photographs, roughly; other formats take 2."""

SAMPLES = 100
"""Pictures that are looked at to estimate the disk space that all of them need."""


def space_warning(jobs: Sequence[Job], options: Options) -> str | None:
    """A line that says so if the results will probably not fit on the disk.

    At most ``SAMPLES`` pictures are looked at, evenly spaced; those that cannot be read
    count nothing.
    """
    sample = jobs[:: -(-len(jobs) // SAMPLES) or 1]
    needed = 0.0
    for job in sample:
        with suppress(Exception):  # it fails when its turn comes
            pixels = job.opened(open_any, options).pixels
            needed += pixels * BYTES_PER_PIXEL.get(job.target.suffix.lower(), 2)
    needed *= len(jobs) / max(1, len(sample))
    for folder in jobs[0].target.absolute().parents if jobs else ():
        if os.path.isdir(folder):
            free = shutil.disk_usage(folder).free
            if needed <= free:
                return None
            return (
                f"{folder}: the results will need about {_megabytes(needed)}, "
                f"and {_megabytes(free)} are free"
            )
    return None


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.0f} MB"
