"""What the commands say: help that stands by itself, and mistakes named as the user typed them."""

from __future__ import annotations

import json

import pytest

PARTS = ["data", "data prepare", "data show", "data verify", "presets", "train", "progress", "eval", "sample", "sft",
         "export", "inspect", "bench", "checkpoints", "checkpoints list", "checkpoints verify", "checkpoints best",
         "checkpoints prune", "checkpoints pull", "checkpoints export", "checkpoints diff", "environment", "preflight",
         "shell", "health", "smoke"]  # fmt: skip


@pytest.fixture
def helped(capsys):
    """What --help prints; in this process, none of it needs torch."""
    from trainer.__main__ import main

    def show(*command):
        with pytest.raises(SystemExit) as caught:
            main([*command, "--help"])
        assert caught.value.code == 0
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize("command", PARTS)
def test_every_command_says_what_it_does_and_what_each_flag_is(helped, command):
    usage, _, rest = helped(*command.split()).partition("\n\n")
    assert usage.startswith(f"usage: python -m trainer {command}")
    assert not rest.startswith(("options:", "positional arguments:")), "a sentence comes before the flags"


def test_the_first_help_has_an_example_and_the_exit_codes(helped):
    text = helped()
    assert "data prepare corpus" in text and "75 stopped early" in text


@pytest.mark.parametrize(
    ("flags", "what", "hint"),
    [
        (["--steps", "many"], "--steps: train.steps is 'many'", "a whole number"),
        (["--micro-batch", "x"], "--micro-batch: train.micro_batch is 'x'", "a whole number"),
        (["--time-limit", "-3"], "--time-limit is -3", "seconds from 0 up"),
        (["--set", "width=3"], "--set width=3", "did you mean model.width=..."),
        (["--set", "train.device=gpu"], "train.device is 'gpu'", "auto, cpu, cuda"),
        (["--set", "optim.lr=inf"], "optim.lr is inf", "a finite number of at least 0"),
    ],
)
def test_a_wrong_value_is_named_by_its_flag(capsys, flags, what, hint):
    from trainer.__main__ import main

    assert main(["train", "--show", *flags]) == 2
    said = capsys.readouterr()
    assert said.out == "" and what in said.err and hint in said.err


def test_an_unknown_flag_points_to_the_help_of_its_command(capsys):
    from trainer.__main__ import main

    with pytest.raises(SystemExit):
        main(["train", "--stepz", "3"])
    assert "see python -m trainer train --help" in capsys.readouterr().err


def test_show_prints_one_json_document_and_nothing_is_made(trainer, tmp_path):
    done = trainer("train", "--preset", "chars-d64", "--run", "runs/x", "--show")
    assert json.loads(done.stdout)["config"]["model"]["layers"] == 64
    assert not (tmp_path / "runs").exists()


def test_bench_needs_a_step(capsys):
    from trainer.__main__ import main

    assert main(["bench", "--steps", "0"]) == 2
    assert "give at least 1" in capsys.readouterr().err
