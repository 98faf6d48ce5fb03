"""Times `upres serve`: requests a second beside the engine's own rate, and latencies.

Writes the result as Markdown. Clients are threads of another process, each with a connection that
it keeps. The engine alone, the service, and one as most projects write it (``plain_service.py``)
are timed in turns in one run. Needs the extra serve, onnxruntime and Pillow.
"""

from __future__ import annotations

import argparse
import http.client
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import numpy as np
import pyvips

from measuring import machine, ratios, spread, table
from upres.engine.machine import usable_processors
from upres.engine.openvino import OpenVINO
from upres.engine.wrappers import compile_window
from upres.models import DEFAULT_MODEL, Precision, open_at, open_model

SCALE = 2
GOAL = 0.8
"""The part of the engine's own rate that the service is to reach."""

CLIENTS = (1, 10, 100)

PLAIN = "plain"


def picture(side: int) -> bytes:
    """A JPEG of waves and an edge, as photographs have."""
    y, x = np.mgrid[:side, :side]
    pixels = 127 + 100 * np.sin(np.stack([x / 9, y / 7, (x + y) / 11], axis=2))
    pixels[side // 4 : side // 2, side // 3 : side // 2] = (250, 30, 90)
    content: bytes = pyvips.Image.new_from_array(pixels.astype(np.uint8)).jpegsave_buffer(Q=98)
    return content


def engine_rate(side: int, precision: Precision, seconds: float) -> tuple[float, float]:
    """Of the compiled network alone, by a thread for each processor.

    Gives pictures a second, and seconds of the processor for each.
    """
    backend = OpenVINO()
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


def processor_seconds(root: int) -> float:
    """Of a process and all that it has started, up to now."""
    told: dict[int, tuple[int, float]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        told[int(entry.parent.name)] = (int(fields[1]), seconds)
    own = {root}
    while more := {number for number, (parent, _) in told.items() if parent in own} - own:
        own |= more
    return sum(told[number][1] for number in own)


class Started(NamedTuple):
    """A service that listens."""

    place: tuple[str, int]
    process: int


@contextmanager
def started(*command: str) -> Iterator[Started]:
    """A service in a process of its own, which tells its address on standard error."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"TMPDIR": folder}
        process = subprocess.Popen(
            [sys.executable, *command], stderr=subprocess.PIPE, text=True, env=environment
        )
        try:
            assert process.stderr
            address = process.stderr.readline().split("http://")[1].split("/")[0]
            host, _, port = address.rpartition(":")
            yield Started((host, int(port)), process.pid)
        finally:
            process.terminate()
            process.wait()


def ask(
    place: tuple[str, int], path: str, body: bytes, clients: int, seconds: float
) -> list[float]:
    """Seconds that each request took, by so many clients that ask one after another."""
    end = time.perf_counter() + seconds
    taken: list[float] = []

    def client() -> None:
        connection = http.client.HTTPConnection(*place, timeout=120)
        while time.perf_counter() < end:
            start = time.perf_counter()
            connection.request("POST", path, body, {"Host": "localhost"})
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                raise SystemExit(f"the service answers {response.status}")
            taken.append(time.perf_counter() - start)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def path_of(precision: Precision) -> str:
    return f"/enlarge?scale={SCALE}&model={DEFAULT_MODEL}&check=false&precision={precision}"


Case = tuple[str, int]
"""What is asked, and by how many clients."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("SERVICE.md"))
    arguments = parser.parse_args()
    about, body = machine(), picture(arguments.side)
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    alone: dict[str, list[float]] = {own: [] for own in precisions}
    alone_used: dict[str, list[float]] = {own: [] for own in precisions}
    rates: dict[Case, list[float]] = {}
    used: dict[Case, list[float]] = {}
    latencies: dict[Case, list[float]] = {}
    context = multiprocessing.get_context("spawn")
    model = str(open_model(DEFAULT_MODEL, scale=SCALE).path)
    plain = str(Path(__file__).with_name("plain_service.py"))
    places = str(2 * max(CLIENTS))
    with (
        started("-m", "upres", "serve", "--port", "0", "--places", places) as ours,
        started(plain, model) as other_s,
        context.Pool(1) as other,
    ):
        asked = [(own, ours, path_of(own)) for own in precisions]
        asked.append((PLAIN, other_s, "/enlarge"))
        for _ in range(arguments.rounds):
            for own in precisions:
                rate, each = other.apply(engine_rate, (arguments.side, own, arguments.seconds))
                alone[own].append(rate)
                alone_used[own].append(each)
            for name, service, path in asked:
                other.apply(ask, (service.place, path, body, 4, 1.0))  # the first ones are slower
                for clients in CLIENTS:
                    given = (service.place, path, body, clients, arguments.seconds)
                    start, before = time.perf_counter(), processor_seconds(service.process)
                    taken = other.apply(ask, given)
                    seconds = time.perf_counter() - start
                    spent = processor_seconds(service.process) - before
                    rates.setdefault((name, clients), []).append(len(taken) / seconds)
                    used.setdefault((name, clients), []).append(spent / len(taken))
                    latencies.setdefault((name, clients), []).extend(taken)
    rows = []
    for (name, clients), own_rates in rates.items():
        beside = "fp32" if name == PLAIN else name
        parts = quantiles(latencies[name, clients], n=100)
        rows.append(
            [
                f"{name}, {clients} client{'s' * (clients > 1)}",
                f"{median(own_rates):.1f}",
                spread(ratios(own_rates, alone[beside])),
                f"{1000 * median(used[name, clients]):.0f}",
                *(f"{1000 * parts[part]:.0f}" for part in (49, 94, 98)),
            ]
        )
    best = {
        own: max(median(ratios(rates[own, clients], alone[own])) for clients in CLIENTS)
        for own in precisions
    }
    verdicts = " and ".join(
        f"{part:.2f} in {own}{'' if part >= GOAL else ' (**less**)'}" for own, part in best.items()
    )
    by_engine = ", ".join(
        f"{median(alone[own]):.1f} in {own} ({1000 * median(alone_used[own]):.0f} ms of the "
        "processor each)"
        for own in precisions
    )
    heads = ["asked", "requests a second", "/ engine alone", "ms of processor each"]
    text = f"""# The service

Written by `benchmarks/service.py`.

{about}

JPEG pictures of {arguments.side}x{arguments.side}, enlarged with {DEFAULT_MODEL} x{SCALE} to \
JPEG, without the check; clients that ask one request after another, each on a connection that it \
keeps; each measurement takes {arguments.seconds:g} seconds, {arguments.rounds} times. The clients \
take processor time, too. The engine alone, which computes the same windows and reads and writes \
nothing, does {by_engine} a second. Latencies are in milliseconds.

*{PLAIN}* is `benchmarks/plain_service.py`, a service as most projects write it: FastAPI, Pillow \
and ONNX Runtime, by the same model in fp32. It has no queue, no limits, and keeps no metadata. It \
is compared with the engine in fp32.

{table([*heads, "median", "95 %", "99 %"], rows)}

The service is to reach {GOAL:g} of the engine's own rate. At its best it reaches {verdicts}. Each \
request reads and writes a JPEG beside the network. In int8 the network is so fast that these count.
"""
    arguments.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
