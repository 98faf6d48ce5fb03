"""One request, one result: the file that the command writes, and headers that tell about it."""

from __future__ import annotations

import logging.handlers
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pytest
from serving import LONG, Serve, encoded, problem
from slow import ending_backend, failing_backend, slow_backend, stuck_backend

import fakes
from running import upres
from upres.engine.backends import default_backend
from upres.enlarging.files import open_file
from upres.enlarging.options import Options
from upres.errors import OutputError, UpresError
from upres.formats.registry import FORMATS, read_head
from upres.runs.jobs import suffix_of

LARGEST = 60_000
"""Bytes of real files that are compared."""


def by_library(source: Path, target: Path, **options: Any) -> bytes:
    """The bytes that the library writes, by the same fake."""
    opened = open_file(source, Options(**options), backend=fakes.FakeBackend())
    opened.write(target)
    return target.read_bytes()


@pytest.mark.parametrize("row", [row for row in FORMATS if row.writes], ids=lambda row: row.name)
def test_the_answer_is_the_file_that_the_library_writes(
    row: Any, client: httpx.Client, tmp_path: Path
) -> None:
    pytest.importorskip(f"upres.formats.{row.module}")
    source, suffix = tmp_path / "photo.png", row.suffixes[0]
    source.write_bytes(encoded())
    query: dict[str, Any] = {"scale": 2, "format": suffix.removeprefix("."), "name": "photo.png"}
    response = client.post("/enlarge", params=query, content=source.read_bytes())
    try:
        wanted = by_library(source, tmp_path / f"wanted{suffix}", scale=2)
    except OutputError as error:  # of a format that holds no such picture
        refusal = str(error).split(": ", 1)[1]
    else:
        refusal = ""
    if refusal:
        assert response.status_code == 422
        assert problem(response)["detail"].split(": ", 1)[1] == refusal
        return
    assert response.status_code == 200, response.text
    assert response.content == wanted
    assert response.headers["content-disposition"] == f'attachment; filename="photo_x2{suffix}"'


OPTIONS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "wrap": ("PNG", {"wrap": "true"}, {"wrap": True}),
    "palette": ("PNG", {"palette": "keep"}, {"palette": "keep"}),
    "consistent": ("PNG", {"consistent": "true"}, {"consistent": True}),
    "force": ("JPEG", {"consistent": "force"}, {"consistent": "force"}),
    "labels": ("TIFF", {"labels": "true"}, {"labels": True}),
    "quality": ("JPEG", {"quality": "40"}, {"quality": 40}),
    "model": ("PNG", {"model": "balanced"}, {"model": "balanced"}),
    "precision": ("PNG", {"model": "fast", "precision": "fp32"}, {"precision": "fp32"}),
    "reduce": ("PNG", {"width": "30", "larger": "reduce"}, {"width": 30, "larger": "reduce"}),
    "fit": ("PNG", {"fit": "150x100"}, {"fit": (150, 100)}),
    "height": ("PNG", {"height": "100"}, {"height": 100}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_does_what_the_library_s_does(
    name: str, client: httpx.Client, tmp_path: Path
) -> None:
    kind, query, options = OPTIONS[name]
    content = encoded(48, 32, kind)
    source = tmp_path / f"photo.{kind.lower()}"
    source.write_bytes(content)
    size = {} if {"width", "height", "fit"} & query.keys() else {"scale": 2}
    response = client.post("/enlarge", params={**query, **size}, content=content)
    assert response.status_code == 200, response.text
    target = tmp_path / f"wanted{suffix_of(read_head(source), source)}"
    options = {"model": query.get("model"), **options, **size}
    assert response.content == by_library(source, target, **options)
    if name not in ("model", "precision", "fit", "height", "reduce"):
        # And it makes a difference to this picture.
        assert response.content != client.post("/enlarge", params=size, content=content).content


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"larger": "skip"}, "larger: Input should be 'refuse', 'copy' or 'reduce'"),
        ({"keep_means": "true", "labels": "true"}, "give keep_means or labels, not both"),
        ({"keep_means": "true", "palette": "keep"}, "give keep_means or palette keep"),
        ({"labels": "true", "consistent": "true"}, "numbers of classes are repeated"),
        ({"keep_means": "true"}, "picture.png: "),
        ({"through_plane": "true"}, "picture.png: "),
        ({"format": "cog"}, "a Cloud Optimized GeoTIFF is made of a GeoTIFF only"),
    ],
)
def test_options_that_do_not_suit_are_refused_by_their_names(
    client: httpx.Client, query: dict[str, str], said: str
) -> None:
    response = client.post(
        "/enlarge", params={**query, "scale": 2, "name": "picture.png"}, content=encoded()
    )
    if response.status_code == 200:
        pytest.fail(f"{query} is taken without a word")
    assert said in problem(response)["detail"]


