"""A run as a container of a real engine: created once, found by its label, stopped so that it saves, removed whole."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet.clock import WallClock
from fleet.providers.local import bodies
from fleet.providers.local.client import Local
from fleet.providers.local.containers import instance_of
from fleet.providers.outcomes import Because, NotCreated, Unclear
from fleet.providers.values import Container, State
from fleet.wire.failed import ProviderFailed
from tests.conftest import program
from tests.fleet.providers.local.small_image import TAG, built, busybox, order

SECRET = "hf_HUSHHUSHHUSH"
SECONDS = 120.0


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def shown_container(**changed: object) -> dict:
    """What `docker inspect` says of one of ours."""
    state = {"Status": "running", "ExitCode": 0, "OOMKilled": False, "StartedAt": "2026-11-20T10:00:01.123456789Z"}
    labels = {"stoker.tag": "stk-a", "stoker.gpus": "0,2", "stoker.gpu": "h100-sxm", "stoker.local": "1"}
    config = {"Labels": labels, "Image": "x", "Env": ["STOKER_RUN=night", f"HF_TOKEN={SECRET}"]}
    return {"Id": "f" * 64, "Created": "2026-11-20T10:00:00.1Z", "State": {**state, **changed}, "Config": config}


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({}, State.RUNNING),
        ({"Status": "Running"}, State.RUNNING),
        ({"Status": "created"}, State.STARTING),
        ({"Status": "paused"}, State.STOPPED),
        ({"Status": "exited", "ExitCode": 0}, State.STOPPED),
        ({"Status": "exited", "ExitCode": 75}, State.STOPPED),
        ({"Status": "exited", "ExitCode": 137}, State.STOPPED),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, State.FAILED),
        ({"Status": "exited", "ExitCode": 3}, State.FAILED),
        ({"Status": "hibernating"}, State.UNKNOWN),
        ({"Status": None}, State.UNKNOWN),
    ],
)
def test_a_state_that_is_not_known_is_unknown(changed, state):
    from decimal import Decimal

    found = instance_of(shown_container(**changed), Decimal("0.35"))
    assert found.state is state and found.gpus == 2 and dict(found.env) == {"STOKER_RUN": "night"}
    assert found.usd_hour == (Decimal("0.35") if state in (State.RUNNING, State.STARTING) else 0)
    assert SECRET not in repr(found) and found.created is not None and found.created.year == 2026


def test_an_engine_that_was_named_or_used_must_answer(tmp_path):
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    with pytest.raises(ProviderFailed, match="no Docker Engine answers"):
        Local("", tmp_path, WallClock(), nowhere).instances()


def test_the_request_is_shown_with_its_secrets_masked(tmp_path):
    """A dry run asks nobody: `docker` is named, and no engine is there."""
    wanted = order(
        "r/i@sha256:" + "0" * 64, gpu="h100-sxm", count=2, secrets={"HF_TOKEN": SECRET}, command=("run", "-x")
    )
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock", "STOKER_LOCAL": "docker"}
    (shown,) = Local("", tmp_path, WallClock(), nowhere).shown(wanted.container, wanted)
    body = json.loads(json.dumps(shown.body))
    assert (shown.method, shown.path) == ("POST", f"/containers/create?name={TAG}")
    assert SECRET not in str(shown) and "HF_TOKEN=***" in body["Env"] and "STOKER_PROVIDER=local" in body["Env"]
    host = body["HostConfig"]
    assert host["IpcMode"] == "host" and {"Name": "memlock", "Soft": -1, "Hard": -1} in host["Ulimits"]
    assert {"Name": "stack", "Soft": 67108864, "Hard": 67108864} in host["Ulimits"]
    assert host["DeviceRequests"][0]["DeviceIDs"] == ["0", "1"] and body["Cmd"] == ["run", "-x"]
    assert host["Mounts"] == [{"Type": "volume", "Source": "stoker-night", "Target": "/workspace"}]


def test_a_volume_is_mounted_by_its_name_and_a_folder_by_its_path():
    def mounted(volume: str) -> list[dict[str, str]]:
        return bodies.mounts(Container("night", "i", volume=volume))

    assert mounted("data") == [{"Type": "volume", "Source": "data", "Target": "/workspace"}]
    assert mounted("/data") == [{"Type": "bind", "Source": "/data", "Target": "/workspace"}]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def local(docker_host: str, state: Path) -> Iterator[Callable[..., Local]]:
    def opened(**environ: str) -> Local:
        return Local("", state, WallClock(), {"DOCKER_HOST": docker_host, **environ})

    yield opened
    engine = opened().containers()
    assert engine is not None
    for one in engine.instances():
        engine.engine.api.remove_container(one.id, force=True, v=True)
    for volume in engine.volumes():
        engine.engine.api.remove_volume(volume.id)


@pytest.fixture
def image(state: Path) -> str:
    return built(state, base=busybox(program("busybox")))


def story(local: Callable[..., Local], id: str) -> str:
    engine = local().containers()
    assert engine is not None
    done = engine.engine.client.containers.get(id).exec_run(["cat", "/workspace/runs/it/story"])
    return done.output.decode() if done.exit_code == 0 else ""


@pytest.mark.slow
class TestTheEngine:
    def test_a_run_from_its_launch_to_its_end(self, local, image):
        wanted = order(image, secrets={"HF_TOKEN": SECRET})
        one = local().launch(wanted)
        assert (one.tag, one.state, one.env["STOKER_TAG"]) == (TAG, State.RUNNING, one.tag)
        assert SECRET not in repr(one)
        assert [found.id for found in local().instances()] == [one.id], "whoever asks next"
        raw = local().containers().engine.api.inspect_container(one.id)
        assert f"HF_TOKEN={SECRET}" in raw["Config"]["Env"] and raw["Name"] == f"/{TAG}"
        assert raw["HostConfig"]["IpcMode"] == "host" and raw["Config"]["StopTimeout"] == 35
        until(lambda: story(local, one.id) == "began\n")
        (line,) = local().logs(one.id)
        assert line.strip() == f"run of night as {TAG}"
        local().stop(one.id)
        stopped = local().instance(one.id)
        assert (stopped.state, stopped.words, stopped.usd_hour) == (State.STOPPED, "exit code 75", 0)
        local().start(one.id)
        until(lambda: story(local, one.id) == "began\nsaved\nbegan\n")
        local().terminate(one.id)
        assert local().instances() == [] and local().instance(one.id) is None
        local().terminate(one.id)
        other = local().launch(order(image, tag=f"{TAG}-b2"))
        until(lambda: story(local, other.id) == "began\nsaved\nbegan\nsaved\nbegan\n")
        assert [volume.name for volume in local().volumes()] == ["stoker-night"]
        assert local().named_volume("stoker-night").id == "stoker-night"
        assert local().named_volume("stoker-nig") is None

    def test_one_tag_is_one_container(self, local, image):
        local().launch(order(image))
        with pytest.raises(Unclear):
            local().launch(order(image))
        assert len(local().instances()) == 1

    def test_a_container_that_cannot_have_its_gpu_leaves_nothing(self, local, image, monkeypatch):
        from fleet.providers.local import machine

        card = machine.cards("0, NVIDIA H100 PCIe, 81559")
        monkeypatch.setattr(machine, "read", lambda state: machine.Machine(card))
        if Path("/dev/nvidia0").exists():
            pytest.skip("this machine has one")
        with pytest.raises(NotCreated, match="does not start") as caught:
            local().launch(order(image, gpu=card[0].key))
        assert caught.value.because is Because.INVALID and "container-toolkit" in caught.value.next_step
        assert local().instances() == []
        with pytest.raises(NotCreated, match="not free any more") as taken:
            local().launch(order(image, gpu=card[0].key, count=2))
        assert taken.value.because is Because.CAPACITY

    def test_an_image_that_is_nowhere_is_refused_before_anything(self, local, state):
        with pytest.raises(NotCreated, match=r"pulling 127\.0\.0\.1:9") as caught:
            local().launch(order(f"127.0.0.1:9/me/none@sha256:{'0' * 64}"))
        assert caught.value.because is Because.INVALID and local().instances() == []

    def test_other_peoples_containers_are_not_ours(self, local, image):
        mine = local().launch(order(image))
        engine = local().containers().engine
        name = engine.api.inspect_container(mine.id)["Config"]["Image"]
        other = engine.client.containers.create(name, ["sleep", "60"], entrypoint=[])
        try:
            assert [one.id for one in local().instances()] == [mine.id] and local().instance(other.id) is None
        finally:
            other.remove(force=True)

    def test_one_that_was_created_and_never_started_is_known(self, local, image):
        """We died between the two calls."""
        from fleet.providers.local import bodies, fetch

        side, wanted = local().containers(), order(image)
        side.created(bodies.container(wanted, fetch.ensure(side.engine, wanted.container, side.state), []), wanted.tag)
        (one,) = local().instances()
        assert (one.tag, one.state, one.status) == (wanted.tag, State.STARTING, "created")
        local().terminate(one.id)
        assert local().instances() == []

    def test_a_file_remote_is_the_same_folder_inside(self, local, image, tmp_path):
        one = local().launch(order(image, env={"STOKER_REMOTE": f"file://{tmp_path}/store/night"}))
        raw = local().containers().engine.api.inspect_container(one.id)
        folder = str(tmp_path / "store")
        assert (folder, folder) in [(mount.get("Source"), mount["Destination"]) for mount in raw["Mounts"]]

    def test_an_engine_that_was_used_and_is_gone_is_not_an_empty_one(self, local, image, state):
        local().launch(order(image))
        without = Local("", state, WallClock(), {"STOKER_LOCAL": "docker"})
        before = os.environ.pop("DOCKER_HOST")
        try:
            os.environ["DOCKER_HOST"] = f"unix://{state}/none.sock"
            for client in (without, Local("", state, WallClock(), {})):
                with pytest.raises(ProviderFailed):
                    client.instances()
        finally:
            os.environ["DOCKER_HOST"] = before
