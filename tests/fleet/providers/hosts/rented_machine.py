"""A machine as a provider delivers it: a real sshd, whose sessions find only what that machine has. `docker`,
`nvidia-smi`, `nvidia-ctk` and `apt-get` are small programs that keep what they were told; the rest is the real one."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet.providers.hosts.host import Host
from fleet.providers.hosts.ssh import Shell, shell
from fleet.providers.values import Container, Ssh
from tests.conftest import free_port, program

# What Debian and Ubuntu have of themselves, and our scripts use.
BASE = (
    "sh head tail id stat mkdir chmod mv rm cat wc tr cut df awk sed grep dirname uname timeout setsid flock sleep"
    " printf printenv env bash date curl"
)

DOCKER = r"""#!/bin/sh
# Keeps containers as folders; `wrong` holds NAME=WORDS of what goes wrong.
state=@STATE@
wrong() { sed -n "s/^$1=//p" "$state/wrong" 2>/dev/null; }
fail() { words=$(wrong "$1"); [ -z "$words" ] || { printf '%s\n' "$words" >&2; exit 1; }; }
{ printf '%s\0' "$@"; printf '\n'; } >>"$state/calls"
command=$1; shift
case $command in
info) [ ! -e "$state/down" ] || exit 1; echo "27.5.1|@ROOT@" ;;
image) [ -e "$state/images/$(printf '%s' "$2" | tr / _)" ] ;;
inspect)
    for name; do :; done
    fail inspect
    if [ ! -d "$state/containers/$name" ]; then echo "Error: No such container: $name" >&2; exit 1; fi
    case "$*" in
    *StartedAt*ExitCode* | *ExitCode*StartedAt*) cat "$state/containers/$name/state" ;;
    *StartedAt*) sed 's/|[0-9]*|/|/' "$state/containers/$name/state" ;;
    *ExitCode*) cut -d '|' -f 1,2 "$state/containers/$name/state" ;;
    *) cut -d '|' -f 1 "$state/containers/$name/state" ;;
    esac ;;
login)
    password=$(cat)
    fail login
    if [ "$password" != "@PASSWORD@" ]; then
        echo "Error response from daemon: Get https://$1/v2/: unauthorized: incorrect username or password" >&2
        exit 1
    fi
    printf '{"auths":{"%s":{"auth":"%s"}}}' "$1" "$password" >"$DOCKER_CONFIG/config.json"
    echo "Login Succeeded" ;;
pull)
    echo "one: Pulling fs layer"; echo "two: Pulling fs layer"; echo "one: Pull complete"
    if [ -e "$state/private" ] && [ ! -s "${DOCKER_CONFIG:-/nowhere}/config.json" ]; then
        echo "denied: access denied" >&2
        exit 1
    fi
    while [ -e "$state/slow" ]; do sleep 0.05; done
    fail pull
    echo "two: Pull complete"
    mkdir -p "$state/images"; : >"$state/images/$(printf '%s' "$1" | tr / _)" ;;
run)
    while [ $# -gt 0 ]; do
        case $1 in
        --name) name=$2 ;;
        --env-file) file=$2 ;;
        --env) printf '%s=' "$2" >>"$state/multi"; printenv "$2" >>"$state/multi" ;;
        esac
        shift
    done
    words=$(wrong run)
    [ -z "$words" ] || { printf "%s\n\nRun 'docker run --help' for more information\n" "$words" >&2; exit 125; }
    mkdir "$state/containers/$name" || exit 125
    cp_env=$(cat "$file"); printf '%s\n' "$cp_env" >"$state/containers/$name/env"
    while [ -e "$state/slow-start" ]; do sleep 0.05; done
    echo "running|0|2026-01-01T00:00:00Z" >"$state/containers/$name/state"
    echo 0123456789abcdef ;;
rm) for name; do :; done; rm -r "$state/containers/$name" ;;
stop)
    for name; do :; done
    [ -d "$state/containers/$name" ] || { echo "Error: No such container: $name" >&2; exit 1; }
    echo "exited|0|2026-01-01T00:00:00Z" >"$state/containers/$name/state" ;;