def test_real_files_become_the_files_that_the_library_writes(
    client: httpx.Client, shared_data: Path, tmp_path: Path
) -> None:
    """Of all fields, whose names on the service's disk tell nothing."""
    files = sorted(path for path in (shared_data / "inputs").rglob("*.*") if path.is_file())
    compared = 0
    for source in files:
        if source.stat().st_size > LARGEST:
            continue
        query: dict[str, Any] = {"scale": 2, "name": source.name}
        response = client.post("/enlarge", params=query, content=source.read_bytes())
        head = read_head(source)
        target = tmp_path / f"wanted{suffix_of(head, source)}"
        try:
            wanted = by_library(source, target, scale=2)
        except UpresError as error:
            assert response.status_code in (413, 422), source.name
            told = problem(response)["detail"]
            # Up to the names of files, and choices that a request does not have.
            said = error.problem.replace(str(source), source.name).replace(str(target), "result")
            assert told.split(": ", 1)[1].startswith(said.split(": ", 1)[1][:60]), source.name
            continue
        assert response.status_code == 200, f"{source.name}: {response.text[:200]}"
        assert response.content == wanted, source.name
        compared += 1
    assert compared > 10


def test_the_command_writes_the_same_file(tmp_path: Path, chelsea: Path) -> None:
    """By the real engine, in processes of both."""
    command = [sys.executable, "-m", "upres", "serve", "--port", "0", "--workers", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as service:
        try:
            assert service.stderr
            line = service.stderr.readline()
            url = line.split(" at ", 1)[1].split()[0]
            for options, suffix in (
                ({"scale": "2"}, ".png"),
                ({"width": "500", "format": "jpg", "quality": "80"}, ".jpg"),
            ):
                target = tmp_path / f"wanted{suffix}"
                flags = [f"--{key}={value}" for key, value in options.items()]
                done = upres("enlarge", chelsea, "-o", target, *flags, cwd=tmp_path)
                assert done.returncode == 0, done.stderr
                with chelsea.open("rb") as file, httpx.Client(trust_env=False) as asking:
                    answer = asking.post(
                        f"{url}enlarge", params=options, content=file.read(), timeout=LONG
                    )
                assert answer.content == target.read_bytes()
        finally:
            service.terminate()
            service.wait(LONG)
        assert service.returncode == 0
        assert service.stderr.read() == ""


def test_results_beside_others_are_those_of_one_alone(serve: Serve) -> None:
    """By the real engine, whose networks have fewer threads where several pictures are small."""
    service = serve(workers=2, backend_of=default_backend)
    content = encoded(200, 180)  # a window that would be shared among threads
    for precision in ("fp32", "int8"):
        query = {"scale": 2, "model": "fast", "precision": precision, "check": "false"}
        alone = service.client().post("/enlarge", params=query, content=content)
        assert alone.status_code == 200
        results: list[bytes] = []

        def ask(query: dict[str, Any] = query, results: list[bytes] = results) -> None:
            asked = service.client().post("/enlarge", params=query, content=content)
            results.append(asked.content)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        assert results == [alone.content] * 8


@pytest.fixture
def chelsea() -> Path:
    path = Path(__file__).parents[2] / "demo" / "chelsea.png"
    if not path.is_file():
        pytest.skip("needs demo/, which a source distribution does not have")
    return path


def test_a_form_s_picture_is_taken_with_its_name(client: httpx.Client) -> None:
    content = encoded(kind="JPEG", quality=98)
    raw = client.post("/enlarge", params={"scale": 2}, content=content)
    form = client.post(
        "/enlarge", params={"scale": 2}, files={"anything": ("Möwe 1.jpeg", content, "image/jpeg")}
    )
    assert form.status_code == 200
    assert form.content == raw.content
    assert form.headers["content-disposition"].endswith("filename*=utf-8''M%C3%B6we%201_x2.jpg")


def test_headers_tell_model_size_seconds_and_agreement(client: httpx.Client) -> None:
    response = client.post(
        "/enlarge", params={"scale": 2}, content=encoded(kind="JPEG", quality=50)
    )
    assert response.headers["upres-model"] == "photo-x2"
    assert response.headers["upres-why"] == "model photo: JPEG of quality 50"
    assert response.headers["upres-size"] == "122x90"
    assert 0 < float(response.headers["upres-seconds"]) < LONG
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["cache-control"] == "no-store"
    # The fake's agreement, as the library measures it on the arrays.
    import io

    import upres as library

    given = np.asarray(PIL.Image.open(io.BytesIO(encoded())))
    lossless = client.post("/enlarge", params={"scale": 2}, content=encoded())
    made = np.asarray(PIL.Image.open(io.BytesIO(lossless.content)))
    told = float(lossless.headers["upres-agreement"])
    assert told == pytest.approx(library.agreement(made, given), abs=0.01)
    quick = client.post("/enlarge", params={"scale": 2, "check": "false"}, content=encoded())
    assert "upres-agreement" not in quick.headers
    assert quick.content == lossless.content


def test_metadata_that_a_result_cannot_keep_is_told(client: httpx.Client) -> None:
    exif = PIL.Image.Exif()
    exif[0x013B] = "A. Photographer"
    response = client.post(
        "/enlarge", params={"scale": 2, "format": "bmp"}, content=encoded(exif=exif.tobytes())
    )
    assert response.status_code == 200
    assert "EXIF" in response.headers["upres-not-kept"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"scale": "0.5"}, "scale"),
        ({"scale": "nan"}, "scale"),
        ({"scale": "x"}, "scale"),
        ({"scale": "2", "width": "3"}, "give one of scale, width"),
        ({"fit": "3840"}, "fit"),
        ({"fit": "0x0"}, "fit"),
        ({"model": "/etc/passwd"}, "model: expected one of auto"),
        ({"model": "../x.onnx"}, "model: expected one of auto"),
        ({"model": "hf://owner/name"}, "model: expected one of auto"),
        ({"model": "https://evil.example/x.onnx"}, "model: expected one of auto"),
        ({"format": "exe"}, "format"),
        ({"format": "/../x"}, "format"),
        ({"quality": "101"}, "quality"),
        ({"max_pixels": "1"}, "max_pixels"),
        ({"output": "/tmp/x"}, "output"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"scale": ["2", "3"]}, "scale: is given 2 times"),
    ],
)
def test_parameters_that_are_unknown_or_wrong_are_refused(
    client: httpx.Client, query: dict[str, str | list[str]], said: str
) -> None:
    for path in ("/enlarge", "/jobs"):
        response = client.post(path, params=query, content=encoded())
        assert (response.status_code, problem(response)["code"]) == (422, "parameters")
        assert said in problem(response)["detail"]


