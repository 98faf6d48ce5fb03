"""Files: temporary names, locks, and bytes that are put in the place of others."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from upres.files import (
    PROCESS,
    create_locked,
    lock_named,
    remove_leftovers,
    splice,
    splice_all,
    temporary,
    temporary_name,
)


def test_leftovers_of_ended_processes_go(tmp_path: Path) -> None:
    # What a killed process leaves is there, but nobody has it locked.
    left = [temporary_name(tmp_path / name, ".raw") for name in ("a.png", "two\nlines.png")]
    users = [tmp_path / ".photo.12.png", tmp_path / "a.upres-1-2.png"]
    for path in (*left, *users):
        path.touch()
    # Another process, which may think that it has the same number: a container's, say.
    other = temporary_name(tmp_path / "b.png", ".raw")
    busy = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib, upres.files as f; f.create_locked(pathlib.Path(sys.argv[1])); "
            "print(flush=True); sys.stdin.read()",
            str(other),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert busy.stdout
    busy.stdout.readline()
    with temporary(tmp_path / "c.png", ".png") as own:
        remove_leftovers([tmp_path, tmp_path / "none"])
        assert sorted(tmp_path.iterdir()) == sorted([other, own, *users])
    busy.kill()
    busy.communicate()
    assert other.exists()
    remove_leftovers([tmp_path])
    assert sorted(tmp_path.iterdir()) == sorted(users)


def test_a_process_removes_its_own_leftovers_locked_or_not(tmp_path: Path) -> None:
    with temporary(tmp_path / "a.png", ".png"):
        remove_leftovers([tmp_path], of_process="0" * 8)
        assert any(tmp_path.iterdir())
        remove_leftovers([tmp_path], of_process=PROCESS)
    assert not any(tmp_path.iterdir())


def test_a_file_taken_for_left_behind_before_it_is_locked_is_made_again(tmp_path: Path) -> None:
    attempts = []

    def late(descriptor: int) -> None:
        attempts.append(descriptor)
        if len(attempts) == 1:
            (tmp_path / "a").unlink()  # by another process, which had locked it
        elif len(attempts) == 2:
            raise BlockingIOError  # which has it still

    os.close(create_locked(tmp_path / "a", locking=late))
    assert len(attempts) == 3
    assert (tmp_path / "a").exists()


def test_a_file_system_may_have_no_locks(tmp_path: Path) -> None:
    def no_locks(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    descriptor = create_locked(tmp_path / "a", locking=no_locks)
    try:
        assert lock_named(descriptor, tmp_path / "a", locking=no_locks)
    finally:
        os.close(descriptor)


def test_a_lock_is_of_the_file_that_has_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a"
    descriptor = create_locked(path)
    try:
        assert lock_named(descriptor, path)
        path.unlink()
        assert not lock_named(descriptor, path)
        path.touch()
        assert not lock_named(descriptor, path)
    finally:
        os.close(descriptor)


# The file has 40 bytes: ends of blocks fall within what is moved, and on its end.
@pytest.mark.parametrize("block", [1, 7, 10, 64])
@pytest.mark.parametrize("place", [(0, 0), (0, 3), (5, 5), (5, 12), (10, 40), (40, 40), (0, 40)])
@pytest.mark.parametrize("content", [b"", b"-", b"-------", b"-" * 25])
def test_a_splice_is_what_slices_of_the_whole_are(
    tmp_path: Path, block: int, place: tuple[int, int], content: bytes
) -> None:
    before, (start, end) = bytes(range(40)), place
    (tmp_path / "a").write_bytes(before)
    splice(tmp_path / "a", start, end, content, block=block)
    assert (tmp_path / "a").read_bytes() == before[:start] + content + before[end:]


def test_several_splices_are_of_places_before_any(tmp_path: Path) -> None:
    before = bytes(range(40))
    (tmp_path / "a").write_bytes(before)
    splice_all(tmp_path / "a", [(3, 5, b"---"), (5, 5, b"+"), (20, 30, b"")])
    after = before[:3] + b"---" + b"+" + before[5:20] + before[30:]
    assert (tmp_path / "a").read_bytes() == after
    splice_all(tmp_path / "a", [])
    assert (tmp_path / "a").read_bytes() == after
