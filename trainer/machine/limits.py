"""What the container may use: CPU quota and memory of its cgroup (v2 and v1), shared memory, ulimits, disk."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path
from typing import Any

CGROUP = "/sys/fs/cgroup"
SHM = "/dev/shm"
UNLIMITED = 1 << 60  # cgroup v1 writes "no limit" as a number near 2**63
ULIMITS = {
    "open_files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "locked_memory_bytes": resource.RLIMIT_MEMLOCK,
    "stack_bytes": resource.RLIMIT_STACK,
    "core_bytes": resource.RLIMIT_CORE,
}


def report(folder: Path) -> dict[str, Any]:
    """All limits as JSON; folder: where the run is written, for the disk figures. None means no limit or unknown."""
    root = Path(os.environ.get("STOKER_CGROUP", CGROUP))
    return {
        "cpus": os.cpu_count(),
        "cpus_allowed": len(os.sched_getaffinity(0)),
        "cpu_quota": cpu_quota(root),
        "memory_limit_bytes": memory_limit(root),
        "shm_bytes": _space(Path(os.environ.get("STOKER_SHM", SHM)))["total_bytes"],
        "ulimits": {name: _ulimit(number) for name, number in ULIMITS.items()},
        "disk": {"path": str(folder), **_space(folder)},
    }


def cpu_quota(root: Path) -> float | None:
    """CPUs the cgroup may use, as a fraction; None without a quota."""
    words = _words(root / "cpu.max")
    if words is None:
        words = (_words(root / "cpu/cpu.cfs_quota_us") or ["max"]) + (_words(root / "cpu/cpu.cfs_period_us") or [])
    try:
        quota, period = int(words[0]), int(words[1])
    except (ValueError, IndexError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def memory_limit(root: Path) -> int | None:
    """Bytes the cgroup may use; None without a limit."""
    words = _words(root / "memory.max") or _words(root / "memory/memory.limit_in_bytes") or ["max"]
    return int(words[0]) if words[0].isdigit() and int(words[0]) < UNLIMITED else None


def _words(path: Path) -> list[str] | None:
    try:
        return path.read_text(encoding="utf-8").split() or None
    except OSError:
        return None


def _ulimit(number: int) -> int | None:
    soft = resource.getrlimit(number)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _space(folder: Path) -> dict[str, int | None]:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return {"total_bytes": None, "free_bytes": None}
    return {"total_bytes": usage.total, "free_bytes": usage.free}
