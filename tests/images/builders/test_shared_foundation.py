"""One machine with Docker is enough: the foundation it built is found in the registry by all others."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from images.builders.engine import Engine
from tests.conftest import Project

pytestmark = pytest.mark.slow

PROFILE = """\
description: A base that needs a package.
base: {{image: "{base}"}}
precision: fp32
system: {{packages: [stoker-tool]}}
volume: /workspace
"""


@pytest.fixture
def needy(project: Project, engine: Engine, apt_base: str, registry: str) -> Project:
    """A checkout with a locked profile whose base lies in the registry and whose packages need RUN."""
    text = f"FROM {apt_base}\nENV PYTHON_VERSION=3.11.2\n"
    engine.client.images.build(fileobj=io.BytesIO(text.encode()), tag=f"{registry}/apt/base:1", rm=True)
    engine.push(f"{registry}/apt/base:1")
    project.write("profiles/needy.yaml", PROFILE.format(base=f"{registry}/apt/base:1"))
    project.env["STOKER_BUILD_NETWORK"] = "none"
    done = project.inv("lock", "--profile", "needy")
    assert done.returncode == 0, done.stderr
    project.commit("needy")
    return project


def test_built_once_then_found_by_machines_without_docker(
    needy: Project, registry: str, docker_host: str, tmp_path: Path
):
    target = f"{registry}/{tmp_path.name.lower()}"
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/nothing.sock"}
    refused = needy.inv("push", "--profile", "needy", "--registry", target, **nowhere)
    assert refused.returncode == 3
    assert "stoker-tool" in refused.stderr and "BuildKit" in refused.stderr

    [first] = needy.json("push", "--profile", "needy", "--registry", target, DOCKER_HOST=docker_host)
    other = {**nowhere, "STOKER_HOME": str(tmp_path / "another machine")}
    [second] = needy.json("push", "--profile", "needy", "--registry", target, **other)
    assert second["digest"] == first["digest"]
    assert second["bytes_sent"] == 0


def test_the_package_is_in_the_image_and_works(needy: Project, registry: str, docker_host: str, engine: Engine):
    target = f"{registry}/needy/works"
    [row] = needy.json("push", "--profile", "needy", "--registry", target, DOCKER_HOST=docker_host)
    engine.api.pull(row["pushed"])
    # The tiny base has no Python, so our own entrypoint cannot run in it.
    with engine.running(row["pushed"], [], entrypoint=["/usr/bin/stoker-tool"], network="none") as container:
        assert container.wait(60) == 0
        assert "it works" in container.output()
