"""A machine as it was delivered becomes one that can run a container, or is sent back before anything is pulled."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fleet.providers.hosts.expect import Wanted
from fleet.providers.hosts.prepare import prepare, probed
from fleet.providers.hosts.ssh import Lost
from profiles.errors import CheckFailed, OutsideFailed
from tests.fleet.providers.hosts.rented_machine import IMAGE, Machine, until
from tests.sim.cut_line import CutLine

pytestmark = pytest.mark.slow
WANTED = Wanted(("h100-pcie",), 1, "12.4", 1, 0, IMAGE)


def ready(machine: Machine, tmp: Path, wanted: Wanted = WANTED, slice: float = 60.0):
    host = machine.host(tmp)
    return prepare(host, host.look("x").folder, wanted, slice)


def test_a_machine_that_has_everything_is_only_looked_at(machine: Machine, tmp_path: Path):
    rows = ready(machine, tmp_path)
    assert all(row.ok for row in rows)
    assert [row.name for row in rows] == ["number of GPUs", "GPU", "driver", "disk", "Docker"]
    assert not (machine.state / "apt").exists() and machine.calls("pull") == []


def test_missing_docker_and_toolkit_are_installed_once(machine: Machine, tmp_path: Path):
    machine.lacks("docker", "nvidia-ctk")
    for _ in range(2):
        assert all(row.ok for row in ready(machine, tmp_path))
    installs = [row.split()[-1] for row in (machine.state / "apt").read_text().splitlines() if " install " in row]
    assert installs == ["docker.io", "nvidia-container-toolkit"]
    assert (machine.state / "ctk").read_text() == "runtime configure --runtime=docker\n"
    assert (machine.state / "service").read_text() == "docker restart\n"


def test_an_engine_that_does_not_answer_is_started(machine: Machine, tmp_path: Path):
    machine.says("down", "")
    assert ready(machine, tmp_path)[-1].ok
    assert (machine.state / "service").read_text() == "docker start\n"


def test_an_install_outlives_the_connection_and_is_not_begun_twice(machine: Machine, tmp_path: Path):
    machine.lacks("docker")
    machine.says("slow-apt", "")
    machine.shell(tmp_path).run("true")
    with CutLine(machine.port) as line:
        host = machine.host(tmp_path, line.port)
        folder = host.look("x").folder
        ended: list[BaseException] = []

        def install() -> None:
            try:
                prepare(host, folder, WANTED)
            except OutsideFailed as lost:
                ended.append(lost)

        thread = threading.Thread(target=install)
        thread.start()
        until(lambda: "install" in machine.told("apt"), thread)
        line.cut()
        thread.join(30)
    assert isinstance(ended[0], Lost)
    again = threading.Thread(target=ready, args=(machine, tmp_path))
    again.start()
    (machine.state / "slow-apt").unlink()
    again.join(60)
    assert all(row.ok for row in ready(machine, tmp_path))
    assert (machine.state / "apt").read_text().count(" install ") == 1


def test_a_long_install_gives_the_caller_its_turn_and_goes_on(machine: Machine, tmp_path: Path):
    machine.lacks("docker")
    machine.says("slow-apt", "")
    host = machine.host(tmp_path)
    with pytest.raises(OutsideFailed, match="install goes on"):
        prepare(host, host.look("x").folder, WANTED, slice=0)
    (machine.state / "slow-apt").unlink()
    assert all(row.ok for row in ready(machine, tmp_path))
    assert (machine.state / "apt").read_text().count(" install ") == 1


def test_a_failed_install_says_why_and_is_tried_again(machine: Machine, tmp_path: Path):
    machine.lacks("docker")
    machine.says("no-network", "")
    with pytest.raises(OutsideFailed, match=r"docker could not be installed .*Failed to fetch docker\.io"):
        ready(machine, tmp_path)
    (machine.state / "no-network").unlink()
    assert all(row.ok for row in ready(machine, tmp_path))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda at: at.says("cuda", "12.2"), r"takes CUDA 12\.2, the image needs 12\.4"),
        (lambda at: at.gpus("NVIDIA H100 80GB HBM3"), "NVIDIA H100 80GB HBM3 .* ordered NVIDIA H100 PCIe"),
        (lambda at: at.gpus("NVIDIA H100 PCIe", 2), "2, ordered 1"),
        (lambda at: at.gpus("NVIDIA H100 PCIe", memory=40000), "with 40000 MiB"),
    ],
    ids=["old driver", "another form", "another number", "less memory"],
)
def test_the_wrong_machine_is_sent_back_before_anything_is_done_to_it(machine, tmp_path, wrong, words):
    machine.lacks("docker")
    wrong(machine)
    with pytest.raises(CheckFailed, match=words):
        ready(machine, tmp_path)
    assert not (machine.state / "apt").exists()


def test_a_small_disk_is_sent_back(machine: Machine, tmp_path: Path):
    with pytest.raises(CheckFailed, match=r"GB free at .*, 900000 GB needed"):
        ready(machine, tmp_path, Wanted(("h100-pcie",), 1, "12.4", 900_000, 0, IMAGE))


@pytest.mark.parametrize("name", ["gpus", "cuda"])
def test_what_cannot_be_read_yet_is_no_verdict(machine: Machine, tmp_path: Path, name: str):
    before = (machine.state / name).read_text()
    machine.says(name, "")
    with pytest.raises(OutsideFailed) as unknown:
        ready(machine, tmp_path)
    assert not isinstance(unknown.value, CheckFailed)
    machine.says(name, before)
    ready(machine, tmp_path)


def test_the_probe_reads_newer_drivers_words_and_passes_on_nothing_that_steers_a_terminal(machine, tmp_path):
    machine.has("nvidia-smi", "#!/bin/sh\nprintf 'CUDA UMD Version: 13.1\\nNVIDIA \\033[31mX, 1, 2\\n'\n")
    facts = probed(machine.host(tmp_path), WANTED)
    assert facts["cuda"] == "13.1"
    assert all(value.isprintable() for value in facts.values())
