"""What the user ended stays ended, whoever was about to bring it back; what only looks gone is not replaced."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.ledger.opening import open_ledger
from fleet.ledger.values import ENDED, OPEN
from fleet.resume import looked
from fleet.resume.resume import resume
from profiles.errors import Refused
from tests.fleet.resume.night import Night


def ends(night: Night) -> Any:
    def asked(words: str) -> None:
        night.ledger.set_state("night", ENDED, "terminated by the user")

    return asked


def test_a_run_that_is_ended_while_it_is_brought_back_rents_nothing(night: Night):
    night.run()
    night.dies(night.train(), None)
    back = night.comeback(unattended=True)
    back.agree = ends(night)
    with pytest.raises(Refused, match="is ended by now"):
        resume(back, "night")
    assert night.live() == []
    assert night.ledger.run("night").state == ENDED


def test_nobody_but_a_person_opens_an_ended_run_again(night: Night):
    night.run()
    night.dies(night.train(), None)
    night.ledger.set_state("night", ENDED, "terminated by the user")
    assert resume(night.comeback(unattended=True), "night").deployed is None
    assert night.live() == [] and night.ledger.run("night").state == ENDED


def test_a_refused_question_leaves_an_ended_run_ended(night: Night):
    night.run()
    night.dies(night.train(), None)
    night.ledger.set_state("night", ENDED, "terminated by the user")
    back = night.comeback()

    def no(words: str) -> None:
        raise Refused("not resumed", "")

    back.agree = no
    with pytest.raises(Refused):
        resume(back, "night")
    assert night.ledger.run("night").state == ENDED


def test_two_lists_in_a_row_that_lack_a_machine_which_its_own_page_shows_are_no_death(night: Night, monkeypatch):
    night.run()
    machine = night.train()
    world = night.places["vast"].world
    real, begin = type(night.places["vast"]).instances, night.clock.time

    def blind(place: Any) -> Any:
        return [one for one in real(place) if (night.clock.time - begin).total_seconds() > 60]

    monkeypatch.setattr(type(night.places["vast"]), "instances", blind)
    assert resume(night.comeback(), "night").deployed is None
    assert night.live() == [machine] and len(world.machines) == 1
    assert looked.LOOKS * looked.AGAIN >= 100


def test_a_run_may_be_called_as_the_ledgers_own_lock(night: Night):
    with night.ledger.hold("opening"), open_ledger(night.folder, night.clock) as second:
        assert second.id == night.ledger.id


def test_a_machine_that_was_to_be_ended_is_not_gone_on_with(night: Night):
    night.run()
    machine = night.train()
    night.ledger.ending("vast", machine.id, "never-ready")
    wish = night.ledger.wish("night", "resume, half way")
    assert night.ledger.run("night").state == OPEN
    night.ledger.let_go(wish)
    from fleet.resume import decide

    found = looked.judged(night.ledger, night.ledger.run("night"), dict(night.places), night.clock, night.said.append)
    assert decide.half_way(night.ledger, found) is None
