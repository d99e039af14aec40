"""The README is true: every command in it runs, and does what the text says."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from cli.plan_flags import HELP
from cli.workload import shape_of
from fleet.capacity.advice.batches import batches
from fleet.capacity.count import count as counted
from fleet.capacity.count import flops_per_token
from fleet.capacity.families import nanochat
from fleet.capacity.finish.checkpoint import checkpoint_bytes
from fleet.capacity.workload import Workload
from fleet.simulators.bodies.open import open_bodies
from fleet.simulators.bodies.state import State
from fleet.simulators.clock import VirtualClock
from fleet.simulators.server import running
from profiles.gpus import gpu
from tests.cli.plan_command import Command
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
def tour(
    tmp_path_factory: pytest.TempPathFactory, registry: str, ngc: str, cpu_bench, market: dict[str, str]
) -> tuple[Project, str]:
    """A clone in which the tour is made, in order; it shares the wheels and base of the run."""
    folder = tmp_path_factory.mktemp("tour")
    (folder / "home").mkdir()
    project = make_project(folder / "checkout", folder / "home")
    project.env.update(market, STOKER_HOME=str(cpu_bench.store.root), STOKER_MIRROR=ngc)
    return project, registry


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Simulated providers, and the environment of a user who has a key of each."""
    names = ("runpod", "vast", "hyperbolic")
    clock, bodies = VirtualClock(60.0), open_bodies("none", State(tmp_path_factory.mktemp("market")))
    sites = [import_module(f"fleet.simulators.{name}.site").open_site(clock, bodies) for name in names]
    with running(sites) as urls:
        told = {f"STOKER_{name.upper()}_URL": urls[name] for name in names}
        yield {**told, **{f"{name.upper()}_API_KEY": "of-nobody-0123456789" for name in names}}


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
    "The plan": """
        S0-5 S0-10..13 S0-15 S0-22 S0-34 S0-50..51 S0-55..60
        S1-5 S1-47..48 S1-95
        S2-1..2 S2-5..6 S2-11..12 S2-57..58 S2-63
        S3-21..22 S3-24 S3-35 S3-41..42 S3-51 S3-60""",
    "The fleet": """
        S0-1..4 S0-6 S0-8 S0-14 S0-16..21 S0-23..24 S0-26..33 S0-35 S0-37..49 S0-53..54 S0-66..73 S0-75
        S1-18
        S2-16..20
        S3-4..7 S3-11..13 S3-29
        S4-5..6 S4-9 S4-12 S4-32""",
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


@pytest.mark.parametrize("path", named(r"`((?:tests|docs|trainer|fleet)/[\w/.-]*)`"))
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


STATE, CHECKPOINT = 16, 12  # bytes per parameter: fp32 weights, gradients and AdamW's two moments; without gradients
STEP = 524_288  # tokens, of d64
PEAKS = {name: gpu(name).peak["bf16"] * 1e12 for name in ("rtx4090", "a100-80-sxm", "h100-sxm", "h100-pcie")}


def answers_with(numbers: list[tuple[str, str]]) -> None:
    """Each row's answer holds the number."""
    answers = {row: answer for row, _, answer in ROW.findall(SEEDS)}
    for row, number in numbers:
        assert number in answers[row], f"{row}: {number}"


