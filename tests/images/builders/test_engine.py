"""The engine: found or named as missing; images in and out; a container that lives and dies as told."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from images.builders.container import gpu_requests
from images.builders.engine import Engine, Layers, connect, login, space
from profiles.errors import OutsideFailed


def test_no_engine_is_an_outside_failure_with_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(OutsideFailed, match="no Docker Engine answers at unix://") as caught:
        connect(f"unix://{tmp_path}/none.sock")
    assert caught.value.exit_code == 3
    assert "apt-get install docker.io" in caught.value.next_step


def test_docker_host_names_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/mine.sock")
    with pytest.raises(OutsideFailed, match=r"mine\.sock"):
        connect()


def test_a_docker_context_names_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    (tmp_path / "config.json").write_text("{}")
    place = tmp_path / "contexts/meta" / hashlib.sha256(b"far").hexdigest()
    place.mkdir(parents=True)
    endpoint = {"Host": f"unix://{tmp_path}/far.sock", "SkipTLSVerify": False}
    (place / "meta.json").write_text(json.dumps({"Name": "far", "Metadata": {}, "Endpoints": {"docker": endpoint}}))
    with pytest.raises(OutsideFailed, match=r"far\.sock"):
        connect()


@pytest.mark.parametrize(
    ("said", "reference", "step"),
    [
        ("unauthorized: authentication required", "ghcr.io/a/b:1", "docker login ghcr.io"),
        ("denied: requested access to the resource is denied", "a/b:1", "docker login"),
        ("no basic auth credentials", "127.0.0.1:5000/b:1", "docker login 127.0.0.1:5000"),
        ("EOF", "ghcr.io/a/b:1", "run the same command again"),
    ],
)
def test_a_refused_push_says_how_to_log_in(said: str, reference: str, step: str) -> None:
    assert login(said, reference).startswith(step)


def test_a_full_disk_is_named_as_such() -> None:
    assert "free some space" in space("write /var/lib/docker/x: no space left on device")
    assert space("EOF") == ""


def test_gpus_are_asked_for_as_docker_run_does() -> None:
    assert dict(gpu_requests(-1)[0])["Count"] == -1
    (one,) = gpu_requests(["0", "GPU-abc"])
    assert (one["DeviceIDs"], one["Capabilities"]) == (["0", "GPU-abc"], [["gpu"]])


class Recorder:
    def __init__(self) -> None:
        self.meters: dict[str, list[int]] = {}
        self.open = 0

    def say(self, text: str) -> None: ...

    @contextmanager
    def meter(self, label: str, total: int | None = None, unit: str = "bytes") -> Iterator[RecordedMeter]:
        self.meters[label] = []
        self.open += 1
        yield RecordedMeter(self.meters[label])
        self.open -= 1


class RecordedMeter:
    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    def advance(self, count: int) -> None:
        self.seen.append(count)

    def note(self, text: str) -> None: ...


def test_a_push_shows_one_meter_per_layer_that_travels() -> None:
    recorder = Recorder()
    with Layers(recorder) as layers:
        for event in (
            {"status": "Preparing", "id": "aa"},
            {"status": "Layer already exists", "id": "bb"},
            {"status": "Pushing", "id": "aa", "progressDetail": {"current": 10, "total": 30}},
            {"status": "Pushing", "id": "aa", "progressDetail": {"current": 25, "total": 30}},
            {"status": "Pushing", "id": "aa", "progressDetail": {"current": 5, "total": 30}},  # it begins again
            {"status": "Pushing", "id": "aa", "progressDetail": {"current": 30, "total": 30}},
            {"status": "Pushed", "id": "aa"},
            {"aux": {"Tag": "1", "Digest": "sha256:" + "0" * 64, "Size": 1}},
        ):
            layers.feed(event)
    assert recorder.meters == {"aa": [10, 15, 0, 25]}
    assert recorder.open == 0


# From here on in a real engine.


@pytest.mark.slow
def test_an_image_goes_out_and_in_again(engine: Engine, base: str) -> None:
    engine.tag(base, "stoker-test-out:1")
    archive = b"".join(engine.save("stoker-test-out:1"))
    engine.api.remove_image("stoker-test-out:1")
    assert not engine.has("stoker-test-out:1")
    assert engine.load([archive[: 1 << 20], archive[1 << 20 :]], total=len(archive)) == "stoker-test-out:1"
    assert engine.inspect("stoker-test-out:1")["Id"] == engine.inspect(base)["Id"]


@pytest.mark.slow
def test_a_missing_image_and_a_broken_archive_are_told(engine: Engine) -> None:
    with pytest.raises(OutsideFailed, match="stoker-test-none"):
        engine.inspect("stoker-test-none:1")
    with pytest.raises(OutsideFailed, match="stoker-test-none"):
        list(engine.save("stoker-test-none:1"))
    with pytest.raises(OutsideFailed):
        engine.load([b"not a tar"])


@pytest.mark.slow
def test_a_push_gives_the_digest_that_the_registry_serves(engine: Engine, registry: str) -> None:
    reference = f"{registry}/engine/test:1"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        member = tarfile.TarInfo("random")
        member.size = 3 << 20
        archive.addfile(member, io.BytesIO(os.urandom(member.size)))
    engine.api.import_image(data.getvalue(), repository=f"{registry}/engine/test", tag="1")
    recorder = Recorder()
    digest = engine.push(reference, progress=recorder)
    assert sum(sum(seen) for seen in recorder.meters.values()) > 0
    request = urllib.request.Request(
        f"http://{registry}/v2/engine/test/manifests/1",
        headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.headers["Docker-Content-Digest"] == digest


@pytest.mark.slow
def test_a_push_to_nowhere_fails_in_words(engine: Engine, base: str) -> None:
    engine.tag(base, "127.0.0.1:9/none:1")
    with pytest.raises(OutsideFailed, match=r"127\.0\.0\.1:9"):
        engine.push("127.0.0.1:9/none:1")


@pytest.mark.slow
def test_a_container_runs_with_what_it_is_given(engine: Engine, base: str, tmp_path: Path) -> None:
    script = "echo $WORD; echo to stderr >&2; echo kept > /out/file; exit 7"
    with engine.running(
        base,
        ["-c", script],
        entrypoint=["/bin/sh"],
        env={"WORD": "a b$c"},
        mounts={str(tmp_path): "/out"},
        network="none",
        shm_size="8m",
    ) as container:
        assert container.wait(30) == 7
        assert sorted(container.follow()) == ["a b$c", "to stderr"]
        assert container.output(stderr=False) == "a b$c\n"
        name = container.id
    assert (tmp_path / "file").read_text() == "kept\n"
    with pytest.raises(Exception, match=r"(?i)no such container"):
        engine.client.containers.get(name)


@pytest.mark.slow
def test_a_container_is_killed_or_given_up_on(engine: Engine, base: str) -> None:
    with engine.running(base, ["1000"], entrypoint=["/bin/sleep"], network="none") as container:
        with pytest.raises(OutsideFailed, match="did not end within"):
            container.wait(0.5)
        assert container.execute(["/bin/sh", "-c", "echo hello; exit 3"]) == (3, "hello\n")
        container.kill("SIGKILL")
        assert container.wait(30) == 137
        with pytest.raises(OutsideFailed, match="SIGKILL"):
            container.kill()


@pytest.mark.slow
def test_a_container_that_cannot_start_is_told_and_removed(engine: Engine, base: str) -> None:
    before = {one.id for one in engine.client.containers.list(all=True)}
    with (
        pytest.raises(OutsideFailed, match="nosuch"),
        engine.running(base, entrypoint=["/nosuch"], network="none"),
    ):
        pass
    assert {one.id for one in engine.client.containers.list(all=True)} == before


@pytest.mark.slow
def test_prune_takes_ours_but_not_what_is_kept_or_used(engine: Engine, base: str) -> None:
    def make(name: str) -> str:
        data = io.BytesIO(f"FROM {base}\nLABEL stoker.plan={name} at={time.time_ns()}\n".encode())
        engine.client.images.build(fileobj=data, tag=f"stoker-test-prune:{name}")
        return f"stoker-test-prune:{name}"

    others = [image["Id"] for image in engine.ours()]  # the engine may be somebody's own
    gone, kept, used = make("gone"), make("kept"), make("used")
    with engine.running(used, ["1000"], entrypoint=["/bin/sleep"], network="none"):
        engine.prune(keep=[kept, *others])
        assert [engine.has(name) for name in (gone, kept, used, base)] == [False, True, True, True]
