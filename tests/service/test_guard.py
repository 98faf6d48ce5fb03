"""Requests from elsewhere are refused before anything else is looked at."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import Running, Serve, encoded, problem

from running import upres
from upres.errors import OutputError, UsageError
from upres.service.server import listen
from upres.service.settings import Settings

HERE = "http://127.0.0.1"


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:80",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "",
            "[::2]",
            "a b",
        ),
        *("localhost#evil.example", "localhost?", "localhost/", "localhost,evil.example", "[::1"),
        *("evil.example@localhost", "local\thost", "2130706433", "localhost:x"),
    ],
)
def test_a_foreign_host_is_refused(client: httpx.Client, host: str) -> None:
    response = client.get("/health/live", headers={"host": host})
    assert (response.status_code, problem(response)["code"]) == (400, "host")


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:8", "LOCALHOST"])
def test_names_of_this_machine_are_known(client: httpx.Client, host: str) -> None:
    assert client.get("/health/live", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": f"{HERE}:1"},
        {"origin": f"{HERE}@evil.example"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
        # A form of another site, which opens the answer as a page.
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ],
)
def test_pages_of_other_sites_may_not_ask(client: httpx.Client, headers: dict[str, str]) -> None:
    response = client.post("/enlarge", content=encoded(), headers=headers)
    assert (response.status_code, problem(response)["code"]) == (403, "origin")
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_a_link_from_elsewhere_opens_the_page_and_nothing_else(client: httpx.Client) -> None:
    follows = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=follows).status_code == 200
    assert client.get("/metrics", headers=follows).status_code == 403
    embedded = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get("/", headers=embedded).status_code == 403


def test_its_own_page_may_ask(client: httpx.Client, running: Running) -> None:
    headers = {"origin": running.url, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    assert client.post("/enlarge", content=encoded(), headers=headers).status_code == 200


def test_a_site_that_is_named_may_ask_and_read(serve: Serve) -> None:
    friend = "https://friend.example"
    service = serve(origins=(friend,))
    client = service.client()
    cross = {"origin": friend, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
    asks = {**cross, "access-control-request-method": "POST"}
    asked = client.options("/enlarge", headers=asks)
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == friend
    answer = client.post("/enlarge", content=encoded(), headers=cross)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == friend
    assert "upres-model" in answer.headers["access-control-expose-headers"]
    other = client.get("/choices", headers={**cross, "origin": "https://other.example"})
    assert other.status_code == 403


def test_without_the_token_only_the_page_and_health_answer(serve: Serve) -> None:
    client = serve(token="s3cret").client()
    for path in ("/", "/style.css", "/script.js", "/health/live", "/health/ready"):
        assert client.get(path).status_code == 200
    for path in ("/metrics", "/choices", "/openapi.json", "/jobs/a", "/nothing"):
        response = client.get(path)
        assert (response.status_code, problem(response)["code"]) == (401, "token")
        assert response.headers["www-authenticate"].startswith("Bearer")
    for given in ("Bearer s3cre", "Bearer", "s3cret", "Basic s3cret", "Bearer s3cret\xe9"):
        headers = {"authorization": given.encode("latin-1")}
        assert client.post("/enlarge", content=encoded(), headers=headers).status_code == 401
    # The scheme's letters may be large or small: RFC 9110.
    for given in ("Bearer s3cret", "bearer s3cret"):
        headers = {"authorization": given}
        assert client.post("/enlarge", content=encoded(), headers=headers).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_it_is_refused_to_listen_to_others_without_a_token(host: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(host)}: others reach .* token"):
        Settings(host=host)
    assert Settings(host=host, token="t").token == "t"
    assert Settings(host="::1").is_local


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"token": ""}, "the token must be"),
        ({"token": "two words"}, "the token must be"),
        ({"token": "a\n"}, "the token must be"),
        ({"token": "schl\u00fcssel"}, "the token must be"),
        ({"origins": ("*",)}, r"\*: is no site"),
        ({"origins": ("example.org",)}, "example.org: is no site"),
        ({"origins": ("https://example.org/page",)}, "https://example.org/page: is no site"),
        ({"names": ("https://example.org/",)}, "https://example.org/: is no name"),
        ({"names": ("example.org:80",)}, "example.org:80: is no name"),
        ({"port": 70_000}, "port must be at most 65535"),
        ({"seconds": float("nan")}, "seconds must be at least 1"),
        ({"kept_seconds": float("inf")}, "kept_seconds must be at least 0"),
    ],
)
def test_settings_that_no_request_could_meet_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"^{said}"):
        Settings(**wrong)


@pytest.mark.parametrize("host", ["a..b", "x" * 300, "nosuch.invalid"])
def test_an_address_that_is_none_is_told_in_one_line(host: str) -> None:
    with pytest.raises(OutputError, match=f"^{re.escape(host)}:") as refusal:
        listen(Settings(host=host, token="t", port=0))
    assert "\n" not in str(refusal.value)


def test_an_empty_token_of_the_environment_is_no_token(tmp_path: Path) -> None:
    """Whoever sets it wants one: ``UPRES_TOKEN=$(command that failed)``."""
    done = upres("serve", "--port=0", cwd=tmp_path, environment={"UPRES_TOKEN": ""})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "upres: UPRES_TOKEN: is empty: leave it out, or give it a value\n"


def test_numbers_are_known_where_others_may_ask_and_names_only_if_told(serve: Serve) -> None:
    client = serve(host="0.0.0.0", token="t", names=("upres.example",)).client()
    for host, status in (
        ("192.0.2.7:8765", 200),
        ("upres.example", 200),
        ("evil.example", 400),
    ):
        assert client.get("/health/live", headers={"host": host}).status_code == status


def test_every_answer_forbids_what_the_page_does_not_need(client: httpx.Client) -> None:
    for path in ("/", "/choices", "/nothing", "/enlarge"):
        headers = client.get(path).headers
        policy = dict(
            part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert policy["frame-ancestors"] == "'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
