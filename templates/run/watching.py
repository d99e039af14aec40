"""What the keeper looks at: its variables, the time, and whether anything still happens. Loaded by it, never run."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import threading
import time
from contextlib import suppress
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

BUSY = 5.0  # per cent of a GPU
LOOKS = 10  # in a row without a sign of life, so that a clock that jumps is no idleness
METRICS = "training_metrics.jsonl"


def number(name: str, default: float = 0.0) -> float:
    """A variable's number >= 0. Raises ValueError that names it."""
    text = os.environ.get(name, "").strip()
    try:
        value = float(text or default)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e12:
        raise ValueError(f"{name} is no number from 0 up")
    return value


def switch(name: str) -> bool:
    """Whether it is switched on; anything that is not plainly off is on."""
    return os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no", "off")


class Time:
    """Epoch seconds: this machine's, or those of a rehearsal's clock (STOKER_CLOCK, on this machine only)."""

    def __init__(self, url: str = "") -> None:
        if url and urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("STOKER_CLOCK is not on this machine")
        self.url, self.pause = url.rstrip("/"), 0.2 if url else 1.0
        self.told, self.at = time.time(), time.monotonic()

    def now(self) -> float:
        """A clock that does not answer goes on from its last word."""
        if not self.url:
            return time.time()
        with suppress(OSError, HTTPException, ValueError, KeyError, TypeError):
            with build_opener(ProxyHandler({})).open(f"{self.url}/_sim/clock", timeout=5) as answer:
                told = json.loads(answer.read(4096))["now"]
            self.told, self.at = datetime.fromisoformat(told.replace("Z", "+00:00")).timestamp(), time.monotonic()
        return self.told + time.monotonic() - self.at


class Quiet:
    """Since when neither a GPU nor the run has done anything. place: a file that names the run's folder."""

    def __init__(self, place: str) -> None:
        self.place, self.busy, self.looks, self.since = place, False, 0, 0.0
        self.seen: list[object] = []

    def watch(self) -> None:
        """nvidia-smi can hang with a broken GPU, so it is asked beside us."""
        threading.Thread(target=self.ask, daemon=True).start()

    def ask(self) -> None:
        question = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while True:
            said = ""
            with suppress(OSError, subprocess.SubprocessError):
                said = subprocess.run(
                    question, stdin=-3, stdout=-1, stderr=-3, text=True, timeout=20, check=False
                ).stdout
            values = [word for word in said.split() if word.replace(".", "", 1).isdigit()]
            self.busy = any(float(value) >= BUSY for value in values)  # unreadable: the run's own traces decide
            time.sleep(5)

    def seconds(self, now: float) -> float:
        """How long it has been quiet; 0 until some looks in a row have seen nothing."""
        found = self.traces()
        if self.busy or found != self.seen or not self.since:
            self.seen, self.since, self.looks = found, now, 0
        self.looks += 1
        return now - self.since if self.looks > LOOKS else 0.0

    def traces(self) -> list[object]:
        """Sizes of the run's metrics, and of what is being saved or restored; empty before it has a folder."""
        found: list[object] = []
        try:
            run = Path(self.place).read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")
        except OSError:
            return found
        for folder in (run, f"{run}-sft"):
            files = [Path(folder, METRICS)]
            files += [Path(path, name) for path, _, names in os.walk(f"{folder}/checkpoints") for name in names]
            for one in sorted(files):
                with suppress(OSError):
                    found.append((one, one.stat().st_size))
        return found


def claim(home: str, command: list[str]) -> socket.socket | None:
    """The one keeper of this container; where there is one, this process joins it and goes on as the command.

    The name is the kernel's own: no file to leave behind, none to be missing on a full disk. None: no such sockets.
    """
    here = [home, os.environ.get("STOKER_TAG", "")]
    with suppress(OSError):
        here.append(str(Path("/proc/self/ns/pid").readlink()))  # the network can be shared with other containers
    name = b"\0stoker-keeper-" + hashlib.sha256("|".join(here).encode("utf-8", "replace")).hexdigest()[:16].encode()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(name)
        listener.listen(16)
        listener.setblocking(False)
    except OSError:
        with suppress(OSError):
            listener.connect(name)
            # The keeper that is there watches the traces of the run that it began.
            os.execvpe(command[0], command, {**os.environ, "stoker_kept": "/dev/null"})
        return None
    return listener