def test_the_library_s_refusals_come_with_their_line_and_the_client_s_name(
    client: httpx.Client,
) -> None:
    given = {"name": "../../etc/my photo.png"}
    for content, query, line in (
        (b"no picture", {}, "my photo.png: not a picture in a format that upres reads"),
        (encoded()[:200], {}, "my photo.png: this picture is damaged"),
        (encoded(), {"width": 30}, "my photo.png: the picture, 61x45, is larger already"),
        (encoded(), {"width": 90, "consistent": "true"}, "my photo.png: "),
        (encoded(kind="JPEG", quality=30), {"consistent": "true"}, "my photo.png: "),
    ):
        response = client.post("/enlarge", params={**given, **query}, content=content)
        assert response.status_code == 422
        told = problem(response)
        assert told["code"] == ("large_enough" if "larger" in line else "input")
        assert told["detail"].startswith(line)
        assert "/" not in told["detail"].split(": ", 1)[0]
    assert "consistent=force" in told["detail"]  # and no flag of the command
    assert "--" not in told["detail"]


def test_a_client_that_leaves_stops_its_work_within_a_window(serve: Serve) -> None:
    service = serve(workers=1, backend_of=partial(slow_backend, 0.2))
    noted = logging.handlers.BufferingHandler(9)
    logging.getLogger("uvicorn.error").addHandler(noted)
    content = encoded(600, 600)  # of some hundred windows: twenty seconds and more
    with pytest.raises(httpx.ReadTimeout):
        service.client().post("/enlarge", params={"scale": 2}, content=content, timeout=1.5)
    left = time.monotonic()
    desk = service.server._desk
    assert desk
    while desk.line.running or service.left():
        assert time.monotonic() - left < 3, "still at work"
        time.sleep(0.02)
    # It is no fault of the service, and nothing to be noted.
    logging.getLogger("uvicorn.error").removeHandler(noted)
    assert [record.getMessage() for record in noted.buffer] == []
    # The same process goes on: it was not ended.
    start = time.monotonic()
    assert service.client().post("/enlarge", content=encoded(20, 20)).status_code == 200
    assert time.monotonic() - start < 2


