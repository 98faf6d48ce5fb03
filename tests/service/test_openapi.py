"""OpenAPI: what it tells is so, and no request that it allows, or does not, makes a 500."""

from __future__ import annotations

from typing import Any
from unittest import SkipTest

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from serving import Serve

schemathesis: Any = pytest.importorskip("schemathesis", reason="needs schemathesis")

FEW = 12


def test_each_route_has_a_summary_and_examples_of_its_problems(client: httpx.Client) -> None:
    told = client.get("/openapi.json").json()
    routes = [route for path in told["paths"].values() for route in path.values()]
    assert len(routes) >= 12
    for route in routes:
        assert route["summary"]
        assert route["description"]
        for status, answer in route["responses"].items():
            if int(status) < 400:
                continue
            (content,) = answer["content"].values()
            assert content.get("examples"), (route["summary"], status, content)
            for example in content["examples"].values():
                assert example["value"]["status"] == int(status)
    body = told["paths"]["/enlarge"]["post"]["requestBody"]["content"]
    assert body.keys() == {"application/octet-stream", "multipart/form-data"}
    models = next(
        parameter["schema"]["enum"]
        for parameter in told["paths"]["/enlarge"]["post"]["parameters"]
        if parameter["name"] == "model"
    )
    assert {"auto", "fast", "best"} <= set(models)


def test_no_request_makes_a_500(serve: Serve) -> None:
    running = serve()
    schema = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    statuses: dict[str, set[int]] = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        statuses[operation.label] = set()

        def call(case: Any) -> None:
            response = case.call()
            statuses[case.operation.label].add(response.status_code)
            assert response.status_code < 500, response.text
            if response.status_code >= 400:
                assert response.headers["content-type"] == ["application/problem+json"]
                assert response.json()["code"]

        for mode in schemathesis.GenerationMode:
            cases = operation.as_strategy(generation_mode=mode)
            limits = settings(max_examples=FEW, deadline=None, suppress_health_check=HealthCheck)
            try:
                limits(given(cases)(call))()
            except (Unsatisfiable, SkipTest):  # there is nothing that this route does not allow
                assert mode is schemathesis.GenerationMode.NEGATIVE
    assert len(statuses) >= 12
    # Requests that are allowed, and others, came through to the routes.
    assert 422 in statuses["POST /enlarge"]
    assert 200 in statuses["GET /plans"]