def test_the_sizes_of_models_in_the_seeds_table_are_those_the_planner_counts():
    now = {depth: counted(nanochat(depth)) for depth in (12, 24, 48, 64, 80)}
    wide = [counted(nanochat(depth, 65536, value_embeddings=False)).total for depth in (12, 20, 32, 48)]
    characters, superbpe = (
        counted(shape_of(configured(PRESETS[name]).model)).total for name in ("chars-d64", "superbpe-0.6b")
    )
    matrices = [counted(nanochat(depth)).matrices for depth in (12, 20, 32, 48)]
    sharded = [STATE * now[depth].matrices / 1e9 for depth in (48, 64, 80)]
    answers_with([
        ("S0-22", f"{matrices[0] / 1e6:.1f}M / {matrices[1] / 1e6:.0f}M / {matrices[2] / 1e9:.2f}B / "
                  f"{matrices[3] / 1e9:.2f}B"),
        ("S0-22", f"{wide[0] / 1e6:.0f}M / {wide[1] / 1e6:.0f}M / {wide[2] / 1e9:.2f}B / {wide[3] / 1e9:.2f}B"),
        ("S0-22", f"{matrices[0] / 60e6:.1f} to {now[48].total / 920e6:.1f} times low"),
        ("S0-22", " / ".join(f"{STATE * total / 1e9:.1f}" for total in wide) + " GB"),
        ("S0-22", " / ".join(f"{1.2 * (2 + 8 + 2 + 12) * size / 1e3:.1f}" for size in (60, 160, 410, 920)) + " GB"),
        ("S0-58", f"{wide[1] / 1e6:.0f}M, a state of {STATE * wide[1] / 1e9:.1f} GB"),
        ("S2-5", f"{now[64].matrices / 1e9:.3f}e9 in matrices, {characters / 1e9:.2f}B"),
        ("S2-5", f"{now[64].attention / 1e9:.3f}e9 are exactly 4 L d^2"),
        ("S2-5", f"is {now[64].total / 1e9:.1f}B"),
        ("S2-5", f"({now[24].matrices / 1e6:.1f}M)"),
        ("S2-11", ", ".join(f"{now[depth].matrices / 1e9:.2f}B" for depth in (48, 64)) + ", 25.2B"),
        ("S2-11", " / ".join(f"{size:.0f}" for size in sharded) + " GB"),
        ("S2-11", " / ".join(f"{size / 8:.1f}" for size in sharded) + " GB"),
        ("S3-21", f"{superbpe / 1e6:.0f}M as in our preset, {STATE * superbpe / 1e9:.1f} GB"),
        ("S3-21", f"{12 * 187:,} MB with AdamW and its masters, {2 * 187} to {4 * 187} MB of gradients, "
                  f"{16 * 187:,} MB"),
    ])  # fmt: skip
    assert now[64].attention == 4 * 64 * 4096**2
    assert round(now[80].matrices / 1e9, 1) == 25.2


def test_the_memory_of_d64_in_the_seeds_table_follows_from_its_shape():
    shape = shape_of(configured(PRESETS["chars-d64"]).model)
    total = counted(shape).total
    answers_with([
        ("S2-2", f"{5 * checkpoint_bytes(shape, 'adamw') / 1e9:.0f} GB"),
        ("S2-6", f"{4 * total / 1e9:.1f} + {4 * total / 1e9:.1f} GB"),
        ("S2-6", f"about {34 * 4 * 2048 * shape.width * shape.layers / 1e9:.0f} GB"),  # arXiv 2205.05198
        ("S2-6", f"({STATE * total / 1e9:.0f} GB of state, {STATE * total / 8e9:.1f} GB each)"),
    ])  # fmt: skip
    assert checkpoint_bytes(shape, "adamw") == pytest.approx(CHECKPOINT * total, rel=1e-3)


