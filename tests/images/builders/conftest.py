"""An engine to build in, plans, and bases small enough to build on often."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from images.builders.engine import Engine, connect
from images.layers.sources import Sources, rendered
from images.layers.tar import Entry
from images.plan import Base, Config, ImagePlan, Input, Layer
from tests.conftest import program

PACKAGES = "usr/local/lib/python3.12/dist-packages"
PROGRAMS = ("sh", "cat", "sleep", "ls", "mkdir", "rm", "kill")


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Engine:
    """The engine that STOKER_TEST_DOCKER_HOST names, else one of the tests' own.

    Never the one of DOCKER_HOST: these tests build, tag and remove images in it.
    """
    return connect(os.environ.get("STOKER_TEST_DOCKER_HOST") or request.getfixturevalue("docker_host"))


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
        for path, mode, group in (("etc", 0o755, 0), ("tmp", 0o1777, 0), ("opt", 0o755, 0), (PACKAGES, 0o2775, 50)):
            member = tarfile.TarInfo(path)
            member.type, member.mode, member.gid = tarfile.DIRTYPE, mode, group
            archive.addfile(member)
        member = tarfile.TarInfo("etc/base-release")
        member.size = len(b"base\n")
        archive.addfile(member, io.BytesIO(b"base\n"))
    return out.getvalue()


@pytest.fixture(scope="session")
def base(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base in the engine, with some config of its own; its site-packages have Debian's mode and group."""
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


TEXTS = {
    # layer -> (path, text, mode): names that are hard to write, a file in both layers, files outside of our folder
    "wheels": (
        ("opt/stoker/site/pkg/__init__.py", "x = 1\n", 0o644),
        ("opt/stoker/site/pkg/naïve name $HOME with spaces*.txt", "ü\n", 0o644),
        ("opt/stoker/both", "first\n", 0o644),
        (f"{PACKAGES}/stoker.pth", "/opt/stoker/site\n", 0o644),
    ),
    "trainer": (
        ("opt/stoker/bin/run", "#!/bin/sh\n", 0o755),
        ("opt/stoker/both", "second\n", 0o755),
        ("etc/base-release", "replaced\n", 0o644),
    ),
}
LINKS = {"opt/stoker/current": "bin/run", "opt/stoker/folder-link": "bin"}


def inputs(layer: str) -> Iterator[Input]:
    for path, text, mode in TEXTS[layer]:
        yield rendered(f"{layer}/{path}", path, text, mode)
    for path, link in LINKS.items() if layer == "trainer" else ():
        yield Input("a link", path, hashlib.sha256(link.encode()).hexdigest(), 0, 0o644, link)


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
        layers=tuple(Layer(name, tuple(inputs(name))) for name in TEXTS),
        config=Config(
            env=(("KEPT", "ours now"), ("NASTY", "$HOME \\ \"q\" 's' ${x:-y} #\t`ls` \\"), ("EMPTY", "")),
            entrypoint=("/opt/stoker/bin/entry", "--with", 'a "quoted" \\ word'),
            cmd=("/bin/sh", "-c", "echo $HOME"),
            ports=("22/tcp", "8888/tcp"),
            labels=(("org.opencontainers.image.title", 'the "title" of $it'), ("base.label", "ours")),
            healthcheck=("/bin/cat", "/opt/stoker/ok file"),
        ),
    )


@pytest.fixture
def entries(plan: ImagePlan) -> dict[str, list[Entry]]:
    """What the plan's layers hold, and an empty folder."""
    sources = Sources(Path())
    for layer, texts in TEXTS.items():
        for path, text, mode in texts:
            sources.render(f"{layer}/{path}", path, text, mode)
    found = {layer.name: sources.entries(layer.files) for layer in plan.layers}
    found["trainer"].append(Entry("opt/stoker/empty", "dir"))
    return found


@pytest.fixture
def variant(plan: ImagePlan) -> Callable[..., ImagePlan]:
    """The plan with other config fields."""

    def make(**config: Any) -> ImagePlan:
        return replace(plan, config=replace(plan.config, **config))

    return make


APT_BASE = "stoker-test-apt"


@pytest.fixture(scope="session")
def apt_base(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Debian with apt, and in it a repository of one package: installing needs no network."""
    folder = tmp_path_factory.mktemp("apt")
    package = folder / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN/control").write_text(
        "Package: stoker-tool\nVersion: 1.0\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: a tool\n"
    )
    # As openssh-server does: keys made on installing.
    (package / "DEBIAN/postinst").write_text(
        "#!/bin/sh\nset -e\nmkdir -p /etc/ssh\ndate +%N > /etc/ssh/ssh_host_rsa_key\n"
        "useradd --system tool\ndate > /var/log/dpkg.log\n"
    )
    (package / "DEBIAN/postinst").chmod(0o755)
    (package / "usr/bin").mkdir(parents=True)
    (package / "usr/bin/stoker-tool").write_text("#!/bin/sh\necho it works\n")
    (package / "usr/bin/stoker-tool").chmod(0o755)
    repository = folder / "repository"
    repository.mkdir()
    build = ["dpkg-deb", "--root-owner-group", "--build", str(package), str(repository / "stoker-tool_1.0_all.deb")]
    subprocess.run(
        build, check=True, capture_output=True, env={"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": "1000000000"}
    )
    listed = (repository / "stoker-tool_1.0_all.deb").read_bytes()
    control = (package / "DEBIAN/control").read_text()
    (repository / "Packages").write_text(
        f"{control}Filename: ./stoker-tool_1.0_all.deb\nSize: {len(listed)}\n"
        f"SHA256: {hashlib.sha256(listed).hexdigest()}\n\n"
    )
    make = [program("mmdebstrap"), "--variant=apt", "--quiet", f"--customize-hook=copy-in {repository} /", "bookworm"]
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    made = subprocess.run(
        [
            *make[:-1],
            '--customize-hook=rm -f "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/sources.list',
            '--customize-hook=echo "deb [trusted=yes] file:/repository ./" > "$1/etc/apt/sources.list"',
            make[-1],
            str(folder / "root.tar"),
            *([str(sources)] if sources.exists() else []),
        ],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr[-2000:]
    with (folder / "root.tar").open("rb") as stream:
        engine.api.import_image_from_data(stream, repository=APT_BASE, tag="1")
    return f"{APT_BASE}:1"
