"""Times the cluster beside threads, on folders of pictures of two sizes, and a driver's long list.

Writes the result as Markdown. Two workers of one processor each do the same pictures as two
threads. The start of a cluster is no part of a long run: the seconds are those from the first
picture done to the last.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyvips

from measuring import machine, ratios, spread, table
from upres.enlarging.options import Options
from upres.runs.batch import carry_on
from upres.runs.executors import Done
from upres.runs.listing import Chosen, Pictures
from upres.runs.places import Found, Location
from upres.runs.request import Request, arranged, carry_out
from upres.runs.stores import Store

LEAST = 0.9
"""The part of the threads' throughput that the cluster is to reach."""


def throughput(folder: Path, output: Path, cluster: str | None) -> float:
    """Pictures a second, from the first that is done to the last."""
    options = Options(model="fast", scale=2)
    request = Request((folder,), options, folder=output, threads=2, cluster=cluster)
    if cluster is not None:
        request = Request((folder,), options, folder=output, cluster=cluster)
    times: list[float] = []
    summary = carry_out(
        request, arranged(request), finished=lambda *_: times.append(time.monotonic())
    )
    assert not summary.failed, summary.failed[0]
    return (len(times) - 1) / (times[-1] - times[0])


class Simulated(Store):
    """A store that lists so many keys, and holds none of them."""

    def __init__(self, count: int) -> None:
        super().__init__("s3://simulated")
        self._keys = count

    def list(self, prefix: str) -> Iterator[Found]:
        for number in range(self._keys):
            key = f"{prefix}/{number // 1000:06}/{number:09}.jpg"
            yield Found(key, 1000, f'"{number:032x}"', 0.0)


class AtOnce:
    """An executor that has done each picture when it is asked."""

    ordered = False

    def ahead(self, warm: bool) -> int:
        return 64

    def submit(self, job: Any, known: Any) -> Future[Done | None]:
        future: Future[Done | None] = Future()
        future.set_result(Done(job.found.stamp, ""))
        return future

    def under_way(self) -> float:
        return 0.0

    def close(self) -> None:
        pass


def drive(count: int) -> None:
    """Count and do so many keys, and print the peak memory and the seconds."""
    before = peak()
    store, start = Simulated(count), time.monotonic()
    out = Location(store.root, "out")
    chosen = [Chosen(Location(store.root, "in"))]
    pictures = Pictures(chosen, {store.root: store}, out, False, "x2", recursive=True)
    counted = pictures.count()
    summary = carry_on(pictures.jobs(), AtOnce(), counted.weight, stop=threading.Event())
    assert summary.done == count
    print(json.dumps([before, peak(), time.monotonic() - start]))


def peak() -> float:
    """The most MiB that this process has held. Its ru_maxrss would count those of its parent."""
    words = Path("/proc/self/status").read_text().partition("VmHWM:")[2]
    return int(words.split()[0]) / 1024


def compared(side: int, arguments: argparse.Namespace) -> list[str]:
    """A row's figures, of pictures of that side."""
    noise, count = np.random.default_rng(0), round(arguments.megapixels * 1e6 / side**2)
    rates: dict[str | None, list[float]] = {None: [], "auto": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "in")
        folder.mkdir()
        for number in range(count):
            pixels = noise.integers(0, 256, (side, side, 3), np.uint8)
            image = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb")
            image.write_to_file(str(folder / f"{number:06}.png"))
        for turn in range(arguments.rounds):
            for cluster, found in rates.items():
                found.append(throughput(folder, Path(name, f"{cluster} {turn}"), cluster))
    over = ratios(rates["auto"], rates[None])
    verdict = "" if median(over) >= LEAST else " (**less**)"
    means = [f"{median(found):.1f}" for found in rates.values()]
    return [f"{count:,}", f"{side}", *means, spread(over) + verdict]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--megapixels", type=float, default=30, help="of each folder, about")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--drive", action="store_true", help="the list alone, in this process")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("FLEET.md"))
    arguments = parser.parse_args()
    if arguments.drive:
        drive(arguments.keys)
        return
    about = machine()
    rows = [compared(side, arguments) for side in arguments.sides]
    line = [sys.executable, __file__, "--drive", "--keys", str(arguments.keys)]
    told = subprocess.run(line, check=True, capture_output=True, text=True).stdout
    before, most, seconds = json.loads(told)
    text = f"""# A cluster beside threads

Written by `benchmarks/fleet.py`.

{about}

Folders of square pictures, enlarged with fast x2 from folder to folder; rounds that take both in \
turn: {arguments.rounds}. Rates are pictures a second, counted from the first picture done to the \
last, so without the start of the cluster.

{table(["pictures", "side", "two threads", "two workers", "workers / threads"], rows)}

The workers' rate is to be {LEAST:g} of that of the threads at least. A picture costs a cluster \
some milliseconds more, which count where a picture takes no more than that itself.

A driver that lists {arguments.keys:,} keys of a simulated store twice, and has each done at once, \
takes {most:.0f} MiB of memory at most, {most - before:.0f} more than before, and {seconds:.0f} \
seconds.
"""
    arguments.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