logs)
    since=''
    while [ $# -gt 1 ]; do case $1 in --since) since=$2 ;; esac; shift; done
    [ -d "$state/containers/$1" ] || { echo "Error: No such container: $1" >&2; exit 1; }
    awk -v since="$since" '$1 >= since' "$state/output" ;;
*) exit 64 ;;
esac
"""
SMI = r"""#!/bin/sh
state=@STATE@
case "$*" in
*--query-gpu*) cat "$state/gpus" ;;
*) printf '| NVIDIA-SMI 570   Driver Version: 570   CUDA Version: %s   |\n' "$(cat "$state/cuda")" ;;
esac
"""
CTK = """#!/bin/sh
printf '%s\\n' "$*" >>@STATE@/ctk
"""
APT = r"""#!/bin/sh
state=@STATE@
printf '%s\n' "$*" >>"$state/apt"
for word; do
    case $word in docker.io) program=docker ;; nvidia-container-toolkit) program=nvidia-ctk ;; *) continue ;; esac
    while [ -e "$state/slow-apt" ]; do sleep 0.05; done
    [ ! -e "$state/no-network" ] || { echo "E: Failed to fetch $word" >&2; exit 100; }
    [ -e "@BIN@/$program" ] || mv "@SHELF@/$program" "@BIN@/$program"
done
"""
APT_CACHE = """#!/bin/sh
printf 'nvidia-container-toolkit:\n  Installed: (none)\n  Candidate: 1.17.8-1\n'
"""
SERVICE = """#!/bin/sh
printf '%s\n' "$*" >>@STATE@/service
rm -f @STATE@/down
"""


@dataclass(frozen=True)
class Machine:
    """state: what the made-up programs keep; memory: the folder on a tmpfs."""

    folder: Path
    memory: Path
    port: int
    user: str = field(default_factory=getpass.getuser)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def lacks(self, *names: str) -> None:
        """Takes programs away; apt-get can bring `docker` and `nvidia-ctk` back."""
        for name in names:
            (self.bin / name).rename(self.folder / "shelf" / name)

    def has(self, name: str, text: str) -> None:
        """A program of the machine, put in place of what is there: never written through a link to a real one."""
        put(self.bin / name, text)

    def says(self, name: str, text: str) -> None:
        """What the made-up programs read."""
        (self.state / name).write_text(text)

    def told(self, name: str) -> str:
        """What the made-up programs wrote down, "" when nothing."""
        path = self.state / name
        return path.read_text() if path.exists() else ""

    def gpus(self, name: str, count: int = 1, memory: int = 81559, driver: str = "570.86.15") -> None:
        self.says("gpus", f"{name}, {memory}, {driver}\n" * count)

    def calls(self, command: str) -> list[list[str]]:
        """Arguments of the calls of `docker COMMAND`."""
        path = self.state / "calls"
        rows = [row.split("\0") for row in path.read_text().split("\0\n") if row] if path.exists() else []
        return [row for row in rows if row[0] == command]

    def container(self, tag: str) -> dict[str, str]:
        """The variables in the env-file of a container that was run."""
        rows = (self.state / "containers" / tag / "env").read_text().splitlines()
        return dict(row.split("=", 1) for row in rows)

    def shell(self, tmp: Path, port: int = 0) -> Shell:
        at = Ssh("127.0.0.1", port or self.port, self.user)
        return shell(at, tmp / "host-keys/test-1", {"STOKER_SSH_KEY": str(self.folder / "key")})

    def host(self, tmp: Path, port: int = 0) -> Host:
        return Host("hyperbolic 1", self.shell(tmp, port), (str(self.memory),))

    def change_host_key(self) -> None:
        """Another machine answers at this address from now on."""
        for name in ("host", "host.pub"):
            (self.folder / name).unlink()
        make_key(self.folder / "host")

    def left(self) -> list[str]:
        """Files in the folder in memory, with what they hold."""
        return [path.read_text(errors="replace") for path in self.memory.rglob("*") if path.is_file()]


def make_key(path: Path) -> None:
    subprocess.run([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


def put(path: Path, text: str) -> None:
    """A program at `path`; what a link there pointed to stays as it is."""
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def furnish(folder: Path, password: str) -> None:
    """The machine's programs."""
    for name in ("bin", "shelf", "state", "state/containers"):
        (folder / name).mkdir(parents=True)
    for name in BASE.split():
        found = shutil.which(name)
        assert found, name
        (folder / "bin" / name).symlink_to(found)
    (folder / "bin/python3").symlink_to(Path(sys.executable).resolve())
    words = {
        "@STATE@": folder / "state",
        "@ROOT@": folder / "state",
        "@SHELF@": folder / "shelf",
        "@BIN@": folder / "bin",
        "@PASSWORD@": password,
    }
    programs = {
        "docker": DOCKER,
        "nvidia-smi": SMI,
        "nvidia-ctk": CTK,
        "apt-get": APT,
        "apt-cache": APT_CACHE,
        "service": SERVICE,
    }
    for name, text in programs.items():
        for mark, value in words.items():
            text = text.replace(mark, str(value))
        put(folder / "bin" / name, text)