def test_the_hours_of_d64_in_the_seeds_table_follow_from_its_flops():
    """PaLM's FLOPs, against the peak of H100 PCIe."""
    flops = flops_per_token(shape_of(configured(PRESETS["chars-d64"]).model), 2048).palm
    theirs, data = 23_000 * STEP, 350e6
    need = theirs / (31 * 3600) / 8 * flops
    rate = 0.4 * PEAKS["h100-pcie"] / flops
    hourly = rate * 8 * 3600 / STEP
    ours = 31 * hourly * STEP
    answers_with([
        ("S2-1", f"{ours / counted(nanochat(64)).matrices:.2f} tokens per parameter"),
        ("S2-57", f"{theirs / 1e9:.2f}B, {theirs / data:.1f})"),
        ("S2-57", f"{need / 1e12:,.0f} TFLOP/s per GPU, {need / PEAKS['h100-pcie']:.0%} of the 756"),
        ("S2-57", f"{rate:,.0f} tokens/s per GPU, {ours / 1e9:.2f}B tokens, {31 * hourly / 1e3:.1f}k steps, "
                  f"{ours / data:.1f} epochs"),
        ("S2-63", f"{0.1 * 23_000:,.0f} to {0.15 * 23_000:,.0f} of its 23,000 steps"),
        ("S2-63", f"({hourly:.0f} steps/h) 3-5 h are {3 * hourly:.0f} to {5 * hourly:.0f} steps"),
        ("S2-63", f"take {2000 / hourly:.0f} to {5000 / hourly:.0f} h"),
        ("S2-63", f"they are {2000 * STEP / data:.1f} to {5000 * STEP / data:.1f}; the preset plans 4"),
    ])  # fmt: skip
    assert configured(PRESETS["chars-d64"]).train.steps * STEP / data == pytest.approx(4, rel=1e-3)


def test_the_steps_and_dollars_of_the_billion_in_the_seeds_table_follow_from_its_tokens():
    flops = flops_per_token(shape_of(configured(PRESETS["gpt2-1b-guide"]).model), 2048).palm
    step, hourly = 512 * 2048, 7.92
    epoch = 51.6e9 / step

    def share(steps_an_hour: int) -> float:
        return steps_an_hour * step / 3600 / 8 * flops / PEAKS["h100-sxm"]

    answers_with([
        ("S1-5", f"(${40 * hourly:.2f})"),
        ("S1-5", f"${hourly / 8:.2f} per GPU-hour"),
        ("S1-5", f"40 h are ${40 * 8 * 3.2:,.0f}, at the $4 of S2-12 ${40 * 8 * 4:,.0f}"),
        ("S1-47", f"are {epoch / 1e3:.1f}k steps, 100k are {1e5 * step / 1e9:.1f}B or {1e5 / epoch:.2f} epochs"),
        ("S1-47", f"350 steps/h ({share(350):.0%} MFU) one epoch is {epoch / 350:.1f} h, ${epoch / 350 * hourly:,.0f}"),
        ("S1-47", f"{1e5 / 350:.0f} h, ${1e5 / 350 * hourly:,.0f}; 2,500 are {share(2500):.0%} MFU"),
        ("S1-47", f"one epoch is {epoch / 2500:.1f} h"),
        ("S1-95", f"{share(2000):.0%} MFU (2,000 steps/h) is {epoch / 2000:.1f} h, ${epoch / 2000 * hourly:.0f}"),
        ("S2-12", "right"),
    ])  # fmt: skip
    assert 4 * 8 * 31 == 992


def test_the_rates_and_dollars_of_the_superbpe_guide_in_the_seeds_table_are_arithmetic():
    vocab = configured(PRESETS["superbpe-0.6b"]).model.vocab
    logits = [tokens * vocab * 2 / 1e9 for tokens in (65_536, 131_072, 262_144, 524_288, 1_048_576)]
    claims = {"rtx4090": 60e3, "a100-80-sxm": 150e3, "h100-sxm": 250e3}
    large, small = ([6 * size * rate / PEAKS[card] for card, rate in claims.items()] for size in (0.6e9, 0.187e9))
    hours = [3 * 2.61e9 / rate / 3600 for rate in (40e3, 100e3, 150e3, 250e3, 2e6)]
    answers_with([
        ("S3-22", f"{logits[0]:.1f} GB of bf16 logits at a vocabulary of {vocab:,}, {2 * logits[0]:.1f} in fp32"),
        ("S3-22", " / ".join(f"{size:.0f}" for size in logits[1:]) + " GB"),
        ("S3-24", f"{6 * 0.6e9 * 60e3 / 1e12:.0f} TFLOP/s of a peak of {PEAKS['rtx4090'] / 1e12:.0f}"),
        ("S3-24", f"150k are {large[1]:.0%} of an A100's, 250k {large[2]:.0%} of an H100's"),
        ("S3-24", f"{small[0]:.0%}, {small[1]:.0%} and {small[2]:.0%} would be plausible"),
        ("S3-41", "({:.1f} / {:.2f} / {:.1f} / {:.1f} / {:.2f})".format(*hours)),
        ("S3-41", f"A100 80 GB ${2 * hours[2]:.0f}, H100 ${2 * hours[3]:.1f}, 8 x H100 ${2 * 8 * hours[4]:.1f}"),
        ("S3-42", f"are {1 - 2.61 / 4.1:.1%} fewer"),
    ])  # fmt: skip


