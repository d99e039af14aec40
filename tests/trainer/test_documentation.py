"""docs/trainer.md and docs/resume.md are true: their commands run in order, in an empty folder, on a real corpus."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainer.checkpoint import folder as checkpoints
from trainer.checkpoint import manifest
from trainer.metrics import log
from trainer.run.folder import losses

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/trainer.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
RESUME = (ROOT / "docs/resume.md").read_text(encoding="utf-8")
STORY, LOOKING_AFTER = re.findall(r"```console\n(.*?)```", RESUME, re.DOTALL)
SECONDS = 300.0  # a bound for what waits, not a measure


@pytest.fixture(scope="module")
def folder(tmp_path_factory, corpus) -> Path:
    """Where the reader is: `corpus/` holds plays."""
    return with_plays(tmp_path_factory.mktemp("reader"), corpus)


def with_plays(place: Path, corpus: Path) -> Path:
    (place / "corpus").mkdir()
    for play in sorted(corpus.iterdir())[:8]:
        (place / "corpus" / play.name).write_bytes(play.read_bytes())
    return place


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.defpath])
    env = {"PYTHONPATH": str(ROOT), "PATH": paths, "HOME": str(folder)}
    return subprocess.run(
        command,
        cwd=folder,
        env={**env, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line[:60])
def test_command(folder: Path, line: str):
    words = re.findall(r'"([^"]*)"|(\S+)', line)
    program, *arguments = [quoted or plain for quoted, plain in words]
    assert program == "python"
    done = run(folder, sys.executable, *arguments)
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.slow
def test_what_it_exports_is_loaded_as_the_page_says(folder: Path):
    more = 'print(tokenizer.decode(model.generate(**tokenizer("In the", return_tensors="pt"), max_new_tokens=5)[0]))'
    done = run(folder, sys.executable, "-c", f"{PYTHON[0]}\n{more}")
    assert done.returncode == 0 and done.stdout.startswith("In the"), done.stderr


def test_the_page_shows_the_whole_way():
    used = {line.split()[3] for line in COMMANDS if line.startswith("python -m trainer")}
    assert {"data", "train", "eval", "sample", "export", "inspect", "progress", "presets"} <= used
    assert len(PYTHON) == 1


@pytest.fixture(scope="module")
def told(tmp_path_factory, corpus) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Where the story of docs/resume.md was run, as one script, and what it said."""
    place = with_plays(tmp_path_factory.mktemp("night"), corpus)
    prepare = "python -m trainer data prepare corpus --out data/corpus --tokenizer bytes --val 0.02"
    prepared = run(place, "bash", "-c", prepare)
    assert prepared.returncode == 0, prepared.stderr
    return place, run(place, "bash", "-e", "-c", STORY)


@pytest.fixture(scope="module")
def looked_after(told) -> tuple[Path, dict[str, str]]:
    """What the page's other commands said, by the words behind `python -m trainer`."""
    place, said = told[0], {}
    for line in LOOKING_AFTER.splitlines():
        done = run(place, "bash", "-c", line)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        said[line.removeprefix("python -m trainer ")] = done.stdout + done.stderr
    return place, said


