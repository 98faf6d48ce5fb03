from __future__ import annotations

import errno
import os
import shutil
from collections import namedtuple
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest
import pyvips

from upres.enlarging.options import Options
from upres.errors import InputError, OutputError, UsageError
from upres.formats.registry import HEAD_BYTES
from upres.runs.estimate import space_warning
from upres.runs.jobs import (
    Job,
    destinations,
    find,
    is_folder,
    suffix_called,
    suffix_of,
)


def files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folder: Path, *inputs: str, recursive: bool = False) -> list[tuple[str, str]]:
    pairs, empty = find([folder / name for name in inputs], recursive=recursive)
    assert not empty
    return [(path.relative_to(folder).as_posix(), relative.as_posix()) for path, relative in pairs]


def test_a_folder_gives_its_pictures_sorted(tmp_path: Path) -> None:
    files(tmp_path, "in/b.JPG", "in/a.png", "in/notes.txt", "in/.hidden.png", "in/sub/c.tif")
    assert found(tmp_path, "in") == [("in/a.png", "a.png"), ("in/b.JPG", "b.JPG")]


def test_folders_are_recursed_into_if_asked(tmp_path: Path) -> None:
    files(tmp_path, "in/z.png", "in/sub/a.png", "in/sub/deep/b.png", "in/.git/c.png")
    assert found(tmp_path, "in", recursive=True) == [
        ("in/z.png", "z.png"),
        ("in/sub/a.png", "sub/a.png"),
        ("in/sub/deep/b.png", "sub/deep/b.png"),
    ]


def test_results_inside_the_folder_are_no_pictures_of_it(tmp_path: Path) -> None:
    files(tmp_path, "a.png", "out/a_x4.png", "out/sub/b_x4.png")
    found, _ = find([tmp_path], recursive=True, leave_out=tmp_path / "sub/../out")
    assert found == [(tmp_path / "a.png", PurePath("a.png"))]
    with pytest.raises(UsageError, match="is the folder of the pictures itself"):
        find([tmp_path], leave_out=tmp_path)


def test_a_run_that_is_made_again_finds_the_same_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(tmp_path, "a.png", "in/b.png", "out/a_x4.png", "out/b_x4.png")
    monkeypatch.chdir(tmp_path)

    def again(*inputs: str, output: str | None = "out") -> list[str]:
        folder = Path(output) if output else None
        found, empty = find([Path(name) for name in inputs], leave_out=folder)
        assert not empty
        into = folder is not None
        jobs = destinations(found, folder, Options(), folder=into, default_scale=4, again=True)
        return [job.source.as_posix() for job in jobs]

    assert again("*") == ["a.png", "in/b.png"]
    assert again("a.png", "in", "out") == ["a.png", "in/b.png"]  # the shell's *
    assert again("*/*.png") == ["in/b.png"]
    assert again("in/b.png", "out/a_x4.png", "out/b_x4.png") == ["in/b.png", "out/a_x4.png"]
    assert again("a.png", "in/b.png", "out/a_x4.png", "out/b_x4.png") == ["a.png", "in/b.png"]
    files(tmp_path, "a_x4.png")
    assert again("*.png", output=None) == ["a.png"]
    assert again("*.png", output=".") == ["a.png"]


