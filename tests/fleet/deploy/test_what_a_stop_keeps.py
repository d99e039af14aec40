"""What a stop tells, and refuses: at one provider it wipes the disk."""

from __future__ import annotations

import pytest

from fleet.deploy.stopping import stop_of
from fleet.ledger.values import Run
from fleet.providers.local.client import LACKS as LOCAL
from fleet.providers.runpod.client import LACKS as RUNPOD
from fleet.providers.vast.client import Vast
from profiles.errors import Refused
from tests.fleet.deploy.shelf import Stall

BARE = Run("night")
SENT = Run("night", remote="hf://me/x/night")


def at(name: str, lacks) -> Stall:
    stall = Stall(name)
    stall.lacks = lacks
    return stall


def test_a_disk_that_is_wiped_is_not_stopped_when_it_holds_the_only_copy():
    with pytest.raises(Refused, match="wipes the machine's disk") as refused:
        stop_of(at("runpod", RUNPOD), BARE, "")
    assert "./inv terminate night" in refused.value.next_step


@pytest.mark.parametrize(("run", "volume"), [(SENT, ""), (BARE, "v1"), (SENT, "v1")])
def test_a_disk_that_is_wiped_is_never_said_to_bill_on(run: Run, volume: str):
    said = stop_of(at("runpod", RUNPOD), run, volume)
    assert "wiped" in said.ahead and "wiped" in said.after and "disk bills on" not in f"{said}"
    assert (volume or run.remote) in said.after


def test_a_disk_that_stays_is_told_with_what_it_costs():
    assert stop_of(at("vast", Vast.lacks), BARE, "").after == "its disk bills on"
    assert "bill" not in f"{stop_of(at('local', LOCAL), BARE, '')}"
