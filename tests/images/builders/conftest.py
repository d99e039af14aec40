"""An engine to build in, plans, and bases small enough to build on often."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from images.builders.engine import Engine, connect
from images.layers.tar import Entry
from images.plan import Base, Config, ImagePlan, Layer
from profiles.errors import OutsideFailed

PROGRAMS = ("sh", "cat", "sleep", "ls", "mkdir", "rm", "kill")


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Engine:
    """The engine that DOCKER_HOST names, when it answers; else one of the tests' own."""
    if given := os.environ.get("DOCKER_HOST"):
        try:
            return connect(given)
        except OutsideFailed:
            pass
    return connect(request.getfixturevalue("docker_host"))


def rootfs(folder: Path) -> bytes:
    """A tar of this machine's shell and a few programs with the libraries they need: a base that can RUN."""
    out = io.BytesIO()
    found: set[str] = set()
    with tarfile.open(fileobj=out, mode="w", dereference=True) as archive:
        for name in PROGRAMS:
            program = shutil.which(name) or ""
            listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
            found |= set(re.findall(r"(/\S+)", listed))
            archive.add(program, f"bin/{name}")
        for library in sorted(found):
            archive.add(library, library.lstrip("/"))
        for path, mode in (("etc", 0o755), ("tmp", 0o1777), ("opt", 0o750), ("opt/stoker", 0o700)):
            member = tarfile.TarInfo(path)
            member.type, member.mode = tarfile.DIRTYPE, mode
            archive.addfile(member)
        member = tarfile.TarInfo("etc/base-release")
        member.size = len(b"base\n")
        archive.addfile(member, io.BytesIO(b"base\n"))
    return out.getvalue()


@pytest.fixture(scope="session")
def base(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base in the engine, with some config of its own; its /opt and /opt/stoker have unusual modes."""
    changes = [
        "ENV PATH=/usr/bin:/bin",
        'ENV KEPT="from the base"',
        "LABEL base.label=kept",
        'ENTRYPOINT ["/base-entrypoint"]',
        'CMD ["base"]',
        "EXPOSE 1234",
        "WORKDIR /tmp",
    ]
    data = rootfs(tmp_path_factory.mktemp("rootfs"))
    engine.api.import_image(data, repository="stoker-test-base", tag="1", changes=changes)
    return "stoker-test-base:1"


@pytest.fixture(scope="session")
def plan() -> ImagePlan:
    """Two layers and a config that uses every field."""
    return ImagePlan(
        profile="test",
        version="0.1.0",
        commit="c" * 40,
        dirty=False,
        created="2026-01-02T03:04:05Z",
        platform="linux/amd64",
        base=Base("debian:bookworm", "sha256:" + "d" * 64, "debian"),
        layers=(Layer("wheels"), Layer("trainer")),
        config=Config(
            env=(("KEPT", "ours now"), ("NASTY", "$HOME \\ \"q\" 's' ${x:-y} #\t`ls` \\"), ("EMPTY", "")),
            entrypoint=("/opt/stoker/bin/entry", "--with", 'a "quoted" \\ word'),
            cmd=("/bin/sh", "-c", "echo $HOME"),
            ports=("22/tcp", "8888/tcp"),
            labels=(("org.opencontainers.image.title", 'the "title" of $it'), ("base.label", "ours")),
            healthcheck=("/bin/cat", "/opt/stoker/ok file"),
        ),
    )


def text_entry(path: str, text: str, mode: int = 0o644) -> Entry:
    data = text.encode()
    return Entry(path, "file", mode, len(data), lambda: io.BytesIO(data))


@pytest.fixture
def entries() -> dict[str, list[Entry]]:
    """What the plan's two layers hold: modes, links, folders, names that are hard to write, a file in both."""
    return {
        "wheels": [
            text_entry("opt/stoker/site/pkg/__init__.py", "x = 1\n"),
            text_entry("opt/stoker/site/pkg/naïve name with spaces.txt", "ü\n"),
            text_entry("opt/stoker/both", "first\n"),
            text_entry("etc/base-release", "replaced\n"),
        ],
        "trainer": [
            text_entry("opt/stoker/bin/run", "#!/bin/sh\n", 0o755),
            text_entry("opt/stoker/both", "second\n", 0o755),
            Entry("opt/stoker/empty", "dir"),
            Entry("opt/stoker/current", "symlink", link="bin/run"),
            Entry("opt/stoker/folder-link", "symlink", link="bin"),
        ],
    }


@pytest.fixture
def variant(plan: ImagePlan) -> Callable[..., ImagePlan]:
    """The plan with other config fields."""

    def make(**config: Any) -> ImagePlan:
        return replace(plan, config=replace(plan.config, **config))

    return make
