from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import pyvips

import stores_here
from upres.enlarging.options import Options
from upres.errors import DeviceError, OutputError
from upres.runs.journal import NAME
from upres.runs.request import Request, arranged, carry_out


@pytest.fixture
def options() -> Options:
    return Options(scale=2)


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyvips.Image.new_from_array(np.full((6, 8, 3), 90, np.uint8)).pngsave(str(path))
    return path


def test_a_plan_writes_nothing(tmp_path: Path, options: Options) -> None:
    source = picture(tmp_path / "in" / "a.png")
    request = Request((source.parent, tmp_path / "*.gif"), options, folder=tmp_path / "out")
    work = arranged(request)
    assert [(job.source, job.target) for job in work.jobs] == [
        (source, tmp_path / "out" / "a_x2.png")
    ]
    assert [path.name for path, _ in work.unusable] == ["*.gif"]
    assert not (tmp_path / "out").exists()


def test_a_run_counts_what_its_plan_could_not_use(tmp_path: Path, options: Options) -> None:
    request = Request((picture(tmp_path / "a.png"), tmp_path / "*.gif"), options)
    written: list[Path] = []
    summary = carry_out(
        request, arranged(request), finished=lambda target, why: written.append(target)
    )
    assert (summary.done, len(summary.failed)) == (1, 1)
    assert written == [tmp_path / "a_x2.png"]
    with pytest.raises(OutputError, match="exists"):
        raise carry_out(request, arranged(request)).failed[1][1]


def test_a_run_that_came_to_its_end_is_resumed_by_skipping(
    tmp_path: Path, options: Options
) -> None:
    source = picture(tmp_path / "a.png")
    request = Request((source,), options, folder=tmp_path / "out", resume=True)
    assert carry_out(request, arranged(request)).done == 1
    again = carry_out(request, arranged(request))
    assert (again.done, again.skipped, again.failed) == (0, 1, [])
    assert not (tmp_path / "out" / NAME).exists()


def test_a_folder_that_was_made_for_nothing_goes(tmp_path: Path, options: Options) -> None:
    request = Request((tmp_path / "none.png",), options, folder=tmp_path / "out")
    assert len(carry_out(request, arranged(request)).failed) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "ray://[::1]:{}"])
def test_a_machine_that_is_down_is_told_of_soon(tmp_path: Path, address: str) -> None:
    pytest.importorskip("ray", reason="needs ray")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"")
    request = Request(
        (tmp_path / "in",),
        Options(model="fast"),
        folder=tmp_path / "out",
        cluster=address.format(stores_here.free_port()),
    )
    start = time.monotonic()
    with pytest.raises(DeviceError, match=r"cluster .*: nothing answers there: "):
        carry_out(request, arranged(request))
    assert time.monotonic() - start < 60  # Ray itself takes two minutes
    assert not (tmp_path / "out").exists()  # with no journal to go on with
