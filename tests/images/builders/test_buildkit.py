"""Builds with BuildKit: the command line per route, and real builds that succeed, fail, and are interrupted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from images.builders import buildkit
from images.builders.buildkit import Options, Outcome
from images.builders.engine import Engine
from images.builders.route import Route
from images.progress import Progress, Silent
from profiles.errors import OutsideFailed, WrongInput
from tests.images.builders.compare import from_archive

CLIENT = Route("/usr/bin/docker", (20, 10, 24))
BUILDX = Route("/x/docker", (26, 1, 5), (0, 13, 1), "docker", True)
APART = Route("/x/docker", (26, 1, 5), (0, 13, 1), "docker-container", True, True)
MINUTE = 60
OFFLINE, QUIET = Options(network="none"), Silent()


def line(
    route: Route, *, push: bool = False, options: Options | None = None, tags: tuple[str, ...] = ("r/n:t",)
) -> list[str]:
    outcome = Outcome(Path("/scratch"))
    return buildkit.command(route, Path("/ctx"), "linux/amd64", 7, tags, push, options or Options(), outcome)


def test_the_old_client_gets_what_it_knows() -> None:
    assert line(CLIENT) == [
        *("/usr/bin/docker", "build", "--progress=plain", "--platform=linux/amd64"),
        *("--build-arg=SOURCE_DATE_EPOCH=7", "--iidfile=/scratch/id", "--tag=r/n:t", "/ctx"),
    ]


def test_buildx_attests_nothing_and_tells_the_digest() -> None:
    found = line(BUILDX)
    assert found[:3] == ["/x/docker", "buildx", "build"]
    assert {"--provenance=false", "--sbom=false", "--metadata-file=/scratch/metadata.json"} <= set(found)
    assert not any(word.startswith("--output") for word in found)


def test_a_builder_outside_the_engine_is_told_where_to_put_the_image() -> None:
    assert "--output=type=docker,rewrite-timestamp=true" in line(APART)
    assert "--output=type=image,push=true,rewrite-timestamp=true" in line(APART, push=True)
    assert "--allow=network.host" in line(APART, options=Options(network="host"))


def test_secrets_are_files_by_id_whatever_their_path() -> None:
    found = line(CLIENT, options=Options(secrets={"apt-auth": Path("/home/a,b/netrc")}))
    assert '--secret=id=apt-auth,"src=/home/a,b/netrc"' in found


def test_caches_go_where_they_are_known() -> None:
    options = Options(cache_from=("r/cache",), cache_to=("type=registry,ref=r/cache",))
    assert {"--cache-from=r/cache", "--cache-to=type=registry,ref=r/cache"} <= set(line(BUILDX, options=options))
    with pytest.raises(WrongInput, match="cannot export a cache"):
        line(CLIENT, options=options)


def test_a_push_needs_a_tag() -> None:
    with pytest.raises(WrongInput, match="no tag"):
        line(CLIENT, push=True, tags=())


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ("nvcr.io/nvidia/pytorch:25.06-py3: unauthorized", "docker login nvcr.io"),
        ("E: Unable to locate package nosuch", "system packages"),
        ("Temporary failure resolving 'deb.debian.org'", "network"),
        ("write /x: no space left on device", "free some space"),
        ("exit code: 1", "docker build /ctx"),
    ],
)
def test_every_failure_has_a_next_step(said: str, step: str) -> None:
    assert step in buildkit.advice(said, Path("/ctx"))


# From here on in a real engine.


def context(folder: Path, *lines: str) -> Path:
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    return folder


def run(
    engine: Engine,
    folder: Path,
    tag: str,
    *,
    options: Options = OFFLINE,
    push: bool = False,
    progress: Progress = QUIET,
) -> buildkit.Built:
    return buildkit.run(
        folder, "linux/amd64", 1_700_000_000, engine=engine, tags=[tag], options=options, push=push, progress=progress
    )


@pytest.mark.slow
def test_a_build_names_the_image_and_counts_what_was_cached(engine: Engine, base: str, tmp_path: Path) -> None:
    folder = context(tmp_path, f"FROM {base}", f"RUN echo {time.time_ns()}")
    first = run(engine, folder, "stoker-test-build:1")
    assert engine.inspect("stoker-test-build:1")["Id"] == first.image_id
    assert (first.digest, first.cached) == (None, 0)
    again = run(engine, folder, "stoker-test-build:2")
    assert again.cached == 1


@pytest.mark.slow
def test_a_failing_step_is_told_with_its_last_words(engine: Engine, base: str, tmp_path: Path) -> None:
    folder = context(tmp_path, f"FROM {base}", "RUN echo all is lost >&2; exit 42")
    with pytest.raises(OutsideFailed, match=r"\[.*2/2\] RUN .*all is lost.*42"):
        run(engine, folder, "stoker-test-fail:1")


@pytest.mark.slow
def test_a_missing_base_is_told(engine: Engine, registry: str, tmp_path: Path) -> None:
    folder = context(tmp_path, f"FROM {registry}/no/such@sha256:{'0' * 64}")
    with pytest.raises(OutsideFailed, match=r"(?i)not found|manifest unknown"):
        run(engine, folder, "stoker-test-missing:1")


@pytest.mark.slow
def test_a_secret_reaches_the_step_and_nothing_else(engine: Engine, base: str, tmp_path: Path) -> None:
    secret = tmp_path / "a, b.netrc"
    secret.write_text("machine x password hunter2-very-secret\n")
    folder = tmp_path / "context"
    folder.mkdir()
    mount = "--mount=type=cache,target=/var/cache/apt --mount=type=secret,id=apt-auth,target=/var/cache/apt/apt-auth"
    context(folder, f"FROM {base}", f"RUN {mount} cat /var/cache/apt/apt-auth > /dev/null && ls /var/cache/apt")
    run(
        engine,
        folder,
        "stoker-test-secret:1",
        options=Options(secrets={"apt-auth": secret}, network="none", no_cache=True),
    )
    archive = b"".join(engine.save("stoker-test-secret:1"))
    assert b"hunter2" not in archive
    files = from_archive([archive], tmp_path).files
    assert "var/cache/apt/apt-auth" not in files, "the mount leaves no stub either"


class Interrupt(Silent):
    """Ctrl-C once the slow step runs."""

    def note(self, text: str) -> None:
        if "sleep" in text:
            raise KeyboardInterrupt

    @contextmanager
    def meter(self, label: str, total: int | None = None, unit: str = "bytes") -> Iterator[Interrupt]:
        yield self


def descendants(pid: int) -> set[int]:
    """Processes below `pid`, from /proc."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found: set[int] = set()
    while fresh := {child for child, parent in parents.items() if parent in {pid, *found}} - found:
        found |= fresh
    return found


