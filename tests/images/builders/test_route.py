"""The way to BuildKit among the command lines people have: real programs here, that answer as those do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from images.builders import route
from profiles.errors import OutsideFailed

Install = Callable[..., str]
OLD, NEW = (20, 10, 24), (26, 1, 5)

# What each prints, taken from the real ones.
DEBIAN_12 = "Docker version 20.10.24+dfsg1, build 297e128"
STATIC_28 = "Docker version 28.2.2, build e6534b4"
DEBIAN_13 = "Docker version 26.1.5+dfsg1, build a72d7cd"
PODMAN = "podman version 4.3.1"
BUILDX_DEBIAN = "github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3"
BUILDX_DOCKER = "github.com/docker/buildx v0.17.1 257815a"
IN_ENGINE = "Name:   default\nDriver: docker\n\nNodes:\nName:             default\nBuildKit version: v0.0.0+unknown\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a `docker` into a folder of its own and returns the folder."""
    monkeypatch.setattr(route, "ALSO", ())

    def make(name: str, version: str, buildx: str = "", inspect: str = "") -> str:
        folder = tmp_path / name
        folder.mkdir()
        program = folder / "docker"
        program.write_text(
            "#!/bin/sh\n"
            f"case \"$*\" in\n--version) echo '{version}';;\n"
            + (f"'buildx version') echo '{buildx}';;\n'buildx inspect') printf '%s' '{inspect}';;\n" if buildx else "")
            + "*) echo 'docker: unknown command' >&2; exit 1;;\nesac\n"
        )
        program.chmod(0o755)
        return str(folder)

    return make


def find(engine: tuple[int, ...], *folders: str) -> route.Route:
    return route.find(engine, {"PATH": ":".join(folders)})


def test_debians_old_cli_carries_the_client(install: Install) -> None:
    folder = install("debian", DEBIAN_12)
    assert find(OLD, folder) == route.Route(f"{folder}/docker", OLD)


def test_a_newer_cli_without_the_plugin_is_passed_over(install: Install) -> None:
    static, debian = install("static", STATIC_28), install("debian", DEBIAN_12)
    assert find(OLD, static, debian).docker == f"{debian}/docker"


def test_buildx_is_preferred_wherever_it_is(install: Install) -> None:
    debian, newer = install("debian", DEBIAN_12), install("newer", DEBIAN_13, BUILDX_DEBIAN, IN_ENGINE)
    found = find(NEW, debian, newer)
    assert (found.docker, found.buildx, found.driver) == (f"{newer}/docker", (0, 13, 1), "docker")
    assert found.in_engine
    assert found.link


def test_inside_an_old_engine_buildx_knows_no_link_either(install: Install) -> None:
    newer = install("newer", DEBIAN_13, BUILDX_DOCKER, IN_ENGINE)
    assert not find(OLD, newer).link


@pytest.mark.parametrize(
    ("buildkit", "link", "rewrite"), [("v0.9.3", False, False), ("v0.12.5", True, False), ("v0.15.2", True, True)]
)
def test_a_builder_of_its_own_counts_by_its_buildkit(
    install: Install, buildkit: str, link: bool, rewrite: bool
) -> None:
    inspect = f"Name: b\nDriver: docker-container\n\nNodes:\nName: b0\nBuildKit version: {buildkit}\n"
    found = find(OLD, install("newer", DEBIAN_13, BUILDX_DOCKER, inspect))
    assert (found.driver, found.in_engine) == ("docker-container", False)
    assert (found.link, found.rewrite) == (link, rewrite)


def test_podmans_shim_is_not_docker(install: Install) -> None:
    with pytest.raises(OutsideFailed, match="not Docker's"):
        find(NEW, install("podman", PODMAN))


def test_no_way_is_an_error_that_names_what_was_found(install: Install) -> None:
    with pytest.raises(OutsideFailed, match=r"28\.2\.2 \(no buildx\)") as caught:
        find(NEW, install("static", STATIC_28))
    assert caught.value.exit_code == 3
    assert "buildx" in caught.value.next_step
    assert "--builder append" in caught.value.next_step


def test_no_docker_at_all_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "ALSO", ())
    with pytest.raises(OutsideFailed, match="no docker command on PATH"):
        find(NEW, str(tmp_path))


def test_one_program_under_two_names_is_asked_once(install: Install, tmp_path: Path) -> None:
    folder = install("debian", DEBIAN_12)
    (tmp_path / "link").symlink_to(folder)
    assert route.candidates(f"{tmp_path / 'link'}:{folder}") == [f"{tmp_path / 'link'}/docker"]


def test_a_cli_that_hangs_or_breaks_is_passed_over(install: Install, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "docker").write_bytes(b"\x7fELF not really")
    (broken / "docker").chmod(0o755)
    debian = install("debian", DEBIAN_12)
    assert find(OLD, str(broken), debian).docker == f"{debian}/docker"