@contextmanager
def machine(folder: Path, password: str = "registry-password", path: str = "") -> Iterator[Machine]:
    """A running one with one H100. Each connection is an sshd of its own, which reads the host key again."""
    furnish(folder, password)
    for name in ("key", "host"):
        make_key(folder / name)
    shutil.copy(folder / "key.pub", folder / "authorized")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = free_port()
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {folder}/host",
        f"AuthorizedKeysFile {folder}/authorized",
        "PidFile none",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "PermitRootLogin yes",
        "MaxStartups 100",
        "KexAlgorithms curve25519-sha256",  # the default, safe from quantum computers, takes a third of a test's time
        f"SetEnv PATH={path or folder / 'bin'} HOME={folder}",  # no settings of the user's own shell
    ]
    (folder / "config").write_text("\n".join(lines) + "\n")
    memory = Path("/dev/shm") / f"stoker-test-{folder.parent.name}-{os.getpid()}-{port}"
    with running_sshd(folder):
        made = Machine(folder, memory, port)
        made.gpus("NVIDIA H100 PCIe")
        made.says("cuda", "12.9\n")
        yield made
    shutil.rmtree(memory, ignore_errors=True)


@contextmanager
def running_sshd(folder: Path) -> Iterator[None]:
    (folder / "log").unlink(missing_ok=True)
    command = [program("sshd"), "-D", "-f", str(folder / "config"), "-E", str(folder / "log")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        for _ in range(500):
            if (folder / "log").exists() and "Server listening" in (folder / "log").read_text(errors="replace"):
                break
            time.sleep(0.02)  # the server's own start
        yield
    finally:
        process.terminate()
        process.wait(10)


def until(there: Callable[[], bool], thread: threading.Thread) -> None:
    """Waits while `thread` works; it has to reach that point before its end."""
    while not there():
        assert thread.is_alive()
        time.sleep(0.01)


def stop_keeper(machine: Machine) -> None:
    """The one of this machine: the process that works in its folder."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(machine.memory / "keeper") in (entry / "cmdline").read_bytes().decode(errors="replace"):
                subprocess.run(["kill", "-9", entry.name], check=False)
        except OSError:
            continue


IMAGE = "registry.example/stoker/gpt@sha256:" + "ab" * 32
SECRET = "hf_planted_a_token_that_must_stay_hidden"


def container(**changed: object) -> Container:
    values: dict[str, Any] = {
        "name": "gpt",
        "image": IMAGE,
        "env": {"STOKER_RUN": "gpt", "TRAINING_HOURS": "8"},
        "secrets": {"HF_TOKEN": SECRET},
        "disk_gb": 1,
        "cuda": "12.4",
        **changed,
    }
    return Container(**values)
