"""What the fleet's tasks print of one machine, of one without a GPU, and of one with a long id."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from cli import fleet_deploy, fleet_show, fleet_watch
from fleet.clock import WallClock
from fleet.deploy.deploy import Deployed
from fleet.deploy.status import Row, Status
from fleet.ledger.opening import open_ledger
from fleet.ledger.values import Run
from fleet.life.signs import Signs
from fleet.offers.offer import ON_DEMAND, Offer
from fleet.providers.local.client import LACKS
from fleet.providers.values import Instance, State
from fleet.watch.report import report

LONG = "0123456789ab" + "c" * 52
MACHINE = Instance("local", LONG, "", State.RUNNING, gpu="cpu", gpus=0, usd_hour=Decimal("0.35"))


@pytest.fixture
def told(tmp_path, capsys: pytest.CaptureFixture[str]) -> str:
    """The story of a run that had one machine without a GPU, and was terminated."""
    clock = WallClock()
    with open_ledger(tmp_path, clock) as ledger:
        ledger.add_run(Run("night"))
        wish = ledger.wish("night", "deploy")
        tag = f"stk-{ledger.id}-night-a1b2c3d4"
        offer = Offer("local", "cpu", 1, 0.35, ON_DEMAND, "here", "2026-11-21T14:02:00+00:00")
        ledger.intend(wish, tag, "local", offer, Decimal("0.35"), Decimal(1), "")
        ledger.sent(tag)
        ledger.created(tag, replace(MACHINE, tag=tag))
        ledger.set_state("night", "ended", "terminated by the user")
        ledger.end("local", LONG, "terminated by the user")
        fleet_watch.printed(report(ledger, "night", clock.now()))
    return capsys.readouterr().out


def test_a_report_counts_one_machine_as_one_and_no_gpus_as_none(told: str):
    assert "on 1 machine\n" in told
    assert "0 x" not in told and "cpu" in told


def test_a_report_says_what_ended_the_run_or_its_machine(told: str):
    ended = [line.split("  ", 1)[1] for line in told.splitlines() if line[:2] == "20" and "  ended " in line]
    assert ended == [
        "ended       terminated by the user",
        "ended       machine 0123456789ab: terminated by the user",
    ]


def test_ids_of_containers_are_shown_as_docker_shows_them_and_digests_as_they_are(capsys: pytest.CaptureFixture[str]):
    row = Row("night", "running", "local", LONG, since=timedelta(hours=1))
    fleet_show.status(Status(WallClock().now(), (row,), (MACHINE,), {}))
    said = capsys.readouterr()
    assert "local 0123456789ab " in said.out and LONG not in said.out + said.err
    assert fleet_show.brief(f"sha256:{LONG}") == f"sha256:{LONG}"
    assert fleet_show.brief("vast 20118481") == "vast 20118481"


@pytest.mark.parametrize(("lacks", "offered"), [(LACKS, False), ({}, True)])
def test_a_shell_is_offered_where_there_is_one(lacks: Any, offered: bool, capsys: pytest.CaptureFixture[str]):
    done = Deployed("night", MACHINE, Signs(step=3))
    fleet_deploy.told(done, {}, False, {"local": SimpleNamespace(lacks=lacks)})  # type: ignore[dict-item]
    said = capsys.readouterr().out
    assert ("./inv ssh night" in said) == offered and "./inv logs night --follow" in said and LONG not in said
