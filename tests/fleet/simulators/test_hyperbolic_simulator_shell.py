"""A rented machine with a real shell: a real SSH log-in, stand-ins for its hardware, and nothing left of it afterwards
(providers.md 3.8, 4.3)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleet.simulators.bodies.process import Processes
from fleet.simulators.bodies.state import State
from fleet.simulators.clock import VirtualClock
from fleet.simulators.hyperbolic.site import RENTALS, HyperbolicSite, open_site
from fleet.simulators.hyperbolic.vm import MARK, PATIENCE, answers
from fleet.simulators.server import running
from tests.conftest import program
from tests.fleet.simulators.talking import Talk
from tests.fleet.simulators.test_hyperbolic_simulator import ORDER, faults

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).resolve().parents[3] / "templates/providers/hyperbolic/host"
COMMAND = "sh -c 'echo tag $STOKER_TAG in {image}; sleep 600'"


@dataclass
class Shelled:
    """A site, a rental of it that runs, and its shell."""

    site: HyperbolicSite
    talk: Talk
    id: int
    where: dict[str, Any]
    key: Path

    def run(self, command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        told = [f"-o{name}" for name in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")]
        target = ["-p", str(self.where["port"]), f"{self.where['user']}@{self.where['host']}", command]
        words = [
            program("ssh"),
            "-F",
            "none",
            "-i",
            str(self.key),
            "-oIdentitiesOnly=yes",
            "-oBatchMode=yes",
            *told,
            *target,
        ]
        return subprocess.run(words, input=given, capture_output=True, text=True, timeout=60)

    def facts(self, image: str = "a/b:1") -> dict[str, str]:
        """What the probe of our own client reads there."""
        done = self.run(f"sh -s -- {image} /workspace", (SCRIPTS / "probe.sh").read_text())
        return dict(line.split("=", 1) for line in done.stdout.splitlines())


@contextmanager
def rented(folder: Path, order: dict[str, Any] | None = None, **knobs: Any) -> Iterator[Shelled]:
    """A machine of a simulator with process bodies."""
    program("sshd")
    key = folder / "key"
    subprocess.run([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    bodies = Processes(State(folder / "state"), COMMAND)
    site = open_site(VirtualClock(), bodies, authorized_keys=key.with_suffix(".pub"))
    with running([site]):
        faults(site, **knobs)
        talk = Talk(site.url)
        id = talk.made(RENTALS, order or ORDER)["id"]
        site.world.clock.sleep(210)
        row = until(lambda: next(iter(r for r in talk.get(RENTALS) if r["status"] != "Pending"), None))
        assert row["status"] == "Running", site.estate.world.machines
        yield Shelled(site, talk, id, row["providerData"]["sshNetworking"][0], key)
    assert site.crashes == []


def until(what: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
    return found


def marked(id: int) -> list[str]:
    """Processes that run in the machine."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"{MARK}=hyperbolic-{id}".encode() in (entry / "environ").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_a_container_is_pulled_run_watched_and_gone_with_the_rental(tmp_path: Path):
    with rented(tmp_path) as machine:
        facts = machine.facts()
        assert facts["gpu.0"] == "NVIDIA H100 80GB HBM3, 81559, 580.95.05"
        assert (facts["cuda"], facts["docker"], facts["toolkit"], facts["image"]) == ("13.0", "yes", "yes", "no")
        assert int(facts["disk.free"]) > 2_000_000_000  # KiB: the rented node's, not this machine's
        run = "docker run --detach --name t-1 --gpus all --env-file /dev/stdin --volume /workspace:/workspace a/b:1"
        assert machine.run(f"docker pull a/b:1 && {run}", "STOKER_TAG=t-1\n").returncode == 0
        assert machine.facts()["image"] == "yes"
        logs = until(lambda: machine.run("docker logs --timestamps --tail 1 t-1").stdout)
        assert logs.endswith("tag t-1 in a/b:1\n")
        state = "docker inspect --type container --format '{{.State.Status}}|{{.State.ExitCode}}' t-1"
        assert machine.run(state).stdout == "running|0\n"
        assert machine.run("setsid sleep 600 >/dev/null 2>&1 </dev/null &").returncode == 0
        assert len(marked(machine.id)) > 1
        machine.talk.ask("POST", f"{RENTALS}/terminate", {"rentalId": machine.id})
        until(lambda: not marked(machine.id))
        assert machine.run("true").returncode == 255
    assert list((tmp_path / "state" / "volumes").glob("*-machine")) == []


