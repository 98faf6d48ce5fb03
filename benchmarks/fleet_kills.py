"""Kills workers, machines and drivers of a cluster's runs at random, and looks what is lost.

Writes the count as Markdown. The store is moto's, and the cluster two of Ray's nodes on this
machine; nothing may be missing, half written, or twice in the journal.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import obstore
import pyvips
from obstore.store import from_url

from measuring import machine, table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import stores_here

DRIVER = (
    "import sys, ray; ray.init(sys.argv.pop(1), log_to_driver=False, logging_level='ERROR'); "
    "from upres.cli.main import main; main()"
)
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "memory": 2**30}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("FLEET-KILLS.md"))
    arguments = parser.parse_args()
    about, draw, kills = machine(), Random(arguments.seed), Counter[str]()
    command = stores_here.moto_command()
    if command is None:
        sys.exit("needs moto's server in .stores, which .ci/run installs")
    from ray.cluster_utils import Cluster

    port = stores_here.free_port()
    server = [command, "-H", "127.0.0.1", "-p", str(port)]
    with (
        tempfile.TemporaryDirectory() as name,
        stores_here.serving(server, port, Path(name, "moto.log")) as address,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        os.environ.update(stores_here.S3, AWS_ENDPOINT_URL=address, RAY_USAGE_STATS_ENABLED="0")
        stores_here.make_bucket(address, "pictures")
        expected = upload(Path(name), arguments.pictures)
        nodes = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **NODE})
        second = nodes.add_node(**NODE)
        rounds = starts = 0
        while sum(kills.values()) < arguments.kills:
            rounds += 1
            output = f"s3://pictures/out{rounds}"
            resume: list[str] = []
            while True:
                starts += 1
                line = [sys.executable, "-c", DRIVER, nodes.address, "enlarge", "-q", "-r"]
                line += ["--model", "fast", "--scale", "2", "s3://pictures/in", "--output", output]
                line += ["--cluster", "auto", *resume]
                driver = subprocess.Popen(line, stderr=subprocess.DEVNULL)
                resume = ["--resume"]
                while driver.poll() is None:
                    time.sleep(draw.uniform(0.3, 2))
                    if sum(kills.values()) >= arguments.kills or driver.poll() is not None:
                        continue
                    kind = draw.choices(("a worker", "a machine", "the driver"), (75, 10, 15))[0]
                    if kind == "a worker":
                        found = stores_here.ray_workers()
                        if not found:
                            continue
                        end(draw.choice(found))
                    elif kind == "a machine":
                        nodes.remove_node(second, allow_graceful=False)
                        second = nodes.add_node(**NODE)
                    else:
                        driver.kill()
                    kills[kind] += 1
                    print(dict(kills), flush=True)
                if driver.returncode == 0:
                    break
            check(output, expected)
        nodes.shutdown()
    rows = [[kind, f"{count}"] for kind, count in sorted(kills.items())]
    text = f"""# Killed at random

Written by `benchmarks/fleet_kills.py`.

{about}

{rounds} runs of {arguments.pictures} pictures, from a store into a store, on two of Ray's nodes \
of one processor each. Drivers were started {starts} times, each but the first of a run with \
`--resume`, until it ended well. After each run every result was there, was that of a run without \
kills, byte for byte, and was done once in the journal.

{table(["killed", "times"], rows)}
"""
    arguments.output.write_text(text, "utf-8")
    print(text)


def upload(folder: Path, count: int) -> dict[str, bytes]:
    """Put pictures into the store; the results of a local run, by name."""
    noise = np.random.default_rng(0)
    (folder / "in").mkdir()
    for number in range(count):
        path = folder / "in" / f"{number:04}.png"
        pixels = noise.integers(0, 256, (90, 120, 3), np.uint8)
        pyvips.Image.new_from_array(pixels).copy(interpretation="srgb").write_to_file(str(path))
        obstore.put(store(), f"in/{path.name}", path.read_bytes())
    line = [sys.executable, "-m", "upres", "enlarge", "-q", "--model", "fast", "--scale", "2"]
    subprocess.run([*line, "in", "--output", "out"], cwd=folder, check=True)
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


def store() -> Any:
    options: Any = {"allow_http": True}
    return from_url("s3://pictures", client_options=options)


def end(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def check(output: str, expected: dict[str, bytes]) -> None:
    """Fail if anything is lost, wrong or done twice."""
    prefix = output.removeprefix("s3://pictures/")
    metas = [meta for chunk in obstore.list(store(), prefix) for meta in chunk]
    found = {meta["path"]: bytes(obstore.get(store(), meta["path"]).bytes()) for meta in metas}
    made = {Path(key).name: content for key, content in found.items() if ".upres" not in key}
    assert made == expected, sorted(expected.keys() ^ made.keys())
    lines = [
        json.loads(line)
        for key, content in found.items()
        if key.endswith(".jsonl")
        for line in content.splitlines()
    ]
    done = Counter(line["output"] for line in lines if line["result"] == "done")
    assert done == Counter(expected.keys()), done - Counter(expected.keys())


if __name__ == "__main__":
    main()
