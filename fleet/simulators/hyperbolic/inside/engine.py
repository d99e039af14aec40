"""`docker` of a simulated machine: a wrapper of the real one, or a stand-in whose container is a process.

Run as `python -m fleet.simulators.hyperbolic.inside.engine MACHINE docker ARGUMENTS...`. The stand-in knows what a run
over SSH needs: info, login, pull, image inspect, run, inspect, logs, stop, kill, rm, ps. It cannot run an image, so it
runs the command that the simulator's user gave for all of them, with the container's environment.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fleet.simulators.hyperbolic.inside.flags import Run, Unknown, environment, parse, rehearsed
from fleet.simulators.hyperbolic.inside.programs import read

MODULE = "fleet.simulators.hyperbolic.inside.engine"
NOWHERE = "0001-01-01T00:00:00Z"
LIMITS = b"rlimit"  # runc: error setting rlimits, operation not permitted
NO_GPU = 'could not select device driver "" with capabilities: [[gpu]].'
TEMPLATE = re.compile(r"{{\s*\.([A-Za-z.]+)\s*}}")


def stamp() -> str:
    """As the engine writes a time: nine digits of a second, UTC."""
    return f"{datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%S.%f')}000Z"


def said(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code


def real(machine: Path, facts: dict[str, Any], arguments: Sequence[str]) -> int:
    """The real engine, with what a rehearsal changes."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    own["HOME"] = facts.get("owner", own.get("HOME", "/"))  # whose settings tell where the engine is
    if list(arguments[:1]) != ["run"]:
        return subprocess.run([facts["docker"], *arguments], env=own).returncode
    try:
        run = parse(arguments[1:])
    except Unknown as wrong:
        return said(f"docker: {wrong}", 125)
    if not facts["runtime"] and run.one("--gpus"):
        return said(f"docker: Error response from daemon: {NO_GPU}", 125)
    extra = [word for name, value in facts["environment"].items() for word in ("--env", f"{name}={value}")]
    labels = {"stoker.simulator.vm": facts["mark"], **facts.get("labels", {})}
    # An engine that is inside a container, or a user's own, may raise no limits: without them it runs too.
    for limits in (True, False):
        words = rehearsed(run, str(machine / "disk"), labels, bool(facts.get("real_gpus")), limits)
        done = subprocess.run([facts["docker"], "run", *extra, *words], env=own, stderr=subprocess.PIPE)
        if not done.returncode or not limits or LIMITS not in done.stderr:
            break
        if name := run.one("--name"):
            subprocess.run([facts["docker"], "rm", "--force", name], env=own, capture_output=True)
    sys.stderr.buffer.write(done.stderr)
    sys.stderr.flush()
    return done.returncode


