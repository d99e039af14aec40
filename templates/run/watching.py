"""What the keeper asks of the world: its variables, the time, who else is here, and an end of the machine.

Loaded by it. Run, it prints the time in epoch seconds, a rehearsal's where there is one.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

ATTEMPT = 150.0  # seconds for one attempt to end the machine


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


def end_instance(home: str, *flags: str) -> tuple[str, str]:
    """Its one word (way, none, taken, again) and what it says."""
    command = [sys.executable, f"{home}/bin/end-instance", *flags]
    try:
        done = subprocess.run(command, stdin=-3, stdout=-1, text=True, errors="replace", timeout=ATTEMPT, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return "again", f"end-instance: {type(error).__name__}"
    word, _, words = done.stdout.strip().partition(": ")
    return (word, words) if word in ("way", "none", "taken") else ("again", words or "end-instance said nothing")


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


if __name__ == "__main__":
    print(int(Time(os.environ.get("STOKER_CLOCK", "")).now()))
