"""Pods that are containers: image, command, environment and volume really are the ones of the create."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.simulators.bodies.body import BodyFailed, Spec
from fleet.simulators.bodies.container import MACHINE, OWNER, Containers
from fleet.simulators.bodies.state import State
from tests.fleet.simulators.rehearsing import program, until
from tests.fleet.simulators.talking import Talk, pod
from tests.fleet.simulators.tiny_image import import_tiny_image

pytestmark = pytest.mark.slow
NAME = "stoker-test-tiny:1"
MOUNTS = {"persistent": {"size": 10, "path": "/workspace"}}


@pytest.fixture
def engine(docker_host: str) -> Iterator[Any]:
    """A client of the tests' engine, which has the small image; no container of ours may be left in it."""
    import docker

    client = docker.DockerClient(base_url=docker_host)
    import_tiny_image(docker_host, NAME)
    yield client
    ours: dict[str, Any] = {"all": True, "filters": {"label": OWNER}, "sparse": True}
    late = time.monotonic() + 60  # a busy engine answers that it is still removing one
    while any(one.status == "removing" for one in client.containers.list(**ours)) and time.monotonic() < late:
        time.sleep(0.2)
    left = client.containers.list(**ours)
    for container in left:
        container.remove(force=True, v=True)
    client.close()
    assert left == []


@pytest.fixture
def bodies(engine: Any, tmp_path: Path) -> Iterator[Containers]:
    made = Containers(State(tmp_path / "state"))
    yield made
    made.sweep()


def test_a_container_is_what_was_asked_for(bodies: Containers, engine: Any):
    folder = bodies.folder("m1")
    spec = Spec("m1", NAME, {"A": "planted"}, ["/bin/sh", "-c"], ["echo $A; echo x > /workspace/x; exit 5"],
                {"/workspace": folder})  # fmt: skip
    body = bodies.make(spec)
    body.start()
    assert until(body.exit_code) == 5
    assert [line.text for line in body.lines()] == ["planted"]
    assert body.lines(since=body.lines()[-1].at) == []
    assert (folder / "x").read_text() == "x\n"
    body.end()
    assert (body.exit_code(), [line.text for line in body.lines()]) == (5, ["planted"])


def test_sigterm_comes_first_and_nothing_is_left(bodies: Containers, engine: Any):
    folder = bodies.folder("m1")
    script = "trap 'echo saved > /workspace/saved; exit 0' TERM; echo ready; sleep 1000 & wait"
    body = bodies.make(Spec("m1", NAME, {}, ["/bin/sh", "-c"], [script], {"/workspace": folder}))
    body.start()
    until(lambda: body.lines())
    assert body.alive()
    assert engine.containers.list(filters={"label": f"{MACHINE}=m1"})
    body.end(grace=30)
    assert (folder / "saved").exists()
    assert engine.containers.list(all=True, filters={"label": f"{MACHINE}=m1"}) == []
    body.end()


@pytest.mark.parametrize(
    ("image", "command", "words"),
    [("127.0.0.1:9/none:1", [], "refused"), (NAME, ["/no/such/program"], "no such file")],
)
def test_what_cannot_run_fails_in_the_engine_s_words(bodies: Containers, image: str, command: list[str], words: str):
    body = bodies.make(Spec("m1", image, {}, None, command))
    with pytest.raises(BodyFailed, match=rf"(?i){words}"):
        body.start()
    body.end()


def test_an_engine_that_is_away_is_said_at_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(BodyFailed, match="does not answer"):
        Containers(State(tmp_path))


def begun(talk: Talk, engine: Any) -> str:
    """A RUNNING pod of which one container runs."""
    body = pod(
        image=NAME,
        entrypoint=["/bin/sh", "-c"],
        cmd=["trap 'exit 0' TERM; echo begun; sleep 1000 & wait"],
        mounts=MOUNTS,
    )
    made = talk.made("/v2/pods", body)
    until(lambda: talk.get(f"/v2/pods/{made['id']}")["status"] == "RUNNING")
    assert len(engine.containers.list(filters={"label": f"{MACHINE}={made['id']}"})) == 1
    return str(made["id"])


def test_a_pod_is_stopped_and_started_on_its_volume_and_ends_without_a_trace(engine: Any, tmp_path: Path):
    script = "ls /workspace > /dev/stdout; touch /workspace/was-here /tmp/was-here; sleep 1000 & wait"
    script = f"trap 'exit 0' TERM; {script}"
    with program("--bodies", "docker", "--state", str(tmp_path)) as (_, talk):
        made = talk.made("/v2/pods", pod(image=NAME, entrypoint=["/bin/sh", "-c"], cmd=[script], mounts=MOUNTS))
        path, volume = f"/v2/pods/{made['id']}", tmp_path / "volumes" / made["id"]
        until(lambda: talk.get(path)["status"] == "RUNNING" and (volume / "was-here").exists())
        assert talk.ask("POST", f"{path}/action", {"action": "stop"}).json()["status"] == "EXITED"
        talk.ask("POST", f"{path}/action", {"action": "start"})
        until(lambda: talk.get(path)["status"] == "RUNNING")
        log = talk.ask("GET", f"{path}/logs?source=container", stream=True).iter_lines(chunk_size=1)
        assert any(b"was-here" in line for line in log)
        talk.ask("DELETE", path)
        until(lambda: not engine.containers.list(all=True, filters={"label": f"{MACHINE}={made['id']}"}))
        until(lambda: not volume.exists())


def test_an_image_that_cannot_be_pulled_leaves_the_pod_starting_and_says_why_in_the_system_log(
    tmp_path: Path, engine: Any
):
    with program("--bodies", "docker", "--state", str(tmp_path)) as (_, talk):
        made = talk.made("/v2/pods", pod(image="127.0.0.1:9/none:1"))
        log = talk.ask("GET", f"/v2/pods/{made['id']}/logs?source=system", stream=True).iter_lines(chunk_size=1)
        assert any(b"error creating container" in line for line in log)
        talk.sleep(120)
        assert talk.get(f"/v2/pods/{made['id']}")["status"] == "STARTING"


def test_a_lost_host_takes_its_container_at_once(tmp_path: Path, engine: Any):
    with program("--bodies", "docker", "--state", str(tmp_path)) as (_, talk):
        pod_id = begun(talk, engine)
        talk.admin("preempt", {"id": pod_id})
        until(lambda: not engine.containers.list(filters={"label": f"{MACHINE}={pod_id}"}))
        assert talk.get(f"/v2/pods/{pod_id}")["status"] == "EXITED"


def test_the_program_removes_its_containers_when_it_ends_and_those_of_a_killed_one_when_it_begins(
    tmp_path: Path, engine: Any
):
    arguments = ("--bodies", "docker", "--state", str(tmp_path))
    with program(*arguments) as (running, talk):
        begun(talk, engine)
        running.terminate()
        assert running.wait(60) == 0
        assert engine.containers.list(all=True, filters={"label": OWNER}) == []
    with program(*arguments) as (running, talk):
        pod_id = begun(talk, engine)
        running.kill()
        running.wait()
        assert engine.containers.list(filters={"label": f"{MACHINE}={pod_id}"})
    with program(*arguments):
        assert engine.containers.list(all=True, filters={"label": OWNER}) == []


def test_no_environment_is_in_a_process_list_of_the_engine(bodies: Containers):
    body = bodies.make(Spec("m1", NAME, {"TOKEN": "planted-in-env"}, ["/bin/sh", "-c"], ["echo up; sleep 1000"]))
    body.start()
    until(lambda: body.lines())
    assert "planted-in-env" not in subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout
    body.end(0)
