"""A rehearsal's books are its own, and what a user without any key is told; typed, with no machine at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.clock import open_clock
from fleet.ledger.opening import open_ledger
from fleet.ledger.tags import fresh
from fleet.ledger.values import Run
from fleet.providers.values import Instance, State
from tests.cli.fleet_command import Stage, staged
from tests.cli.plan_command import Answer

ADDRESSES = ("STOKER_RUNPOD_URL", "STOKER_VAST_URL")
KEYS = ("RUNPOD_API_KEY", "VAST_API_KEY")
READING = [["status"], ["report", "real"], ["ledger"], ["watch", "real"], ["logs", "real"], ["resume", "real", "--yes"]]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    """A user with a run in the real ledger, and simulators of two providers."""
    (tmp_path / "user").mkdir()
    with staged(tmp_path / "user", tmp_path / "state", monkeypatch, capsys) as here:
        with open_ledger(here.state, open_clock()) as real:
            real.add_run(Run("real"))
        yield here


def alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The same user without any simulator and any key; the clock stays, so that nobody waits."""
    for name in (*ADDRESSES, *KEYS):
        monkeypatch.delenv(name)
    return stage


@pytest.mark.parametrize("words", READING)
def test_no_task_of_a_rehearsal_sees_the_real_ledger(stage: Stage, words: list[str]):
    before = (stage.state / "fleet.sqlite").read_bytes()
    said = stage(*words)
    assert said.code == (2 if "real" in words else 0), said.err
    assert "no run `real`" in said.err or "real" not in said.out
    assert said.err.count("a rehearsal: runpod, vast") == 1 and str(stage.books) in said.err
    assert (stage.state / "fleet.sqlite").read_bytes() == before


def test_a_reconcile_with_simulators_ends_nothing_real(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    with open_ledger(stage.books, open_clock()) as rehearsal:
        rehearsal.add_run(Run("play"))
    assert stage("reconcile").code == 0 and stage("terminate", "--all", "--yes").out == "play: it had no machine\n"
    [run] = json.loads(alone(stage, monkeypatch)("ledger").out)["runs"]
    assert (run["name"], run["state"]) == ("real", "open")


def test_outside_of_a_rehearsal_nothing_is_said_of_one(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    said = alone(stage, monkeypatch)("status")
    assert said.code == 0 and "real" in said.out and "rehearsal" not in said.err


@pytest.mark.parametrize("words", [["status"], ["balance"], ["reconcile"], ["offers", "--gpu", "rtx4090"]])
def test_a_real_provider_is_not_asked_in_a_rehearsal(stage: Stage, monkeypatch: pytest.MonkeyPatch, words: list[str]):
    monkeypatch.delenv("STOKER_RUNPOD_URL")
    said = stage(*words)
    assert said.code == 4
    assert "vast is simulated on this machine and runpod is not" in said.err
    assert "unset STOKER_VAST_URL" in said.err and "set STOKER_RUNPOD_URL" in said.err


def test_one_that_is_named_is_rehearsed_beside_a_real_key(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("STOKER_RUNPOD_URL")
    said = stage("balance", "--provider", "vast")
    assert said.code == 0 and "rehearsal: vast simulated" in said.err


def test_reconcile_without_a_key_looks_at_this_machine_and_names_the_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STOKER_LOCAL", "processes")
    said = alone(stage, monkeypatch)("reconcile")
    assert (said.code, said.out) == (0, "the ledger and the providers agree\n"), said.err
    assert "not asked, without a key: runpod, vast, hyperbolic; set RUNPOD_API_KEY, " in said.err


@pytest.mark.parametrize("words", [["--provider", "runpod"], []])
def test_a_key_that_is_missing_is_wrong_input_whether_it_is_named_or_not(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, words: list[str]
):
    said = alone(stage, monkeypatch)("balance", *words)
    assert said.code == 2 and "no key" in said.err
    assert "make a key in the console's settings, API keys, and set RUNPOD_API_KEY to it" in said.err


def waited(stage: Stage, *words: str) -> tuple[float, Answer]:
    """Seconds of the simulators' clock, which stands still but for sleeps."""
    before = open_clock().now()
    said = stage(*words)
    return (open_clock().now() - before).total_seconds(), said


def test_reconcile_does_not_wait_where_nothing_is_in_doubt(stage: Stage):
    stage("status")  # a provider's own pause between requests is not reconcile's
    seconds, said = waited(stage, "reconcile")
    assert (said.code, said.out) == (0, "the ledger and the providers agree\n"), said.err
    assert seconds < 15 and "looking again" not in said.err


def test_reconcile_tells_what_it_waits_for(stage: Stage):
    with open_ledger(stage.books, open_clock()) as ledger:
        ledger.add_run(Run("night"))
        ledger.adopt(Instance("vast", "77", fresh(ledger.id, "night"), State.RUNNING), "night")
    open_clock().sleep(3600)
    row = next(one for one in stage.json("status")["runs"] if one["run"] == "night")
    assert (row["state"], row["next"]) == ("not listed", "./inv reconcile")
    assert "  next     ./inv reconcile                night\n" in stage("status").out
    seconds, said = waited(stage, "reconcile")
    assert said.code == 0 and "ghost" in said.out, said.err
    assert "note: looking again in 15 s: vast: 77 is not listed; clean list 1 of 5" in said.err
    assert seconds >= 60 and "77 is not proven gone yet" in said.err
