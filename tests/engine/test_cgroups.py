"""Limits of groups, read from trees like those of Linux."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from upres.engine.cgroups import GroupLimits, group_limits
from upres.engine.machine import machine_memory, usable_processors

V2_MOUNT = "30 23 0:26 {top} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = "3{n} 31 0:3{n} {top} /sys/fs/cgroup/{folder} rw - cgroup cgroup rw,{names}\n"
OTHERS = "23 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n25 23 0:22 / /proc rw - proc proc rw\n"


def tree(root: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    """A folder with ``proc/self`` and, in ``sys/fs/cgroup``, these files."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    (root / "proc/self/mountinfo").write_text(OTHERS + mounts)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


def v2(root: Path, files: dict[str, str], *, group: str = "/", top: str = "/") -> Path:
    return tree(root, f"0::{group}\n", V2_MOUNT.format(top=top), files)


def v1(root: Path, files: dict[str, str], *, group: str = "/", top: str = "/") -> Path:
    groups = f"6:memory:{group}\n4:cpu,cpuacct:{group}\n1:name=systemd:{group}\n"
    mounts = V1_MOUNT.format(n=2, top=top, folder="cpu,cpuacct", names="cpu,cpuacct")
    mounts += V1_MOUNT.format(n=3, top=top, folder="memory", names="memory")
    return tree(root, groups, mounts, files)


def test_a_container_with_version_2(tmp_path: Path) -> None:
    # It has a namespace of its own: its group is the uppermost that it sees.
    root = v2(tmp_path, {"cpu.max": "150000 100000", "memory.max": "536870912"})
    assert group_limits(root) == GroupLimits(1.5, 2**29)


def test_without_a_limit(tmp_path: Path) -> None:
    root = v2(tmp_path / "2", {"cpu.max": "max 100000", "memory.max": "max"})
    assert group_limits(root) == GroupLimits(None, None)
    files = {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"}
    root = v1(tmp_path / "1", files | {"memory/memory.limit_in_bytes": "9223372036854771712"})
    assert group_limits(root).processors is None
    # The largest that there can be is as good as none.
    assert machine_memory(root) == machine_memory(tmp_path / "nothing")


def test_a_container_with_version_1(tmp_path: Path) -> None:
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "50000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "1073741824",
    }
    # Without a namespace: the group's path is the host's, and it alone is mounted.
    root = v1(tmp_path, files, group="/docker/0123abcd", top="/docker/0123abcd")
    assert group_limits(root) == GroupLimits(0.5, 2**30)


def test_the_least_of_all_groups_that_a_process_is_in_counts(tmp_path: Path) -> None:
    files = {
        "user.slice/cpu.max": "200000 100000",
        "user.slice/memory.max": "max",
        "user.slice/app.scope/cpu.max": "max 100000",
        "user.slice/app.scope/memory.max": "4294967296",
        "user.slice/other.scope/cpu.max": "1000 100000",
        "user.slice/other.scope/memory.max": "4096",
    }
    root = v2(tmp_path, files, group="/user.slice/app.scope")
    assert group_limits(root) == GroupLimits(2.0, 2**32)


def test_both_versions_beside_each_other(tmp_path: Path) -> None:
    # As systemd has it in its hybrid mode: limits by version 1, and version 2 without controllers.
    mounts = V1_MOUNT.format(n=2, top="/", folder="cpu", names="cpu")
    mounts += V2_MOUNT.format(top="/").replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
    files = {"cpu/job/cpu.cfs_quota_us": "300000", "cpu/job/cpu.cfs_period_us": "100000"}
    files["unified/job/cgroup.procs"] = ""
    root = tree(tmp_path, "4:cpu:/job\n0::/job\n", mounts, files)
    assert group_limits(root) == GroupLimits(3.0, None)


@pytest.mark.parametrize(
    "groups", ["", "nonsense\n", "0::\n", "0::/../..\n", "0::/gone\n", "4:cpu\n"]
)
def test_what_is_missing_or_odd_is_no_limit(tmp_path: Path, groups: str) -> None:
    root = tree(tmp_path, groups, "odd\n" + V2_MOUNT.format(top="/"), {"cpu.max": "", "x": ""})
    assert group_limits(root) == GroupLimits(None, None)
    assert usable_processors(root) == usable_processors(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("quota", "wanted"), [("10000 100000", 1), ("100000 100000", 1), ("100001 100000", 2)]
)
def test_a_share_of_a_processor_is_one(tmp_path: Path, quota: str, wanted: int) -> None:
    bound = len(os.sched_getaffinity(0))
    root = v2(tmp_path, {"cpu.max": quota})
    assert usable_processors(root) == min(bound, wanted)


def test_a_large_share_is_no_more_than_there_is(tmp_path: Path) -> None:
    root = v2(tmp_path, {"cpu.max": "99900000 100000", "memory.max": str(2**62)})
    assert usable_processors(root) == len(os.sched_getaffinity(0))
    assert machine_memory(root) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_limit_of_memory_is_what_there_is(tmp_path: Path) -> None:
    assert machine_memory(v2(tmp_path, {"memory.max": "268435456"})) == 2**28
