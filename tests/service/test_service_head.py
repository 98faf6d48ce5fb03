"""HEAD, which answers as GET does, without the content."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import httpx
import pytest
from serving import Running, encoded
from test_service_jobs import begun, ended

PATHS = [
    *("/", "/style.css", "/script.js", "/icon.svg", "/health/live", "/health/ready", "/choices"),
    *("/metrics", "/openapi.json", "/plans?picture_width=40&picture_height=30"),
]


def both(running: Running, path: str) -> list[tuple[int, dict[str, str], bytes]]:
    """Status, headers and content of HEAD and GET, one after another by one connection.

    Content behind a HEAD would be taken for the answer to the GET.
    """
    connection = http.client.HTTPConnection(urlsplit(running.url).netloc, timeout=60)
    told = []
    for method in ("HEAD", "GET"):
        connection.request(method, path)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders() if name != "date"}
        told.append((response.status, headers, response.read()))
    connection.close()
    return told


@pytest.mark.parametrize("path", PATHS)
def test_head_answers_as_get_does_without_the_content(running: Running, path: str) -> None:
    (status, headers, content), (got, all_headers, whole) = both(running, path)
    assert (status, content) == (got, b"") == (200, b"")
    assert whole
    if path == "/metrics":  # each request may count
        headers["content-length"] = all_headers["content-length"]
    assert headers == all_headers


def test_head_tells_of_a_job_and_its_files(client: httpx.Client, running: Running) -> None:
    path = begun(client, encoded(), error_map="png")
    ended(client, path)
    for place in ("", "/result", "/error-map", "/view"):
        (status, headers, content), (got, all_headers, whole) = both(running, f"{path}{place}")
        assert (status, content) == (got, b"") == (200, b""), place
        assert int(headers["content-length"]) == len(whole) > 0
        assert headers == all_headers
    assert client.head("/jobs/nothing").status_code == 404
    client.delete(path)


def test_routes_that_only_take_pictures_have_no_head(client: httpx.Client) -> None:
    for path in ("/enlarge", "/jobs"):
        assert client.head(path).status_code == 405
    operations = [set(path) for path in client.get("/openapi.json").json()["paths"].values()]
    assert not any("head" in methods for methods in operations)
