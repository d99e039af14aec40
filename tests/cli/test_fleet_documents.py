"""The fleet's commands in the documents: each is understood, and each that needs no machine of its own does what it
says, typed against simulated providers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.fleet_command import Stage, staged
from tests.conftest import ROOT
from tests.fleet.deploy.built import Built, build_small

PAGES = [ROOT / "README.md", ROOT / "docs/providers.md", ROOT / "docs/seeds.md", ROOT / "docs/resume.md"]
TASKS = (
    *("offers", "deploy", "status", "balance", "logs", "ssh", "stop", "terminate", "reconcile"),
    *("ledger", "resume", "watch", "report"),
)
LINE = re.compile(rf"\./inv ((?:{'|'.join(TASKS)})\b[^`\n#]*)")
OURS = re.compile(r"\b[A-Z]{2,}\b|\$PWD|\.\.\.|<")  # a word for the reader to fill in, or a folder of theirs
REMAINS = ("logs", "ssh", "stop", "resume", "watch", "report")  # of a run that has to be there: `night` or `tour`


def lines(*pages: Path) -> list[str]:
    """What follows ./inv in code of these pages, each once."""
    texts = [page.read_text(encoding="utf-8").replace("\\\n", " ") for page in pages]
    found = {" ".join(line.split()) for text in texts for line in LINE.findall(text)}
    return sorted(line.rstrip(" &.,;:)") for line in found)


LINES = lines(*PAGES)
TYPED = [
    line
    for line in LINES
    if not OURS.search(line)
    and line.split()[0] not in REMAINS
    and not re.search(r" (night|tour)\b", line)
    and "--provider local" not in line
]


@pytest.mark.parametrize("line", LINES)
def test_every_command_of_the_fleet_in_the_documents_is_understood(line: str):
    from cli.program import opened

    words = shlex.split(line)
    known = {name for argument in opened().namespace[words[0]].get_arguments() for name in argument.names}
    flags = {word.partition("=")[0].removeprefix("--") for word in words if word.startswith("--")}
    assert flags <= {name.replace("_", "-") for name in known} | known


def test_the_documents_name_every_task_of_the_fleet():
    assert {line.split()[0] for line in LINES} == set(TASKS)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, registry: str, ngc: str) -> Built:
    return build_small(tmp_path_factory.mktemp("built"), registry, ngc, "documented")


@pytest.fixture
def stage(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Stage]:
    """A user with keys of all three and one for SSH, whose stoker.yaml names a profile that is built and pushed."""
    (tmp_path / "user" / ".ssh").mkdir(parents=True)
    (tmp_path / "user" / ".ssh" / "id_ed25519").write_text("never read: nothing is ordered\n", encoding="utf-8")
    state = built.copy_state(tmp_path / "state")
    names = ("runpod", "vast", "hyperbolic")
    with staged(tmp_path / "user", state, monkeypatch, capsys, names, bodies="process") as here:
        (here.folder / "stoker.yaml").write_text(f"profile: {built.profile}\n", encoding="utf-8")
        yield here


@pytest.mark.slow
@pytest.mark.parametrize("line", TYPED)
def test_every_command_of_the_fleet_that_stands_alone_succeeds(stage: Stage, built: Built, line: str):
    """`--profile` is the one that is built here, whichever the page names: what is shown is the task, not the image."""
    words = shlex.split(re.sub(r"--profile [\w-]+", f"--profile {built.profile}", line))
    if words[0] == "deploy" and not {"--yes", "--auto-launch", "--dry-run"} & set(words):
        said = stage(*words)  # it asks, and nobody is here
        assert said.code == 4 and "rent a machine for" in said.err, said.err
        return
    said = stage(*words)
    assert said.code == 0, said.err
    rented = [row for name in ("runpod", "vast", "hyperbolic") for row in stage.truth(name)]
    assert len(rented) == (words[0] == "deploy" and "--dry-run" not in words)
