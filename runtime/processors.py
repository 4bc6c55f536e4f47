"""Processors of this process: affinity, cores shared by hyper-threads, and cgroup CPU quotas.

The kernel's files are described in cgroups(7), proc(5) and the kernel's ``cgroup-v2`` and
``sched-bwc`` documents. Whatever of them is missing, unreadable or malformed limits nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

_MOUNT_FIELDS = 5
_ESCAPE = re.compile(r"\\([0-7]{3})")
"""A space, tab, line feed or backslash in a path of ``mountinfo``."""


def available_processors(proc: str = "/proc", sys: str = "/sys") -> int:
    """Count the processors that the calling thread can keep busy.

    The answer is not kept: affinity and quotas may change, and it takes a fraction of a
    millisecond.

    Parameters
    ----------
    proc, sys : str
        Where these file systems are mounted.

    Returns
    -------
    int
        The cores of the affinity mask, or as many as the CPU quotas of the process's cgroup and
        of the cgroups above it pay for (rounded up) where that is less; at least 1.
    """
    cores = _core_count(_allowed(), f"{sys}/devices/system/cpu")
    return max(1, min([cores, *_quotas(f"{proc}/self")]))


def _allowed() -> set[int]:
    """Logical processors that the calling thread may run on; all where no mask can be read."""
    try:
        return os.sched_getaffinity(0)
    except (AttributeError, OSError):
        return set(range(os.cpu_count() or 1))


def _core_count(allowed: set[int], folder: str) -> int:
    """Count cores: logical processors, hyper-threads of one core once."""
    if _text(f"{folder}/smt/active").strip() == "0":
        return len(allowed)
    last = max(allowed, default=0)
    waiting = set(allowed)
    cores = 0
    while waiting:
        processor = waiting.pop()
        cores += 1
        for siblings in _siblings(f"{folder}/cpu{processor}/topology", last):
            waiting.difference_update(siblings)
    return cores


def _siblings(folder: str, last: int) -> list[range]:
    """Logical processors of a processor's core, up to a last one; empty where not known."""
    # Linux 5.3 gave the file its first name, and keeps the second.
    text = _text(f"{folder}/core_cpus_list") or _text(f"{folder}/thread_siblings_list")
    try:
        bounds = [[int(bound) for bound in part.split("-")] for part in text.split(",")]
    except ValueError:
        return []
    return [range(bound[0], min(bound[-1], last) + 1) for bound in bounds]


def _quotas(process: str) -> Iterator[int]:
    """Yield the processors that each quota above a process pays for, in either version."""
    groups = _groups(_text(f"{process}/cgroup"))
    for line in _text(f"{process}/mountinfo").splitlines():
        mount, _, system = line.partition(" - ")
        kind, _, source_and_options = system.partition(" ")
        controllers = source_and_options.rpartition(" ")[2].split(",")
        fields = mount.split(" ")
        if kind not in groups or len(fields) < _MOUNT_FIELDS:
            continue
        if kind == "cgroup" and "cpu" not in controllers:
            continue
        root, point = (_ESCAPE.sub(lambda m: chr(int(m[1], 8)), path) for path in fields[3:5])
        for folder in _folders(point, root, groups[kind]):
            yield from _quota(folder, kind)


def _groups(text: str) -> dict[str, str]:
    """Path of the cgroup that controls the CPU, by the type of its file system."""
    groups = {}
    for line in text.splitlines():
        number, _, control = line.partition(":")
        controllers, _, path = control.partition(":")
        if "cpu" in controllers.split(","):
            groups["cgroup"] = path
        elif number == "0" and not controllers:
            groups["cgroup2"] = path
    return groups


def _folders(point: str, root: str, group: str) -> Iterator[str]:
    """Yield the folders of a cgroup and of those above it, as far as a mount shows them.

    Parameters
    ----------
    point, root : str
        Where a cgroup file system is mounted, and which of its cgroups that is. In a namespace,
        paths begin at the namespace's cgroup and lead upwards by ``..``.
    group : str
        The process's cgroup.
    """
    top, own = ([part for part in path.split("/") if part] for path in (root, group))
    if own[: len(top)] == top and ".." not in own[len(top) :]:
        below = own[len(top) :]
    elif set(top) == {".."} and own.count("..") < len(top):
        below = []  # above the namespace; the names in between are not known
    else:
        return  # the mount shows other cgroups
    for depth in range(len(below) + 1):
        yield "/".join([point, *below[:depth]])


def _quota(folder: str, kind: str) -> Iterator[int]:
    """Yield the processors that a cgroup's quota pays for, if it has one."""
    if kind == "cgroup2":
        text = _text(f"{folder}/cpu.max")
    else:
        text = f"{_text(f'{folder}/cpu.cfs_quota_us')} {_text(f'{folder}/cpu.cfs_period_us')}"
    try:
        quota, period = map(int, text.split())
    except ValueError:
        return  # "max", or no such file
    if quota > 0 and period > 0:  # version 1 writes -1 for none
        yield -(-quota // period)


def _text(path: str) -> str:
    """Contents of a small file; empty where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except (OSError, ValueError):
        return ""
