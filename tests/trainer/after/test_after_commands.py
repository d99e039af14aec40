"""The commands on a model that was really trained: eval, sample, export, sft, inspect, as a user types them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
FAST = ["--set", "train.device=cpu", "--set", "train.micro_batch=4", "--set", "model.context=64"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with `base`, a run of 40 steps on two ranks."""
    folder = tmp_path_factory.mktemp("commands")
    arguments = ["train", "--run", "base", "--steps", "40", "--ranks", "2", *FAST, "--set", "evaluate.every=40"]
    done = process(folder, *arguments)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def call(place, torch, monkeypatch):
    """A command in this process: importing torch for each would take most of the time."""
    from trainer.__main__ import main

    monkeypatch.chdir(place)
    for name in [name for name in os.environ if name.startswith("STOKER_")]:
        monkeypatch.delenv(name)
    handlers = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}

    def run(*arguments, text=""):
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(arguments))
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    yield run
    torch.use_deterministic_algorithms(False)
    for one, handler in handlers.items():
        signal.signal(one, handler)


def process(folder, *arguments):
    """`python -m trainer ...` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "trainer", *arguments],
        cwd=folder,
        env=variables(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def variables():
    """This environment, with the checkout and one thread a process."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def chats(folder, count=40, name="chat.jsonl"):
    """A file of short conversations."""
    file = folder / name
    turns = [
        [{"role": "user", "content": f"say {one}"}, {"role": "assistant", "content": f"it is {one}"}]
        for one in range(count)
    ]
    file.write_text("".join(json.dumps({"messages": one}) + "\n" for one in turns))
    return file


def test_eval_of_a_run_and_of_its_export_is_the_loss_that_two_ranks_saw_in_training(place, call):
    lines = [json.loads(line) for line in (place / "base/training_metrics.jsonl").read_text().splitlines()]
    seen = next(line for line in lines if line["event"] == "eval")
    assert call("export", "base", "--out", "out").returncode == 0
    for path in ("base", "out"):
        done = call("eval", path, "--json", "--batch", "3")
        told = json.loads(done.stdout)
        assert told["loss"] == pytest.approx(seen["val_loss"], abs=1e-5)
        assert told["bits_per_byte"] == pytest.approx(seen["bits_per_byte"], abs=1e-5)
        assert told["tokens"] == told["bytes"] == seen["tokens"]
    assert "bits per byte" in call("eval", "base", "--tokens", "500").stdout


def test_sample_is_deterministic_and_the_same_from_run_and_export(place, call):
    call("export", "base", "--out", "same", "--force")
    asked = ["--prompt", "Once upon", "--tokens", "40", "--seed", "3"]
    first = call("sample", "base", *asked)
    assert first.stdout.startswith("Once upon")
    assert len(first.stdout) >= 40
    assert call("sample", "same", *asked).stdout == first.stdout
    assert call("sample", "base", *asked[:-1], "4").stdout != first.stdout
    told = json.loads(call("sample", "base", *asked, "--samples", "2", "--json").stdout)
    assert "Once upon" + told["samples"][0]["text"] + "\n" == first.stdout
    assert told["samples"][1]["text"] != told["samples"][0]["text"]


def test_a_prompt_longer_than_the_context_is_cut_with_a_warning_and_a_stop_ends_the_text(place, call):
    done = call("sample", "base", "--prompt", "word " * 40, "--tokens", "300", "--stop", " ", "--json")
    assert "the prompt has 200 tokens, the context 64" in done.stderr
    sample = json.loads(done.stdout)["samples"][0]
    assert sample["end"] == "stop"
    assert " " not in sample["text"]


def test_conversations_are_learned_and_the_result_is_a_run_like_any_other(place, call):
    chats(place)
    asked = ["--data", "chat.jsonl", "--val", "chat.jsonl", "--epochs", "15", "--set", "optim.lr=0.003"]
    cpu = ["--set", "train.device=cpu", "--set", "train.micro_batch=2", "--set", "train.batch=4"]
    assert call("export", "base", "--out", "start", "--force").returncode == 0
    done = call("sft", "start", "--run", "tuned", *asked, *cpu)
    assert done.returncode == 0, done.stderr
    before = json.loads(call("eval", "base", "--data", "chat.jsonl", "--json").stdout)
    after = json.loads(call("eval", "tuned", "--data", "chat.jsonl", "--json").stdout)
    assert after["loss"] < before["loss"] / 2
    one = call("sample", "tuned", "--chat", "--prompt", "say 5", "--temperature", "0").stdout
    assert one.startswith("it is ")
    assert "<|end|>" not in one
    talk = call("sample", "tuned", "--chat", "--temperature", "0", "--json", text="say 5\nsay 6\n")
    assert [json.loads(line)["user"] for line in talk.stdout.splitlines()] == ["say 5", "say 6"]
    assert call("export", "tuned", "--out", "chatty").returncode == 0
    assert "chat_template" in json.loads((place / "chatty/tokenizer_config.json").read_text())
    told = json.loads(call("inspect", "tuned", "--json").stdout)
    assert (told["sft"]["conversations"], told["damage"]) == (40, None)


def test_a_fine_tuning_that_was_stopped_goes_on_to_the_same_losses(place, call):
    chats(place, 60, "many.jsonl")
    asked = ["--data", "many.jsonl", "--epochs", "20", "--set", "train.device=cpu", "--set", "train.micro_batch=4"]
    asked += ["--set", "train.batch=4", "--set", "checkpoint.every=20"]
    whole = call("sft", "base", "--run", "whole", *asked)
    assert whole.returncode == 0, whole.stderr
    command = [sys.executable, "-m", "trainer", "sft", "base", "--run", "broken", *asked]
    child = subprocess.Popen(command, cwd=place, env=variables(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (place / "broken/checkpoints/latest").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 75, said
    assert call("sft", "base", "--run", "broken", *asked).returncode == 0
    from trainer.run.folder import losses

    assert losses(place / "broken") == losses(place / "whole")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["eval", "nowhere"], 2, "no such folder"),
        (["eval", "base", "--split", "test"], 2, "--split"),
        (["sample", "base", "--prompt", ""], 2, "no prompt"),
        (["sample", "base", "--prompt", "x", "--top-p", "2"], 2, "--top-p"),
        (["export", "base", "--out", "base"], 4, "exists"),
        (["export", "base", "--out", "other", "--dtype", "int3"], 2, "fp32, bf16, fp16"),
        (["sft", "base", "--run", "base", "--data", "x"], 2, "base itself"),
        (["sft", "base", "--run", "new", "--data", "nothing.jsonl"], 2, "No such file"),
    ],
)
def test_what_a_user_gets_wrong_is_one_clear_line_and_a_next_step(place, call, arguments, code, said):
    done = call(*arguments)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 3


def test_the_shape_of_the_base_cannot_be_changed_by_fine_tuning(place, call):
    chats(place)
    done = call("sft", "base", "--run", "new", "--data", "chat.jsonl", "--set", "model.width=128")
    assert (done.returncode, "model.width is the base's" in done.stderr) == (2, True), done.stderr
