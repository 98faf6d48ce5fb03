"""Trials of a model's precisions, for models and processors that no table knows.

A trial takes half a second and the time to compile. The winner is kept in the user's folder of
caches, for this processor and this OpenVINO; where that cannot be written, in this process alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from upres.card import Model
from upres.engine.protocol import Backend, Choice
from upres.engine.wrappers import compile_window
from upres.errors import ModelError
from upres.files import temporary
from upres.raster.metrics import psnr_from_mse
from upres.raster.pixels import Float32Array

TRIAL_SECONDS = 0.5
"""How long the precisions are timed, all together."""

ALIKE = 1.03
"""A precision that takes at most this many times as long as the quickest is as quick."""

NEAR = 35.0
"""dB of PSNR that a precision has to have against float32. The shipped models have at least 41 in
int8 on the trial's picture."""

TRIED_SIDE = 96
"""Of the trial's picture, in pixels."""

_trying = threading.Lock()
_winners: dict[str, str] = {}


def trial_choice(
    ways: Sequence[Model],
    backend: Backend,
    *,
    folder: Path | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Choice:
    """The quickest of ``ways`` to compute a model, from the most exact one to the least exact.

    Ways that are far from the first's result are left out. ``folder`` keeps winners
    (default: ``upres`` in the user's folder of caches); ``clock`` tells seconds.

    Raises ``ModelError`` if the first way cannot be computed.
    """
    if len(ways) == 1:
        return Choice(ways[0], "there is no other")
    modes = {way.mode: way for way in ways}
    name = _name(ways, backend)
    folder = cache_folder() if folder is None else folder
    path = None if folder is None else folder / f"precision-{name}.json"
    with _trying:  # others would slow it down
        mode = _winners.get(name) or _kept(path, modes)
        if mode is None:
            mode = _keep(path, quickest(ways, backend, clock).mode, modes)
        _winners[name] = mode
    return Choice(modes[mode], "the quickest here, as it was tried out")


def quickest(ways: Sequence[Model], backend: Backend, clock: Callable[[], float]) -> Model:
    """Try ways to compute a model, in turns; of those that are as quick, the first."""
    picture = trial_picture(ways[0].card.channels)
    engines, exact = {}, None
    for number, way in enumerate(ways):
        # Its runs would be eight of the same.
        single = replace(way, card=replace(way.card, self_ensemble=False))
        try:
            engine = compile_window(backend, single, TRIED_SIDE, TRIED_SIDE)
            result = engine(picture)
        except ModelError:
            if exact is None:
                raise
            continue
        exact = result if exact is None else exact
        if _psnr(result, exact) >= NEAR:
            engines[number] = engine
    least = dict.fromkeys(engines, float("inf"))
    end = clock() + TRIAL_SECONDS
    for turn in range(1000):
        for number, engine in engines.items():
            start = clock()
            engine(picture)
            least[number] = min(least[number], clock() - start)
        if turn and clock() > end:
            break
    limit = ALIKE * min(least.values())
    return ways[next(number for number, seconds in least.items() if seconds <= limit)]


def trial_picture(channels: int) -> Float32Array:
    """A picture with smooth parts, edges, stripes and saturated colours, in [0, 1]."""
    y, x = np.mgrid[:TRIED_SIDE, :TRIED_SIDE].astype(np.float32) / np.float32(TRIED_SIDE)
    bands = []
    for band in range(channels):
        smooth = 0.5 + 0.3 * np.sin(5 * x + band) * np.cos(4 * y - band)
        stripes = 0.5 + 0.5 * np.sin(40 * (x + (band + 1) * y / 3))
        disc = (x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.06
        picture = np.where(y > 0.75, stripes, smooth)
        bands.append(np.where(disc, float(band != 1), picture))
    return np.stack(bands)[None].astype(np.float32)


def cache_folder() -> Path | None:
    """``upres`` in the user's folder of caches, which need not exist; ``None`` without a user's."""
    given = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", "")
    if os.path.isabs(given):
        return Path(given) / "upres"
    with suppress(RuntimeError):  # there is no home
        home = Path.home()
        if sys.platform == "darwin":
            return home / "Library" / "Caches" / "upres"
        return home / (".cache" if sys.platform != "win32" else "AppData/Local") / "upres"
    return None


def _psnr(result: Float32Array, exact: Float32Array) -> float:
    error = float(np.square(result - exact).mean())
    return psnr_from_mse(error, peak=1.0) if np.isfinite(error) else 0.0


def _name(ways: Sequence[Model], backend: Backend) -> str:
    """A name for all that a trial's outcome hangs on."""
    engine = "none"
    with suppress(PackageNotFoundError):
        engine = version("openvino")
    files = [[way.label, way.mode, _size(way.path)] for way in ways]
    facts = [backend.name, engine, processor_name(), platform.machine(), files]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def processor_name() -> str:
    """The processor's name and its instructions, where the system tells them."""
    told = {"model name": "", "flags": "", "Features": "", "CPU part": ""}
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="ascii", errors="replace") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key.strip() in told:
                told[key.strip()] = value.strip()
            if not line.strip():
                break  # the others are alike
    return " ".join(told.values()).strip() or platform.processor()


def _kept(path: Path | None, modes: Collection[str]) -> str | None:
    """The winner that is kept; whatever is none of ``modes`` is as if it were not there."""
    if path is None:
        return None
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    mode = content.get("mode") if isinstance(content, dict) else None
    return mode if isinstance(mode, str) and mode in modes else None


def _keep(path: Path | None, mode: str, modes: Collection[str]) -> str:
    """Keep a winner for other processes; the result is that of another that has kept one first."""
    if path is None:
        return mode
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary(path, ".json") as name:
            name.write_text(json.dumps({"mode": mode}), "utf-8")
            try:
                os.link(name, path)
            except OSError:  # it is there, or the file system has no links
                kept = _kept(path, modes)
                if kept is not None:
                    return kept
                os.replace(name, path)
    except OSError:
        pass  # the next process tries anew
    return mode
