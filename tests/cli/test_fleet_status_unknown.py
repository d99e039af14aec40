"""`status`, `reconcile` and `report` say what is not known, and forget nothing that was; typed, against simulators."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.fleet_show import WIDEST, shortened
from fleet.clock import open_clock
from fleet.ledger.opening import open_ledger
from fleet.ledger.values import Run
from fleet.simulators.bodies.open import open_bodies
from fleet.simulators.bodies.state import State
from fleet.simulators.clock import VirtualClock
from fleet.simulators.server import running
from fleet.simulators.vast.site import open_site
from tests.cli.fleet_command import Stage, staged

ROOT = Path(__file__).resolve().parents[2]
REVOKED = {"auth.revoked_midway": {"count": 1000}}


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    """A user with keys of two providers, and nothing rented."""
    (tmp_path / "user").mkdir()
    with staged(tmp_path / "user", tmp_path / "state", monkeypatch, capsys) as here:
        yield here


def test_nothing_is_said_of_what_is_rented_where_nobody_answered(stage: Stage):
    stage.sim("vast", "faults", **REVOKED)
    said = stage("status")
    assert said.code == 3
    assert said.out == "no run is open; nothing is rented at runpod; vast did not answer\n"
    assert "error: vast did not answer: what is rented there now is not known" in said.err
    assert "VAST_API_KEY" in said.err.partition("next:")[2], said.err


def test_as_json_it_is_a_document_and_the_same_code(stage: Stage):
    stage.sim("vast", "faults", **REVOKED)
    said = stage("status", "--json")
    assert said.code == 3 and set(json.loads(said.out)["failures"]) == {"vast"}


def test_when_all_answered_it_says_so(stage: Stage):
    said = stage("status")
    assert (said.code, said.out) == (0, "no run is open, and nothing is rented\n"), said.err


def test_the_next_step_of_reconcile_is_the_key_when_the_key_is_refused(stage: Stage):
    stage.sim("vast", "faults", **REVOKED)
    said = stage("reconcile")
    assert said.code == 3 and "nothing is concluded about it" in said.err
    step = said.err.partition("next:")[2]
    assert "VAST_API_KEY" in step and "reconcile again" not in step


@pytest.mark.parametrize("word", ["xxxx", "stk-none"])
def test_a_machine_to_adopt_that_is_nowhere_is_wrong_input(stage: Stage, word: str):
    said = stage("reconcile", "--adopt", word)
    assert said.code == 2 and not said.out
    assert f"no machine, tag or ledger `{word}` at runpod, vast" in said.err


def test_it_may_be_where_nobody_answered(stage: Stage):
    stage.sim("vast", "faults", **REVOKED)
    said = stage("reconcile", "--adopt", "xxxx")
    assert said.code == 3 and "`xxxx` is not listed where there was an answer; vast did not answer" in said.out


def test_the_help_names_the_ledger_s_letters(stage: Stage):
    # In a process of its own, as a user has it: options lose their words once their task was parsed.
    said = subprocess.run(
        [sys.executable, ROOT / "cli" / "program.py", "reconcile", "--help"], capture_output=True, text=True
    )
    assert "or the four letters of its ledger" in " ".join(said.stdout.split()), said.stderr


def test_a_rehearsal_is_over_when_its_simulators_are_started_anew(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    open_clock().sleep(3600)
    with open_ledger(stage.books, open_clock()) as ledger:
        ledger.add_run(Run("night"))
    assert stage("status").code == 0
    held = open_bodies("none", State(stage.folder / "anew"), "true")
    with running([open_site(VirtualClock(), held)]) as urls:
        monkeypatch.setenv("STOKER_CLOCK", urls["clock"])
        said = stage("status")
        assert said.code == 4 and f"delete {stage.books}" in said.err and "started anew" in said.err
    monkeypatch.setenv("STOKER_CLOCK", stage.urls["clock"])
    assert "night" in stage("status").out


def test_words_that_do_not_fit_end_in_dots_after_a_whole_word():
    long = "RunPod does not tell by whom: a user, its own limit (status 1), or the market"
    short = shortened(long)
    assert short == "RunPod does not tell by whom: a user, its own..." and len(short) <= WIDEST
    assert shortened("exited (status 1)") == "exited (status 1)"
    assert shortened("x" * WIDEST) == "x" * WIDEST
    assert shortened("x" * 60) == "x" * (WIDEST - 3) + "..." and shortened("a" * 45 + " bcd") == "a" * 45 + "..."