@pytest.mark.slow
def test_ctrl_c_leaves_neither_the_command_nor_its_step(engine: Engine, base: str, tmp_path: Path) -> None:
    mark = f"98765.{time.time_ns() % 10_000}"
    folder = context(tmp_path, f"FROM {base}", f"RUN sleep {mark}")
    before = descendants(os.getpid())
    with pytest.raises(KeyboardInterrupt):
        run(engine, folder, "stoker-test-interrupt:1", progress=Interrupt())
    until = time.monotonic() + MINUTE
    while (sleeping(mark) or descendants(os.getpid()) - before) and time.monotonic() < until:
        time.sleep(0.05)  # the engine, which is a child of ours here, cancels in its own time
    assert not sleeping(mark)
    assert descendants(os.getpid()) - before == set()
    assert not engine.has("stoker-test-interrupt:1")


def sleeping(mark: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == f"sleep\0{mark}\0".encode():
                return True
        except OSError:
            continue
    return False


@pytest.mark.slow
def test_a_build_can_be_pushed(engine: Engine, base: str, registry: str, tmp_path: Path) -> None:
    import urllib.request

    reference = f"{registry}/built/test:1"
    built = run(engine, context(tmp_path, f"FROM {base}", "LABEL a=b"), reference, push=True)
    assert built.digest is not None
    with urllib.request.urlopen(f"http://{registry}/v2/built/test/manifests/{built.digest}", timeout=10) as answer:
        assert answer.status == 200


def test_a_command_that_cannot_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(OutsideFailed, match="cannot run"), buildkit.own_group([str(tmp_path / "docker")], {}):
        pass


def test_a_child_that_ignores_the_interrupt_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buildkit, "PATIENCE", 0.2)
    script = "trap '' INT; (trap '' INT; sleep 1000) & echo ready; wait"
    with pytest.raises(KeyboardInterrupt), buildkit.own_group(["/bin/sh", "-c", script], dict(os.environ)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        raise KeyboardInterrupt
    assert child.poll() is not None
    assert gone(child.pid), "the grandchild too"


def gone(group: int) -> bool:
    """Whether the process group is empty, at the latest when init has buried its orphans."""
    until = time.monotonic() + MINUTE
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False
