from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import pyvips

import stores_here
from upres import __version__
from upres.enlarging.options import Options
from upres.errors import DeviceError, ExistsError, MissingExtraError, UpresError, UsageError
from upres.runs.batch import Summary, carry_on
from upres.runs.cluster import Cluster, require
from upres.runs.executors import Done, Making, Room
from upres.runs.jobs import Job
from upres.runs.known import SourceStamp
from upres.runs.remote import Ended, Sent, on_worker, rebuilt
from upres.runs.request import Request, arranged, carry_out

ray = pytest.importorskip("ray", reason="needs ray")


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two machines of one processor each, on this one; this process is connected to them."""
    import warnings

    from ray.cluster_utils import Cluster as Nodes

    require("auto")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers have no tests
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "memory": 2 * 2**30}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own
        nodes = Nodes(initialize_head=True, head_node_args={"include_dashboard": False, **node})
        nodes.add_node(**node)
        ray.init(nodes.address, log_to_driver=False)
        yield nodes
        ray.shutdown()
        nodes.shutdown()


pytestmark = pytest.mark.filterwarnings("ignore")  # Ray leaves files open


@dataclass(frozen=True)
class Plain:
    """Work in place of an enlargement: copies, slowly, and with the trouble that a name tells."""

    seconds: float = 0.0

    def __call__(
        self, job: Job, known: Any, room: Room, tell: Callable[[float], None]
    ) -> Done | None:
        name = job.source.name
        if "kills" in name:
            os.kill(os.getpid(), signal.SIGKILL)
        if "fails" in name:
            raise ExistsError(job.target)
        if "odd" in name:
            raise ZeroDivisionError("nobody thought of it")
        if "skipped" in name:
            return None
        with room(1, 10**12 if "huge" in name else 2**30 if "large" in name else 0):
            time.sleep(self.seconds)
            hidden = job.target.with_name(f".{name}")
            hidden.write_bytes(job.source.read_bytes())
            hidden.rename(job.target)
        return Done(SourceStamp.of(job.source), "", pixels=3)


def jobs_of(folder: Path, names: list[str]) -> list[Job]:
    for inside in ("in", "out"):
        (folder / inside).mkdir()
    for name in names:
        (folder / "in" / name).write_text(name)
    return [Job(folder / "in" / name, folder / "out" / name) for name in names]


def run(jobs: list[Job], work: Making, **how: Any) -> Summary:
    return carry_on(jobs, Cluster("auto", work), len(jobs), stop=threading.Event(), **how)


def test_pictures_are_those_of_threads(two_nodes: Any, tmp_path: Path, model_file: Path) -> None:
    noise = np.random.default_rng(3)
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for number in range(12):
        path = tmp_path / "in" / ("sub" if number % 3 else "") / f"{number}.png"
        pixels = noise.integers(0, 256, (9, 10 + number, 3), np.uint8)
        pyvips.Image.new_from_array(pixels).copy(interpretation="srgb").write_to_file(str(path))
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n....")
    results = []
    for name, address in (("threads", None), ("cluster", "auto")):
        request = Request(
            (tmp_path / "in",), Options(model=model_file), folder=tmp_path / name, recursive=True,
            threads=1, cluster=address,
        )  # fmt: skip
        summary = carry_out(request, arranged(request))
        assert (summary.done, len(summary.failed), summary.stopped_by) == (12, 1, None)
        words = str(summary.failed[0][1])
        assert words == f"{tmp_path}/in/bad.png: this picture is damaged or truncated"
        made = {p.relative_to(tmp_path / name): p for p in (tmp_path / name).rglob("*.png")}
        results.append({inside: path.read_bytes() for inside, path in made.items()})
        assert summary.pixels == sum(4 * 9 * (10 + number) for number in range(12))
        assert (summary.core_seconds > 0) == (address is not None)
    assert results[0] == results[1]


def test_trouble_stops_no_other(two_nodes: Any, tmp_path: Path) -> None:
    names = [f"{number}" for number in range(6)]
    jobs = jobs_of(tmp_path, [*names, "kills", "fails", "odd", "skipped", "huge", "large"])
    told: list[float] = []
    summary = run(jobs, Plain(), progress=told.append)
    failed = {path.name: str(error) for path, error in summary.failed}
    assert (summary.done, summary.skipped, summary.left) == (7, 1, 0)
    assert failed.keys() == {"kills", "fails", "odd", "huge"}
    assert failed["kills"].endswith("in/kills: killed a worker 3 times (its process ended)")
    assert failed["fails"].startswith(f"{tmp_path}/out/fails: exists already: existing='replace'")
    assert "ZeroDivisionError: nobody thought of it" in failed["odd"]
    assert "needs 1,000,000 MB of memory, and the largest machine" in failed["huge"]
    assert told[-1] == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*names, "large"])


def test_killed_workers_cost_nothing_but_time(two_nodes: Any, tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, [f"{number}" for number in range(12)])
    made: list[str] = []
    stop, kills = threading.Event(), 0

    def kill() -> None:
        nonlocal kills
        draw = Random(1)
        while not stop.is_set() and kills < 2:  # the third of one picture would be its last
            found = stores_here.ray_workers()
            if found:
                os.kill(draw.choice(found), signal.SIGKILL)
                kills += 1
            time.sleep(draw.uniform(0.3, 0.8))

    thread = threading.Thread(target=kill)
    thread.start()
    summary = run(jobs, Plain(0.3), finished=lambda path, _: made.append(path.name))
    stop.set()
    thread.join()
    assert kills > 0
    assert (summary.done, summary.failed) == (12, [])
    assert sorted(made) == sorted(job.target.name for job in jobs)
    assert all(job.target.read_text() == job.source.name for job in jobs)


def test_a_machine_that_goes_costs_nothing_but_time(two_nodes: Any, tmp_path: Path) -> None:
    lost = two_nodes.add_node(num_cpus=1, object_store_memory=80 * 2**20, memory=2**30)
    jobs = jobs_of(tmp_path, [f"{number}" for number in range(16)])
    made: list[str] = []

    def finished(path: Path, _: str) -> None:
        made.append(path.name)
        if len(made) == 3:
            two_nodes.remove_node(lost, allow_graceful=False)

    summary = run(jobs, Plain(0.3), finished=finished)
    assert (summary.done, summary.failed) == (16, [])
    assert sorted(made) == sorted(job.target.name for job in jobs)


def test_a_run_stops_when_asked_to(two_nodes: Any, tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, [f"{number}" for number in range(40)])
    stop = threading.Event()
    start = time.monotonic()
    summary = carry_on(
        jobs, Cluster("auto", Plain(0.5)), 40, stop=stop, finished=lambda *_: stop.set()
    )
    assert summary.stopped_by == "interrupted"
    assert 0 < summary.done < 40
    assert summary.left == 40 - summary.done
    assert time.monotonic() - start < 60


def test_a_task_that_no_machine_can_begin_is_refused(two_nodes: Any, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="3 threads need as many processors: it has 1"):
        Cluster("auto", Plain(), 3)
    # A cluster that may grow is waited for, until the run is to stop.
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    with pytest.raises(KeyboardInterrupt):
        Cluster("127.0.0.1:6379", Plain(), 3, stop=stop)


def test_another_upres_is_refused(tmp_path: Path) -> None:
    job = Job(tmp_path / "a.png", tmp_path / "b.png")
    for sent in (Sent(Plain(), "0.0"), Sent(Plain(), __version__, (str(tmp_path / "m.onnx"), "1"))):
        ended = on_worker(sent, job, None, 0, 1)
        assert ended.error is not None
        assert ended.error[0] is DeviceError


@pytest.mark.parametrize(
    "error",
    [
        ExistsError("a"),
        MissingExtraError("video", "video"),
        UsageError("scale must be", option="scale"),
    ],
)
def test_errors_come_home_as_they_are(error: UpresError) -> None:
    again = rebuilt(Ended(error=(type(error), vars(error))))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("address", ["here", "ray://", "ray://host", "http://host:1", ""])
def test_addresses_of_no_kind_are_refused(address: str) -> None:
    with pytest.raises(UsageError, match="give auto, or an address"):
        require(address)
