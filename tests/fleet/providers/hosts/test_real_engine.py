"""The same steps against a real Docker Engine and a real registry; only the GPUs are not there."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from fleet.providers.hosts import running
from fleet.providers.hosts.expect import Wanted
from fleet.providers.hosts.prepare import prepare
from fleet.providers.hosts.start import pull, start
from profiles.errors import WrongInput
from tests.conftest import program
from tests.fleet.providers.hosts.rented_machine import SECRET, Machine, container

pytestmark = pytest.mark.slow
# As the real one but for --gpus, which no engine without the hardware takes, and for limits, which an engine that runs
# in a container itself may not raise.
DOCKER = """#!/bin/sh
export DOCKER_HOST={host}
if [ "$1" = run ]; then
    shift
    for word; do
        shift
        case $word in --gpus | all | --ulimit | memlock=* | stack=*) ;; *) set -- "$@" "$word" ;; esac
    done
    set -- run "$@"
fi
exec {docker} "$@"
"""


def docker(*words: str, given: bytes = b"") -> str:
    done = subprocess.run([program("docker"), *words], input=given, capture_output=True, check=True)
    return done.stdout.decode()


@pytest.fixture
def image(docker_host: str, registry: str) -> str:
    """A pushed image of busybox alone, by its digest, and not on the engine any more."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(Path(program("busybox")).resolve(), "bin/busybox")
        link = tarfile.TarInfo("bin/sh")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(link)
    name = f"{registry}/hosts/box:1"
    docker("import", "-", name, given=content.getvalue())
    docker("push", name)
    (digest,) = docker("image", "inspect", "--format", '{{join .RepoDigests " "}}', name).split()
    docker("rmi", name)
    return digest


def test_pulled_by_digest_started_once_seen_and_stopped(machine: Machine, tmp_path: Path, docker_host: str, image: str):
    machine.has("docker", DOCKER.format(host=docker_host, docker=shutil.which("docker")))
    host = machine.host(tmp_path)
    say = 'echo "have $HF_TOKEN"; echo "$MANY"; trap "exit 0" TERM; while :; do busybox sleep 0.1; done'
    what = container(
        image=image,
        command=("/bin/sh", "-c", say),
        secrets={"HF_TOKEN": SECRET, "MANY": "first line\nsecond line"},
        mount=str(tmp_path / "work space"),
        cuda="",
    )
    folder = host.look("stk-real").folder
    prepare(host, folder, Wanted(("h100-pcie",), 1, "", 0, 0, image, what.mount))
    for _ in range(2):
        pull(host, folder, what)
        start(host, folder, what, "stk-real")
    try:
        assert docker("ps", "--all", "--quiet", "--filter", "label=stoker.tag=stk-real").count("\n") == 1
        assert host.look("stk-real").container == "running"
        end, lines = time.monotonic() + 60, []
        while len(lines) < 3 and time.monotonic() < end:
            lines = list(running.logs(host, "stk-real"))
        assert lines == [f"have {SECRET}", "first line", "second line"]
        assert SECRET not in "".join(machine.left())
        running.stop(host, "stk-real")
        stand = host.look("stk-real")
        assert (stand.container, stand.ran) == ("exited", True)
    finally:
        docker("rm", "--force", "stk-real")


def test_an_image_that_was_never_pushed_is_the_users_to_push(
    machine: Machine, tmp_path: Path, docker_host: str, registry: str
):
    machine.has("docker", DOCKER.format(host=docker_host, docker=shutil.which("docker")))
    host = machine.host(tmp_path)
    what = container(image=f"{registry}/hosts/nothing@sha256:{'0' * 64}")
    with pytest.raises(WrongInput, match="is not there"):
        pull(host, host.look("x").folder, what)
