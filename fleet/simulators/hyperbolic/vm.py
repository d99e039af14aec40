"""A body that stands for a rented virtual machine: a private SSH server on loopback, whose log-ins find the programs of
the rented machine. As root it has a process, mount and memory space of its own, so that nothing in it outlives it."""

from __future__ import annotations

import functools
import getpass
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fleet.simulators.bodies.body import GRACE, BodyFailed, Line
from fleet.simulators.hyperbolic.farm import plant

PATIENCE = 20.0  # real seconds for the server to listen
LISTENS, TAKEN = "Server listening on", "Cannot bind"  # sshd: the port is its own, or a neighbour's
MARK = "STOKER_SIMULATED_MACHINE"  # in the environment of everything that runs in it
# The first process of the machine. Standard input is the simulator's hand: when it lets go, dead or alive, all ends.
INIT = """\
if [ "$1" = apart ]; then
    mount --make-rprivate / || exit 1
    mkdir -p "$2/run/sshd"
    mount -t tmpfs -o mode=755 stoker "$2/run" || exit 1
    mkdir -p "$2/run/sshd"
    if [ -S /run/docker.sock ]; then : >"$2/run/docker.sock"; mount --bind /run/docker.sock "$2/run/docker.sock"; fi
    mount --rbind "$2/run" /run && mount -t tmpfs stoker /dev/shm || exit 1
fi
"$3" -D -e -f "$2/sshd_config" 2>"$2/sshd.log" </dev/null &
cat >/dev/null
kill "$!"
"""


@dataclass(frozen=True)
class Built:
    """What a machine is. facts: of machine.json; missing: programs it lacks; keys: its authorized_keys."""

    id: str
    facts: Mapping[str, Any]
    missing: Sequence[str] = ()
    keys: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


class Vm:
    """One machine (a Body). `port(22)` is where its shell is; the user is this process's own."""

    def __init__(self, built: Built, sshd: str, place: Path) -> None:
        """place: an empty folder for it, which its end removes."""
        self._built, self._sshd, self._place = built, sshd, place
        self._mark = mark_of(built.id, place)
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._lock = threading.Lock()
        self._ended = False
        self._apart = apart()

    @property
    def folder(self) -> Path | None:
        """Its disk and programs, while it runs."""
        return self._folder

    def start(self) -> None:
        with self._lock:
            if self._ended:
                return
            shutil.rmtree(self._place, ignore_errors=True)  # what a killed run left
            self._place.mkdir(parents=True)
            self._folder = self._place
            try:
                self._plant(self._folder)
                self._serve(self._folder)
            except (OSError, subprocess.SubprocessError) as failure:
                raise BodyFailed(f"no machine: {failure}") from None

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def lines(self, since: datetime | None = None) -> list[Line]:
        return []  # what runs in it is asked over SSH

    def port(self, inside: int) -> tuple[str, int] | None:
        return ("127.0.0.1", self._port) if inside == 22 and self._port else None

    def end(self, grace: float = GRACE) -> None:
        """At once: a rental's end asks nobody inside."""
        with self._lock:
            self._ended = True
            process, folder = self._process, self._folder
            if process is not None:
                if process.stdin is not None:
                    process.stdin.close()
                try:
                    process.wait(0.5 if self._apart else 0.1)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if folder is not None:
                drop_containers(folder)
                sweep(self._mark)
                shutil.rmtree(folder, ignore_errors=True)
            self._folder, self._port = None, 0

    def _plant(self, folder: Path) -> None:
        """Everything but the server's port."""
        folder.chmod(0o755)
        path = plant(folder, self._built.missing)
        (folder / "disk").mkdir()
        (folder / "home").mkdir()
        facts = {
            **self._built.facts,
            "id": self._built.id,
            "mark": self._mark,
            "path": str(path),
            "owner": str(Path.home()),
        }
        (folder / "machine.json").write_text(json.dumps({**facts, "environment": dict(self._built.environment)}))
        (folder / "authorized_keys").write_text(self._built.keys)
        key = folder / "host_key"
        quiet = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "simulated", "-f", str(key)]
        subprocess.run(quiet, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        (folder / "init.sh").write_text(INIT)

    def _serve(self, folder: Path) -> None:
        """The server on a free port; another one when somebody was faster."""
        for _ in range(5):
            port = free_port()
            (folder / "sshd_config").write_text(config(folder, port, self._mark))
            way = "apart" if self._apart else "here"
            inner = ["/bin/sh", str(folder / "init.sh"), way, str(folder), self._sshd]
            self._process = subprocess.Popen(
                [*(APART if self._apart else []), *inner],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={"PATH": os.environ.get("PATH", os.defpath), MARK: self._mark},
            )
            log = folder / "sshd.log"
            if answers(port, self._process, log):
                self._port = port
                return
            self._process.kill()
            self._process.wait()
        raise BodyFailed(f"sshd does not answer: {log.read_text()[-300:] if log.exists() else 'no log'}")


APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--")


@functools.cache
def apart() -> bool:
    """Whether this process may give a machine a process and mount space of its own (root, and not forbidden)."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    tried = [*APART, "sh", "-c", "mount --make-rprivate / && mount -t tmpfs stoker /dev/shm"]
    return subprocess.run(tried, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def mark_of(id: str, place: Path) -> str:
    """What everything of a machine is known by. Its number alone would not do: every simulator counts from the same
    one, and the machines of those that run beside it are not ours to end."""
    return f"{id}@{hashlib.sha256(str(place.resolve()).encode()).hexdigest()[:16]}"


def config(folder: Path, port: int, mark: str) -> str:
    """Keys only, this process's user only; every log-in has the machine's PATH, and this process's engine.

    And the machine's home: the files that a shell reads in the user's own would run here, with its programs, and leave
    what they hold locked when the machine is lost.
    """
    session = {"PATH": f"{folder}/bin", "HOME": f"{folder}/home", MARK: mark}
    session |= {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
    settings = {
        **{"ListenAddress": f"127.0.0.1:{port}", "HostKey": folder / "host_key", "PidFile": "none", "UsePAM": "no"},
        **{"AuthorizedKeysFile": folder / "authorized_keys", "StrictModes": "no", "PasswordAuthentication": "no"},
        **{
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "AllowUsers": getpass.getuser(),
        },
        **{"PrintMotd": "no", "UseDNS": "no", "Subsystem": "sftp internal-sftp", "MaxStartups": "50"},
        "SetEnv": " ".join(f"{name}={value}" for name, value in session.items()),
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int, process: subprocess.Popen[bytes], log: Path) -> bool:
    """Whether our SSH server greets there before `PATIENCE` is over or the process is."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        said = log.read_text() if log.exists() else ""
        if TAKEN in said:
            return False
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as line:
            line.settimeout(5)
            if LISTENS in said and line.recv(4) == b"SSH-":
                return True
        time.sleep(0.02)
    return False


def drop_containers(folder: Path) -> None:
    """The containers that this machine had on the real engine."""
    facts = json.loads((folder / "machine.json").read_text()) if (folder / "machine.json").exists() else {}
    program, mark = facts.get("docker"), facts.get("mark")
    if not program or not mark:
        return
    with suppress(OSError, subprocess.SubprocessError):
        asked = [program, "ps", "--all", "--quiet", "--filter", f"label=stoker.simulator.vm={mark}"]
        found = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        if names := found.stdout.split():
            subprocess.run(
                [program, "rm", "--force", *names], stdin=subprocess.DEVNULL, capture_output=True, timeout=120
            )


def sweep(mark: str) -> None:
    """Whatever still runs with the machine's mark in its environment: where there is no process space to go with it."""
    wanted = f"{MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)
