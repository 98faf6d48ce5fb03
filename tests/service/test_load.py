"""Many clients at once, a service that is told to end, and the traces that it leaves: none."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import LONG, encoded, family, problem

CLIENTS = 200
BUDGET = 1_600 * 10**6


@dataclass
class Process:
    """A service in a process of its own."""

    process: subprocess.Popen[str]
    client: httpx.Client
    """For threads to share, with a connection for each request under way."""

    def post(self, path: str, content: bytes) -> httpx.Response:
        return self.client.post(path, content=content)

    def get(self, path: str) -> httpx.Response:
        return self.client.get(path)

    def end(self) -> tuple[int, str]:
        """Tell it to end; its exit code, and all that it said on standard error."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=LONG)
        return self.process.returncode, said


@contextmanager
def serving(temporary: Path, window_seconds: float = 0.0, **settings: Any) -> Iterator[Process]:
    temporary.mkdir(exist_ok=True)
    script = Path(__file__).with_name("fake_service.py")
    command = [sys.executable, str(script), str(window_seconds), json.dumps(settings)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
    )
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        no_limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        with httpx.Client(
            base_url=url, timeout=3 * LONG, trust_env=False, limits=no_limits
        ) as client:
            yield Process(process, client)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream
            stream.close()


def memory_of(root: int) -> int:
    """Bytes that a process and all below it hold, shared ones counted once."""
    total = 0
    for process in family(root):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text("ascii").splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return total


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
def test_200_clients_with_12_megapixels_end_within_the_memory(tmp_path: Path) -> None:
    content = encoded(4000, 3000, "JPEG", quality=97)
    most, done = 0, threading.Event()

    def watch(root: int) -> None:
        nonlocal most
        while not done.wait(0.1):
            most = max(most, memory_of(root))

    with serving(tmp_path / "kept", workers=2, memory=BUDGET, places=8) as service:
        watching = threading.Thread(target=watch, args=[service.process.pid])
        watching.start()
        try:
            with ThreadPoolExecutor(CLIENTS) as pool:
                # Width alone, so that a result is hardly more pixels than its picture.
                path = "/enlarge?width=4200&check=false"
                asked = [pool.submit(service.post, path, content) for _ in range(CLIENTS)]
                answers = [future.result() for future in asked]
        finally:
            done.set()
            watching.join()
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 429}
        assert statuses.count(200) >= 8  # as many as have places, at least
        assert len({answer.content for answer in answers if answer.status_code == 200}) == 1
        told = [problem(answer)["retry_after"] for answer in answers if answer.status_code == 429]
        assert min(told) >= 1
        # Not all at one time again.
        assert len(set(told)) > 3
        assert 0 < most < BUDGET
        code, said = service.end()
    assert (code, said) == (0, "")
    assert list((tmp_path / "kept").iterdir()) == []


