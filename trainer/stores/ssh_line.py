"""The line to another host: OpenSSH's own `ssh`, one connection for many commands, ended with this process."""

from __future__ import annotations

import os
import selectors
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from trainer.errors import TrainerError
from trainer.stores.address import Address
from trainer.stores.ssh_words import refusal
from trainer.stores.store import StoreError

OPTIONS = {
    "BatchMode": "yes",  # never ask for a password: nobody is there
    "ConnectTimeout": "10",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "4",  # a dead line is noticed within a minute
    "StrictHostKeyChecking": "accept-new",  # a rented host's key is new every time; a changed one is refused
    "LogLevel": "ERROR",  # no banners among the errors
    "ForwardAgent": "no",
    "ForwardX11": "no",
}
MARK = b"stoker-begins\n"  # what a login shell's start-up files print comes before it
FOLDER = "stoker-ssh-"  # then the process and something random: where the shared connection's socket is
# A path of sun_path is at most 104 bytes on BSD, 108 on Linux; ssh appends 17 while it binds (OpenSSH mux.c).
LONGEST_SOCKET = 104 - 18


class Line:
    """Runs POSIX sh scripts at the host of an ssh:// address.

    The shared connection is a command of its own that reads the standard input we hold: when this process is killed
    it reads the end of it, and no connection stays behind. Where sharing is impossible every command connects itself.
    """

    def __init__(self, address: Address) -> None:
        program = shutil.which("ssh")
        if program is None:
            raise TrainerError("ssh:// needs OpenSSH's ssh, which is not installed", "apt-get install openssh-client")
        extra = shlex.split(os.environ.get("STOKER_SSH_OPTIONS", ""))  # ssh takes the first of two values
        self._base = [program, *extra, *(f"-o{name}={value}" for name, value in OPTIONS.items()), "-T"]
        if address.port is not None:
            self._base += ["-p", str(address.port)]
        self._host = address.host
        self._folder: str | None = None
        self._shared: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self, script: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """The script as a process; its output begins after a line MARK. Raises StoreError when nobody is reached."""
        with self._lock:
            self._share()
            return self._run(script, stdin, ["-oControlMaster=no", *self._socket()])

    def close(self) -> None:
        """Ends the connection."""
        with self._lock:
            if self._shared is not None:
                end(self._shared)
                _last_words(self._shared)
                self._shared = None
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None

    def _run(self, script: str, stdin: int, options: Sequence[str]) -> subprocess.Popen[bytes]:
        # The login shell may be any; only quoting that all of them share reaches it (no backslash, no `!`).
        command = [*self._base, *options, "--", self._host, f"exec sh -c {shlex.quote(script)}"]
        try:
            return subprocess.Popen(
                command,
                bufsize=0,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # an interrupt of ours is for us to handle
            )
        except OSError as error:
            raise StoreError(f"ssh cannot be started: {error.strerror or error}", "") from None

    def _socket(self) -> list[str]:
        return [] if self._folder is None else [f"-oControlPath={self._folder}/m"]

    def _share(self) -> None:
        if self._shared is not None and self._shared.poll() is None:
            return
        if self._shared is not None:
            end(self._shared)
            _last_words(self._shared)
            self._shared = None
        if self._folder is None:
            _sweep()
            folder = tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-")
            if len(folder) + 2 > LONGEST_SOCKET:
                Path(folder).rmdir()
                return
            self._folder = folder
        Path(self._folder, "m").unlink(missing_ok=True)
        shared = self._run(
            "echo stoker-begins; cat >/dev/null", subprocess.PIPE, ["-oControlMaster=yes", *self._socket()]
        )
        if not _begins(shared, 60):
            end(shared)
            raise refusal(shared.returncode, _last_words(shared), f"ssh {self._host}")
        self._shared = shared


def _last_words(process: subprocess.Popen[bytes]) -> bytes:
    """Standard error of a process that has ended."""
    if process.stderr is None or process.stderr.closed:
        return b""
    with process.stderr as stream:
        return stream.read()


def _sweep() -> None:
    """Removes the socket folders of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        number = folder.name.removeprefix(FOLDER).partition("-")[0]
        try:
            if number.isdecimal() and folder.stat().st_uid == os.getuid():
                os.kill(int(number), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


def _begins(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether MARK came in time."""
    assert process.stdout is not None
    seen = b""
    with selectors.DefaultSelector() as wait:
        wait.register(process.stdout, selectors.EVENT_READ)
        while MARK not in seen:
            if not wait.select(seconds) or not (piece := os.read(process.stdout.fileno(), 4096)):
                return False
            seen = seen[-len(MARK) :] + piece
    return True


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends an ssh process and waits for it."""
    if process.stdin is not None and not process.stdin.closed:
        try:
            process.stdin.close()
        except OSError:
            pass
    if process.poll() is None:
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    if process.stdout is not None:
        process.stdout.close()


def unreached(host: str) -> StoreError:
    """Nothing was said for too long."""
    return StoreError(f"ssh {host}: the host says nothing any more", "the same call goes on where it stopped")
