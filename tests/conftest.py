"""What tests share: a registry, an engine, a bootstrapped base. Real ones, started for the test run and stopped after.

Missing programs are installed when root on Debian; otherwise the tests that need them are skipped, and with CI=true
they fail: a green run must mean that everything ran.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from images import system
from images.progress import Plain
from profiles.errors import StokerError

ROOT = Path(__file__).resolve().parent.parent


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
    with running_dockerd(tmp_path_factory.mktemp("engine")) as address:
        before = os.environ.get("DOCKER_HOST")
        os.environ["DOCKER_HOST"] = address
        yield address
        os.environ.pop("DOCKER_HOST") if before is None else os.environ.update(DOCKER_HOST=before)
