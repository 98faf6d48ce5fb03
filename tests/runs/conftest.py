"""Servers that tests of runs share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import stores_here


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """moto's S3: its address, and its log, with a line for each request; skips without it."""
    command = stores_here.moto_command()
    if command is None:
        pytest.skip("needs moto's server in .stores, which .ci/run installs")
    port = stores_here.free_port()
    log = tmp_path_factory.mktemp("moto") / "log"
    with stores_here.serving([command, "-H", "127.0.0.1", "-p", str(port)], port, log) as address:
        yield address, log


@pytest.fixture
def s3(moto: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> str:
    """The same, in the environment, with the buckets ``pictures`` and ``results`` empty anew."""
    address, _ = moto
    for name, value in stores_here.S3.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    reset(address)
    return address


def reset(address: str) -> None:
    """Empty moto's store, and make two buckets."""
    import urllib.request

    request = urllib.request.Request(f"{address}/moto-api/reset", method="POST")
    urllib.request.urlopen(request, timeout=10).close()
    for name in ("pictures", "results"):
        stores_here.make_bucket(address, name)