def test_a_rental_that_ends_leaves_the_machine_of_that_number_in_another_simulator_alone(tmp_path: Path):
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    with rented(tmp_path / "one") as mine:
        assert mine.run("setsid sleep 600 >/dev/null 2>&1 </dev/null &").returncode == 0
        with rented(tmp_path / "other") as other:
            assert other.id == mine.id
            other.talk.ask("POST", f"{RENTALS}/terminate", {"rentalId": other.id})
            until(lambda: other.run("true").returncode == 255)
        assert mine.run("pgrep -x sleep").returncode == 0
        assert [row["status"] for row in mine.talk.get(RENTALS)] == ["Running"]


def test_a_neighbours_server_that_took_the_port_is_not_taken_for_the_machines(tmp_path: Path):
    log = tmp_path / "sshd.log"
    log.write_text("Bind to port failed: Address already in use.\r\nCannot bind any address.\r\n")
    with socket.create_server(("127.0.0.1", 0)) as neighbour, subprocess.Popen(["sleep", "60"]) as first:
        began = time.monotonic()
        assert not answers(neighbour.getsockname()[1], first, log)
        assert time.monotonic() - began < PATIENCE and first.poll() is None
        first.kill()


def test_a_log_in_reads_no_file_of_the_users_own_home(tmp_path: Path):
    with rented(tmp_path) as machine:
        home, path = machine.run('echo "$HOME"; echo "$PATH"').stdout.split()
        place = next((tmp_path / "state" / "volumes").glob("*-machine"))
        assert (Path(home), Path(path)) == (place / "home", place / "bin")
        assert machine.run("ls -A ~").stdout == ""


def test_what_is_missing_is_installed_by_our_own_script(tmp_path: Path):
    with rented(tmp_path, docker_missing=True, nvidia_runtime_missing=True) as machine:
        assert (machine.facts()["docker"], machine.facts()["toolkit"]) == ("no", "no")
        done = machine.run("sh -s -- docker toolkit runtime", (SCRIPTS / "install.sh").read_text())
        assert done.returncode == 0, done.stderr
        facts = machine.facts()
        assert (facts["docker"], facts["toolkit"], facts["engine"]) == ("yes", "yes", "27.5.1")
        assert machine.run("docker run --detach --name t-1 --gpus all a/b:1").returncode == 0


def test_an_old_driver_a_small_disk_and_the_wrong_card_are_to_be_seen(tmp_path: Path):
    with rented(tmp_path, old_driver=True, small_disk={"gb": 20}, form_factor_swap=True) as machine:
        facts = machine.facts()
        assert facts["gpu.0"] == "NVIDIA H100 PCIe, 81559, 535.183.06"
        assert facts["cuda"] == "12.2"
        assert int(facts["disk.free"]) * 1024 < 20e9


def test_a_key_that_nobody_pasted_is_not_let_in(tmp_path: Path):
    with rented(tmp_path, ssh_wrong_key=True) as machine:
        done = machine.run("true")
        assert done.returncode == 255
        assert "Permission denied" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a machine a process space of its own")
def test_a_killed_simulator_leaves_no_process(tmp_path: Path):
    key = tmp_path / "key"
    subprocess.run([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    flags = [
        "--hyperbolic",
        "--speed",
        "inf",
        "--bodies",
        "process",
        "--command",
        COMMAND,
        "--state",
        str(tmp_path / "s"),
    ]
    env = {**os.environ, "STOKER_SIMULATOR_AUTHORIZED_KEYS": f"{key}.pub"}
    command = [sys.executable, "-m", "fleet.simulators", *flags]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, cwd=SCRIPTS.parents[3])
    try:
        assert started.stdout
        talk = Talk(json.loads(started.stdout.readline())["hyperbolic"])
        id = talk.made(RENTALS, ORDER)["id"]
        talk.ask("POST", "/_sim/clock", {"sleep": 210})
        row = until(lambda: next(iter(r for r in talk.get(RENTALS) if r["status"] == "Running"), None))
        machine = Shelled(None, talk, id, row["providerData"]["sshNetworking"][0], key)
        assert machine.run("setsid sleep 600 >/dev/null 2>&1 </dev/null &").returncode == 0
        assert marked(id)
    finally:
        started.kill()
        started.wait()
    until(lambda: not marked(id))
