"""Words of refusals: no state told twice, no sentence run into the next, nothing advised that is not there."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest

from cli.fleet_agree import agreed
from fleet.deploy.names import run_name
from fleet.deploy.opening import named
from fleet.ledger.opening import open_ledger
from fleet.ledger.values import Run
from profiles.errors import Refused, WrongInput
from profiles.nearest import nearest
from tests.cli.plan_command import typed
from tests.fleet.deploy.shelf import Tick


@pytest.mark.parametrize(
    ("question", "alone", "said"),
    [
        ("end it?", "", "end it? nobody is here to say yes"),
        ("end it? what is on it is lost", "", "end it? what is on it is lost; nobody is here to say yes"),
        ("rent it?", "this would rent it, and", "this would rent it, and nobody is here to say yes"),
    ],
)
def test_a_question_that_nobody_is_there_for_is_told_as_a_sentence(
    question: str, alone: str, said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(Refused) as refused:
        agreed(question, False, alone=alone)
    assert refused.value.what == said


@pytest.mark.parametrize(
    ("state", "words", "told"),
    [
        ("done", "done", "it is done"),
        ("done", "", "it is done"),
        ("ended", "terminated by the user", "it is ended, terminated by the user"),
    ],
)
def test_a_run_that_is_over_is_told_once(state: str, words: str, told: str, tmp_path):
    with open_ledger(tmp_path, Tick()) as ledger:
        ledger.add_run(Run("night"))
        ledger.set_state("night", state, words)
        with pytest.raises(Refused) as refused:
            run_name(ledger, "night", "night")
    assert refused.value.what == f"there was a run `night` already: {told}"


def test_only_what_is_near_is_meant():
    assert nearest("vats", ["runpod", "vast"]) == "vast"
    assert nearest("aws", ["runpod", "vast", "hyperbolic", "local"]) is None
    with pytest.raises(WrongInput) as wrong:
        named(["aws"])
    assert wrong.value.next_step == "runpod, vast, hyperbolic, local"


def test_a_flag_that_is_like_none_but_for_its_dashes_is_no_other(capsys: pytest.CaptureFixture[str]):
    for words, step in (
        (("deploy", "--nonsense"), "./inv --list shows the tasks"),
        (("deploy", "--profil", "x"), "did you mean --profile?"),
    ):
        said = typed(capsys, *words)
        assert said.code == 2 and step in said.err, said.err


def test_credit_below_a_cent_is_nothing_left_and_more_debt_is_told():
    from fleet.deploy.filter import credit_words

    assert credit_words(Decimal("-0.001"), Decimal("1.84")) == "0.00 USD of credit are left there, an hour costs 1.84"
    assert credit_words(Decimal("-5.32"), Decimal("1.84")).startswith("-5.32 USD")


def test_offers_without_an_image_advise_nothing_that_they_do_not_take(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STOKER_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STOKER_PROFILE", raising=False)
    said = typed(capsys, "offers")
    assert said.code == 2 and "no image has been built here" in said.err
    assert "--profile NAME" in said.err and "--image" not in said.err
