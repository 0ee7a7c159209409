"""The memory and the cores that this process may use, containers' limits included."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")
_UNLIMITED = 2**60
"""Version 1 of cgroups says "no limit" by a number near 2^63."""


def available_memory(root: Path = _ROOT) -> int | None:
    """Return the bytes that this process may still take, or None where the system does not say.

    It is the least of what the kernel calls available and what is left of the memory limits of the
    control groups that the process is in.

    Args:
        root: The folder that /proc and /sys are in.
    """
    left = [_left_of(folder) for folder in _memory_groups(root)]
    known = [value for value in (_of_system(root), *left) if value is not None]
    return min(known) if known else None


def out_of_memory_kills(root: Path = _ROOT) -> int:
    """Return how many processes the kernel has killed for want of memory, where it counts them."""
    counts = [_count(folder / "memory.events", "oom_kill") for folder in _memory_groups(root)]
    counts += [_count(folder / "memory.oom_control", "oom_kill") for folder in _memory_groups(root)]
    return max([_count(root / "proc/vmstat", "oom_kill"), *counts])


def available_cores(root: Path = _ROOT) -> int:
    """Return the cores that this process may use: its affinity, and the quota of its group.

    Args:
        root: The folder that /proc and /sys are in.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quotas = [quota for folder in _groups(root, "cpu") if (quota := _quota(folder)) is not None]
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas)]))


def _of_system(root: Path) -> int | None:
    for line in _lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None


def _memory_groups(root: Path) -> list[Path]:
    return list(_groups(root, "memory"))


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the process's groups, from its own to the top one."""
    mounted = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        # Version 1 has a folder for each controller, version 2 one tree for all.
        top = mounted / controller if controllers else mounted
        parts = [part for part in path.split("/") if part and part != ".."]
        for length in range(len(parts), -1, -1):
            folder = top.joinpath(*parts[:length])
            if folder.is_dir():
                yield folder


def _left_of(folder: Path) -> int | None:
    """Return what is left of a group's memory limit. Cached files can be dropped, so they count."""
    limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
    if limit is None or limit >= _UNLIMITED:
        return None
    used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
    cached = max(
        _count(folder / "memory.stat", name) for name in ("inactive_file", "total_inactive_file")
    )
    return max(0, limit - used + cached)


def _quota(folder: Path) -> float | None:
    """Return a group's quota in cores."""
    words = " ".join(_lines(folder / "cpu.max")).split()
    if len(words) == 2 and words[0].isdigit():
        return int(words[0]) / int(words[1])
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota and period else None


def _count(path: Path, name: str) -> int:
    for line in _lines(path):
        words = line.split()
        if len(words) == 2 and words[0] == name and words[1].isdigit():
            return int(words[1])
    return 0


def _number(path: Path) -> int | None:
    text = " ".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
