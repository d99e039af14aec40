"""The README is true: every command in it runs, and does what the text says."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Project, make_project
from trainer.commands import COMMANDS, train
from trainer.config import Config
from trainer.config.presets import PRESETS, configured
from trainer.config.read import apply_text
from trainer.model.count import count

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
    program, *arguments = line.replace("$PWD", str(project.root)).split()
    assert program in ("./inv", "python")
    done = trained(project, *arguments) if program == "python" else project.inv(*arguments, DOCKER_HOST=docker_host)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def trained(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python ...` in the checkout, whose trainer it finds there; a machine without torch skips, but not CI."""
    if os.environ.get("CI") != "true":
        pytest.importorskip("torch")
    env = {**project.env, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=project.root, env=env, capture_output=True, text=True, check=False
    )


SEEDS = (ROOT / "docs/seeds.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (S\d-\d+) \| (.+) \| (.+) \|$", re.MULTILINE)
ANSWERS = "\n".join(answer for _, _, answer in ROW.findall(SEEDS))  # what is asked for quotes names that never were
# The checklist's rows by section of the table, so that none can be lost.
ROWS = {
    "The image": "S1-13 S1-15 S1-17 S1-59..60 S2-22 S2-28 S3-1..3 S3-8..10 S3-25..28 S3-36..39 S3-49",
    "The trainer": """
        S0-36 S0-52 S0-74
        S1-1..3 S1-6..10 S1-14 S1-22..27 S1-31..46 S1-49..51 S1-55..58 S1-61 S1-66 S1-68 S1-70 S1-93..94 S1-96 S1-98
        S1-100..103
        S2-3..4 S2-7..10 S2-13 S2-15 S2-21 S2-23..27 S2-29..35 S2-38 S2-59 S2-61..62 S2-67..69 S2-74..75
        S3-14..20 S3-23 S3-30..34 S3-40 S3-44..47 S3-50 S3-52..59
        S4-1 S4-17 S4-22 S4-24..25 S4-27""",
    "Checkpoints": """
        S0-64..65
        S1-4 S1-12 S1-19..21 S1-52 S1-62..64 S1-84..92 S1-97 S1-99
        S2-14 S2-36 S2-39..45 S2-60 S2-64..66 S2-72..73 S2-76
        S4-2..4 S4-7..8 S4-10..11 S4-13..15 S4-18..21 S4-23 S4-26 S4-28 S4-30..31""",
    "Metrics and logs": """
        S0-62..63
        S1-11 S1-28..30 S1-53..54 S1-65 S1-67 S1-69 S1-71..83
        S2-37 S2-46..56 S2-70..71
        S3-43 S3-48
        S4-16 S4-29""",
}
SHOWN = re.compile(r"`tests/|`docs/|`python -m trainer |`\./inv |refuted|not yet|\bsee S\d-\d+")


def expanded(ids: str) -> list[str]:
    """S1-2..4 as S1-2, S1-3, S1-4."""
    found = [re.fullmatch(r"(S\d)-(\d+)(?:\.\.(\d+))?", word) for word in ids.split()]
    return [f"{one[1]}-{n}" for one in found if one for n in range(int(one[2]), int(one[3] or one[2]) + 1)]


def named(pattern: str, text: str = SEEDS) -> list[str]:
    return sorted(set(re.findall(pattern, text)))


@pytest.mark.parametrize("section", ROWS)
def test_the_seeds_table_has_each_row_of_the_checklist_once_and_in_order(section: str):
    text = SEEDS.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    assert [row[0] for row in ROW.findall(text)] == expanded(ROWS[section])


@pytest.mark.parametrize(("row", "answer"), [(row, answer) for row, _, answer in ROW.findall(SEEDS)])
def test_every_row_names_what_shows_or_refutes_it(row: str, answer: str):
    assert SHOWN.search(answer)
    assert set(re.findall(r"\bS\d-\d+\b", answer)) <= {one[0] for one in ROW.findall(SEEDS)} - {row}


@pytest.mark.parametrize("path", named(r"`((?:tests|docs|trainer)/[\w/.-]*)`"))
def test_every_path_named_by_the_seeds_table_is_there(path: str):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("link", named(r"\]\(([\w/.]+)\)"))
def test_every_document_the_seeds_table_links_to_is_there(link: str):
    assert (ROOT / "docs" / link).is_file()


@pytest.mark.parametrize("name", named(r"--(?:profile|show) (\w[\w-]*)"))
def test_every_profile_named_by_the_seeds_table_is_there(name: str):
    assert (ROOT / "profiles" / f"{name}.yaml").is_file()


@pytest.mark.parametrize("name", named(r"(?:--preset|trainer presets) (\w[\w.-]*)"))
def test_every_preset_named_by_the_seeds_table_is_there(name: str):
    assert name in PRESETS


@pytest.mark.parametrize("line", named(r"`python -m trainer ([^`]+)`"))
def test_every_trainer_command_named_by_the_seeds_table_is_understood(line: str):
    """Its flags are known, and what it would train with passes every check."""
    parser = argparse.ArgumentParser()
    parts = parser.add_subparsers(required=True)
    for one in COMMANDS:
        one.register(parts)
    options = parser.parse_args(line.split())
    if options.act is train.run:
        options.config, options.show = [], True  # FILE is the reader's own
        train.resolved(options)


KEY = rf"(?<![\w./-])((?:{'|'.join(one.name for one in dataclasses.fields(Config))})\.\w+(?:=[\w.-]+)?)(?![\w/])"


@pytest.mark.parametrize("key", sorted({key for text in named(r"`([^`]+)`", ANSWERS) for key in named(KEY, text)}))
def test_every_config_key_named_by_the_seeds_table_is_there(key: str):
    config = Config()
    if "=" in key:
        apply_text(config, [key])
    else:
        section, name = key.split(".")
        assert hasattr(getattr(config, section), name)


def test_the_sizes_of_checkpoints_in_the_seeds_table_follow_from_the_shapes():
    """fp32 weights, and AdamW's two moments or Muon's one: 4 bytes each."""
    answers = {row: answer for row, _, answer in ROW.findall(SEEDS)}
    deep, guide = (count(configured(PRESETS[name]).model).total for name in ("chars-d64", "gpt2-1b-guide"))
    for row, number in (
        ("S2-40", f"are {4 * deep / 1e9:.1f} GB"),
        ("S2-40", f"8 ranks {4 * deep / 8e9:.1f} GB each"),
        ("S2-41", f"are {8 * deep / 1e9:.1f} GB, 8 x {deep / 1e9:.1f} GB"),
        ("S2-43", f"{12 * deep / 1e9:.1f} GB each"),
        ("S2-43", f"31 are {31 * 12 * deep / 1e12:.2f} TB"),
        ("S2-43", f"Muon {8 * deep / 1e9:.0f} GB and {31 * 8 * deep / 1e12:.1f} TB"),
        ("S2-43", f"the best are {4 * 12 * deep / 1e9:.0f} GB"),
        ("S1-87", f"{12 * guide / 1e9:.2f} GB each"),
    ):
        assert number in answers[row], number


def test_every_document_the_readme_links_to_is_there():
    for link in re.findall(r"\]\(([\w/.]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / link).is_file(), link
