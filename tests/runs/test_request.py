from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import pyvips

import stores_here
from upres.enlarging.api import enlarge
from upres.enlarging.options import Options
from upres.errors import DeviceError, ModelError, OutputError, UsageError
from upres.models import Settled
from upres.runs.journal import NAME, opened
from upres.runs.request import Request, arranged, as_begun, asked_of, carry_out, settled


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


def textured(path: Path) -> Path:
    """A picture that precisions enlarge differently."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(4).integers(0, 256, (24, 20, 3), np.uint8)
    pyvips.Image.new_from_array(pixels).pngsave(str(path))
    return path


@pytest.mark.parametrize("mode", ["fp32", "int8"])
def test_a_run_goes_on_in_the_precision_in_which_it_was_begun(tmp_path: Path, mode: str) -> None:
    """Be it on a machine that takes another by itself."""
    source, folder = textured(tmp_path / "a.png"), tmp_path / "out"
    folder.mkdir()
    request = Request((source,), Options(model="fast", scale=2), folder=folder)
    begun: Settled = (("fast x2", mode), ("fast x3", "fp32"), ("fast x4", "fp32"))
    with opened(folder, asked_of(request), resume=False, anew=False, settled=begun):
        pass  # and the machine goes
    again = Request((source,), Options(model="fast", scale=2), folder=folder, resume=True)
    assert carry_out(again, arranged(again)).done == 1
    pixels = pyvips.Image.new_from_file(str(source)).numpy()
    results = {
        precision: enlarge(pixels, model="fast", scale=2, precision=precision)
        for precision in ("fp32", "int8")
    }
    assert not np.array_equal(results["fp32"], results["int8"])
    got = pyvips.Image.new_from_file(str(folder / "a_x2.png")).numpy()
    if mode == "fp32":
        np.testing.assert_array_equal(got, results["fp32"])
    else:  # of which the rest may be in bfloat16 where it is asked for here
        assert np.abs(got.astype(int) - results["int8"]).mean() < 0.5


def test_a_run_that_was_begun_in_a_precision_that_is_not_here_is_refused(tmp_path: Path) -> None:
    request = Request((tmp_path / "a.png",), Options(model="fast"), device="cpu")
    with pytest.raises(ModelError, match="fast x2: the run was begun in fp16, and OpenVINO cannot"):
        as_begun(request, (("fast x2", "fp16"),))


def test_a_journal_that_says_no_precisions_is_gone_on_with(tmp_path: Path) -> None:
    request = settled(Request((tmp_path / "a.png",), Options(model="fast")))
    assert [label for label, _ in request.options.settled] == ["fast x2", "fast x3", "fast x4"]
    assert as_begun(request, None) is request
    for damaged in ("", "3", '{"a": 1}', '[["fast x2"]]', '[["fast x2", 3]]'):
        more = damaged and f', "settled": {damaged}'
        header = '{"version": 1, "started": 1, "asked": {}' + more + "}\n"
        (tmp_path / NAME).write_text(header)
        with opened(tmp_path, {}, resume=True, anew=False) as journal:
            assert journal.continued
            assert journal.settled is None


def test_a_precision_that_is_asked_for_is_not_settled_by_this_machine(tmp_path: Path) -> None:
    for precision in ("fp32", "bf16", "fp16"):
        options = Options(model="fast", precision=precision)  # type: ignore[arg-type]
        assert settled(Request((tmp_path,), options)).options.settled == ()
    whole = settled(Request((tmp_path,), Options())).options.settled
    assert {label.split()[0] for label, _ in whole} == {"fast", "photo"}


def test_another_precision_is_another_run(tmp_path: Path) -> None:
    asked = [
        asked_of(Request((tmp_path,), Options(model="fast", precision=precision)))
        for precision in ("auto", "fp32")
    ]
    with opened(tmp_path, asked[0], resume=False, anew=False):
        pass
    with (
        pytest.raises(UsageError, match="precision was auto, not fp32"),
        opened(tmp_path, asked[1], resume=True, anew=False),
    ):
        pass