class Engine:
    """The stand-in. Containers and images are files of the machine's folder."""

    def __init__(self, machine: Path, facts: dict[str, Any]) -> None:
        self.machine, self.facts = machine, facts
        self.images, self.containers = machine / "images", machine / "containers"
        self.images.mkdir(exist_ok=True)
        self.containers.mkdir(exist_ok=True)

    def do(self, arguments: Sequence[str]) -> int:
        """One command line; its exit status."""
        if not self.facts["engine"]:
            return said("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", 1)
        words = list(arguments)
        name = words.pop(0) if words else ""
        if name == "image" and words[:1] == ["inspect"]:
            return self.image_inspect(words[1:])
        known = {"info", "version", "login", "logout", "pull", "run", "inspect", "logs", "stop", "kill", "rm", "ps"}
        if name not in known:
            return said(f"docker: '{name}' is not known to the stand-in", 1)
        code: int = getattr(self, name)(words)
        return code

    def info(self, words: Sequence[str]) -> int:
        facts = {"ServerVersion": "27.5.1", "DockerRootDir": "/var/lib/docker"}
        facts["DefaultRuntime"] = "runc"
        form = option(words, "--format", "-f") or "Server Version: {{.ServerVersion}}"
        print(TEMPLATE.sub(lambda found: facts.get(found[1], "<no value>"), form))
        return 0

    version = info

    def login(self, words: Sequence[str]) -> int:
        """Keeps that there was one, not what it was."""
        password = sys.stdin.read()
        if not password.strip():
            return said("Error: password is empty", 1)
        folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"auths": {words[0]: {"auth": "c3RhbmQtaW4="}}}))
        print("Login Succeeded")
        return 0

    def logout(self, words: Sequence[str]) -> int:
        return 0

    def pull(self, words: Sequence[str]) -> int:
        for layer in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"):
            print(f"{layer}: Pulling fs layer", flush=True)
        for layer in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"):
            print(f"{layer}: Pull complete", flush=True)
        (self.images / named(words[-1])).write_text(words[-1])
        return 0

    def image_inspect(self, words: Sequence[str]) -> int:
        if (self.images / named(words[-1])).exists():
            print("[{}]")
            return 0
        return said(f"Error: No such image: {words[-1]}", 1)

    def run(self, words: Sequence[str]) -> int:
        try:
            run = parse(words)
        except Unknown as wrong:
            return said(f"docker: {wrong}", 125)
        if run.one("--gpus") and not self.facts["runtime"]:
            return said(f"docker: Error response from daemon: {NO_GPU}", 125)
        name = run.one("--name") or f"container-{os.getpid()}"
        folder = self.containers / named(name)
        try:
            folder.mkdir()
        except FileExistsError:
            return said(f'docker: Error response from daemon: Conflict. The container name "/{name}" is in use', 125)
        if not (self.images / named(run.image)).exists():
            self.pull([run.image])
        self._write(folder, status="created", code=0, started=NOWHERE, name=name, image=run.image)
        (folder / "spec.json").touch(0o600)
        (folder / "spec.json").write_text(json.dumps(self._spec(run, name)))
        keeper = [sys.executable, "-m", MODULE, str(self.machine), "keep", str(folder)]
        nothing = subprocess.DEVNULL  # whoever asked over SSH is not kept waiting by the container
        subprocess.Popen(keeper, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
        for _ in range(1000):
            if self._read(folder)["status"] != "created":
                break
            time.sleep(0.01)
        print(f"{abs(hash(name)):064x}")
        return 0

    def _spec(self, run: Run, name: str) -> dict[str, Any]:
        """What the process gets: the volume's folder on this machine's disk, and the environment."""
        mounts = [volume.split(":")[0] for volume in run.all("--volume", "-v")]
        workspace = Path(f"{self.machine}/disk{mounts[0] if mounts else '/workspace'}")
        workspace.mkdir(parents=True, exist_ok=True)
        given = {"workspace": str(workspace), "id": self.facts["id"], "image": run.image}
        command = [filled(word, given) for word in shlex.split(self.facts["command"])] or run.command
        inside = {"PATH": self.facts["path"], "HOME": str(workspace), **self.facts["environment"]}
        env = {**inside, **environment(run, dict(os.environ)), "STOKER_WORKSPACE": str(workspace)}
        return {"command": command, "env": env, "folder": str(workspace)}

    def inspect(self, words: Sequence[str]) -> int:
        folder = self.containers / named(words[-1])
        if not folder.is_dir():
            return said(f"Error: No such container: {words[-1]}", 1)
        state = self._read(folder)
        facts = {"State.Status": state["status"], "State.ExitCode": str(state["code"])}
        facts |= {"State.StartedAt": state["started"], "Name": f"/{state['name']}", "Config.Image": state["image"]}
        form = option(words, "--format", "-f") or "{{.State.Status}}"
        print(TEMPLATE.sub(lambda found: facts.get(found[1], "<no value>"), form))
        return 0

    def ps(self, words: Sequence[str]) -> int:
        for folder in sorted(self.containers.iterdir()):
            if "-a" in words or "--all" in words or self._read(folder)["status"] == "running":
                print(self._read(folder)["name"])
        return 0

    def logs(self, words: Sequence[str]) -> int:
        folder = self.containers / named(words[-1])
        if not folder.is_dir():
            return said(f"Error: No such container: {words[-1]}", 1)
        tail, since = option(words, "--tail", "-n") or "all", option(words, "--since") or ""
        rows = self._rows(folder)
        shown = [row for row in rows if row[:30] >= since]
        if tail != "all":
            shown = shown[len(shown) - min(int(tail), len(shown)) :]
        times = "--timestamps" in words or "-t" in words
        count = len(rows)
        while True:
            for row in shown:
                print(row if times else row.partition(" ")[2], flush=True)
            if not {"--follow", "-f"} & set(words) or self._read(folder)["status"] != "running":
                return 0
            time.sleep(0.1)
            rows = self._rows(folder)
            shown, count = rows[count:], len(rows)

    def stop(self, words: Sequence[str]) -> int:
        return self._end(words[-1], float(option(words, "--time", "-t") or 10))

    def kill(self, words: Sequence[str]) -> int:
        return self._end(words[-1], 0)

    def rm(self, words: Sequence[str]) -> int:
        code = self._end(words[-1], 0)
        if code == 0:
            for path in (self.containers / named(words[-1])).iterdir():
                path.unlink()
            (self.containers / named(words[-1])).rmdir()
        return code

    def _end(self, name: str, grace: float) -> int:
        folder = self.containers / named(name)
        if not folder.is_dir():
            return said(f"Error response from daemon: No such container: {name}", 1)
        until = time.monotonic() + grace
        for number in (signal.SIGTERM, signal.SIGKILL):
            while (state := self._read(folder))["status"] == "running":
                with suppress(ProcessLookupError):
                    os.killpg(int(state["group"]), number)
                if number == signal.SIGTERM and time.monotonic() >= until:
                    break
                time.sleep(0.05)
        print(name)
        return 0

    def _rows(self, folder: Path) -> list[str]:
        path = folder / "log"
        return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []

    def _read(self, folder: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((folder / "state.json").read_text())
        return found

    def _write(self, folder: Path, **facts: Any) -> None:
        before = self._read(folder) if (folder / "state.json").exists() else {}
        (folder / "state.new").write_text(json.dumps({**before, **facts}))
        (folder / "state.new").replace(folder / "state.json")

    def keep(self, folder: Path) -> int:
        """Beside the container's process for its life: its output with times, and how it ended."""
        spec = json.loads((folder / "spec.json").read_text())
        (folder / "spec.json").unlink()  # variables on a disk are no place for secrets
        log = (folder / "log").open("a", encoding="utf-8")
        try:
            process = subprocess.Popen(
                spec["command"], cwd=spec["folder"], env=spec["env"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as failure:
            self._write(folder, status="exited", code=127, started=stamp())
            return said(str(failure), 0)
        self._write(folder, status="running", started=stamp(), group=process.pid)
        assert process.stdout is not None
        for line in process.stdout:
            log.write(f"{stamp()} {line.decode('utf-8', 'replace').rstrip()}\n")
            log.flush()
        code = process.wait()
        self._write(folder, status="exited", code=code if code >= 0 else 128 - code)
        return 0


def option(words: Sequence[str], *names: str) -> str:
    """The value of a flag, behind it or behind its "="."""
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else (words[at + 1] if at + 1 < len(words) else "")
    return ""


def named(text: str) -> str:
    """A file's name for an image or a container."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text) or "_"


def filled(word: str, given: dict[str, str]) -> str:
    for name, value in given.items():
        word = word.replace(f"{{{name}}}", value)
    return word


if __name__ == "__main__":
    where = Path(sys.argv[1])
    if sys.argv[2] == "keep":
        sys.exit(Engine(where, read(where)).keep(Path(sys.argv[3])))
    known = read(where)
    sys.exit(real(where, known, sys.argv[3:]) if known["docker"] else Engine(where, known).do(sys.argv[3:]))
