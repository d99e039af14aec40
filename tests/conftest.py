"""What tests share: a registry, an engine, a bootstrapped base. Real ones, started for the test run and stopped after.

Missing programs are installed when root on Debian; otherwise the tests that need them are skipped, and with CI=true
they fail: a green run must mean that everything ran.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from images import system
from images.progress import Plain
from images.store import Store
from images.workbench import Workbench
from profiles.errors import StokerError

if TYPE_CHECKING:
    from images.build import Resolved
    from images.builders.image import Image

ROOT = Path(__file__).resolve().parent.parent
ENGINE = frozenset({"docker_host", "cpu_bench"})  # fixtures that take minutes to make, once per worker
AROUND_THE_ENGINE = frozenset(
    {
        "tests/fleet/providers/hosts/test_real_engine.py",
        "tests/fleet/providers/local/test_engine_containers.py",
        "tests/fleet/simulators/test_bodies_as_containers.py",
        "tests/fleet/story/test_lost_and_brought_back.py",
        "tests/images/bases/test_debian.py",
        "tests/images/builders/test_cpu_image.py",
        "tests/images/builders/test_run_in_container.py",
        "tests/images/builders/test_shared_foundation.py",
        "tests/images/checks/test_doctor.py",
        "tests/images/checks/test_prune_engine.py",
        "tests/images/checks/test_smoke.py",
        "tests/test_readme.py",
        "tests/test_rehearsal.py",
    }
)


# No example has a time limit: these machines are shared, and a slow one is no failure.
hypothesis.settings.register_profile("stoker", deadline=None)
hypothesis.settings.load_profile("stoker")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out the tests marked slow")


def pytest_configure(config: pytest.Config) -> None:
    """All missing programs in one apt-get, where that is possible."""
    missing = [package for program, package in system.PACKAGES.items() if not system.find(program)]
    if missing and system.is_debian() and os.geteuid() == 0:
        system.install(sorted(set(missing)), Plain())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--fast"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
    for item in items:
        if ENGINE & set(getattr(item, "fixturenames", ())) and file_of(item.nodeid) not in AROUND_THE_ENGINE:
            raise pytest.UsageError(f"{file_of(item.nodeid)} belongs to AROUND_THE_ENGINE in tests/conftest.py")
    # The longest group first; the others fill in beside it.
    items.sort(key=lambda item: file_of(item.nodeid) not in AROUND_THE_ENGINE)


def file_of(nodeid: str) -> str:
    """The test file of a test."""
    return nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests go to one worker, and those of AROUND_THE_ENGINE all to the same. (xdist's own loadgroup does not
    see groups under pytest 9: it writes them into a node id that is not read any more.)"""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = file_of(nodeid)
            return "engine" if file in AROUND_THE_ENGINE else file

    return ByFile(config, log)


def program(name: str) -> str:
    """The path of a program the tests need, installed if that is possible."""
    try:
        return system.need(name, Plain())
    except StokerError as missing:
        if os.environ.get("CI"):
            pytest.fail(f"{missing.what}: {missing.next_step}")
        pytest.skip(f"{missing.what}: {missing.next_step}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_registry(folder: Path) -> Iterator[str]:
    """Debian's docker-registry on a free loopback port; yields 127.0.0.1:PORT."""
    port = free_port()
    config = folder / "registry.yml"
    config.write_text(
        f"version: 0.1\nstorage:\n  filesystem: {{rootdirectory: {folder}/data}}\n  delete: {{enabled: true}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
    )
    with (folder / "registry.log").open("wb") as log:
        server = subprocess.Popen([program("docker-registry"), "serve", str(config)], stdout=log, stderr=log)
        try:
            for _ in range(200):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)  # the only wait: the server's own start
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(10)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry for the whole run; tests use repositories of their own."""
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="session")
def docker_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Docker Engine of the test run's own, stopped after it; DOCKER_HOST is set for the run."""
    from tests.sim.dockerd import running_dockerd

    program("dockerd")
    folder = tmp_path_factory.mktemp("engine")
    with running_dockerd(folder) as address:
        before = os.environ.get("DOCKER_HOST")
        os.environ["DOCKER_HOST"] = address
        yield address
        os.environ.pop("DOCKER_HOST") if before is None else os.environ.update(DOCKER_HOST=before)
    shutil.rmtree(folder, ignore_errors=True)  # gigabytes, even where a test failed


@dataclass(frozen=True)
class Project:
    """A checkout of its own to change, with a state folder beside it, used as a user does: through ./inv."""

    root: Path
    env: dict[str, str]

    def inv(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a task; output and exit code are the caller's to judge."""
        command = [sys.executable, str(self.root / "cli" / "program.py"), *arguments]
        return subprocess.run(
            command, cwd=self.root, env={**self.env, **env}, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )

    def json(self, *arguments: str, **env: str) -> Any:
        """Run a task that must succeed, with --json; what it printed."""
        done = self.inv(*arguments, "--json", **env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=self.root, env=self.env, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, message: str = "change") -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def write(self, path: str, text: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        return target


def make_project(root: Path, home: Path) -> Project:
    """A copy of what git would take from this checkout, as a fresh repository with one commit of a fixed time."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    for name in listed.decode().split("\0"):
        source = ROOT / name
        if name and not name.startswith(("tests/", "bench/results/")) and source.is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, root / name)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("STOKER_", "GIT_"))}
    env |= {
        "HOME": str(home),
        "STOKER_HOME": str(home / "state"),
        "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
        "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
        "DOCKER_CONFIG": str(home / "docker"),
    }
    project = Project(root, env)
    project.git("init", "-q", "-b", "main")
    project.commit("first")
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A checkout that the test may change."""
    (tmp_path / "home").mkdir()
    return make_project(tmp_path / "checkout", tmp_path / "home")


SMALL = """\
description: Stands on the simulated NGC base and needs no wheels.
extends: h100-fp8
python: {requirements: []}
"""


@pytest.fixture(scope="session")
def ngc(registry: str) -> str:
    """Simulated NGC bases in the registry; the value for STOKER_MIRROR."""
    from images.registry.registries import Registries
    from tests.sim.ngc import push_ngc

    for month in ("24.10", "25.06", "25.10"):
        push_ngc(Registries().repository(f"{registry}/nvidia/pytorch:x"), month)
    return f"nvcr.io={registry}"


@pytest.fixture
def small(project: Project, ngc: str) -> Project:
    """A checkout with a committed, locked profile `small` on the simulated base: builds in a fraction of a second."""
    project.write("profiles/small.yaml", SMALL)
    project.env["STOKER_MIRROR"] = ngc
    done = project.inv("lock", "--profile", "small")
    assert done.returncode == 0, done.stderr
    project.commit("small profile")
    return project


@pytest.fixture(scope="session")
def cpu_bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """A workbench over this checkout with a state folder of the run's own."""
    program("mmdebstrap")
    return Workbench(ROOT, Store(tmp_path_factory.mktemp("cpu-state")), {}, Plain())


@pytest.fixture(scope="session")
def cpu_image(cpu_bench: Workbench) -> tuple[Workbench, Resolved, Image]:
    """The shipped cpu profile, really bootstrapped, resolved and built, once per run."""
    from images.build import build, resolve_profile

    resolved = resolve_profile(cpu_bench, "cpu")
    return cpu_bench, resolved, build(resolved)
