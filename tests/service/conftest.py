"""A service for the tests of this folder, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")

from serving import Running, Serve, start

if TYPE_CHECKING:
    import httpx


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with a fast fake, for all tests that do not change it."""
    service = start(tmp_path_factory.mktemp("service"))
    yield service
    service.stop()


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    """A client of that service; nothing is left of its requests."""
    yield running.client()
    # Jobs are a test's own to delete.
    assert running.left() == []


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts services of other settings, and stops them."""
    services = []

    def make(**settings: Any) -> Running:
        folder = tmp_path / f"service{len(services)}"
        folder.mkdir()
        services.append(start(folder, **settings))
        return services[-1]

    yield make
    for service in services:
        service.stop()
