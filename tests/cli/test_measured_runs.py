from __future__ import annotations

import dataclasses
import json
import shutil
import statistics
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.measured import gpu_of, measured_run, progress_of
from cli.measured_file import NAME, home, remember, remembered
from fleet.capacity.count import count
from fleet.capacity.finish.remaining import remaining
from fleet.capacity.speed.measured import Measured
from profiles.errors import CheckFailed, OutsideFailed, WrongInput
from profiles.gpus import table
from tests.fleet.capacity.finish.trained_run import SHAPE, train

STEP = 8 * 64  # tokens


def told(folder: Path, *lines: dict, config: dict | None = None) -> Path:
    """A run folder with these lines in training_metrics.jsonl, as the trainer writes them."""
    folder.mkdir(exist_ok=True)
    model = {"family": "llama", "layers": 4, "width": 256, "heads": 4, "context": 64, "vocab": 512}
    plain = {
        "model": model,
        "train": {"batch": 8, "micro_batch": 2, "steps": 100, "checkpointing": "full"},
        "parallel": {"engine": "auto", "offload": "none"},
        "precision": {"name": "auto"},
        "limits": {"price": 3.0},
    }
    (folder / "config.json").write_text(json.dumps(config or plain))
    (folder / "training_metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def start(attempt: int = 1, time: float = 1_800_000_000, device: str = "NVIDIA H100 80GB HBM3", **more) -> dict:
    base = {"event": "start", "attempt": attempt, "time": time, "up": 1.0, "step": 0, "gpus": 2, "device": device}
    return base | {"precision": {"name": "bf16"}, "engine": "ddp", "zero": 0, "parameters": 123, "price": 3.0} | more


def steps(seconds: list[float], attempt: int = 1, first: int = 1, time: float = 1_800_000_000) -> list[dict]:
    up, lines = 1.0, []
    for number, one in enumerate(seconds, first):
        up += one
        line = {
            "event": "step",
            "attempt": attempt,
            "time": time + up,
            "up": up,
            "step": number,
            "tokens": number * STEP,
        }
        lines.append(line | {"step_seconds": one})
    return lines


def performance(folder: Path, **memory: int) -> None:
    line = {"event": "performance", "attempt": 1, "memory": memory}
    (folder / "performance_metrics.jsonl").write_text(json.dumps(line) + "\n")


def test_the_first_steps_compile_and_do_not_count(tmp_path):
    run = told(tmp_path / "r", start(), *steps([60.0, 5.0, 2.0] + [0.5] * 9))
    measured, _, _ = measured_run(run)
    assert measured.tokens_per_second_per_gpu == pytest.approx(STEP / 0.5 / 2)


def test_what_was_measured_is_told_with_all_that_decides_it(tmp_path):
    run = told(tmp_path / "r", start(), *steps([0.5] * 12))
    performance(run, max_reserved_bytes=40 * 2**30, total_bytes=80 * 2**30)
    measured, identity, attempt = measured_run(run)
    assert measured == Measured(
        gpu="h100-sxm", gpus=2, precision="bf16", shape="llama d4 h256", parameters=123, width=256, layers=4, length=64,
        micro_batch=2, engine="ddp", zero=0, offload="none", checkpointing="full",
        tokens_per_second_per_gpu=pytest.approx(512), peak_bytes=40 * 2**30, source="run r, 2027-01-15",
    )  # fmt: skip
    assert (identity, attempt) == ("r@1800000000", 1)


def test_the_newest_attempt_is_the_one_that_counts(tmp_path):
    again = [start(2, 1_800_100_000, gpus=4), *steps([0.25] * 12, 2, 13, 1_800_100_000)]
    run = told(tmp_path / "r", start(), *steps([0.5] * 12), *again)
    measured, identity, attempt = measured_run(run)
    assert (measured.gpus, attempt, identity) == (4, 2, "r@1800000000")
    assert measured.tokens_per_second_per_gpu == pytest.approx(512)


def test_the_newest_stage_of_a_curriculum_counts(tmp_path):
    stage = {"event": "stage", "attempt": 1, "time": 1_800_000_009, "up": 9.0, "step": 10, "stage": 1, "length": 32}
    run = told(tmp_path / "r", start(), *steps([0.5] * 10), stage, *steps([0.25] * 6, first=11))
    measured, _, _ = measured_run(run)
    assert (measured.length, measured.micro_batch) == (32, 4)
    assert measured.tokens_per_second_per_gpu == pytest.approx(STEP / 0.25 / 2)


def test_deepspeed_is_what_the_planner_calls_zero(tmp_path):
    run = told(tmp_path / "r", start(engine="deepspeed", zero=3), *steps([0.5] * 12))
    measured, _, _ = measured_run(run)
    assert (measured.engine, measured.zero) == ("zero", 3)


def test_too_few_steps_prove_nothing(tmp_path):
    run = told(tmp_path / "r", start(), *steps([0.5] * 7))
    with pytest.raises(CheckFailed, match="4 settled steps, 5 are needed"):
        measured_run(run)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(WrongInput, match=r"config\.json"):
        measured_run(tmp_path)
    with pytest.raises(CheckFailed, match="not begun"):
        measured_run(told(tmp_path / "r"))


def test_a_gpu_that_is_not_in_the_table_is_refused_and_so_is_a_slice_of_one():
    for name in ("Tesla V100-SXM2-16GB", "NVIDIA A100-SXM4-40GB MIG 1g.5gb", ""):
        with pytest.raises(CheckFailed, match="not in the table"):
            gpu_of(name)


@pytest.mark.parametrize(("name", "key"), [
    ("NVIDIA H100 80GB HBM3", "h100-sxm"), ("NVIDIA H100 PCIe", "h100-pcie"), ("NVIDIA H100 NVL", "h100-nvl"),
    ("NVIDIA H200", "h200-sxm"), ("NVIDIA H200 NVL", "h200-nvl"), ("NVIDIA B200", "b200"),
    ("NVIDIA A100-SXM4-40GB", "a100-40-sxm"), ("NVIDIA A100-PCIE-40GB", "a100-40-pcie"),
    ("NVIDIA A100-SXM4-80GB", "a100-80-sxm"), ("NVIDIA A100 80GB PCIe", "a100-80-pcie"),
    ("NVIDIA L40S", "l40s"), ("NVIDIA GeForce RTX 4090", "rtx4090"), ("NVIDIA RTX A6000", "rtx-a6000"),
])  # fmt: skip
def test_gpus_are_known_by_the_names_torch_calls_them(name, key):
    assert gpu_of(name).key in (key, key.replace("rtx", "rtx-"), key.replace("rtx-a", "a"))


@pytest.mark.parametrize("key", table())
def test_every_row_of_the_table_is_found_by_its_own_name(key):
    assert gpu_of(table()[key].name, table()[key].memory_bytes).key == key


def test_what_is_left_of_a_run_is_counted_by_its_own_pace(tmp_path):
    run = told(tmp_path / "r", start(), *steps([9.0] * 3 + [3.6] * 37))
    left = remaining(progress_of(run))
    assert left.steps == 60
    assert left.hours.value == pytest.approx(60 * 3.6 / 3600, rel=1e-6)
    assert left.dollars.value == pytest.approx(left.hours.value * 2 * 3.0)
    assert left.finish_at.value == pytest.approx(1_800_000_000 + 1 + 27 + 37 * 3.6 + 216, rel=1e-9)


def test_time_between_the_steps_is_overhead(tmp_path):
    lines = steps([1.0] * 20)
    slow = [line | {"up": line["up"] + number * 0.25} for number, line in enumerate(lines)]
    assert progress_of(told(tmp_path / "r", start(), *slow)).overhead == pytest.approx(0.25)


def test_a_run_that_ended_says_so(tmp_path):
    stop = {"event": "stop", "attempt": 1, "time": 1_800_000_060, "up": 60.0, "step": 12, "reason": "hours"}
    assert progress_of(told(tmp_path / "r", start(), *steps([0.5] * 12), stop)).ended == "hours"


def test_a_torn_last_line_is_passed_over(tmp_path):
    run = told(tmp_path / "r", start(), *steps([0.5] * 12))
    with (run / "training_metrics.jsonl").open("a") as stream:
        stream.write('{"event": "step", "attempt": 1, "step": 13, "step_sec')
    assert measured_run(run)[0].tokens_per_second_per_gpu == pytest.approx(512)


# the file


def test_a_run_is_remembered_once_and_a_later_attempt_besides(tmp_path):
    run = told(tmp_path / "r", start(), *steps([0.5] * 12))
    first = remember(tmp_path / "home", run)
    remember(tmp_path / "home", run)
    assert len((tmp_path / "home" / NAME).read_text().splitlines()) == 1
    assert remembered(tmp_path / "home") == [first]
    told(run, start(), *steps([0.5] * 12), start(2), *steps([0.4] * 12, 2, 13))
    remember(tmp_path / "home", run)
    assert len(remembered(tmp_path / "home")) == 2


def test_an_attempt_measured_again_replaces_what_was_known_of_it(tmp_path):
    run = told(tmp_path / "r", start(), *steps([0.5] * 12))
    remember(tmp_path / "home", run)
    told(run, start(), *steps([0.5] * 12), *steps([0.25] * 40, first=13))
    newer = remember(tmp_path / "home", run)
    assert remembered(tmp_path / "home") == [newer]


def test_damaged_lines_are_told_and_the_others_read(tmp_path, capsys):
    run = told(tmp_path / "r", start(), *steps([0.5] * 12))
    kept = remember(tmp_path, run)
    path = tmp_path / NAME
    good = path.read_text()
    odd = json.loads(good)
    odd["measured"]["gpus"] = "eight"
    path.write_text("\0\0\0\n" + good + json.dumps(odd) + "\n" + '{"run": "x"}\n[]\n' + good[:50])
    assert remembered(tmp_path) == [kept]
    warning = capsys.readouterr().err
    assert "5 lines (1, 3, 4, 5, 6) are damaged" in warning and str(path) in warning


def test_a_torn_tail_costs_nothing_that_comes_after_it(tmp_path, capsys):
    run = told(tmp_path / "r", start(), *steps([0.5] * 12))
    (tmp_path / NAME).write_text('{"run": "torn')
    kept = remember(tmp_path, run)
    assert remembered(tmp_path) == [kept]
    assert (tmp_path / NAME).read_text().startswith('{"run": "torn\n')


@given(st.binary(max_size=200))
def test_no_bytes_in_the_file_stop_a_plan(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("odd")
    (folder / NAME).write_bytes(content)
    assert remembered(folder) == []


def test_no_file_is_nothing_remembered(tmp_path):
    assert remembered(tmp_path / "nowhere") == []


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    run = told(tmp_path / "r", start(), *steps([0.5] * 12))
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(OutsideFailed, match="cannot write"):
        remember(tmp_path / "home", run)


def test_stoker_home_decides_where(tmp_path, monkeypatch):
    monkeypatch.delenv("STOKER_HOME", raising=False)
    assert home(tmp_path) == tmp_path / ".stoker"
    monkeypatch.setenv("STOKER_HOME", str(tmp_path / "other"))
    assert home(tmp_path) == tmp_path / "other"


def _remember_many(folder: str, runs: list[str]) -> None:
    for run in runs:
        remember(Path(folder), Path(run))


def test_runs_that_end_at_once_are_all_remembered(tmp_path):
    runs = [str(told(tmp_path / f"r{n}", start(), *steps([0.5] * 12))) for n in range(8)]
    context = get_context("fork")
    writers = [context.Process(target=_remember_many, args=(str(tmp_path), runs[part::2])) for part in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
        assert writer.exitcode == 0
    assert len(remembered(tmp_path)) == 8


def test_reading_a_run_needs_no_torch(tmp_path):
    run = told(tmp_path / "r", start(), *steps([0.5] * 12))
    code = (
        "import sys; from pathlib import Path; run = Path(sys.argv[1]);"
        "from cli.measured import measured_run, progress_of;"
        "measured_run(run); progress_of(run); assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(run)], check=True, cwd=Path(__file__).resolve().parents[2])


@pytest.mark.slow
def test_a_real_run_is_measured_as_its_own_log_says(tmp_path):
    run = train(tmp_path / "real", train__micro_batch=0)
    measured, _, attempt = measured_run(run)
    assert (measured.gpu, measured.gpus, measured.precision, attempt) == ("cpu", 1, "fp32", 1)
    assert (measured.parameters, measured.width, measured.layers) == (count(SHAPE).total, SHAPE.width, SHAPE.layers)
    assert (measured.length, measured.micro_batch, measured.peak_bytes) == (64, 8, None)
    lines = map(json.loads, (run / "training_metrics.jsonl").read_text().splitlines())
    own = [line["step_seconds"] for line in lines if line["event"] == "step" and line["step"] > 3]
    assert measured.tokens_per_second_per_gpu == pytest.approx(statistics.median(STEP / one for one in own))
    assert remember(tmp_path / "home", run) == remembered(tmp_path / "home")[0]


@pytest.mark.slow
def test_what_is_left_agrees_with_the_trainer_s_own_progress(tmp_path):
    run = train(tmp_path / "real")
    moved = shutil.copytree(run, tmp_path / "longer")
    lines = (moved / "training_metrics.jsonl").read_text().splitlines()
    longer = [json.dumps(json.loads(line) | ({"steps": 200} if '"start"' in line else {})) for line in lines]
    (moved / "training_metrics.jsonl").write_text("\n".join(longer) + "\n")
    command = [sys.executable, "-m", "trainer", "progress", "--run", str(moved), "--json"]
    root = Path(__file__).resolve().parents[2]
    theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout)
    ours = progress_of(moved)
    left = remaining(ours)
    assert (ours.step, ours.steps, ours.tokens) == (theirs["step"], theirs["steps"], theirs["tokens"])
    assert left.steps == 180
    assert ours.spent == pytest.approx(theirs["dollars"])
    # medians against means: the same steps, told a little differently
    assert theirs["remaining_seconds"] / 3 < left.hours.value * 3600 < theirs["remaining_seconds"] * 3
    assert dataclasses.replace(ours, steps=20).step == 20
