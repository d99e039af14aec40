"""`terminate --all`, `status`, `ssh` and `stop`: no machine and no storage is forgotten, and no shell is promised."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli import fleet_runs
from fleet.ledger.opening import open_ledger
from fleet.ledger.tags import fresh
from fleet.providers.hyperbolic.lacks import LACKS as HYPERBOLIC
from fleet.providers.local.client import LACKS as LOCAL
from fleet.providers.values import Instance, State, Volume
from images.workbench import Workbench
from profiles.errors import OutsideFailed, WrongInput
from tests.fleet.deploy.shelf import Stall, Tick


@pytest.fixture
def vast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stall]:
    """The one provider there is a key for; it lists a machine of this ledger that the ledger does not know."""
    made, clock = Stall(), Tick()
    monkeypatch.setattr("fleet.clock.open_clock", lambda: clock)
    monkeypatch.setattr(fleet_runs, "keyed", lambda texts=(): ("vast",))
    monkeypatch.setattr(fleet_runs, "clients", lambda work, clock, names: dict.fromkeys(names, made))
    monkeypatch.setattr(fleet_runs, "tell_rehearsal", lambda work: None)
    monkeypatch.setattr(fleet_runs, "books", lambda work: tmp_path)
    with open_ledger(tmp_path, clock) as ledger:
        made.machines["lost"] = Instance("vast", "lost", fresh(ledger.id, "before"), State.RUNNING)
    yield made


WORK: Workbench = SimpleNamespace()  # type: ignore[assignment]


def test_terminate_all_ends_a_machine_of_which_no_run_is_known(vast: Stall, capsys: pytest.CaptureFixture[str]):
    fleet_runs.terminate(WORK, "", True, True, False)
    said = capsys.readouterr().out
    assert vast.ended == ["lost"] and "(none): vast lost: gone" in said and "nothing to end" not in said
    fleet_runs.terminate(WORK, "", True, True, False)
    assert capsys.readouterr().out == "nothing to end\n"


@pytest.mark.parametrize("listed", [True, False])
def test_terminate_all_fails_while_one_may_live(vast: Stall, listed: bool, tmp_path, capsys):
    if listed:
        with open_ledger(tmp_path, Tick()) as ledger:
            ledger.saw("vast", list(vast.machines.values()), ledger.now(), complete=True)
    vast.down = True
    with pytest.raises(OutsideFailed, match="1 of 1 may still bill") as failed:
        fleet_runs.terminate(WORK, "", True, True, False)
    assert failed.value.exit_code == 3 and "nothing to end" not in capsys.readouterr().out


def test_terminate_all_tells_which_storage_bills_on(vast: Stall, capsys: pytest.CaptureFixture[str]):
    vast.stored = [Volume("vast", "1", "V.1", 50)]
    fleet_runs.terminate(WORK, "", True, True, True)
    said = capsys.readouterr()
    assert "note: vast: storage bills on by itself: 1 volume, 50 GB" in said.err
    told = json.loads(said.out)
    assert told["ended"][0]["id"] == "lost" and told["storage"][0]["gb"] == 50


def test_status_tells_which_storage_bills(vast: Stall, capsys: pytest.CaptureFixture[str]):
    vast.stored = [Volume("vast", "1", "V.1", 50)]
    fleet_runs.status(WORK, False, False, False)
    assert "note: vast: storage bills on by itself: 1 volume, 50 GB" in capsys.readouterr().err


@pytest.mark.parametrize(("task", "lacks"), [("ssh", LOCAL), ("stop", HYPERBOLIC)])
def test_what_a_provider_never_has_is_told_with_what_to_do_instead(vast: Stall, task: str, lacks, monkeypatch):
    one = SimpleNamespace(provider="vast", id="lost", run="night")
    monkeypatch.setattr("fleet.deploy.ending.the_machine", lambda ledger, run: one)
    vast.lacks = lacks
    with pytest.raises(WrongInput) as refused:  # before it is asked whether to stop: there is no --yes
        fleet_runs.ssh(WORK, "night", "") if task == "ssh" else fleet_runs.stop(WORK, "night", False)
    assert refused.value.next_step == lacks[task] and f"vast has no {'shell' if task == 'ssh' else task}" in str(
        refused
    )
