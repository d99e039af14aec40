"""`checkpoints diff`, and the parts that are other commands: `pull` and `export`."""

from __future__ import annotations

import json
import math

import pytest

from tests.trainer.commands.plain import OPTIMIZER, checkpoint, flip
from trainer.checkpoint import manifest


@pytest.fixture
def run(tmp_path):
    made = tmp_path / "run"
    checkpoint(made, 10, config={"optim": {"lr": 0.1}})
    checkpoint(made, 20, config={"optim": {"lr": 0.2}})
    return made


@pytest.fixture
def pair(torch, tmp_path):
    """Two checkpoints whose weights differ in one element of six by one millionth."""
    from tests.trainer.checkpoint.made import publish_tensors

    whole = torch.arange(1.0, 7.0)
    near = whole.clone()
    near[0] *= 1 + 2**-20
    return [
        publish_tensors(tmp_path / name / "checkpoints", 5, {"w": value}, {})
        for name, value in (("one", whole), ("two", near))
    ]


def test_settings_and_files_that_differ_are_listed_with_both_values(command, run):
    said = command("checkpoints", "diff", run / "checkpoints/step-00000010", run)  # a run: its newest
    assert said.code == 0
    assert "  config.optim.lr  0.1 -> 0.2" in said.out and "  step             10 -> 20" in said.out
    assert OPTIMIZER in said.out and "random" not in said.out


def test_equal_ones_say_so(command, run):
    said = command("checkpoints", "diff", run, run)
    assert "says: the same" in said.out and "files: the same" in said.out


def test_tensors_that_differ_are_counted_and_the_worst_named(command, pair):
    said = command("checkpoints", "diff", *pair, "--tensors")
    assert said.code == 0
    assert "tensors: 1 different" in said.out
    assert "weight w: 1 of 6 elements, at most 9.54e-07 (1.59e-07 relative)" in said.out


@pytest.mark.parametrize(("within", "code"), [("1e-5", 0), ("1e-9", 1), ("0", 1)])
def test_within_makes_it_a_check(command, pair, within, code):
    said = command("checkpoints", "diff", *pair, "--within", within, "--json")
    document = json.loads(said.out)
    assert said.code == code and document["agrees"] is (code == 0)
    assert document["tensors"][0]["differing"] == 1


def test_a_difference_that_is_not_finite_is_still_json(command, torch, tmp_path, pair):
    from tests.trainer.checkpoint.made import publish_tensors

    bad = publish_tensors(tmp_path / "bad", 5, {"w": torch.full((6,), math.nan)}, {})
    said = command("checkpoints", "diff", pair[0], bad, "--within", "1", "--json")
    (tensor,) = json.loads(said.out, parse_constant=lambda name: pytest.fail(name))["tensors"]
    assert said.code == 1 and tensor["absolute"] is None and tensor["differing"] == 6


@pytest.mark.parametrize("within", ["x", "-1", "inf", "nan"])
def test_a_tolerance_that_is_none_is_wrong_input(command, run, within):
    said = command("checkpoints", "diff", run, run, f"--within={within}")
    assert said.code == 2 and "1e-5" in said.err


def test_a_damaged_one_or_none_at_all_is_said(command, run):
    flip(run / "checkpoints/step-00000020" / manifest.MANIFEST)
    said = command("checkpoints", "diff", run / "checkpoints/step-00000010", run)
    assert said.code == 3 and said.out == "" and "no whole checkpoint" in said.err
    said = command("checkpoints", "diff", run, run / "checkpoints/step-00000099")
    assert said.code == 2 and "there is no checkpoint at" in said.err


def test_pull_and_export_are_the_commands_of_that_name(command, tmp_path):
    for part in ("pull", "export"):
        own, alone = command("checkpoints", part, "--help").out, command(part, "--help").out
        assert own.split("options:")[1] == alone.split("options:")[1]
    said = command("checkpoints", "export", tmp_path / "nope", "--out", tmp_path / "out")
    assert said.code == 2 and "no such folder" in said.err


def test_what_pull_brings_is_listed_and_verifies(command, run, tmp_path):
    said = command("checkpoints", "pull", f"file://{run}", "--run", tmp_path / "new")
    assert said.code == 0, said.err
    assert command("checkpoints", "verify", tmp_path / "new").code == 0
    assert "latest" in command("checkpoints", tmp_path / "new").out


def test_weights_pulled_alone_are_listed_as_such(command, run, tmp_path):
    said = command("checkpoints", "pull", f"file://{run}", "--run", tmp_path / "new", "--only", "model")
    assert said.code == 0, said.err
    assert "weights only" in command("checkpoints", tmp_path / "new").out
    assert command("checkpoints", "verify", tmp_path / "new").out.startswith("step-00000020  weights only")


def test_a_pointer_is_as_good_as_the_folder_it_names(command, run):
    said = command("checkpoints", "diff", run / "checkpoints/latest", run / "checkpoints/step-00000020")
    assert said.code == 0 and "says: the same" in said.out
    assert command("checkpoints", "verify", run / "checkpoints/latest").out.startswith("step-00000020  whole")


def test_a_pointer_to_nothing_is_told(command, run):
    (run / "checkpoints/latest").write_text("step-00000099\n")
    said = command("checkpoints", "diff", run / "checkpoints/latest", run)
    assert said.code == 2 and "names no checkpoint" in said.err
