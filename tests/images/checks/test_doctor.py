"""Doctor on this machine, on poorer ones, and with things that lie or hang."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from images.checks import accounts, doctor, drivers, machine
from images.checks.finding import Finding
from images.store import Store
from images.workbench import Workbench
from tests.conftest import ROOT, free_port, program

BARE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock", "HOME": "/nonexistent"}


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(ROOT, Store(tmp_path / "state"))


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """A server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield server.getsockname()


def rows(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["check"]: row for row in report["checks"]}


def by_check(found: Iterator[Finding]) -> dict[str, Finding]:
    return {one.check: one for one in found}


def test_a_bare_machine_can_still_build(bench: Workbench):
    report = doctor.examine(bench, BARE)
    found = rows(report)
    assert report["ok"]
    assert [
        found[name]["ok"] for name in ("docker", "registry", "registry logins", "provider keys", "hugging face")
    ] == [None] * 5
    assert found["python"]["ok"] is True
    assert found["state folder"]["ok"] is True
    assert "apt-get install docker.io" in found["docker"]["detail"]
    assert report["seconds"] < 1.5


def test_it_leaves_nothing_in_the_state_folder(bench: Workbench):
    doctor.examine(bench, BARE)
    assert list(bench.store.root.iterdir()) == []


def test_missing_programs_come_with_the_package_that_holds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    git = by_check(machine.git(ROOT))["git"]
    assert git.ok is None
    assert "git" in git.detail
    (tmp_path / "apt-get").touch(0o755)
    if Path("/etc/debian_version").exists():
        assert "apt-get install mmdebstrap" in by_check(machine.bootstrap())["mmdebstrap"].detail
        assert "apt-get install" in by_check(machine.packages())["test programs"].detail


def test_a_folder_without_commit_is_a_note(tmp_path: Path):
    program("git")
    assert by_check(machine.git(tmp_path))["git"].ok is None
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert by_check(machine.git(tmp_path))["git"].ok is None


def test_an_old_python_is_bad():
    assert by_check(machine.python(ROOT, (3, 10, 12)))["python"].ok is False


def test_a_state_folder_that_cannot_be_written_is_bad(tmp_path: Path):
    (tmp_path / "file").touch()
    report = doctor.examine(Workbench(ROOT, Store(tmp_path / "file" / "state")), BARE)
    assert not report["ok"]
    assert rows(report)["state folder"]["ok"] is False


@pytest.mark.parametrize(
    ("free", "ok"), [(0, False), (10_000_000, False), (29_000_000_000, None), (31_000_000_000, True)]
)
def test_little_disk_is_a_note_and_none_is_bad(free: int, ok: bool | None):
    assert machine.room("disk", Path("/x"), free).ok is ok


def test_disk_is_asked_of_the_nearest_folder_that_exists(tmp_path: Path):
    assert machine.existing(tmp_path / "not" / "yet") == tmp_path
    assert by_check(machine.disk(tmp_path / "not" / "yet"))["disk"].detail


