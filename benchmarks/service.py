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
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import numpy as np
import pyvips

from measuring import machine, ratios, spread, table
from service_stages import SCALE, Stages, engine_rate, stage_rows, stages
from upres.models import DEFAULT_MODEL, Precision, open_model

GOAL = 0.8
"""The part of the engine's own rate that the service is to reach."""

CLIENTS = (1, 10, 100)

MANY = 10
"""Clients whose requests are looked at by stage."""

PLAIN = "plain"


def picture(side: int) -> bytes:
    """A JPEG of waves and an edge, as photographs have."""
    y, x = np.mgrid[:side, :side]
    pixels = 127 + 100 * np.sin(np.stack([x / 9, y / 7, (x + y) / 11], axis=2))
    pixels[side // 4 : side // 2, side // 3 : side // 2] = (250, 30, 90)
    content: bytes = pyvips.Image.new_from_array(pixels.astype(np.uint8)).jpegsave_buffer(Q=98)
    return content


def processor_seconds(root: int, *, alone: bool = False) -> float:
    """Of a process and all that it has started, or of it ``alone``, up to now."""
    told: dict[int, tuple[int, float]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        told[int(entry.parent.name)] = (int(fields[1]), seconds)
    if alone:
        return told[root][1]
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
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, help=f"{MANY} is needed")
    arguments = parser.parse_args()
    about, body = machine(), picture(arguments.side)
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    alone: dict[str, list[float]] = {own: [] for own in precisions}
    alone_used: dict[str, list[float]] = {own: [] for own in precisions}
    rates: dict[Case, list[float]] = {}
    used: dict[Case, list[float]] = {}
    latencies: dict[Case, list[float]] = {}
    in_front: dict[Case, list[float]] = {}
    parts: dict[str, list[Stages]] = {own: [] for own in precisions}
    context = multiprocessing.get_context("spawn")
    model = str(open_model(DEFAULT_MODEL, scale=SCALE).path)
    plain = str(Path(__file__).with_name("plain_service.py"))
    places = str(2 * max(arguments.clients))
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
                with context.Pool(1) as fresh:  # the work leaves its own place for temporary files
                    parts[own].append(fresh.apply(stages, (body, own, arguments.seconds / 4)))
            for name, service, path in asked:
                other.apply(ask, (service.place, path, body, 4, 1.0))  # the first ones are slower
                for clients in arguments.clients:
                    given = (service.place, path, body, clients, arguments.seconds)
                    root = service.process
                    front = processor_seconds(root, alone=True)
                    start, before = time.perf_counter(), processor_seconds(root)
                    taken = other.apply(ask, given)
                    seconds = time.perf_counter() - start
                    spent = processor_seconds(root) - before
                    front = processor_seconds(root, alone=True) - front
                    in_front.setdefault((name, clients), []).append(front / len(taken))
                    rates.setdefault((name, clients), []).append(len(taken) / seconds)
                    used.setdefault((name, clients), []).append(spent / len(taken))
                    latencies.setdefault((name, clients), []).extend(taken)
    rows = []
    for (name, clients), own_rates in rates.items():
        beside = "fp32" if name == PLAIN else name
        later = quantiles(latencies[name, clients], n=100)
        rows.append(
            [
                f"{name}, {clients} client{'s' * (clients > 1)}",
                f"{median(own_rates):.1f}",
                spread(ratios(own_rates, alone[beside])),
                f"{1000 * median(used[name, clients]):.0f}",
                *(f"{1000 * later[part]:.0f}" for part in (49, 94, 98)),
            ]
        )
    best = {
        own: max(median(ratios(rates[own, clients], alone[own])) for clients in arguments.clients)
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
    by_stage, sums = stage_rows(
        parts,
        in_front={own: median(in_front[own, MANY]) for own in precisions},
        measured={own: median(used[own, MANY]) for own in precisions},
    )
    ceilings = " and ".join(
        f"{median(alone_used[own]) / sums[own]:.2f} in {own}" for own in precisions
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

The service is to reach {GOAL:g} of the engine's own rate. At its best it reaches {verdicts}.

## Where the processor's time of a request goes

Milliseconds of the processor, each stage measured by itself; those of the service's own process \
and the sum of all with {MANY} clients.

{table(["stage", *precisions], by_stage)}

So processors that are never idle reach at most this part of the engine's rate: {ceilings}, by the \
engine's own milliseconds above and the sum. The clients come on top, on the same processors. \
Writing and reading are libjpeg's work. The header is read twice: a process of its own looks at it \
so that requests are refused before pixels are decoded. With one client, the network has all \
threads, which takes more of the processor's time and less of the client's, and waits while the \
rest is done.
"""
    arguments.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
