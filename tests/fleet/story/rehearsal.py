"""A user, the simulators as a program of their own, and machines that are containers of the really built image."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.cli.fleet_command import Stage
from tests.cli.plan_command import KEYS, Answer
from tests.conftest import ROOT, program
from tests.fleet.story.handed_out import BATCH, CONTEXT, SEED, URL

SPEED = 5  # virtual seconds per second: machines boot quickly, and what waits for a first step has minutes for it
HASTE = 5  # virtual seconds at once
PATIENCE = 600.0  # real seconds for what has to come; a bound, not a measure
RUN = "night"
STEPS, EVERY = 120, 20
# One rank on one thread, whatever the machine; dropout, so that the generators' state counts too.
TRAINING = {
    "data.path": URL, "data.shuffle_shards": 1, "train.seed": SEED, "train.batch": BATCH, "model.context": CONTEXT,
    "model.layers": 1, "model.width": 32, "model.heads": 2, "model.dropout": 0.1,
    "checkpoint.every": EVERY, "metrics.gpu_seconds": 0,
}  # fmt: skip
STEP = re.compile(r"step-(\d{8})/manifest\.json$")


def until(true: Callable[[], Any], what: str) -> Any:
    """What `true` answered, once it is something."""
    end = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < end, what
        time.sleep(0.1)
    return found


@dataclass
class Rehearsal(Stage):
    """image: HOST/NAME:TAG that was pushed; engine: where the machines' containers are."""

    image: str
    engine: Any

    def deploy(self, provider: str, remote: str, *more: str, **env: str) -> dict[str, Any]:
        """As a user types it."""
        flags = [word for name, value in TRAINING.items() for word in ("--set", f"{name}={value}")]
        given = {"STOKER_SYNC_EVERY": "1", "OMP_NUM_THREADS": "1", **env}
        flags += [word for name, value in given.items() for word in ("--env", f"{name}={value}")]
        where = ["--provider", provider, "--profile", "cpu", "--image", self.image, "--remote", remote]
        limits = ["--hours", "20", "--budget", "90", "--idle-minutes", "600"]
        found: dict[str, Any] = self.json(
            "deploy", *where, "--name", RUN, "--steps", str(STEPS), *limits, *flags, *more, "--yes"
        )
        return found

    def ledger(self, what: str) -> list[dict[str, Any]]:
        """A table of the ledger."""
        found: list[dict[str, Any]] = json.loads(self.said("ledger", "--what", what).out)
        return found

    def command(self) -> tuple[str, ...]:
        """What the run's container was started with."""
        (run,) = self.ledger("runs")
        return tuple(run["plan"]["container"]["command"])

    def said(self, *words: str) -> Answer:
        """A task that must succeed; its words."""
        answer = self(*words)
        assert answer.code == 0, answer.out + answer.err
        return answer

    def now(self, provider: str) -> str:
        """The time there."""
        return str(requests.get(f"{self.urls[provider]}/_sim/clock", timeout=10).json()["now"])

    @contextmanager
    def hurried(self, provider: str, machines: int) -> Iterator[None]:
        """For who waits for a proof that something is gone: time flies at a provider until it has had more than so many
        machines. One that boots has all the time it needs."""
        over = threading.Event()

        def fly() -> None:
            while not over.wait(0.2) and len(self.truth(provider)) <= machines:
                self.sim(provider, "clock", advance=HASTE)

        flying = threading.Thread(target=fly, daemon=True)
        flying.start()
        try:
            yield
        finally:
            over.set()
            flying.join(PATIENCE)

    def row(self) -> dict[str, Any]:
        """The run's row of `status`."""
        rows = [one for one in self.json("status", "--ended")["runs"] if one["run"] == RUN]
        assert len(rows) == 1, rows
        return dict(rows[0])

    def containers(self, remote: str) -> list[Any]:
        """Those of the run that run now."""
        mine = f"STOKER_REMOTE={remote}"
        return [one for one in self.engine.containers.list() if mine in one.attrs["Config"]["Env"]]

    def lose(self) -> None:
        """Containers of the run on this machine, whatever they do, and its disk."""
        for one in self.engine.containers.list(all=True):
            if f"STOKER_RUN={RUN}" in one.attrs["Config"]["Env"]:
                one.remove(force=True, v=True)
        for volume in self.engine.volumes.list():
            if volume.name == f"stoker-{RUN}":
                volume.remove(force=True)

    def printed(self, remote: str, words: bytes) -> bool:
        """Whether a running container of the run has printed this."""
        return any(words in one.logs() for one in self.containers(remote))


@contextmanager
def simulators(folder: Path, name: str, engine: str, keys: Path) -> Iterator[dict[str, str]]:
    """`python -m fleet.simulators`, as a user starts it."""
    command = [sys.executable, "-m", "fleet.simulators", f"--{name}", "--bodies", "docker", "--speed", str(SPEED)]
    command += ["--state", str(folder / "simulated"), "--authorized-keys", str(keys)]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("STOKER_", "AWS_"))} | {"DOCKER_HOST": engine}
    with (folder / "simulators.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=log)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (folder / "simulators.log").read_text()
            yield json.loads(line)
        finally:
            process.terminate()
            process.wait(60)
    assert b"Traceback" not in (folder / "simulators.log").read_bytes(), (folder / "simulators.log").read_text()


@contextmanager
def rehearsed(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    image: str,
    docker_host: str,
) -> Iterator[Rehearsal]:
    """A user in an empty folder who rehearses with one provider; "local": with none."""
    import docker

    for variable in (*KEYS, "STOKER_PROFILE", "STOKER_REMOTE", "WANDB_API_KEY", "PUBLIC_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(folder)
    for variable, value in (("HOME", folder), ("STOKER_HOME", folder / ".stoker"), ("COLUMNS", 140)):
        monkeypatch.setenv(variable, str(value))
    key = folder / ".ssh" / "id_ed25519"
    key.parent.mkdir(mode=0o700)
    subprocess.run([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    monkeypatch.setenv("STOKER_SSH_KEY", str(key))
    engine = docker.DockerClient(base_url=docker_host)
    try:
        if name == "local":
            user = Rehearsal({}, folder, folder / ".stoker", capsys, image, engine)
            try:
                yield user
            finally:
                user.lose()  # also what a test that failed has left
            return
        with simulators(folder, name, docker_host, key.with_suffix(".pub")) as urls:
            monkeypatch.setenv(f"{name.upper()}_API_KEY", f"key-of-{name}-0123456789abcdef0123456789abcdef")
            monkeypatch.setenv(f"STOKER_{name.upper()}_URL", urls[name])
            monkeypatch.setenv("STOKER_CLOCK", urls["clock"])
            yield Rehearsal(urls, folder, folder / ".stoker", capsys, image, engine)
    finally:
        engine.close()


def at_bucket(bucket: Any) -> Callable[[], list[int]]:
    """A function that tells the steps of the checkpoints there, oldest first."""
    return lambda: sorted(int(found[1]) for one in bucket.objects.all() if (found := STEP.search(one.key)))


def in_folder(store: Path) -> Callable[[], list[int]]:
    return lambda: sorted(int(found[1]) for one in store.rglob("manifest.json") if (found := STEP.search(str(one))))
