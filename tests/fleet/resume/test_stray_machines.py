"""Without the ledger: which machines are surely the run's, which only may be, and when nothing can be told."""

from __future__ import annotations

import pytest

from fleet.ledger.opening import open_ledger
from fleet.resume.strays import strays, taken
from profiles.errors import OutsideFailed, Refused
from tests.fleet.resume.night import REMOTE, Night


def found(night: Night, run: str = "night", remote: str = REMOTE):
    """By somebody whose ledger knows nothing."""
    (night.folder / "elsewhere").mkdir(exist_ok=True)
    with open_ledger(night.folder / "elsewhere", night.clock) as other:
        return strays(other, dict(night.places), run, remote)


def test_a_machine_that_tells_the_run_and_the_remote_is_surely_it(night: Night):
    night.run()
    machine = night.train()
    [one] = found(night)
    assert one.sure and taken([one], "night") == [machine.id]


def test_a_machine_of_the_same_name_with_another_remote_may_be_somebody_elses(night: Night):
    night.run()
    machine = night.train()
    [one] = found(night, remote="s3://bucket/other")
    assert not one.sure
    with pytest.raises(Refused) as told:
        taken([one], "night")
    assert f"--adopt {machine.id}" in told.value.next_step


def test_where_no_environment_is_told_the_tag_makes_it_possible_and_not_certain(night: Night):
    night.run()
    night.train().env = {}
    [one] = found(night)
    assert not one.sure
    assert found(night, run="another") == []


def test_machines_of_other_runs_are_left_alone(night: Night):
    night.run()
    night.train()
    assert found(night, run="morning") == []


def test_while_a_provider_does_not_answer_nothing_is_concluded(night: Night):
    night.places["runpod"].world.down = True
    with pytest.raises(OutsideFailed, match="may be at runpod"):
        found(night)


def test_what_the_ledger_knows_is_no_stray(night: Night):
    night.run()
    night.train()
    assert strays(night.ledger, dict(night.places), "night", REMOTE) == []
