"""What this process may use of the machine: a container or a job often has less memory and fewer cores than its host.

Linux says so in control groups, of which a process has a path and every folder above it binds too:

    version 2   /sys/fs/cgroup/PATH/memory.max, memory.current, memory.stat, cpu.max
    version 1   /sys/fs/cgroup/memory/PATH/memory.limit_in_bytes, memory.usage_in_bytes; .../cpu/PATH/cpu.cfs_quota_us

Kernel documentation, admin-guide/cgroup-v2 and cgroup-v1/memory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

GROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Memory:
    """Bytes of memory that this process and its group may have, and how many of them are free."""

    total: int
    free: int


def memory(groups: Path = GROUPS, own: Path = OWN) -> Memory:
    """The machine's, or the least of the groups that this process is in."""
    import psutil

    found = psutil.virtual_memory()
    total, free = found.total, found.available
    for folder in _folders("memory", groups, own):
        limit = _number(folder, "memory.max", "memory.limit_in_bytes")
        used = _number(folder, "memory.current", "memory.usage_in_bytes")
        if limit is not None and used is not None and limit < found.total:
            total, free = min(total, limit), min(free, limit - used + _given_back(folder))
    return Memory(total, max(free, 0))


def usable_cores(groups: Path = GROUPS, own: Path = OWN) -> int:
    """Logical cores that this process may use: those it may run on, and no more than its groups' share of time."""
    return min([_cores(), *(share for folder in _folders("cpu", groups, own) if (share := _share(folder)))])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_to_cores() -> None:
    """Let torch start no more threads than there is time for: with a share of two cores of 64 it would start 64.

    What the user set stays. To be called before torch is imported.
    """
    if usable_cores() < _cores():
        os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))


def _folders(controller: str, groups: Path, own: Path) -> Iterator[Path]:
    """The group of this process for a controller, and those above it."""
    with suppress(OSError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            root = groups / controller if controllers else groups
            group = root / path.strip("/")
            yield from (one for one in (group, *group.parents) if one.is_relative_to(root) and one.is_dir())


def _number(folder: Path, *names: str) -> int | None:
    """What the first of these files says; None where none does ("max" is no number)."""
    for name in names:
        with suppress(OSError, ValueError):
            return int((folder / name).read_text(encoding="ascii"))
    return None


def _given_back(folder: Path) -> int:
    """Pages of files that the kernel drops before it lets the group run out."""
    with suppress(OSError, ValueError):
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        counts = {name: int(number) for name, number in (line.split() for line in lines)}
        return counts.get("total_inactive_file", counts.get("inactive_file", 0))
    return 0


def _share(folder: Path) -> int | None:
    """Cores that a group's quota of time is worth, rounded up."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return max(1, math.ceil(int(quota) / int(period)))
    quota_us, period_us = _number(folder, "cpu.cfs_quota_us"), _number(folder, "cpu.cfs_period_us")
    return max(1, math.ceil(quota_us / period_us)) if quota_us and period_us and quota_us > 0 else None
