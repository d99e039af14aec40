"""The README is true: every command in it runs, and does what the text says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Project, make_project

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def commands(path: Path) -> list[str]:
    return [line for block in BLOCK.findall(path.read_text(encoding="utf-8")) for line in block.splitlines()]


README = commands(ROOT / "README.md")
# What another test runs; `./inv test` would call itself.
ELSEWHERE = {"./inv test"}


def test_the_two_commands_stand_first():
    assert README[:2] == ["./inv build --profile cpu", "./inv test"]


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory, registry: str, ngc: str, cpu_bench) -> tuple[Project, str]:
    """A clone in which the tour is made, in order; it shares the wheels and base of the run."""
    folder = tmp_path_factory.mktemp("tour")
    (folder / "home").mkdir()
    project = make_project(folder / "checkout", folder / "home")
    project.env["STOKER_HOME"] = str(cpu_bench.store.root)
    project.env["STOKER_MIRROR"] = ngc
    return project, registry


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in README if line not in ELSEWHERE], ids=lambda line: line[:70])
def test_command(tour: tuple[Project, str], docker_host: str, line: str):
    project, registry = tour
    line = line.replace("127.0.0.1:5000", registry)
    if "TAG" in line:
        rows = [row for row in project.json("images") if row["tag"].startswith("cpu-")]
        line = line.replace("OTHER", rows[0]["tag"]).replace("TAG", rows[0]["tag"])
    program, *arguments = line.split()
    assert program == "./inv"
    done = project.inv(*arguments, DOCKER_HOST=docker_host)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


SEEDS = (ROOT / "docs/seeds.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/.]+)`", SEEDS))))
def test_every_test_named_by_the_seeds_table_is_there(path: str):
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"--(?:profile|show) ([\w-]+)", SEEDS))))
def test_every_profile_named_by_the_seeds_table_is_there(name: str):
    assert (ROOT / "profiles" / f"{name}.yaml").is_file()


def test_every_document_the_readme_links_to_is_there():
    for link in re.findall(r"\]\(([\w/.]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / link).is_file(), link
