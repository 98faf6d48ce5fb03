"""How much a run will make and take, about, before its work."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from upres.engine.machine import usable_processors
from upres.engine.protocol import Backend
from upres.engine.wrappers import REDUCING
from upres.enlarging.options import Options
from upres.enlarging.plan import Plan
from upres.models import INT8
from upres.runs.jobs import Job
from upres.runs.listing import Count, Pictures
from upres.runs.video import open_any

BYTES_PER_PIXEL = dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), 0.5)
BYTES_PER_PIXEL |= {".webp": 0.4, ".avif": 0.3, ".gif": 0.6}
BYTES_PER_PIXEL |= dict.fromkeys((".mp4", ".m4v", ".mov", ".mkv", ".webm"), 0.05)
BYTES_PER_PIXEL |= {".jxl": 0.6, ".heic": 0.6, ".heif": 0.6}
"""Of compressed photographs, roughly; other formats take 2."""

SAMPLES = 100
"""Pictures that are looked at to estimate the disk space that all of them need."""


HEAD = 2**19
"""Bytes at the beginning of an object that are read to estimate a run: most formats have the size
of their picture there."""


@dataclass(frozen=True)
class Forecast:
    """How much a run will make and take."""

    items: int
    pixels: float
    """Of the results."""
    seconds: float
    """On this machine alone."""
    disk: float
    """Bytes of the results, encoded."""
    fetched: int = 0
    """Bytes that come from a store."""
    sent: float = 0
    """Bytes that go to one."""
    finished: int = 0
    """Pictures that a run that is resumed has done."""
    unusable: float = 0
    """The part of the pictures that were looked at whose results could not be planned."""
    looked_at: int = 0
    models: tuple[str, ...] = ()
    """Those of the pictures that were looked at, with their precisions: ``fast x2 in int8``."""

    @property
    def core_hours(self) -> float:
        """Time of one processor for the work."""
        return self.seconds * usable_processors() / 3600


def estimate(jobs: Sequence[Job], options: Options, backend: Backend | None = None) -> Forecast:
    """Forecast a run over local files; no pixels are read.

    At most ``SAMPLES`` pictures are opened, evenly spaced.
    """
    sample = jobs[:: -(-len(jobs) // SAMPLES) or 1]
    plans, models = [], dict[str, None]()
    for job in sample:
        with suppress(Exception):  # it fails when its turn comes
            picture = job.opened(open_any, options, backend=backend)
            plans.append(_taken(picture, job.target.suffix))
            models |= dict.fromkeys(_models(picture))
    return Forecast(len(jobs), models=tuple(models), **_scaled(plans, len(sample), len(jobs)))


def estimate_in_stores(listing: Pictures, count: Count, options: Options) -> Forecast:
    """Forecast a run over a store's objects; of at most ``SAMPLES`` the beginning is read.

    Of those whose size is not told there, none is known: the others stand for them.
    """
    step = -(-count.pictures // SAMPLES) or 1
    plans, looked_at, models = [], 0, dict[str, None]()
    with tempfile.TemporaryDirectory(prefix="upres-estimate-") as folder:
        for job in itertools.islice(listing.jobs(), 0, None, step):
            looked_at += 1
            path = Path(folder, f"head{Path(job.source.name).suffix}")
            store = listing.stores[job.source.root]
            with suppress(Exception):
                path.write_bytes(store.beginning(job.found, HEAD))
                picture = open_any(path, options)
                plans.append(_taken(picture, Path(job.target.name).suffix))
                models |= dict.fromkeys(_models(picture))
    made = _scaled(plans, looked_at, count.pictures)
    return Forecast(
        count.pictures,
        fetched=count.size,
        sent=made["disk"],
        finished=count.finished,
        models=tuple(models),
        **made,
    )


def _plans(picture: Any) -> list[Plan]:
    plans = getattr(picture, "plans", None) or [getattr(picture, "plan", None)]
    return [plan for plan in plans if plan is not None]


def _models(picture: Any) -> list[str]:
    """A picture's models, with their precisions."""
    used = [model for plan in _plans(picture) for model in plan.models if model is not REDUCING]
    return [
        f"{model.card.name.removesuffix(INT8)} x{model.card.scale} in {model.mode}"
        for model in used
    ]


def _taken(picture: Any, suffix: str) -> tuple[float, float, float]:
    """Pixels, seconds and encoded bytes of a result."""
    seconds = sum(plan.seconds for plan in _plans(picture))
    return picture.pixels, seconds, picture.pixels * BYTES_PER_PIXEL.get(suffix.lower(), 2)


def _scaled(
    plans: Sequence[tuple[float, float, float]], looked_at: int, items: int
) -> dict[str, Any]:
    """The sums for all items, of which some were looked at, and of these some could be planned."""
    means = [sum(column) / len(plans) for column in zip(*plans, strict=True)] or [0, 0, 0]
    pixels, seconds, disk = (mean * items for mean in means)
    unusable = 1 - len(plans) / looked_at if looked_at else 0.0
    return {
        "pixels": pixels,
        "seconds": seconds,
        "disk": disk,
        "unusable": unusable,
        "looked_at": looked_at,
    }


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
