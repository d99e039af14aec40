"""The host as /proc shows it: CPU, memory, disk, and this process. Every figure that cannot be read is left out."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

from trainer.metrics import memory

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60  # cgroup v1 writes "no limit" as a number near 2**63


class System:
    """Samples of the host. Shares are of the time since the sample before, so the first one has none.

    folder: where the run is written, for the disk figures. proc, cgroup: other roots, for tests.
    """

    def __init__(self, folder: Path, proc: Path = PROC, cgroup: Path = CGROUP) -> None:
        self._folder, self._proc, self._cgroup = folder, proc, cgroup
        self._before = self._counters()

    def read(self) -> dict[str, Any]:
        """cpu_utilisation: busy share of all CPUs of the host, 0 to 1; process_cpus: CPUs this process kept busy;
        bytes of memory (of the host, of the container where it has a limit, of this process) and of the run's disk;
        process_read and process_written: bytes per second to storage."""
        now = self._counters()
        before, self._before = self._before, now
        found: dict[str, Any] = {"cpus": os.cpu_count()}
        found.update(_shares(before, now))
        found.update(self._memory())
        found.update(memory.host())
        found.update(self._disk())
        try:
            found["load_1m"] = float((self._proc / "loadavg").read_text(encoding="ascii").split()[0])
        except (OSError, ValueError, IndexError):
            pass
        return found

    def _counters(self) -> dict[str, float]:
        times = os.times()
        found = {"clock": time.monotonic(), "process": times.user + times.system}
        try:
            ticks = [
                int(word) for word in (self._proc / "stat").read_text(encoding="ascii").split("\n")[0].split()[1:9]
            ]
            found["total"] = float(sum(ticks))
            found["idle"] = float(ticks[3] + ticks[4])  # idle, and waiting for storage
        except (OSError, ValueError, IndexError):
            pass
        for name, value in _pairs(self._proc / "self" / "io"):
            if name in ("read_bytes", "write_bytes"):
                found[name] = float(value)
        return found

    def _memory(self) -> dict[str, int]:
        host = dict(_pairs(self._proc / "meminfo"))
        found = {}
        if "MemTotal" in host and "MemAvailable" in host:
            found["memory_total_bytes"] = host["MemTotal"] * 1024
            found["memory_used_bytes"] = (host["MemTotal"] - host["MemAvailable"]) * 1024
        for used, limit in (
            ("memory.current", "memory.max"),
            ("memory/memory.usage_in_bytes", "memory/memory.limit_in_bytes"),
        ):
            most, now = _integer(self._cgroup / limit), _integer(self._cgroup / used)
            if most is not None and now is not None and most < UNLIMITED:
                return {**found, "container_used_bytes": now, "container_limit_bytes": most}
        return found

    def _disk(self) -> dict[str, int]:
        try:
            usage = shutil.disk_usage(self._folder)
        except OSError:
            return {}
        return {"disk_total_bytes": usage.total, "disk_used_bytes": usage.used, "disk_free_bytes": usage.free}


def process_began(proc: Path = PROC) -> float:
    """When this process was started, on the clock of time.monotonic(): imports before the first line count as start-up.

    The kernel counts from boot, sleep included (proc_pid_stat(5), field 22); now, where it cannot be read.
    """
    now = time.monotonic()
    try:
        words = (proc / "self" / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(words[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return now
    return now - max(0.0, age)


def _shares(before: dict[str, float], now: dict[str, float]) -> dict[str, float]:
    seconds = now["clock"] - before["clock"]
    if seconds <= 0:
        return {}
    found = {"process_cpus": round(max(0.0, now["process"] - before["process"]) / seconds, 3)}
    total = now.get("total", 0.0) - before.get("total", 0.0)
    if "total" in before and total > 0:
        found["cpu_utilisation"] = round(min(1.0, max(0.0, 1 - (now["idle"] - before["idle"]) / total)), 4)
    for name, title in (("read_bytes", "process_read_bytes_per_s"), ("write_bytes", "process_written_bytes_per_s")):
        if name in now and name in before:
            found[title] = round(max(0.0, now[name] - before[name]) / seconds, 1)
    return found


def _pairs(path: Path) -> list[tuple[str, int]]:
    """'Name:   123 kB' lines as numbers."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
    split = [line.replace(":", " ").split() for line in lines]
    return [(words[0], int(words[1])) for words in split if len(words) > 1 and words[1].isdigit()]


def _integer(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
