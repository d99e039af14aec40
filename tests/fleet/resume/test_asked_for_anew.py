"""What is typed on `resume` counts from the yes on: after a no, a reached limit or a wrong clock all is as before."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from fleet.ledger.values import Run
from fleet.resume.resume import Comeback, resume
from profiles.errors import Refused
from tests.fleet.resume.night import Night


def typed(night: Night, **limits: Any) -> Comeback:
    def asked(run: Run) -> Run:
        return replace(run, limits=replace(run.limits, **limits), policy="same")

    back = night.comeback()
    back.asked = asked
    return back


def no(words: str) -> None:
    raise Refused("not done", "")


def kept(night: Night) -> tuple[Any, str]:
    run = night.ledger.run("night")
    return run.limits.usd, run.policy


def test_a_refused_question_keeps_the_limits_as_they_were(night: Night):
    night.run()
    night.dies(night.train(), None)
    before = night.ledger.run("night")
    back = typed(night, usd=Decimal(777))
    back.agree = no
    with pytest.raises(Refused):
        resume(back, "night")
    assert night.ledger.run("night") == before and night.live() == []


def test_with_the_yes_they_hold_for_the_machine_that_is_rented(night: Night):
    night.run()
    night.dies(night.train(), None)
    assert resume(typed(night, usd=Decimal(5), hours=None), "night").deployed is not None
    assert kept(night) == (Decimal(5), "same")
    env = night.ledger.run("night").plan["container"]["env"]
    left = float(env["STOKER_DEADLINE"]) - night.clock.time.timestamp()
    assert env["STOKER_DOLLARS"].startswith("5") and left / 3600 * 2.01 < 3.01


def test_a_spent_budget_that_is_raised_is_enough(night: Night):
    night.limits = replace(night.limits, usd=Decimal(3))
    night.run()
    night.dies(night.train(minutes=100), None)
    with pytest.raises(Refused, match="budget"):
        resume(night.comeback(), "night")
    assert resume(typed(night, usd=Decimal(30)), "night").deployed is not None


@pytest.mark.parametrize("limit", [{"usd": Decimal(1)}, {"hours": 0.5}, {"usd_hour": Decimal(1)}])
def test_a_limit_that_is_reached_is_refused_while_the_run_trains(night: Night, limit: dict[str, Any]):
    night.run()
    machine = night.train(minutes=60)
    with pytest.raises(Refused, match="that limit is reached already") as told:
        resume(typed(night, **limit), "night")
    assert "--force" in told.value.next_step
    assert kept(night) == (Decimal(100), "any") and night.live() == [machine]


def test_a_limit_that_is_reached_ends_no_lost_machine_either(night: Night):
    from fleet.providers.values import State

    night.run()
    machine = night.train(minutes=60)
    night.dies(machine, State.STOPPED)
    with pytest.raises(Refused, match="that limit is reached already"):
        resume(typed(night, usd=Decimal(1)), "night")
    assert machine.ended is None


def test_of_a_run_that_trains_they_are_kept_with_a_yes(night: Night):
    night.run()
    machine = night.train(minutes=60)
    back = typed(night, usd=Decimal(777))
    back.agree = no
    with pytest.raises(Refused):
        resume(back, "night")
    assert kept(night) == (Decimal(100), "any")
    assert "what was typed is kept" in resume(typed(night, usd=Decimal(777)), "night").words
    assert kept(night) == (Decimal(777), "same") and night.live() == [machine]


def test_a_clock_that_is_off_is_told_before_anybody_is_asked(night: Night):
    night.run()
    night.dies(night.train(), None)
    back, asked = night.comeback(), []
    back.agree = asked.append

    def off(provider: str) -> None:
        raise Refused(f"this machine's clock is behind {provider}'s", "")

    back.fit = off
    with pytest.raises(Refused, match="behind vast's"):
        resume(back, "night")
    assert asked == [] and night.live() == []


def test_a_run_that_is_rebuilt_keeps_nothing_before_the_yes(night: Night):
    night.run()
    plan = night.ledger.run("night").plan
    night.dies(night.train(), None)
    bare = night.ledger.change_run("night", plan={})
    back = night.comeback()
    back.rebuilt = lambda: (replace(bare, plan=plan), None)
    back.agree = no
    with pytest.raises(Refused):
        resume(back, "night")
    assert night.ledger.run("night").plan == {}
    back.agree = lambda words: None
    assert resume(back, "night").deployed is not None
    assert "container" in night.ledger.run("night").plan
