"""Starts one process per rank on this host and sees them to their end. Needs no torch.

torchrun would do the same, but it starts all ranks again when one fails, hides which rank was first, and turns exit
code 75 (stopped, resumable) into 1.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.errors import OUTSIDE_FAILED, STOPPED_EARLY
from trainer.parallel import port

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
GRACE = 5.0  # seconds for the others to end by themselves once a rank failed, and again after SIGTERM
PARTED = 20.0  # seconds that stopped ranks may end after one another
TRIES = 3  # launches, if the port is taken between choosing it and listening
LAST_LINES = 20
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def launch(
    arguments: list[str],
    ranks: int,
    command: list[str] | None = None,
    grace: float = GRACE,
    asked: Callable[[], object] = lambda: None,
) -> int:
    """Runs `python -m trainer ARGUMENTS` (or `command`) as that many ranks of this host; returns the exit code.

    0 when all ended with 0; 75 when they stopped early, resumable; otherwise the code of the rank that failed first,
    3 if a signal ended it. When one fails, the others are given `grace` seconds to end by themselves and are then
    ended; the failed rank's last words on standard error are shown. Standard output is rank 0's only. SIGTERM,
    SIGINT and SIGUSR1 go to all ranks; a SIGKILL of this process ends them too. asked: whether one came before this was
    called; then nothing is started.
    """
    whole = command or [sys.executable, "-m", "trainer", *arguments]
    for _ in range(TRIES):
        with tempfile.TemporaryDirectory(prefix="stoker-launch-") as folder:
            code = _once(whole, ranks, Path(folder), grace, asked)
            if not Path(folder, port.TAKEN).exists():
                break
    return code


def _once(command: list[str], ranks: int, folder: Path, grace: float, asked: Callable[[], object]) -> int:
    processes: list[subprocess.Popen[bytes]] = []
    meeting = port.free()
    with _forwarding(processes) as came:
        if asked():
            return STOPPED_EARLY
        try:
            for rank in range(ranks):
                processes.append(_start(command, rank, ranks, meeting, folder))
            _send(processes, came[-1:])  # to those that were not there yet when it came
            failed = _watch(processes, came)
        finally:
            _end(processes, grace)
    if failed is None:
        return STOPPED_EARLY if any(process.returncode == STOPPED_EARLY for process in processes) else 0
    if not Path(folder, port.TAKEN).exists():
        _tell(failed, processes[failed].returncode, folder)
    code = processes[failed].returncode
    return code if code > 0 else OUTSIDE_FAILED


def _start(command: list[str], rank: int, ranks: int, meeting: int, folder: Path) -> subprocess.Popen[bytes]:
    """One rank, in a session of its own: a terminal's Ctrl-C reaches it through the launcher alone, once."""
    place = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "LOCAL_SIZE": str(ranks),  # DeepSpeed's name for it
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(meeting),
        port.FOLDER: str(folder),
    }
    environment = {"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // ranks)), **os.environ, **place}
    hidden = rank > 0
    with _words(folder, rank).open("wb") as words:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if hidden else None,
            stderr=words if hidden else None,
            start_new_session=True,
            preexec_fn=_DiesWithParent(os.getpid()),
        )


class _DiesWithParent:
    """In the child before exec: the kernel kills it when the launcher is gone, however that went."""

    def __init__(self, parent: int) -> None:
        self.parent = parent
        self.prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up here: a forked child should only call it

    def __call__(self) -> None:
        self.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != self.parent:  # it was gone before the call
            os._exit(OUTSIDE_FAILED)


@contextmanager
def _forwarding(processes: list[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Signals go to the ranks that are there; yields those that came."""
    came: list[int] = []

    def forward(number: int, _frame: object) -> None:
        came.append(number)
        _send(list(processes), [number])

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _send(processes: list[subprocess.Popen[bytes]], numbers: list[int]) -> None:
    for process in processes:
        if process.poll() is None:
            for number in numbers:
                process.send_signal(number)


def _watch(processes: list[subprocess.Popen[bytes]], came: list[int]) -> int | None:
    """Waits for all to end well, or for the first failure: its rank. 0 and 75 are good ends, however far apart.

    came: signals that were sent on. Then the ranks end together; one that was stopped before it had met the others
    leaves them waiting for it, and they are not waited for.
    """
    parted: float | None = None
    while True:
        codes = [process.poll() for process in processes]
        failed = [rank for rank, code in enumerate(codes) if code not in (None, 0, STOPPED_EARLY)]
        if failed:
            killed = [rank for rank in failed if (codes[rank] or 0) < 0]  # a signal is rather the cause than the effect
            return (killed or failed)[0]
        if None not in codes:
            return None
        if came and any(code is not None for code in codes):
            parted = parted or time.monotonic()
            if time.monotonic() - parted > PARTED:
                return None
        time.sleep(0.05)


def _end(processes: list[subprocess.Popen[bytes]], grace: float) -> None:
    """All are given time to end, then told, then killed."""
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        running = [process for process in processes if process.poll() is None]
        for process in running:
            if number is not None:
                process.send_signal(number)
        deadline = time.monotonic() + grace
        while any(process.poll() is None for process in running) and time.monotonic() < deadline:
            time.sleep(0.05)


def _tell(rank: int, code: int, folder: Path) -> None:
    end = f"exit code {code}" if code > 0 else _signal_name(-code)
    lines = _words(folder, rank).read_text(errors="replace").splitlines()[-LAST_LINES:]
    if code == -signal.SIGKILL and not lines:
        lines = ["killed from outside; where memory is short the kernel does it: see dmesg, or the container's limit"]
    ending = ":" if lines else ""
    print(f"trainer: rank {rank} ended with {end}{ending}", *lines, sep="\n  ", file=sys.stderr, flush=True)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _words(folder: Path, rank: int) -> Path:
    return folder / f"rank-{rank}.err"
