"""Folders that are there at once and whole, and those that ended processes left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from upres.errors import ExistsError
from upres.files import remove_leftovers
from upres.folders import publish_folder, temporary_folder


def made(target: Path, content: str, *, replace: bool = False) -> None:
    with temporary_folder(target) as folder:
        (folder / "a.txt").write_text(content)
        assert not (target / "a.txt").exists() or (target / "a.txt").read_text() != content
        publish_folder(folder, target, replace=replace)


def test_a_folder_is_there_at_once_and_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    made(target, "one")
    assert os.listdir(target) == ["a.txt"]
    with pytest.raises(ExistsError):
        made(target, "two")
    assert (target / "a.txt").read_text() == "one"
    (target / "old.txt").write_text("old")
    made(target, "three", replace=True)
    assert os.listdir(target) == ["a.txt"]
    assert (target / "a.txt").read_text() == "three"
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    target = tmp_path / "out"
    made(target, "one")
    with temporary_folder(target) as folder:
        (folder / ".upres-lock").unlink()
        with pytest.raises(OSError, match="No such file"):
            publish_folder(folder, target, replace=True)
    assert (target / "a.txt").read_text() == "one"
    assert os.listdir(tmp_path) == ["out"]


def test_one_that_is_given_up_goes(tmp_path: Path) -> None:
    def give_up() -> None:
        with temporary_folder(tmp_path / "out") as folder:
            (folder / "a.txt").write_text("part")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give_up()
    assert os.listdir(tmp_path) == []


def test_those_of_ended_processes_are_removed_and_no_others(tmp_path: Path) -> None:
    with temporary_folder(tmp_path / "out") as busy:
        left = tmp_path / ".out.upres-0123abcd-7"
        left.mkdir()
        (left / ".upres-lock").touch()
        (left / "a.txt").write_text("part")
        remove_leftovers([tmp_path])
        assert os.listdir(tmp_path) == [busy.name]