def test_whoever_waits_as_told_gets_a_result(tmp_path: Path) -> None:
    with serving(tmp_path / "kept", 0.02, workers=1, places=2) as service:
        tries = []
        # Before, nobody knows how long a picture takes here.
        assert service.post("/enlarge?scale=2", encoded(200, 150)).status_code == 200

        def until_done() -> None:
            for count in range(1, 30):
                answer = service.post("/enlarge?scale=2", encoded(200, 150))
                if answer.status_code == 200:
                    tries.append(count)
                    return
                assert answer.status_code == 429
                time.sleep(int(answer.headers["retry-after"]))

        threads = [threading.Thread(target=until_done) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        assert len(tries) == 12
        # Told the truth, most have to ask once or twice more.
        assert sum(tries) / len(tries) < 4


@pytest.mark.parametrize("grace", [30, 1])
def test_told_to_end_it_finishes_its_work_and_refuses_the_rest(tmp_path: Path, grace: int) -> None:
    """With a grace that is enough for the work under way, and one that is not."""
    with serving(tmp_path / "kept", 0.05, workers=1, grace_seconds=grace) as service:
        answers: dict[str, httpx.Response] = {}

        def ask(name: str) -> None:
            answers[name] = service.post("/enlarge?scale=2", encoded(500, 400))

        threads = {name: threading.Thread(target=ask, args=[name]) for name in ("works", "waits")}
        for name, thread in threads.items():
            thread.start()
            state = f"upres_{'running' if name == 'works' else 'waiting'} 1.0"
            while state not in service.get("/metrics").text:
                time.sleep(0.02)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        if grace > 1:
            ready = service.get("/health/ready")
            assert (ready.status_code, problem(ready)["code"]) == (503, "ending")
            assert service.get("/health/live").status_code == 200
        late = service.post("/enlarge?scale=2", encoded())
        assert (late.status_code, problem(late)["code"]) == (503, "ending")
        for thread in threads.values():
            thread.join(LONG)
        assert answers["waits"].status_code == 503
        assert answers["works"].status_code == (200 if grace > 1 else 503)
        _, said = service.process.communicate(timeout=LONG)
        assert (service.process.returncode, said) == (0, "")
    assert list((tmp_path / "kept").iterdir()) == []


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT], [signal.SIGINT] * 2])
def test_told_to_end_it_leaves_slow_clients_without_a_word(
    tmp_path: Path, signals: list[signal.Signals]
) -> None:
    """One that uploads and one that follows are told so; one that takes no answer is cut off."""
    with serving(tmp_path / "kept", workers=1) as service:
        head = "POST /enlarge?scale=2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
        place = (service.client.base_url.host, service.client.base_url.port)
        large = encoded(1500, 900, "BMP")
        with (
            socket.create_connection(place, LONG) as uploading,
            socket.create_connection(place, LONG) as reading,
        ):
            reading.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reading.sendall(f"{head}{len(large)}\r\n\r\n".encode() + large)
            assert reading.recv(32).startswith(b"HTTP/1.1 200 ")
            uploading.sendall(f"{head}100000\r\n\r\nabc".encode())
            while "upres_waiting 1.0" not in service.get("/metrics").text:
                time.sleep(0.02)
            for each in signals:
                service.process.send_signal(each)
                time.sleep(0.4)
            answer = uploading.recv(2**16)
            assert answer.startswith(b"HTTP/1.1 503 ") or (not answer and len(signals) > 1)
            _, said = service.process.communicate(timeout=LONG)
        assert (service.process.returncode, said) == (0, "")
    assert list((tmp_path / "kept").iterdir()) == []


def test_nothing_of_a_picture_stays_or_is_told(tmp_path: Path) -> None:
    """1,000 requests of all kinds, under a name that would be found anywhere."""
    name = "VerySecretName"
    kept = tmp_path / "kept"
    good = encoded(20, 16)
    with serving(kept, workers=2, places=64) as service:

        def ask(number: int) -> int:
            kinds: list[tuple[str, dict[str, Any]]] = [
                (f"/enlarge?name={name}.png", {"content": good}),
                (f"/enlarge?name={name}.png&check=false", {"content": good[:100]}),
                ("/enlarge?format=jpg", {"files": {"picture": (f"{name}.png", good)}}),
                (f"/jobs?name={name}.png", {"content": good}),
                (f"/enlarge?name={name}.png&scale=0", {"content": good}),
            ]
            path, body = kinds[number % len(kinds)]
            answer = service.client.post(path, **body)
            if path.startswith("/jobs"):
                place = answer.headers["location"]
                service.get(f"{place}/events")
                assert service.get(f"{place}/result").status_code == 200
                assert service.client.delete(place).status_code == 204
            wanted = [200, 422, 200, 202, 422][number % len(kinds)]
            assert answer.status_code == wanted, answer.text
            return answer.status_code

        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(ask, range(1000)))
        assert {status: statuses.count(status) for status in sorted(set(statuses))} == {
            200: 400,
            202: 200,
            422: 400,
        }
        # While it still runs: its folder, and the file that says that it does.
        (folder,) = kept.iterdir()
        assert [path.name for path in folder.iterdir()] == ["lock"]
        metrics = service.get("/metrics").text
        assert name not in metrics
        assert 'upres_ended_total{end="done"} 600.0' in metrics
        code, said = service.end()
        assert service.process.stdout
    assert (code, said) == (0, "")
    assert list(kept.iterdir()) == []


def test_a_service_that_was_killed_leaves_no_process_and_the_next_removes_its_files(
    tmp_path: Path,
) -> None:
    kept = tmp_path / "kept"
    with serving(kept, 0.2, workers=1) as service:
        answer = service.post("/jobs", encoded(600, 600))
        assert answer.status_code == 202
        processes = family(service.process.pid)
        assert len(processes) > 2
        service.process.kill()
        service.process.wait()
        end = time.monotonic() + 10
        while any(Path(f"/proc/{process}").exists() for process in processes):
            assert time.monotonic() < end, "a process was left"
            time.sleep(0.05)
    assert list(kept.iterdir()) != []
    with serving(kept) as service:
        assert len(list(kept.iterdir())) == 1
        assert service.end() == (0, "")
    assert list(kept.iterdir()) == []