def test_a_request_that_takes_too_long_ends_and_blocks_no_other(serve: Serve) -> None:
    service = serve(workers=1, seconds=2, backend_of=stuck_backend)
    start = time.monotonic()
    response = service.client().post("/enlarge", content=encoded())
    # Two seconds, and those in which it might have stopped by itself.
    assert time.monotonic() - start < 12
    assert (response.status_code, problem(response)["code"]) == (504, "too_long")
    assert service.left() == []
    desk = service.server._desk
    assert desk
    assert desk.line.running == 0


def test_work_that_waits_for_too_long_ends_too(serve: Serve) -> None:
    service = serve(workers=1, seconds=3, backend_of=partial(slow_backend, 0.05))
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(service.client().post("/enlarge?scale=2", content=encoded(700, 500)))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert [answer.status_code for answer in answers] == [504, 504]
    assert service.left() == []


@pytest.mark.parametrize("backend", [ending_backend, failing_backend])
def test_a_process_that_ends_or_fails_is_one_request_s_trouble(serve: Serve, backend: Any) -> None:
    service = serve(workers=1, backend_of=backend)
    client = service.client()
    for _ in range(2):
        response = client.post("/enlarge", content=encoded())
        assert (response.status_code, problem(response)["code"]) == (500, "unexpected")
        assert "secret" not in response.text
    assert client.get("/health/ready").status_code == 200
    assert service.left() == []


def test_plans_tell_before_the_upload(client: httpx.Client) -> None:
    size = {"picture_width": 4000, "picture_height": 3000}
    told = client.get("/plans", params={**size, "scale": 2}).json()
    assert [entry["model"] for entry in told][:2] == ["auto", "balanced"]
    by_model = {entry["model"]: entry for entry in told}
    assert (by_model["fast"]["width"], by_model["fast"]["height"]) == (8000, 6000)
    assert by_model["best"]["seconds"] > by_model["fast"]["seconds"] > 0
    assert by_model["fast"]["memory"] > 0
    whole = client.get("/plans", params={**size, "scale": 64}).json()
    assert all("more than the" in entry["problem"] for entry in whole)
