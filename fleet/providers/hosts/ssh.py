"""A shell on a rented machine, through the `ssh` program: scripts by standard input, a lost line told from a failed
command, and nothing secret on any command line."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fleet.providers.hosts.pins import KEY, options
from fleet.providers.values import Ssh
from fleet.wire.fields import printable
from profiles.errors import CheckFailed, OutsideFailed, Refused, WrongInput

# Reads exactly N bytes as the script, and runs it, as root, with what comes after them as its standard input. A script
# that arrives cut is not run at all; the mark at the end tells a finished script from a line that broke.
OUTER = (
    'LC_ALL=C; export LC_ALL; n=$1 m=$2; shift 2; s=$(head -c "$n"); [ ${#s} -eq "$n" ] || exit 97; '
    'sh -c "$s" stoker "$@"; c=$?; printf "\\n%s %s\\n" "$m" "$c"; exit "$c"'
)
AS_ROOT = 'if [ "$(id -u)" -eq 0 ]; then exec "$@"; else exec sudo -n "$@"; fi'
NO_ROOT = ("password is required", "not in the sudoers", "not allowed", "not found")
PATIENCE = 60.0  # seconds for a script without a longer one of its own
# What reaches the program `ssh` of our environment: not the provider's key.
PASSED = ("PATH", "HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "LANG", "TMPDIR")


class Lost(OutsideFailed):
    """The line broke, or was never there: whether the script ran, and how far, is not known."""


class NotLetIn(OutsideFailed):
    """There is a machine, and it does not take our key (yet: the key arrives there some time after the boot)."""


@dataclass(frozen=True, slots=True)
class Said:
    """How a script ended. code: its exit status; out, err: its text."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Its last line, for a message: of the errors, else of the rest."""
        lines = [line for line in (self.err.strip() or self.out.strip()).splitlines() if line.strip()]
        return printable(lines[-1]) if lines else ""

    def facts(self) -> dict[str, str]:
        """The lines NAME=VALUE of its output."""
        pairs = (line.partition("=") for line in self.out.splitlines() if "=" in line)
        return {name.strip(): value.strip() for name, _, value in pairs}


@dataclass(frozen=True, slots=True)
class Shell:
    """A machine's shell. pinned: the file of its host key (pins.pin); key: path of a private key, "" for the agent."""

    at: Ssh
    pinned: Path
    key: str = ""

    def run(self, script: str, *arguments: str, given: bytes = b"", patience: float = PATIENCE) -> Said:
        """Runs a POSIX script as root. arguments: $1..., visible there in `ps`; given: its standard input, for secrets.

        Raises Lost (repeat it where the script is idempotent), NotLetIn, Refused when the host key is another one than
        at first, CheckFailed when the user may not become root, WrongInput without an `ssh` program.
        """
        process, text, mark = self._started(script, arguments)
        try:
            out, err = process.communicate(text + given, timeout=patience)
        except subprocess.TimeoutExpired:
            raise Lost(f"no end of a script on {self.at.host} within {patience:.0f} s", "it is tried again") from None
        finally:
            ended(process)
        said = self._judged(process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"), mark)
        if not self.pinned.is_file():
            raise OutsideFailed(f"the machine's host key could not be kept in {self.pinned}", "make room on this disk")
        return said

    def lines(self, script: str, *arguments: str) -> Iterator[str]:
        """The lines of a script's output as they come. Raises as `run` does when it does not reach its end."""
        process, text, mark = self._started(script, arguments)
        held = 0  # empty lines: the last one may be that before the mark
        try:
            assert process.stdin is not None and process.stdout is not None and process.stderr is not None
            with suppress(BrokenPipeError):  # then it ends by itself, and says why
                process.stdin.write(text)
                process.stdin.close()
            for row in process.stdout:
                line = row.decode("utf-8", "replace").rstrip("\r\n")
                if line.startswith(f"{mark} "):
                    return
                if line:
                    yield from [""] * held
                    yield line
                held = 0 if line else held + 1
            err = process.stderr.read().decode("utf-8", "replace")
            process.wait(PATIENCE)
        finally:
            ended(process)
        self._judged(process.returncode, "", err, mark)

    def command(self, *words: str) -> list[str]:
        """The program `ssh` and its arguments, for a session of the user's own."""
        self.pinned.parent.mkdir(parents=True, exist_ok=True)
        return [program(), *options(self.pinned, self.key), *self._where(), "--", self.at.host, *words]

    def _started(self, script: str, arguments: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], bytes, str]:
        """The running `ssh`, what it has to be given first, and the mark of the end."""
        text, mark = script.strip(), f"stoker-{secrets.token_hex(8)}"
        if not text.isascii():
            raise ValueError("a script of other than ASCII characters has another length there")
        remote = shlex.join(
            ["sh", "-c", AS_ROOT, "stoker", "sh", "-c", OUTER, "stoker", str(len(text)), mark, *arguments]
        )
        self.pinned.parent.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            [program(), *options(self.pinned, self.key), *self._where(), "-T", "--", self.at.host, remote],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: os.environ[name] for name in PASSED if name in os.environ},
            start_new_session=True,  # Ctrl-C is ours to judge: ssh would end in the middle
        )
        return process, text.encode(), mark

    def _where(self) -> list[str]:
        return ["-p", str(self.at.port), "-l", self.at.user]

    def _judged(self, code: int, out: str, err: str, mark: str) -> Said:
        """What ended: the script, or the line."""
        body, found, rest = out.rpartition(f"\n{mark} ")
        if found and rest.endswith("\n"):  # else it broke within the number
            return Said(int(rest), body, err)
        low, where = err.lower(), f"{self.at.user}@{self.at.host}:{self.at.port}"
        if "identification has changed" in low or "host key verification failed" in low:
            raise Refused(
                f"the machine at {where} shows another host key than at first: another machine, or somebody in between",
                f"nothing was sent to it; end the rental, and rent another (the key of before is in {self.pinned})",
            )
        if "permission denied" in low:
            raise NotLetIn(
                f"{where} does not take the SSH key",
                f"put your public key into the provider's web settings before renting; {KEY} names another private key",
            )
        if "sudo" in low and any(word in low for word in NO_ROOT):
            raise CheckFailed(f"{where}: {self.at.user} may not become root ({printable(err)})", "rent another machine")
        raise Lost(f"no line to {where}: {printable(err) or f'ssh ended with {code}'}", "it is tried again")


def shell(at: Ssh, pinned: Path, environ: Mapping[str, str]) -> Shell:
    """A shell with the user's key: STOKER_SSH_KEY, else the agent's. Raises WrongInput when there is no such file."""
    key = environ.get(KEY, "").strip()
    path = Path(key).expanduser()
    if key and not path.is_file():
        raise WrongInput(f"{KEY}: no private key at {key}", "give the path of the private key, or unset it")
    return Shell(at, pinned, str(path) if key else "")


def program() -> str:
    """The path of `ssh`. Raises WrongInput without one."""
    found = shutil.which("ssh")
    if found is None:
        raise WrongInput("no `ssh` program here", "install OpenSSH's client (Debian: apt-get install openssh-client)")
    return found


def ended(process: subprocess.Popen[bytes]) -> None:
    """No `ssh` of ours is left."""
    if process.poll() is None:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
