"""Times `upres serve`: requests a second beside the engine's own rate, and latencies.

Writes the result as Markdown. Clients are threads of another process, each with a connection that
it keeps. The engine alone and the service are timed in turns in one run.
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

import numpy as np
import pyvips

from measuring import machine, ratios, spread, table
from upres.engine.openvino import OpenVINO
from upres.engine.wrappers import compile_window
from upres.models import DEFAULT_MODEL, Precision, at_precision, computed_in, open_model

SCALE = 2
GOAL = 0.8
"""The part of the engine's own rate that the service is to reach."""

CLIENTS = (1, 10, 100)


def picture(side: int) -> bytes:
    """A JPEG of waves and an edge, as photographs have."""
    y, x = np.mgrid[:side, :side]
    pixels = 127 + 100 * np.sin(np.stack([x / 9, y / 7, (x + y) / 11], axis=2))
    pixels[side // 4 : side // 2, side // 3 : side // 2] = (250, 30, 90)
    content: bytes = pyvips.Image.new_from_array(pixels.astype(np.uint8)).jpegsave_buffer(Q=98)
    return content


def engine_rate(side: int, precision: Precision, seconds: float) -> float:
    """Pictures a second of the compiled network alone, by a thread for each processor."""
    backend = OpenVINO()
    model = open_model(at_precision(DEFAULT_MODEL, precision, backend), scale=SCALE)
    model = computed_in(model, precision, backend)
    count = os.cpu_count() or 1
    engines = [compile_window(backend, model, side, side) for _ in range(count)]
    window = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    for engine in engines:
        engine(window)
    end = time.perf_counter() + seconds

    def run(number: int) -> int:
        done = 0
        while time.perf_counter() < end:
            engines[number](window)
            done += 1
        return done

    start = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        done = sum(pool.map(run, range(count)))
    return done / (time.perf_counter() - start)


@contextmanager
def service(places: int) -> Iterator[tuple[str, int]]:
    """A service of the command; its host and port."""
    command = [sys.executable, "-m", "upres", "serve", "--port", "0", "--places", str(places)]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"TMPDIR": folder}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        try:
            assert process.stderr
            address = process.stderr.readline().split("http://")[1].split("/")[0]
            host, _, port = address.rpartition(":")
            yield host, int(port)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("SERVICE.md"))
    arguments = parser.parse_args()
    about, body = machine(), picture(arguments.side)
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    alone: dict[Precision, list[float]] = {own: [] for own in precisions}
    served: dict[tuple[Precision, int], list[float]] = {}
    latencies: dict[tuple[Precision, int], list[float]] = {}
    context = multiprocessing.get_context("spawn")
    with service(2 * max(CLIENTS)) as place, context.Pool(1) as other:
        for _ in range(arguments.rounds):
            for own in precisions:
                path = f"/enlarge?scale={SCALE}&model={DEFAULT_MODEL}&check=false&precision={own}"
                rate = (arguments.side, own, arguments.seconds)
                alone[own].append(other.apply(engine_rate, rate))
                other.apply(ask, (place, path, body, 4, 1.0))  # the first ones are slower
                for clients in CLIENTS:
                    given = (place, path, body, clients, arguments.seconds)
                    start = time.perf_counter()
                    taken = other.apply(ask, given)
                    rate_served = len(taken) / (time.perf_counter() - start)
                    served.setdefault((own, clients), []).append(rate_served)
                    latencies.setdefault((own, clients), []).extend(taken)
    rows = []
    for (own, clients), rates in served.items():
        parts = quantiles(latencies[own, clients], n=100)
        rows.append(
            [
                f"{own}, {clients} client{'s' * (clients > 1)}",
                f"{median(rates):.1f}",
                spread(ratios(rates, alone[own])),
                *(f"{1000 * parts[part]:.0f}" for part in (49, 94, 98)),
            ]
        )
    best = {
        own: max(median(ratios(served[own, clients], alone[own])) for clients in CLIENTS)
        for own in precisions
    }
    verdicts = " and ".join(
        f"{part:.2f} in {own}{'' if part >= GOAL else ' (**less**)'}" for own, part in best.items()
    )
    rates_alone = ", ".join(f"{median(rates):.1f} in {own}" for own, rates in alone.items())
    text = f"""# The service

Written by `benchmarks/service.py`.

{about}

JPEG pictures of {arguments.side}x{arguments.side}, enlarged with {DEFAULT_MODEL} x{SCALE} to \
JPEG, without the check; clients that ask one request after another, each on a connection that it \
keeps; each measurement takes {arguments.seconds:g} seconds, {arguments.rounds} times. The clients \
take processor time, too. The engine alone, which computes the same windows and reads and writes \
nothing, does {rates_alone} a second. Latencies are in milliseconds.

{table(["clients", "requests a second", "/ engine alone", "median", "95 %", "99 %"], rows)}

The service is to reach {GOAL:g} of the engine's own rate. At its best it reaches {verdicts}.
"""
    arguments.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
