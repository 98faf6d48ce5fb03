"""The limits that Linux sets a group of processes, such as a container: processors and memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class GroupLimits:
    """The limits of this process's groups, and of those that these are in."""

    processors: float | None = None
    """Seconds of processor time for each second; ``None`` is no limit."""
    memory: int | None = None
    """Bytes; ``None`` is no limit."""


@cache
def group_limits(root: Path = Path("/")) -> GroupLimits:
    """The limits that hold for this process, by version 1 or 2 of cgroups, or by both.

    ``root`` is the folder in which ``proc`` and ``sys`` are. Where there are no cgroups, there are
    no limits. Source: Linux's ``Documentation/admin-guide/cgroup-v1`` and ``cgroup-v2.rst``, and
    the manual pages cgroups(7) and proc_pid_mountinfo(5).
    """
    processors = [_quota(_text(folder / "cpu.max")) for folder in _folders(root, "")]
    memory = [_number(_text(folder / "memory.max")) for folder in _folders(root, "")]
    for folder in _folders(root, "cpu"):
        parts = (_text(folder / f"cpu.cfs_{part}_us") for part in ("quota", "period"))
        processors.append(_quota(" ".join(parts)))
    for folder in _folders(root, "memory"):
        memory.append(_number(_text(folder / "memory.limit_in_bytes")))
    return GroupLimits(
        min((limit for limit in processors if limit is not None), default=None),
        min((limit for limit in memory if limit is not None), default=None),
    )


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's group and of all that it is in, as far as they are mounted.

    ``controller`` is one of version 1; none is version 2.
    """
    group = None
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, names, path = [*line.split(":", 2), "", ""][:3]
        if controller in names.split(","):  # of version 2, there are none: [""]
            group = PurePosixPath(path)
    if group is None:
        return
    for line in _text(root / "proc/self/mountinfo").splitlines():
        mount, _, system = (part.split() for part in line.partition(" - "))
        if len(mount) < 5 or len(system) < 3:
            continue
        is_mounted = system[0] == "cgroup" and controller in system[2].split(",")
        if not (is_mounted if controller else system[0] == "cgroup2"):
            continue
        # A container has its own group mounted as if it were the uppermost.
        top, place = PurePosixPath(mount[3]), root / mount[4].lstrip("/")
        inside = group.is_relative_to(top) and ".." not in group.parts
        below = group.relative_to(top) if inside else PurePosixPath()
        yield place
        for count in range(len(below.parts)):
            yield place.joinpath(*below.parts[: count + 1])


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text("utf-8", "replace")
    return ""


def _quota(text: str) -> float | None:
    """Microseconds of each period, and the period's; ``max`` and -1 are no limit."""
    quota, period = map(_number, [*text.split(), "", ""][:2])
    return quota / period if quota and period else None


def _number(text: str) -> int | None:
    """A whole number above zero; ``None`` of anything else."""
    text = text.strip()
    return int(text) or None if text.isascii() and text.isdigit() else None
