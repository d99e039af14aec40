"""`progress`: where a run stands, by its files alone; and the lines that are printed on the way."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time

import pytest

from trainer.commands import progress as command
from trainer.errors import TrainerError
from trainer.metrics.log import PERFORMANCE, TRAINING, JsonLines, Words
from trainer.metrics.money import short, spell
from trainer.metrics.progress import progress_line, validation_line


def write(folder, name, lines):
    with (folder / name).open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)


def attempt(number, first, last, began=100.0, price=3.6):
    """Steps of 10 s, an evaluation of 10 s every fifth."""
    lines = [{"event": "start", "step": first, "steps": 100, "gpus": 2, "price": price, "up": began}]
    up = began
    for step in range(first + 1, last + 1):
        up += 10
        lines.append(
            {"event": "step", "step": step, "loss": 5 - step / 100, "tokens_per_s": 1e5, "tokens": step * 10**6}
        )
        lines[-1] |= {"up": up, "step_seconds": 10.0}
        if step % 5 == 0:
            up += 10
            lines.append({"event": "eval", "step": step, "val_loss": abs(step - 10) + 3.0, "seconds": 10.0, "up": up})
    return [{**line, "attempt": number, "time": 1e9 + 1e5 * number + line["up"]} for line in lines]


def call(folder, capsys, *flags):
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    options = parser.parse_args(["progress", "--run", str(folder), *flags])
    code = options.act(options)
    return code, capsys.readouterr().out


def test_it_tells_step_speed_what_is_left_and_the_best_loss(tmp_path, capsys):
    write(tmp_path, TRAINING, attempt(1, 0, 20))
    write(tmp_path, PERFORMANCE, [{"event": "performance", "step": 20, "mfu": {"bf16": 0.41, "fp8": None}}])
    code, text = call(tmp_path, capsys, "--json")
    found = json.loads(text)
    assert code == 0
    assert (found["step"], found["steps"], found["tokens"], found["loss"]) == (20, 100, 20_000_000, 4.8)
    assert (found["best_step"], found["best_loss"]) == (10, 3.0)
    assert found["steps_per_second"] == pytest.approx(19 / (190 + 30)), "evaluations take their share"
    assert found["remaining_seconds"] == pytest.approx(80 * 220 / 19)
    assert found["remaining_dollars"] == pytest.approx(80 * 220 / 19 / 3600 * 3.6 * 2)
    assert found["goodput"]["goodput"] == pytest.approx(200 / 340, abs=1e-4)
    assert found["dollars"] == pytest.approx(340 / 3600 * 3.6 * 2)
    _, words = call(tmp_path, capsys)
    for part in ("20 / 100 (20.0%)", "3.0000 at step 10", "100k tok/s", "MFU 41.0% bf16", "0.26 h, $1.85", "goodput"):
        assert part in words, words


def test_a_resumed_run_counts_all_attempts_and_the_steps_that_were_lost(tmp_path, capsys):
    write(tmp_path, TRAINING, [*attempt(1, 0, 20), *attempt(2, 15, 30)])
    found = json.loads(call(tmp_path, capsys, "--json")[1])
    assert found["step"] == 30
    assert (found["goodput"]["attempts"], found["goodput"]["lost_steps"]) == (2, 5)
    assert found["goodput"]["steps"] == 300


def test_without_a_log_it_says_so(tmp_path, capsys):
    with pytest.raises(TrainerError, match=f"no log in {tmp_path}") as caught:
        call(tmp_path, capsys)
    assert caught.value.exit_code == 1


def test_a_run_without_start_line_or_price_is_told_by_its_config(tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({"train": {"steps": 50}, "limits": {"price": 0}}))
    write(tmp_path, TRAINING, attempt(1, 0, 9)[1:])
    found = json.loads(call(tmp_path, capsys, "--json")[1])
    assert found["steps"] == 50
    assert found["dollars"] is None
    assert found["remaining_dollars"] is None
    (tmp_path / "config.json").write_text("{")
    assert json.loads(call(tmp_path, capsys, "--json")[1])["steps"] == 0


def test_following_ends_with_the_run(tmp_path, capsys):
    write(tmp_path, TRAINING, attempt(1, 0, 3))

    def go_on():
        time.sleep(0.3)
        lines = JsonLines(tmp_path / TRAINING, attempt=1)
        lines.add("step", step=4, loss=1.0)
        time.sleep(0.2)
        lines.add("stop", step=4, reason="done")
        lines.close()

    writer = threading.Thread(target=go_on)
    writer.start()
    code, text = call(tmp_path, capsys, "--json", "--follow", "--seconds", "0.05")
    writer.join()
    steps = [json.loads(line)["step"] for line in text.splitlines()]
    assert (code, steps[0], steps[-1]) == (0, 3, 4)
    assert json.loads(text.splitlines()[-1])["ended"] == "done"


def test_it_needs_no_torch(environment):
    code = (
        "import sys, trainer.metrics.progress, trainer.metrics.log, trainer.metrics.performance\n"
        "import trainer.metrics.boards, trainer.metrics.gpu, trainer.metrics.advice\n"
        "heavy = {'torch', 'numpy', 'wandb', 'tensorboard', 'pynvml'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_line_of_a_step():
    performance = {
        "tokens_per_s": 91234.0,
        "steps_per_second": 0.1741,
        "mfu": {"bf16": 0.41, "fp8": 0.205},
        "eta_seconds": 50580,
        "dollars": {"run": 12.4, "attempt": 1.0},
    }
    assert progress_line(1200, 10000, 3.45678, 2.9e-4, performance, 0.519) == (
        "step 1200/10000 | loss 3.4568 | lr 2.90e-04 | norm 0.52 | 91.2k tok/s | 0.174 steps/s"
        " | MFU 41.0% bf16 20.5% fp8 | ETA 14h03m | $12.40"
    )
    assert progress_line(1, 2, None, 1e-3) == "step 1/2 | loss not finite | lr 1.00e-03"
    assert "MFU" not in progress_line(1, 2, 1.0, 1e-3, {**performance, "mfu": {"bf16": None, "fp8": None}})


def test_the_best_evaluations_are_found_with_grep_and_sort(tmp_path):
    words = Words(tmp_path / "training.log", stream=None)
    for step, loss in ((100, 3.9), (200, 3.5), (300, 10.25)):
        words.write(validation_line(step, loss, 1.0))
    words.close()
    script = f'grep "Validation loss" {tmp_path / "training.log"} | sort -k5 -n | head -5'
    lines = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["step=200", "step=100", "step=300"]


def test_numbers_are_short():
    assert [spell(seconds) for seconds in (0, 59, 725, 50580, 273600)] == ["0s", "59s", "12m05s", "14h03m", "3d04h"]
    assert [short(number) for number in (950, 91234, 1_050_000, 3.2e9, 123_456)] == [
        "950",
        "91.2k",
        "1.05M",
        "3.2G",
        "123k",
    ]
