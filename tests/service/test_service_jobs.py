"""Long work: posted, followed by events, seen in parts, fetched and deleted."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pytest
from serving import LONG, Serve, encoded, problem
from slow import slow_backend

from upres.raster.resize import bicubic

BEGIN = {"scale": "2", "name": "photo.png"}


def events(client: httpx.Client, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind and data of each event, as the browser's own reader has them."""
    kind, data = "message", ""
    with client.stream("GET", f"{path}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                data += value
            elif not line and data:
                yield kind, json.loads(data)
                kind, data = "message", ""


def begun(client: httpx.Client, content: bytes, **query: Any) -> str:
    """The path of a job that was posted."""
    response = client.post("/jobs", params={**BEGIN, **query}, content=content)
    assert response.status_code == 202, response.text
    path: str = response.headers["location"]
    assert path == f"/jobs/{response.json()['id']}"
    return path


def ended(client: httpx.Client, path: str) -> dict[str, Any]:
    """The job, once it has ended."""
    *_, (_, last) = events(client, path)
    return last


def test_a_job_from_beginning_to_end(client: httpx.Client) -> None:
    path = begun(client, encoded())
    told = list(events(client, path))
    assert [kind for kind, _ in told][-1] == "done"
    last = told[-1][1]
    assert last == client.get(path).json()
    assert last["name"] == "photo.png"
    assert last["estimate"] | {"seconds": 0} == {
        "width": 122,
        "height": 90,
        "models": ["fast-x2"],
        "seconds": 0,
    }
    result = client.get(f"{path}/result")
    direct = client.post("/enlarge", params=BEGIN, content=encoded())
    assert result.content == direct.content
    assert last["result"]["bytes"] == len(result.content)
    assert last["result"]["name"] == "photo_x2.png"
    assert result.headers["upres-model"] == direct.headers["upres-model"] == "fast-x2"
    assert client.delete(path).status_code == 204
    for method, place in (("GET", ""), ("GET", "/events"), ("GET", "/result"), ("DELETE", "")):
        response = client.request(method, f"{path}{place}")
        assert (response.status_code, problem(response)["code"]) == (404, "no_job")


def test_two_follow_one_job_and_fetch_its_result_each(serve: Serve) -> None:
    service = serve(workers=1, backend_of=partial(slow_backend, 0.02))
    path = begun(service.client(), encoded(300, 200))
    told: dict[int, list[str]] = {}

    def follow(number: int) -> None:
        told[number] = [kind for kind, _ in events(service.client(), path)]

    threads = [threading.Thread(target=follow, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert {kinds[-1] for kinds in told.values()} == {"done"}
    # One who comes after the end is told that, and no more.
    client = service.client()
    assert [kind for kind, _ in events(client, path)] == ["done"]
    first, second = (client.get(f"{path}/result") for _ in range(2))
    assert first.content == second.content
    # A download that was cut off goes on.
    rest = client.get(f"{path}/result", headers={"range": "bytes=100-"})
    assert (rest.status_code, rest.content) == (206, first.content[100:])
    client.delete(path)


def test_whoever_follows_a_job_that_is_deleted_is_told_its_end(serve: Serve) -> None:
    service = serve(workers=1, backend_of=partial(slow_backend, 0.1))
    client = service.client()
    path = begun(client, encoded(600, 600))
    seen_kinds: list[str] = []
    thread = threading.Thread(
        target=lambda: seen_kinds.extend(kind for kind, _ in events(service.client(), path))
    )
    thread.start()
    while "working" not in client.get(path).json()["state"]:
        time.sleep(0.01)
    time.sleep(0.3)
    assert client.delete(path).status_code == 204
    thread.join(LONG / 4)
    assert not thread.is_alive()
    assert seen_kinds[-1] == "failed"
    assert service.left() == []


def test_names_of_jobs_cannot_be_guessed(client: httpx.Client) -> None:
    paths = [begun(client, encoded(9, 9)) for _ in range(20)]
    names = {path.removeprefix("/jobs/") for path in paths}
    assert len(names) == 20
    # Of 128 bits, with nothing in common.
    assert all(len(name) == 22 for name in names)
    assert len({name[:2] for name in names}) > 10
    for path in paths:
        client.delete(path)
    for guess in ("0", "a" * 22, next(iter(names))[:-1]):
        assert client.get(f"/jobs/{guess}").status_code in (404, 405, 422)


def test_events_tell_how_far_it_is(serve: Serve) -> None:
    client = serve(workers=1, backend_of=partial(slow_backend, 0.02)).client()
    path = begun(client, encoded(400, 300))
    parts = [told["part"] for kind, told in events(client, path) if kind == "working"]
    assert len(parts) > 5
    assert parts == sorted(parts)
    client.delete(path)


def test_deleting_a_job_stops_its_work_within_a_window(serve: Serve) -> None:
    service = serve(workers=1, backend_of=partial(slow_backend, 0.2))
    client = service.client()
    path = begun(client, encoded(600, 600))
    while client.get(path).json()["state"] != "working":
        time.sleep(0.01)
    start = time.monotonic()
    assert client.delete(path).status_code == 204
    assert time.monotonic() - start < 2
    assert service.left() == []


def test_errors_of_jobs_are_told_by_the_post_or_by_the_job(client: httpx.Client) -> None:
    response = client.post("/jobs", params=BEGIN, content=b"nothing that is a picture")
    assert response.status_code == 422
    assert "photo.png: not a picture" in problem(response)["detail"]
    # Only its pixels tell that it is cut off.
    cut = encoded(300, 300, "JPEG")
    path = begun(client, cut[: len(cut) // 2])
    last = ended(client, path)
    assert last["state"] == "failed"
    assert last["problem"]["detail"].startswith("photo.png: ")
    result = client.get(f"{path}/result")
    assert result.status_code == 422
    assert problem(result) == last["problem"]
    client.delete(path)


def test_a_result_before_the_end_is_not_ready(serve: Serve) -> None:
    client = serve(workers=1, backend_of=partial(slow_backend, 0.2)).client()
    path = begun(client, encoded(600, 600))
    for place in ("result", "view"):
        response = client.get(f"{path}/{place}")
        assert (response.status_code, problem(response)["code"]) == (409, "not_ready")
    client.delete(path)


def test_results_that_nobody_fetches_are_removed(serve: Serve) -> None:
    service = serve(kept_seconds=0.5)
    client = service.client()
    path = begun(client, encoded())
    ended(client, path)
    time.sleep(2)
    assert service.left() == []
    assert client.get(path).status_code == 404


def seen(client: httpx.Client, path: str, **query: Any) -> np.ndarray[Any, Any]:
    response = client.get(f"{path}/view", params=query)
    assert response.headers["content-type"] == "image/png", response.text
    return np.asarray(PIL.Image.open(io.BytesIO(response.content)))


def test_views_are_the_pixels_of_result_picture_and_bicubic(client: httpx.Client) -> None:
    path = begun(client, encoded())
    ended(client, path)
    result = np.asarray(PIL.Image.open(io.BytesIO(client.get(f"{path}/result").content)))
    given = np.asarray(PIL.Image.open(io.BytesIO(encoded())))
    np.testing.assert_array_equal(seen(client, path, of="result"), result)
    np.testing.assert_array_equal(seen(client, path, of="picture"), given)
    box = {"left": 30, "top": 20, "width": 40, "height": 50}
    np.testing.assert_array_equal(seen(client, path, **box), result[20:70, 30:70])
    whole = bicubic(given.astype(np.float64), size=result.shape[:2])
    part = np.clip(whole, 0, 255)[20:70, 30:70]
    np.testing.assert_allclose(seen(client, path, of="bicubic", **box), part, atol=0.51)
    for wrong in ({"left": 100, "width": 40, "height": 9}, {"width": 9}, {"width": 1281}):
        assert client.get(f"{path}/view", params=wrong).status_code == 422
    client.delete(path)


@pytest.mark.parametrize(("mode", "shape"), [("L", ()), ("LA", (2,)), ("RGBA", (4,)), ("I;16", ())])
def test_views_of_other_kinds_of_pictures(
    client: httpx.Client, mode: str, shape: tuple[int, ...]
) -> None:
    y, x = np.mgrid[:30, :40]
    if mode == "I;16":
        picture = PIL.Image.fromarray((x * 1600).astype(np.uint16))
        wanted = np.rint(x * 1600 / 65535 * 255)
    else:
        planes = [x * 6, y * 8, x + y, 255 - x * 6][-len(mode) :] if mode != "L" else [x * 6]
        wanted = np.stack(planes, axis=2)[:, :, 0] if mode == "L" else np.stack(planes, axis=2)
        picture = PIL.Image.fromarray(wanted.astype(np.uint8), mode)
    content = io.BytesIO()
    picture.save(content, "PNG")
    path = begun(client, content.getvalue())
    assert ended(client, path)["state"] == "done"
    told = seen(client, path, of="picture")
    assert told.shape == (30, 40, *shape)
    client.delete(path)
    if mode == "I;16":  # samples are scaled by the range that the picture takes
        assert np.corrcoef(told.ravel(), wanted.ravel())[0, 1] > 0.999
    else:
        np.testing.assert_array_equal(told, wanted)


def test_large_pictures_are_seen_reduced(client: httpx.Client) -> None:
    path = begun(client, encoded(1400, 9, "TIFF"))
    ended(client, path)
    # 2800 pixels wide, as means of three; of the picture, of two.
    assert seen(client, path, of="result").shape == (18 // 3, 2800 // 3, 3)
    assert seen(client, path, of="picture").shape == (9 // 2, 1400 // 2, 3)
    client.delete(path)


def test_as_long_as_there_is_room_jobs_are_taken_and_then_429(serve: Serve) -> None:
    service = serve(workers=1, places=3, backend_of=partial(slow_backend, 0.1))
    client = service.client()
    paths = [begun(client, encoded(300, 200)) for _ in range(3)]
    response = client.post("/jobs", params=BEGIN, content=encoded())
    told = problem(response)
    assert (response.status_code, told["code"]) == (429, "busy")
    assert int(response.headers["retry-after"]) == told["retry_after"] >= 1
    assert f"try again in {told['retry_after']} second" in told["detail"]
    for path in paths:
        client.delete(path)
    assert client.post("/enlarge", content=encoded(), timeout=LONG).status_code == 200
