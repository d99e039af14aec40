"""`resume --steps` of a run that the ledger knows: its command with more of them, and what that needs."""

from __future__ import annotations

import pytest

from cli.fleet_back_asked import asked_of, longer
from cli.fleet_back_flags import Back
from cli.fleet_resume import stored
from fleet.ledger.values import Run
from fleet.resume.saved import planned_steps
from profiles.errors import WrongInput
from tests.trainer.commands.plain import checkpoint

PLAN = {"container": {"command": ["/opt/stoker/bin/run", "--steps", "100", "--set", "optim.lr=0.1"], "env": {}}}


def command(back: Back, plan: dict = PLAN) -> list[str]:
    return list(longer(back, plan)["container"]["command"])


def test_nothing_typed_changes_nothing():
    run = Run("night", plan=PLAN, policy="any")
    assert asked_of(Back("night"), run) == run


def test_more_steps_replace_the_old_ones_and_may_change_the_rate_s_fall():
    words = command(Back("night", steps="250"))
    assert words == [
        "/opt/stoker/bin/run", "--set", "optim.lr=0.1", "--steps", "250", "--allow-change", "train",
    ]  # fmt: skip
    again = asked_of(Back("night", steps="300"), Run("night", plan=longer(Back("night", steps="250"), PLAN)))
    assert planned_steps(again) == 300
    assert list(again.plan["container"]["command"]).count("--allow-change") == 1
    assert PLAN["container"]["command"][2] == "100"


def test_a_command_of_the_image_s_own_is_named_when_flags_follow_it():
    assert command(Back("night", set=["limits.tokens=2B"]), {"container": {"command": []}})[:3] == [
        "/opt/stoker/bin/run", "--set", "limits.tokens=2B",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["0", "-3", "many", "1.5"])
def test_steps_that_are_no_number_are_wrong_input(text: str):
    with pytest.raises(WrongInput, match="--steps"):
        command(Back("night", steps=text))


def test_the_store_s_end_of_a_run_reaches_the_fleet(tmp_path):
    checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 20)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "end.json").write_text('{"step": 20, "reason": "the token limit", "exit": 0}')
    assert {one.step: one.end for one in stored(f"file://{tmp_path}")} == {20: "the token limit", 10: ""}
