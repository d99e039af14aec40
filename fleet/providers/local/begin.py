"""Starts one plain process and waits for it: python begin.py FOLDER, what to start on standard input.

Run as a program of its own, standard library only, in a session of its own, so that it outlives whoever launched it.
The folder's process.json names the process before it begins, so none can run that nobody knows; `code` tells its end.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from pathlib import Path


def begin(folder: Path) -> int:
    """Environment and secrets come through the pipe alone; half an order, from a launcher that died, starts nothing."""
    order = json.load(sys.stdin)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are for the process; we stay to tell its end
    gate, go = os.pipe()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "ended").exists():
            return 0
        child = os.fork()
        if not child:
            os.close(go)
            run(order, gate)
        os.close(gate)
        (folder / "code").unlink(missing_ok=True)
        known = {"pid": child, "start": start_of(child), "boot": boot()}
        draft = folder / ".process.json"
        with draft.open("w") as file:
            json.dump(known, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / "process.json")
        os.write(go, b"g")
        os.close(go)
    _, status = os.waitpid(child, 0)
    draft = folder / ".code"
    draft.write_text(str(os.waitstatus_to_exitcode(status)))
    draft.replace(folder / "code")
    return 0


def run(order: dict[str, object], gate: int) -> None:
    """The child: waits until it is known, then becomes the command. Without its word (a full disk, a kill) it ends."""
    command, env = order["command"], order["env"]
    assert isinstance(command, list) and isinstance(env, dict)
    if os.read(gate, 1) != b"g":
        os._exit(75)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.chdir(str(order["cwd"]))
        os.execvpe(command[0], command, env)
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)


def start_of(process: int) -> str:
    """When a process began, in ticks since the boot: field 22 of proc(5) stat; with the boot it names it for ever."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]


def boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


if __name__ == "__main__":
    sys.exit(begin(Path(sys.argv[1])))
