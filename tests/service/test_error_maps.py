"""Error maps over HTTP: the files that the library writes, or its refusals."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pytest
from serving import Serve, encoded, problem
from test_service_jobs import begun, ended, seen

from fakes import FakeBackend
from upres.enlarging.files import open_file
from upres.enlarging.options import Options

SIZE = {"scale": "2"}


def by_library(folder: Path, content: bytes, kind: str, **options: Any) -> tuple[bytes, bytes, Any]:
    """The result, its error map and its summary, by the same fake."""
    source, target = folder / "photo.png", folder / "wanted.png"
    errors = folder / f"errors.{kind}"
    source.write_bytes(content)
    given = Options(scale=2, errors=True, error_map=(errors,), **options)
    written = open_file(source, given, backend=FakeBackend()).write(target)
    return target.read_bytes(), errors.read_bytes(), written.errors


@pytest.mark.parametrize("kind", ["tif", "png", "json"])
def test_a_zip_has_the_files_that_the_library_writes(
    client: httpx.Client, tmp_path: Path, kind: str
) -> None:
    content = encoded(150, 90)
    result, errors, summary = by_library(tmp_path, content, kind)
    query = {**SIZE, "error_map": kind, "name": "my photo.png"}
    response = client.post("/enlarge", params=query, content=content)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/zip"
    assert "my%20photo_x2.zip" in response.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(response.content)) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == ["my photo_x2.png", f"my photo_x2_errors.{kind}"]
        assert [opened.read(name) for name in opened.namelist()] == [result, errors]
    assert float(response.headers["upres-error-mean"]) == pytest.approx(summary.mean, abs=0.01)
    assert response.headers["upres-error-promise"] == "0.9"
    # Nothing else about the result is another.
    plain = client.post("/enlarge", params={**SIZE, "name": "my photo.png"}, content=content)
    assert plain.content == result
    assert "upres-error-mean" not in plain.headers
    assert plain.headers["upres-agreement"] == response.headers["upres-agreement"]


def test_bounds_alone_are_summed_up_in_headers(client: httpx.Client, tmp_path: Path) -> None:
    result, _, summary = by_library(tmp_path, encoded(), "json")
    response = client.post("/enlarge", params={**SIZE, "errors": "true"}, content=encoded())
    assert response.content == result
    assert float(response.headers["upres-error-mean"]) == pytest.approx(summary.mean, abs=0.01)


@pytest.mark.parametrize("kind", ["tif", "png", "json"])
def test_a_job_s_map_is_fetched_by_itself(client: httpx.Client, tmp_path: Path, kind: str) -> None:
    content = encoded(150, 90)
    result, errors, summary = by_library(tmp_path, content, kind)
    path = begun(client, content, error_map=kind)
    told = ended(client, path)["result"]
    assert told["error_map"]["name"] == f"photo_x2_errors.{kind}"
    assert told["errors"]["told"] == str(summary)
    facts = {key: value for key, value in told["errors"].items() if key != "told"}
    assert facts == json.loads(json.dumps(summary.as_data()))
    fetched = client.get(f"{path}/error-map")
    kinds = {"tif": "image/tiff", "png": "image/png", "json": "application/json"}
    assert fetched.headers["content-type"] == kinds[kind]
    assert f"photo_x2_errors.{kind}" in fetched.headers["content-disposition"]
    assert fetched.content == errors
    assert client.get(f"{path}/result").content == result
    client.delete(path)
    assert client.get(f"{path}/error-map").status_code == 404


def test_a_job_without_a_map_says_how_to_get_one(client: httpx.Client) -> None:
    path = begun(client, encoded())
    assert ended(client, path)["result"]["error_map"] is None
    for place in ("error-map", "view?of=errors"):
        response = client.get(f"{path}/{place}")
        assert (response.status_code, problem(response)["code"]) == (404, "no_error_map")
        assert "post it with error_map" in problem(response)["detail"]
    client.delete(path)


def test_the_map_is_seen_as_it_is_reduced_and_in_parts(client: httpx.Client) -> None:
    path = begun(client, encoded(150, 90), error_map="png")
    told = ended(client, path)["result"]
    made = np.asarray(PIL.Image.open(io.BytesIO(client.get(f"{path}/error-map").content)))
    assert made.shape[0] > 180  # with its legend
    np.testing.assert_array_equal(seen(client, path, of="errors"), made[:180, :300])
    box = {"left": 250, "top": 150, "width": 50, "height": 30}
    np.testing.assert_array_equal(seen(client, path, of="errors", **box), made[150:180, 250:])
    # The largest half-width has the legend's last colour: the legend is drawn by the same number.
    text = PIL.Image.open(io.BytesIO(client.get(f"{path}/error-map").content))
    text.load()
    assert [float(number) for number in text.info.values() if isinstance(number, str)] == [
        told["error_map"]["shown_to"]
    ]
    client.delete(path)
    # A picture that is narrower than its legend.
    path = begun(client, encoded(20, 30), error_map="png")
    ended(client, path)
    assert seen(client, path, of="errors").shape == (60, 40, 3)
    client.delete(path)


def animation() -> bytes:
    frames = [PIL.Image.open(io.BytesIO(encoded())).rotate(90 * turn) for turn in range(3)]
    content = io.BytesIO()
    frames[0].save(content, "PNG", save_all=True, append_images=frames[1:])
    return content.getvalue()


REFUSED: dict[str, tuple[bytes, dict[str, str], str]] = {
    "jpeg": (
        encoded(kind="JPEG", quality=98),
        {"format": "png"},
        "photo.png: no bounds can be promised: a JPEG file of quality 98 has faults",
    ),
    "written as jpeg": (encoded(), {"format": "jpg"}, "result.jpg: no bounds can be promised"),
    "frames": (animation(), {}, "error_map=tif: an error map of 3 frames is a summary only"),
    "factor": (encoded(), {"scale": "2.5"}, "photo.png: errors are bounded for results that one"),
    "wrap": (encoded(), {"wrap": "true"}, "give errors or wrap, not both"),
    "not asked": (encoded(), {"errors": "false"}, "error_map is for the bounds of errors"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_library_s_refusals_come_before_the_work(client: httpx.Client, name: str) -> None:
    content, query, line = REFUSED[name]
    given = {**SIZE, "error_map": "tif", "name": "photo.png", **query}
    for path in ("/enlarge", "/jobs"):
        response = client.post(path, params=given, content=content)
        assert response.status_code == 422, response.text
        told = problem(response)["detail"]
        assert told.startswith(line)
        assert "/upres/" not in told  # nor any other folder of the service


def test_what_is_not_promised_can_be_forced_and_says_so(client: httpx.Client) -> None:
    content = encoded(kind="JPEG", quality=98)
    given = {**SIZE, "format": "png", "error_map": "png", "model": "fast"}
    refusal = client.post("/enlarge", params=given, content=content)
    assert "errors=force" in problem(refusal)["detail"]
    response = client.post("/enlarge", params={**given, "errors": "force"}, content=content)
    assert response.status_code == 200
    assert response.headers["upres-error-promise"].startswith("none: a JPEG file of quality 98 has")


def test_room_is_kept_for_the_map(serve: Serve) -> None:
    """A float32 for each pixel, while it is made and in its file."""
    service = serve()
    client = service.client()
    desk = service.server._desk
    assert desk
    disk = {}
    for kind in ("", "tif", "json"):
        path = begun(client, encoded(300, 200), **({"error_map": kind} if kind else {}))
        (ticket,) = desk.jobs.values()
        assert ticket.estimate
        disk[kind] = ticket.estimate.disk
        ended(client, path)
        client.delete(path)
    assert disk["tif"] - disk[""] >= 2 * 4 * 600 * 400
    assert disk["json"] == disk[""]


def test_what_only_the_samples_tell_is_refused_by_the_job(client: httpx.Client) -> None:
    """A picture of 16 bits that takes a little of its range: its header does not say so."""
    content = io.BytesIO()
    y, x = np.mgrid[:40, :50]
    PIL.Image.fromarray((x * 10 + y).astype(np.uint16)).save(content, "PNG")
    response = client.post(
        "/enlarge", params={**SIZE, "error_map": "png"}, content=content.getvalue()
    )
    assert response.status_code == 422
    assert "its values take" in problem(response)["detail"]


def test_plans_tell_where_errors_can_be_bounded(client: httpx.Client) -> None:
    size = {"picture_width": 400, "picture_height": 300}
    for scale, with_heads in (("2", {"auto", "balanced", "best", "fast", "photo"}), ("2.5", set())):
        told = client.get("/plans", params={**size, "scale": scale}).json()
        assert {e["model"] for e in told if "no_error_map" not in e} == with_heads
        for entry in told:
            assert "/" not in entry.get("no_error_map", ""), entry


def test_a_job_s_files_stay_until_both_were_fetched(serve: Serve, tmp_path: Path) -> None:
    """Where the disk is short, results that were fetched are the first to go."""
    service = serve(workers=1)
    client = service.client()
    path = begun(client, encoded(), error_map="png")
    ended(client, path)
    desk = service.server._desk
    assert desk
    (ticket,) = desk.jobs.values()
    for place in ("result", "error-map"):
        assert client.head(f"{path}/{place}").status_code == 200
        assert not ticket.fetched
        client.get(f"{path}/{place}")
        service.client().get("/health/live")  # the answer's end is noted by then
    assert ticket.fetched
    client.delete(path)
    assert service.left() == []