def test_logins_are_named_and_never_shown(bench: Workbench, tmp_path: Path):
    secret = base64.b64encode(b"someone:hunter2secret").decode()
    auths = {"ghcr.io": {"auth": secret}, "https://index.docker.io/v1/": {"auth": secret}}
    config = {"auths": auths, "credHelpers": {"nvcr.io": "never-run"}, "credsStore": "desktop"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    keys = dict.fromkeys(accounts.KEYS.values(), "keysecret") | {"HF_TOKEN": "hf_tokensecret"}
    report = doctor.examine(bench, {**BARE, **keys, "DOCKER_CONFIG": str(tmp_path)})
    found = rows(report)
    assert found["registry logins"]["detail"] == "docker.io, ghcr.io, nvcr.io (kept by desktop)"
    assert found["provider keys"]["detail"] == "set: RUNPOD_API_KEY, VAST_API_KEY, HYPERBOLIC_API_KEY"
    assert found["hugging face"]["detail"] == "HF_TOKEN is set"
    told = json.dumps(report)
    assert "secret" not in told
    assert secret not in told


def test_a_broken_docker_config_is_named(bench: Workbench, tmp_path: Path):
    (tmp_path / "config.json").write_text("{")
    found = rows(doctor.examine(bench, {**BARE, "DOCKER_CONFIG": str(tmp_path)}))
    assert found["registry logins"]["ok"] is None
    assert "not JSON" in found["registry logins"]["detail"]


def test_one_provider_key_is_enough():
    (row,) = accounts.providers({"VAST_API_KEY": "x", "RUNPOD_API_KEY": ""})
    assert row == Finding("provider keys", True, "set: VAST_API_KEY; not set: RUNPOD_API_KEY, HYPERBOLIC_API_KEY")


def test_hugging_face_login_is_found_where_hf_keeps_it(tmp_path: Path):
    (tmp_path / "token").write_text("hf_x")
    assert by_check(accounts.hugging_face({"HF_HOME": str(tmp_path)}))["hugging face"].ok is True
    (tmp_path / "token").write_text("")
    assert by_check(accounts.hugging_face({"HF_HOME": str(tmp_path)}))["hugging face"].ok is None


def test_a_registry_that_answers(registry: str):
    assert by_check(accounts.registry({"registry": f"{registry}/stoker"}))["registry"].ok is True


def test_the_mirror_is_what_is_asked(registry: str):
    settings = {"registry": "nvcr.io/team/stoker", "mirror": f"nvcr.io={registry}"}
    assert by_check(accounts.registry(settings))["registry"].ok is True


def test_a_registry_that_is_not_there():
    row = by_check(accounts.registry({"registry": f"127.0.0.1:{free_port()}/stoker"}))["registry"]
    assert row.ok is None
    assert "does not answer" in row.detail


def test_a_registry_that_never_answers_costs_little(silent: tuple[str, int]):
    began = time.monotonic()
    row = by_check(accounts.registry({"registry": f"127.0.0.1:{silent[1]}/stoker"}))["registry"]
    assert row.ok is None
    assert time.monotonic() - began < accounts.SECONDS + 30


def test_a_wrong_registry_setting_is_a_note_with_its_words(tmp_path: Path):
    report = doctor.examine(Workbench(ROOT, Store(tmp_path / "state"), {"registry": "Not A Registry"}), BARE)
    assert report["ok"]
    assert rows(report)["registry"]["detail"]


def test_an_engine_that_never_answers_does_not_hold_the_rest(bench: Workbench, silent: tuple[str, int]):
    began = time.monotonic()
    env = {**BARE, "DOCKER_HOST": f"tcp://127.0.0.1:{silent[1]}"}
    found = {one.check: one for one in doctor.ask(doctor.probes(bench, env), 1.0)}
    assert time.monotonic() - began < 30
    assert found["docker"] == Finding("docker", None, "no answer within 1 s")
    assert found["python"].ok is True


def test_a_probe_that_breaks_is_a_note_in_its_place():
    def broken() -> Iterator[Finding]:
        raise ZeroDivisionError("never")
        yield

    def fine() -> Iterator[Finding]:
        yield Finding("b", True)

    assert doctor.ask({"a": broken, "b": fine}, 1.0) == [
        Finding("a", None, "ZeroDivisionError: never"),
        Finding("b", True),
    ]


def nvidia(root: Path, version: str = "535.183.06", gpus: int = 2) -> Path:
    """The files a driver shows below `root`."""
    folder = root / "proc/driver/nvidia"
    folder.mkdir(parents=True)
    line = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Wed Jun 26 06:46:07 UTC 2024\n"
    (folder / "version").write_text(line + "GCC version: gcc version 12.2.0 (Debian 12.2.0-14)\n")
    for number in range(gpus):
        place = folder / "gpus" / f"0000:0{number}:00.0"
        place.mkdir(parents=True)
        (place / "information").write_text("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 33\n")
    return root


def test_driver_and_gpus_are_read_from_the_kernels_files(tmp_path: Path):
    assert drivers.read(tmp_path) == drivers.HostDriver()
    found = drivers.read(nvidia(tmp_path))
    assert found == drivers.HostDriver("535.183.06", None, ("NVIDIA H100 80GB HBM3",) * 2)
    row = by_check(machine.gpu(tmp_path))["gpu"]
    assert row == Finding("gpu", True, "2 x NVIDIA H100 80GB HBM3; driver 535.183.06")


def test_the_open_kernel_modules_line_is_read_too(tmp_path: Path):
    nvidia(tmp_path)
    line = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (root@x)  Sun Jul 27\n"
    (tmp_path / "proc/driver/nvidia/version").write_text(line)
    assert drivers.read(tmp_path).version == "580.65.06"


def test_a_driver_without_gpus_is_a_note(tmp_path: Path):
    assert by_check(machine.gpu(nvidia(tmp_path, gpus=0)))["gpu"].ok is None


def test_the_drivers_cuda_is_asked_of_libcuda(tmp_path: Path):
    folder = tmp_path / f"usr/lib/{drivers.platform.machine()}-linux-gnu"
    folder.mkdir(parents=True)
    source = "int cuDriverGetVersion(int *v) { *v = 12020; return 0; }"
    command = [program("cc"), "-shared", "-fPIC", "-x", "c", "-", "-o", str(folder / "libcuda.so.1")]
    subprocess.run(command, input=source.encode(), check=True)
    assert drivers.cuda(tmp_path) == "12.2"
    assert "CUDA up to 12.2" in by_check(machine.gpu(nvidia(tmp_path)))["gpu"].detail


def test_a_library_that_is_none_is_passed_over(tmp_path: Path):
    (tmp_path / "usr/lib64").mkdir(parents=True)
    (tmp_path / "usr/lib64/libcuda.so.1").write_bytes(b"no library")
    assert drivers.cuda(tmp_path) is None


def test_a_driver_without_the_container_toolkit_says_what_to_install():
    if any(shutil.which(name) for name in machine.TOOL):
        pytest.skip("this machine has the toolkit")
    driver = drivers.HostDriver("535.183.06", None, ("H100",))
    (row,) = machine.container_gpus({"Runtimes": {"runc": {}}}, driver)
    assert row.ok is None
    assert "nvidia-container-toolkit" in row.detail
    assert [one.ok for one in machine.container_gpus({"Runtimes": {"nvidia": {}}}, driver)] == [True]
    assert list(machine.container_gpus({"Runtimes": {}}, drivers.HostDriver())) == []


@pytest.mark.slow
def test_a_real_engine_is_described(bench: Workbench, docker_host: str):
    report = doctor.examine(bench, {**BARE, "DOCKER_HOST": docker_host})
    found = rows(report)
    assert report["ok"]
    assert found["docker"]["ok"] is True
    assert found["docker"]["detail"][0].isdigit()
    assert "free in" in found["docker disk"]["detail"]
    assert "buildkit" in found
    assert report["seconds"] < 1.5
