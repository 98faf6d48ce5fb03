"""What the command refuses of stores, clusters, reports and dry runs, before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from upres.cli.fleet import check_report, in_stores
from upres.enlarging.options import Options
from upres.errors import UsageError
from upres.runs.request import Request


@pytest.mark.parametrize("errors", [True, "force"])
def test_maps_of_errors_are_refused_in_stores(errors: bool) -> None:
    request = Request((), Options(errors=errors))
    with pytest.raises(UsageError, match="--error-map is for files that are here"):
        in_stores(["s3://in/a.png"], "s3://out/", request)
    assert in_stores(["a.png"], "out/", request) is None


@pytest.mark.parametrize(
    ("pictures", "output"),
    [
        (["ftp://host/a.png"], "s3://out/"),
        (["a.png"], "ftp://host/out"),
        (["S3://in/a.png"], "out"),
        (["a.png", "abfs://in/a.png"], None),
    ],
)
def test_places_of_no_kind_are_refused(pictures: list[str], output: str | None) -> None:
    # They would be taken for folders here, and made.
    with pytest.raises(UsageError, match="no kind of place that upres knows: s3, gs, az, http"):
        in_stores(pictures, output, Request(()))


def test_a_store_needs_an_output_and_no_stream() -> None:
    for pictures, output, words in (
        (["s3://in/a.png"], None, "need an --output"),
        (["s3://in/a.png", "-"], "s3://out/", "standard input"),
        (["s3://in/a.png"], "-", "standard input"),
    ):
        with pytest.raises(UsageError, match=words):
            in_stores(pictures, output, Request(()))
    with pytest.raises(UsageError, match="--resume needs the --output folder"):
        in_stores(["s3://in/a.png"], "s3://out/a.png", Request((), resume=True))


def test_a_name_with_a_suffix_is_one_result() -> None:
    for output, single in (("s3://out/a.png", True), ("s3://out/a", False), ("s3://o/a.d/", False)):
        request = in_stores(["s3://in/a.png"], output, Request(()))
        assert request is not None
        assert request.single == single


def test_a_report_that_cannot_be_is_refused_before_the_work(tmp_path: Path) -> None:
    check_report(None, dry=True)
    check_report(str(tmp_path / "run.json"), dry=False)
    for path in (tmp_path, tmp_path / "none" / "run.json"):
        with pytest.raises(UsageError, match="name a file in a folder where you may write"):
            check_report(str(path), dry=False)
    with pytest.raises(UsageError, match="name a local file"):
        check_report("s3://out/run.json", dry=False)
    with pytest.raises(UsageError, match="leave it out with --dry-run"):
        check_report(str(tmp_path / "run.json"), dry=True)