def test_the_dollars_of_the_hyperbolic_guide_in_the_seeds_table_are_its_own_prices():
    """GPUs, USD per GPU-hour in its table and in its example, hours (C19)."""
    for row, gpus, table, example, hours in (
        ("S0-41", 2, 1.2, 1.5, 2), ("S0-42", 4, 1.5, 2, 5), ("S0-43", 8, 3.2, 3, 10),
    ):  # fmt: skip
        hourly = f"are ${gpus * table:.2f} an hour at its table's ${table:.2f}, ${gpus * example:.2f} at its example's"
        answers_with(
            [(row, hourly), (row, f"{hours} h are ${hours * gpus * table:.0f} or ${hours * gpus * example:.0f}")]
        )


def test_shorter_sequences_than_the_batch_table_has_fit_as_many_tokens():
    work = Workload(shape_of(configured(PRESETS["superbpe-0.6b"]).model), 2048, 256)
    short, long = batches(work, [gpu("rtx4090")], (8, 128))
    assert short.tokens == pytest.approx(long.tokens, rel=0.02)


def plans_of(*texts: str) -> list[str]:
    """What follows `./inv plan` in code of these documents, without comments and pipes."""
    found = {line.strip() for text in texts for line in re.findall(r"\./inv plan ([^`\n]+)", text.replace("\\\n", " "))}
    return sorted(re.split(r" #| \|", line)[0].strip() for line in found)


PLANNING = ROOT / "docs/planning.md"
PLANS = plans_of(SEEDS, PLANNING.read_text(encoding="utf-8") if PLANNING.is_file() else "")
OPEN = re.compile(r"--(run|learn) |[A-Z]{3}|\.\.\.|<")  # of a run folder, or with a word for the reader to fill in


@pytest.mark.parametrize("line", PLANS)
def test_every_plan_named_in_the_documents_is_understood_and_answered(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """By the machine alone: no provider has a key here. 0: it fits, or 1: it does not."""
    words = shlex.split(line)
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= {
        f"--{name}" for name in (*HELP, "help")
    }
    if OPEN.search(line):
        return
    said = Command(tmp_path, monkeypatch, capsys)(*words)
    found = re.search(rf"`\./inv plan {re.escape(line)}` (is refused|fits|calls it (\w+))", SEEDS)
    codes = {"is refused": (1,), "fits": (0,)}.get(found[1], (0, 1)) if found else (0, 1)
    assert said.code in codes, f"{said.out}\n{said.err}"
    assert not (found and found[2]) or f"promised: {found[2]}" in " ".join(said.out.split())


def test_the_plans_of_the_seeds_table_ask_no_provider():
    for line in plans_of(SEEDS):
        assert "--offline" in line or "--price" in line, line


def test_the_plans_of_the_guides_have_their_place_beside_ours():
    section = SEEDS.partition("\n### Their plans and ours\n")[2].partition("\n### ")[0]
    assert re.search(r"<!-- seeds -->\n.*<!-- /seeds -->", section, re.DOTALL)


def test_every_document_the_readme_links_to_is_there():
    for link in re.findall(r"\]\(([\w/.]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / link).is_file(), link