def ours(place: Path) -> list[str]:
    """Command lines of the living processes that work in this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            if (process / "cwd").resolve() == place or str(place) in words:
                found.append(words)
        except OSError:  # it has just ended
            continue
    return [words for words in found if words]


def steps(root: Path) -> list[int]:
    """Of the checkpoints that are there, newest first."""
    return [checkpoints.step_of(path.name) or 0 for path in checkpoints.found(root)]


@pytest.mark.slow
def test_the_story_is_told_to_its_end_and_the_killed_run_goes_on(told):
    place, done = told
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    starts = [line for line in log.read(place / "runs/night" / log.TRAINING) if line["event"] == "start"]
    assert len(starts) == 2, "one that was killed, one that came to the end"
    assert re.search(r"resuming from step-000000\d0\n", done.stderr)
    # raises when a step that was done twice gave another loss
    assert sorted(losses(place / "runs/night")) == list(range(1, 101))


@pytest.mark.slow
def test_all_is_at_the_backup_and_whole(told):
    place, done = told
    assert f"all checkpoints are at file://{place}/backup" in done.stderr
    here = [path.name for path in checkpoints.found(place / "elsewhere/night/checkpoints")]
    assert "step-00000100" in here
    verify = "python -m trainer checkpoints verify --all --remote file://$PWD/backup"
    listed = run(place, "bash", "-c", verify)
    assert listed.returncode == 0, listed.stdout
    there = steps(place / "backup/checkpoints")
    assert there[0] == 100 and len(there) >= 3


@pytest.mark.slow
def test_elsewhere_it_goes_on_from_the_same_step_with_the_same_history_on_another_number_of_ranks(told):
    place, done = told
    assert "resuming from step-00000100" in done.stderr and "ranks 2 -> 1" in done.stderr
    before, after = losses(place / "runs/night"), losses(place / "elsewhere/night")
    assert {step: after[step] for step in before} == before
    assert sorted(after) == list(range(1, 121))
    (newest, *_) = checkpoints.found(place / "elsewhere/night/checkpoints")
    content = manifest.read(newest)
    parent = manifest.read(place / "elsewhere/night/checkpoints/step-00000100")
    assert content["lineage"]["parent"] == {"checkpoint": "step-00000100", "sha256": parent["sha256"]}


@pytest.mark.slow
def test_nothing_is_left_running(told):
    place, _ = told
    deadline = time.monotonic() + SECONDS
    while ours(place) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert ours(place) == []
    with subprocess.Popen(["sleep", "60"], cwd=place) as sleeper:
        while not ours(place) and sleeper.poll() is None:  # its words are there a moment after it is
            time.sleep(0.01)
        seen = ours(place)
        sleeper.kill()
    assert seen == ["sleep 60 "], "the look finds what works here"


@pytest.mark.slow
def test_the_commands_for_looking_after_checkpoints_say_what_the_page_says(looked_after):
    place, said = looked_after
    assert (
        "step-00000100" in said["checkpoints runs/night"]
        and "step-00000100" in said["checkpoints --remote file://$PWD/backup"]
    )
    assert "whole" in said["checkpoints verify runs/night"]
    best = place / said["checkpoints best runs/night"].strip()
    assert best == checkpoints.pointed(place / "runs/night/checkpoints", checkpoints.BEST)
    assert re.search(r"engine\.world +2 -> 1", said["checkpoints diff runs/night elsewhere/night"])
    (weights,) = checkpoints.found(place / "only/weights/checkpoints")
    assert not manifest.resumable(manifest.read(weights)) and not list(weights.glob("optimizer-*"))
    whole = place / "elsewhere/night/checkpoints/step-00000100"
    sizes = [sum(file.stat().st_size for file in one.iterdir()) for one in (weights, whole)]
    assert 0.30 < sizes[0] / sizes[1] < 0.36, "a third"
    assert set(checkpoints.found(place / "runs/night/checkpoints")) == {best, best.with_name("step-00000100")}


def test_the_layouts_that_the_page_shows_are_those_of_the_code():
    from trainer.sync import runfiles

    block = RESUME.partition("```\nURL/\n")[2].partition("```")[0]
    names = re.findall(r"[\w*.]+\.\w+|\w+/", block.partition("run/ ")[2])
    assert set(names) == {*runfiles.SETTINGS, runfiles.WORDS, runfiles.LINES, f"{runfiles.TOKENIZER}/"}


def test_every_variable_that_the_page_names_is_one_that_is_read():
    read = "\n".join(
        path.read_text(encoding="utf-8") for root in ("trainer", "templates/run") for path in sources(ROOT / root)
    )
    named = set(re.findall(r"\b(?:STOKER|HF|WANDB)_[A-Z_]+\b", RESUME))
    assert len(named) > 15
    assert {name for name in named if name not in read} == set()


def sources(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and path.suffix in ("", ".py")]


def test_the_story_is_five_commands():
    first, _, again, *_ = lines = STORY.splitlines()
    assert len(lines) == 5 and first == f"{again} &", "the same command goes on"