def test_folders_that_cannot_be_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(tmp_path, "in/a.png", "in/locked/b.png", "in/sub/c.png", "only/d.png")
    scan = os.scandir

    def scandir(path: str | Path) -> Any:
        if Path(path).name in ("locked", "only"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    given = [tmp_path / "in", tmp_path / "only"]
    pairs, failed = find(given, recursive=True)
    assert [relative.as_posix() for _, relative in pairs] == ["a.png", "sub/c.png"]
    assert [(path, str(error)) for path, error in failed] == [
        (path, f"{path}: cannot read this folder: Permission denied")
        for path in (tmp_path / "in" / "locked", tmp_path / "only")
    ]


def test_patterns_are_expanded(tmp_path: Path) -> None:
    files(tmp_path, "b 1.png", "a 1.png", "a.jpg", "sub/c.png")
    assert found(tmp_path, "* 1.png") == [("a 1.png", "a 1.png"), ("b 1.png", "b 1.png")]
    assert found(tmp_path, "**/c.png") == [("sub/c.png", "c.png")]
    with pytest.raises(InputError, match=r"\*\.gif: no file matches"):
        found(tmp_path, "*.gif")


def test_what_names_no_picture_stops_no_other(tmp_path: Path) -> None:
    files(tmp_path, "a.png")
    (tmp_path / "empty").mkdir()
    given = [tmp_path / "none*.png", tmp_path / "a.png", tmp_path / "empty"]
    pairs, empty = find(given)
    assert pairs == [(tmp_path / "a.png", PurePath("a.png"))]
    assert [path for path, _ in empty] == [given[0], given[2]]
    assert "no file matches this pattern" in str(empty[0][1])
    assert "no pictures in this folder" in str(empty[1][1])


def test_a_link_to_the_output_folder_is_that_folder(tmp_path: Path) -> None:
    files(tmp_path, "out/a_x4.png")
    (tmp_path / "link").symlink_to(tmp_path / "out", target_is_directory=True)
    with pytest.raises(UsageError, match="is the folder of the pictures itself"):
        find([tmp_path / "link"], leave_out=tmp_path / "out")


def test_a_name_that_looks_like_a_pattern_is_a_name(tmp_path: Path) -> None:
    files(tmp_path, "photo[1].png", "photo1.png")
    assert found(tmp_path, "photo[1].png") == [("photo[1].png", "photo[1].png")]


def test_what_is_named_twice_is_done_once(tmp_path: Path) -> None:
    files(tmp_path, "in/a.png")
    assert found(tmp_path, "in/a.png", "in", "in/../in/a.png") == [("in/a.png", "a.png")]
    (tmp_path / "link").symlink_to(tmp_path / "in", target_is_directory=True)
    assert found(tmp_path, "in", "link", "link/a.png") == [("in/a.png", "a.png")]


def test_named_files_need_no_known_suffix_and_may_be_missing(tmp_path: Path) -> None:
    assert found(tmp_path, "scan", "none.png") == [("scan", "scan"), ("none.png", "none.png")]


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    files(tmp_path, "in/sub/a.png")
    with pytest.raises(InputError, match="no pictures in this folder: recursive=True"):
        found(tmp_path, "in")


def targets(
    inputs: list[str], output: str | None, options: Options | None = None, suffix: str | None = None
) -> list[str]:
    pairs = [(Path(name), PurePath(name)) for name in inputs]
    jobs = destinations(
        pairs,
        Path(output) if output else None,
        options or Options(),
        folder=bool(output) and is_folder(str(output)),
        default_scale=4,
        suffix=suffix,
    )
    return [job.target.as_posix() for job in jobs]


def test_names_without_output() -> None:
    assert targets(["in/harbour.jpg", "a.b.PNG"], None) == ["in/harbour_x4.jpg", "a.b_x4.PNG"]


@pytest.mark.parametrize(
    ("options", "mark"),
    [
        (Options(scale=2), "x2"),
        (Options(scale=2.5), "x2.5"),
        (Options(width=3840), "w3840"),
        (Options(height=2160), "h2160"),
        (Options(fit=(3840, 2160)), "3840x2160"),
    ],
)
def test_names_say_what_was_asked(options: Options, mark: str) -> None:
    assert targets(["a.png"], None, options) == [f"a_{mark}.png"]


def test_output_is_a_file_or_a_folder(tmp_path: Path) -> None:
    there = tmp_path / "existing.d"
    there.mkdir()
    assert targets(["one.jpg"], "x.png") == ["x.png"]
    assert targets(["one.jpg"], "new.d/") == ["new.d/one_x4.jpg"]
    assert targets(["one.jpg"], str(there)) == [f"{there.as_posix()}/one_x4.jpg"]
    assert targets(["one.jpg", "sub/two.jpg"], "new") == ["new/one_x4.jpg", "new/sub/two_x4.jpg"]
    with pytest.raises(UsageError, match="2 pictures need a folder"):
        targets(["one.jpg", "two.jpg"], "x.png")


def test_format_decides_the_suffix() -> None:
    assert targets(["a.jpg", "b.PNG"], "out", suffix=".webp") == ["out/a_x4.webp", "out/b_x4.webp"]
    with pytest.raises(UsageError, match=r"x\.png: is not called \.webp"):
        targets(["a.jpg"], "x.png", suffix=".webp")


def test_what_is_only_read_is_written_as_tiff() -> None:
    assert targets(["a.nef", "b.DNG", "c.jxl"], None) == ["a_x4.tif", "b_x4.tif", "c_x4.jxl"]
    assert targets(["a.nef"], None, suffix=".png") == ["a_x4.png"]


def test_two_pictures_never_share_a_result() -> None:
    with pytest.raises(OutputError, match=r"both a\.png and a\.jpg would be written here"):
        targets(["a.png", "a.jpg"], "out", suffix=".png")


def test_no_result_replaces_another_input() -> None:
    with pytest.raises(OutputError, match=r"a_x4\.png: a\.png would be written here, over another"):
        targets(["a.png", "a_x4.png"], None)


def test_suffix_called() -> None:
    assert suffix_called("PNG") == suffix_called(".png") == ".png"
    for name in ("svg", "dng"):  # of which there is no writer
        with pytest.raises(UsageError, match=f"{name}: not a format that upres writes: png, "):
            suffix_called(name)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif", ".gif"])
def test_suffix_of_what_a_file_begins_with(suffix: str) -> None:
    content = pyvips.Image.new_from_array(np.zeros((8, 8, 3), np.uint8)).write_to_buffer(suffix)
    assert suffix_of(content[:HEAD_BYTES]) == suffix


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (b"P6 1 1 255\n", ".ppm"),
        (b"#?RADIANCE\n", ".hdr"),
        (b"FUJIFILMCCD-RAW ", ".tif"),
        (b"?", ".tif"),
    ],
)
def test_suffix_of_other_heads(head: bytes, suffix: str) -> None:
    """Of a file that cannot be written as it is, the result is a TIFF."""
    assert suffix_of(head) == suffix


def test_a_warning_if_the_disk_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.png"
    pyvips.Image.black(100, 100, bands=3).copy(interpretation="srgb").pngsave(str(path))
    jobs = [Job(path, tmp_path / "new" / f"{n}.png") for n in range(300)]
    options = Options(scale=4)
    assert space_warning(jobs, options) is None
    usage = namedtuple("usage", "free")
    # 300 results of 400x400, at 2 bytes a pixel: 96 MB.
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(97_000_000))
    assert space_warning(jobs, options) is None
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(95_000_000))
    expected = f"{tmp_path}: the results will need about 96 MB, and 95 MB are free"
    assert space_warning(jobs, options) == expected
