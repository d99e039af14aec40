"""Bodies that are processes of this machine: for where there is no engine, and for speed.

The command is a template of the simulator's user, e.g. `./venv/bin/python run.py {workspace}`: the image cannot be run,
so it is not pretended to be. Each gets a process group of its own, the machine's environment and nothing else, and a
folder; all of it is noted on disk first, so that the run after a killed one finds it.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from fleet.simulators.bodies.body import GRACE, Body, BodyFailed, Line, Spec
from fleet.simulators.bodies.state import State

MOST_LINES = 5000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MICROSECOND = timedelta(microseconds=1)


class Process:
    """One process group. `{workspace}`, `{id}` and `{image}` of the template are filled in, each as one word."""

    def __init__(self, spec: Spec, template: str, state: State) -> None:
        self._spec, self._template, self._state = spec, template, state
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._lines: list[Line] = []
        self._lock = threading.Lock()
        self._ended = False
        self._note = state.part("processes", spec.id) / "group.json"

    def start(self) -> None:
        workspace = next(iter(self._spec.mounts.values()), None) or self._state.part("processes", self._spec.id)
        given = {"workspace": str(workspace), "id": self._spec.id, "image": self._spec.image}
        command = [_filled(word, given) for word in shlex.split(self._template)]
        env = {"PATH": PATH, "HOME": str(workspace), **self._spec.env, "STOKER_WORKSPACE": str(workspace)}
        with self._lock:
            if self._ended:
                return
            try:
                self._process = subprocess.Popen(
                    command, cwd=workspace, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
            except OSError as failure:
                raise BodyFailed(f"{command[0]}: {failure.strerror}") from None
            self._note.write_text(json.dumps({"group": self._process.pid, "began": began(self._process.pid)}))
            assert self._process.stdout is not None
            self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
            self._reader.start()

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    @property
    def over(self) -> bool:
        """Whether it was ended."""
        return self._ended

    def lines(self, since: datetime | None = None) -> list[Line]:
        return [line for line in list(self._lines)[-MOST_LINES:] if since is None or line.at > since]

    def port(self, inside: int) -> tuple[str, int] | None:
        return None  # it shares this machine's ports: which one it took is its own affair

    def end(self, grace: float = GRACE) -> None:
        with self._lock:
            self._ended = True
            process = self._process
        if process is not None:
            end_group(process.pid, grace, process)
            if self._reader is not None:
                self._reader.join(1)
        self._state.drop("processes", self._spec.id)

    def _read(self, stream: IO[bytes]) -> None:
        with stream, suppress(ValueError, OSError):
            for line in stream:
                text = line.decode("utf-8", "replace").rstrip("\n")
                last = self._lines[-1].at if self._lines else datetime.min.replace(tzinfo=UTC)
                self._lines.append(Line(max(datetime.now(UTC), last + MICROSECOND), text))
                if len(self._lines) > 2 * MOST_LINES:
                    del self._lines[:MOST_LINES]


class Processes:
    """Bodies that run one command template. Raises ValueError for a template without a command."""

    real = True

    def __init__(self, state: State, template: str) -> None:
        if not shlex.split(template):
            raise ValueError("process bodies need a command")
        self._state, self._template, self.template = state, template, template
        self._made: list[Process] = []
        self._sweep_old()

    def make(self, spec: Spec) -> Body:
        body = Process(spec, self._template, self._state)
        self._made = [*(made for made in self._made if not made.over), body]
        return body

    def folder(self, name: str) -> Path:
        return self._state.part("volumes", name)

    def drop_folder(self, name: str) -> None:
        self._state.drop("volumes", name)

    def sweep(self) -> None:
        for body in self._made:
            body.end(0)
        self._sweep_old()
        self._state.close()

    def _sweep_old(self) -> None:
        """What a killed run noted. A group whose leader began at another time is a stranger's with the same number."""
        for note in (self._state.root / "processes").glob("*/group.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                found = json.loads(note.read_text())
                if found["began"] is not None and began(int(found["group"])) == found["began"]:
                    end_group(int(found["group"]), 0)
            self._state.drop("processes", note.parent.name)


def end_group(group: int, grace: float, leader: subprocess.Popen[bytes] | None = None) -> None:
    """As an engine ends a container: SIGTERM to the first process, and when it is gone or after `grace` seconds,
    SIGKILL to whoever is left."""
    if leader is not None and grace > 0:
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            leader.terminate()
            leader.wait(grace)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    if leader is not None:
        leader.wait()


def began(process: int) -> int | None:
    """When a process began, in the kernel's ticks; None for one that is not there. proc(5), field 22 of stat."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _filled(word: str, given: dict[str, str]) -> str:
    for name, value in given.items():
        word = word.replace(f"{{{name}}}", value)
    return word
