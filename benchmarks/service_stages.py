"""Where the processor's time of a request to ``upres serve`` goes: each stage by itself."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from upres.cli.process import keep_libraries_quiet, set_up_libvips
from upres.engine.machine import usable_processors
from upres.engine.openvino import OpenVINO
from upres.engine.wrappers import compile_window
from upres.enlarging.options import MAX_PIXELS
from upres.formats.registry import create_sink, open_pages
from upres.models import DEFAULT_MODEL, Precision, open_at
from upres.service.orders import Order, fulfil, look
from upres.service.parameters import Parameters

SCALE = 2


def engine_rate(
    side: int, precision: Precision, seconds: float, threads: int | None = None
) -> tuple[float, float]:
    """Of the compiled network alone, asked by a thread for each processor.

    At most so many ``threads`` compute a picture. Gives pictures a second, and seconds of the
    processor for each.
    """
    backend = OpenVINO(threads=threads)
    model = open_at(DEFAULT_MODEL, SCALE, precision, backend)
    count = usable_processors()
    engines = [compile_window(backend, model, side, side) for _ in range(count)]
    window = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    for engine in engines:
        engine(window)
    start, used = time.perf_counter(), time.process_time()

    def run(number: int) -> int:
        done = 0
        while not done or time.perf_counter() < start + seconds:
            engines[number](window)
            done += 1
        return done

    with ThreadPoolExecutor(count) as pool:
        done = sum(pool.map(run, range(count)))
    return done / (time.perf_counter() - start), (time.process_time() - used) / done


class Stages(NamedTuple):
    """Seconds of the processor for the parts of a request in the service's workers."""

    look: float
    network: float
    read: float
    write: float
    rest: float
    """Of the work: planes and metadata are put together, and the work is asked for."""


def stages(body: bytes, precision: Precision, seconds: float) -> Stages:
    """Measure each by itself, with one thread for the network, as beside other work."""
    set_up_libvips(None)
    keep_libraries_quiet()
    backend, tell = OpenVINO(), _nothing
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = Parameters(scale=SCALE, model=DEFAULT_MODEL, check=False, precision=precision)
        order = Order(folder, "picture.jpg", given.options(MAX_PIXELS, folder))
        order.source.write_bytes(body)
        told = look(order, backend=backend, tell=tell)
        target = order.target(told.suffix)

        def all_of_it() -> None:
            fulfil(order, told.suffix, told.result_name, 1, backend=backend, tell=tell)

        def read() -> None:
            for block in next(open_pages(order.source)[0].frames(order.source)):
                assert len(block)

        all_of_it()
        source, again = open_pages(target)[0], folder / f"again{told.suffix}"
        samples = np.concatenate(list(next(source.frames(target)))).astype(np.float32) / 255

        def write() -> None:
            with create_sink(again, quality=None, pages=1, content_bytes=samples.nbytes) as sink:
                sink.begin(source.info, source.carried)
                sink.write(0, 0, 0, samples)
                sink.commit(replace=True)

        write()
        assert again.stat().st_size > 0.8 * target.stat().st_size
        _, network = engine_rate(told.width // SCALE, precision, seconds, 1)
        parts = (spent_on(read, seconds), spent_on(write, seconds))
        rest = spent_on(all_of_it, seconds) - network - sum(parts)
        looked = spent_on(partial(look, order, backend=backend, tell=tell), seconds)
        return Stages(looked, network, *parts, rest)


def _nothing(part: float) -> None:
    pass


def spent_on(work: Callable[[], object], seconds: float) -> float:
    """Seconds of the processor that something takes, in the mean over so many seconds."""
    for _ in range(3):
        work()
    start, used, done = time.perf_counter(), time.process_time(), 0
    while not done or time.perf_counter() < start + seconds:
        work()
        done += 1
    return (time.process_time() - used) / done


def stage_rows(
    parts: dict[str, list[Stages]], *, in_front: dict[str, float], measured: dict[str, float]
) -> tuple[list[list[str]], dict[str, float]]:
    """A row for each stage, and by precision their sum in seconds.

    ``in_front`` are the seconds of the service's own process, by precision, and ``measured`` those
    of all processes.
    """
    names = {
        "look": "header and plan, in a process of its own",
        "read": "reading the picture",
        "network": "the network, one thread",
        "rest": "the work around it: neutral and flat colours, metadata, order and answer",
        "write": "writing the result",
    }
    middle = {
        own: {name: median(getattr(each, name) for each in parts[own]) for name in names}
        for own in parts
    }
    for own in parts:
        middle[own]["front"] = in_front[own]
        middle[own]["sum"] = sum(middle[own].values())
        middle[own]["all"] = measured[own]
    names |= {
        "front": "HTTP, the upload, the line, handing over: the service's own process",
        "sum": "all of these",
        "all": "measured of all processes",
    }
    rows = [
        [said, *(f"{1000 * middle[own][name]:.1f}" for own in parts)]
        for name, said in names.items()
    ]
    return rows, {own: middle[own]["sum"] for own in parts}
