"""Questions to the operating system: processors, memory, descriptors, and dying with one's parent.

Everything here answers on Linux and has a harmless answer elsewhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import signal
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_CGROUP = Path("/sys/fs/cgroup")


def processors() -> int:
    """Processors this process may really use: the least of affinity and the cgroup's CPU limit, at least 1."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    if quota is not None:
        # Rounded up: a limit of 1.5 is used by two workers, a limit of 0.5 by one.
        available = min(available, math.ceil(quota))
    return max(1, available)


def pin(pid: int, number: int) -> None:
    """Bind a process's main thread, and what threads it starts from now on, to one of the processors we may use.

    Threads of one process that hand the interpreter to each other then never wait for different processors (see
    `docs/production.md`).

    Args:
        number: which one, counted round.

    Raises:
        OSError: there is no such process, or the system refuses.
    """
    available = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(pid, {available[number % len(available)]})


def cpu_quota(root: Path = _CGROUP, membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """The CPU limit of this process's cgroup and of all above it, in processors; None if there is none."""
    limits: list[float] = []
    for folder in _cgroup_folders(root, membership, "cpu"):
        with contextlib.suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text().split()
            if quota != "max":
                limits.append(int(quota) / int(period))
        with contextlib.suppress(OSError, ValueError):
            quota_us = int((folder / "cpu.cfs_quota_us").read_text())
            if quota_us > 0:
                limits.append(quota_us / int((folder / "cpu.cfs_period_us").read_text()))
    return min(limits) if limits else None


def _cgroup_folders(root: Path, membership: Path, controller: str) -> list[Path]:
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base = root
        elif controller in controllers.split(","):
            base = root / controllers
        else:
            continue
        inner = base / path.lstrip("/")
        # In a container the path may name the host's tree, which is not mounted: its root is then ours.
        folders += [base, *(each for each in (inner, *inner.parents) if each != base and each.is_relative_to(base))]
    return folders


def resident_memory(pid: int) -> int:
    """Resident memory of a process in bytes; 0 if it cannot be known."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0


def processor_seconds(pid: int) -> float:
    """Seconds of processors that a process has used; 0 if it cannot be known."""
    if sys.platform != "linux":
        return 0.0
    try:
        # The number of a process's clock: linux, include/linux/posix-timers_types.h.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def open_files(pid: int) -> int:
    """Descriptors that a process has open; 0 if it cannot be known without counting them (Linux before 6.2)."""
    try:
        return os.stat(f"/proc/{pid}/fd").st_size
    except OSError:
        return 0


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one; return what holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # macOS answers "unlimited" and then refuses it.
        wanted = hard if hard != resource.RLIM_INFINITY else 1_048_576
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft if soft != resource.RLIM_INFINITY else 1_048_576


def descriptor_limit() -> int:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft if soft != resource.RLIM_INFINITY else 1_048_576


def die_with_parent(parent: int) -> None:
    """Ask the kernel for a SIGTERM when the parent goes; exit now if it is gone already.

    NOTE: the kernel watches the *thread* that made us. The supervisor has one only.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)
