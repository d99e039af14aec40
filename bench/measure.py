"""Time, CPU and peak memory of a command, as the kernel counts them; and the machine they were taken on.

Run as a file it is the stopwatch itself: a small process that starts the command and writes down what wait4 says.
It is small on purpose: Linux counts a parent's peak memory into a child that it forks (exec_mmap in fs/exec.c), so a
benchmark that measured its children directly would report its own memory where theirs is smaller.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MB = 1_000_000


@dataclass(frozen=True)
class Sample:
    """One run. wall, user, system: seconds; max_rss: bytes; out: standard output."""

    wall: float
    user: float
    system: float
    max_rss: int
    status: int
    out: str
    err: str

    @property
    def cpu(self) -> float:
        return self.user + self.system


class Failed(RuntimeError):
    """A command that had to work did not: there is nothing to measure."""


def measure(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    umask: int = -1,
    kill_when: Callable[[], bool] | None = None,
) -> Sample:
    """Run a command to its end, or kill it (SIGKILL) as soon as `kill_when` says so. Raises Failed unless it ends 0."""
    with tempfile.TemporaryDirectory(prefix="stoker-measure-") as folder:
        figures, out, err = (Path(folder) / name for name in ("figures", "out", "err"))
        line = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(figures), *map(str, command)]
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                line, env=env, cwd=cwd, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL, umask=umask
            )
            killed = watch(process, figures, kill_when) if kill_when else False
            process.wait()
        said = err.read_text(errors="replace")
        value = json.loads(figures.read_text())
        sample = Sample(**value, out=out.read_text(errors="replace"), err=said)
    if sample.status and not killed:
        raise Failed(f"`{' '.join(map(str, command))}` ended with {sample.status}:\n{said[-2000:]}")
    return sample


def watch(process: subprocess.Popen[bytes], figures: Path, kill_when: Callable[[], bool]) -> bool:
    """Kills the command, not the stopwatch, when asked to; whether it did."""
    while process.poll() is None:
        if kill_when():
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                os.kill(int(figures.with_name("pid").read_text()), signal.SIGKILL)
            return True
        time.sleep(0.01)
    return False


def stopwatch(figures: Path, command: list[str]) -> None:
    """Start, wait, write down."""
    started = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ)
    figures.with_name("pid").write_text(str(pid))
    _, status, used = os.wait4(pid, 0)
    value = {
        "wall": time.monotonic() - started,
        "user": used.ru_utime,
        "system": used.ru_stime,
        "max_rss": used.ru_maxrss * 1024,  # Linux counts in KiB (getrusage(2))
        "status": os.waitstatus_to_exitcode(status),
    }
    figures.write_text(json.dumps(value))


def machine() -> dict[str, Any]:
    """What the figures were taken on. memory in bytes."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")), "")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": os.uname().release,
        "load_before": round(os.getloadavg()[0], 2),
    }


def version_of(*command: str, env: Mapping[str, str] | None = None) -> str | None:
    """The first line a program says of its version; None without the program."""
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines and done.returncode == 0 else None


def rounded(sample: Sample) -> dict[str, Any]:
    """A sample as it stands in the results."""
    value = asdict(sample)
    figures = {name: round(value[name], 4) for name in ("wall", "user", "system")}
    return {**figures, "max_rss": sample.max_rss}


if __name__ == "__main__":
    stopwatch(Path(sys.argv[1]), sys.argv[2:])
