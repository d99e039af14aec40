"""Every run has limits of hours and dollars, and the container knows them: it holds them without us."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from fleet.capacity.figure import Figure
from fleet.deploy.candidates import Priced
from fleet.deploy.container import public_key, recipe, restored, stored
from fleet.deploy.limits import bounded, doubts
from fleet.deploy.needs import needs_of
from fleet.deploy.training import Estimate
from fleet.deploy.wishes import Wishes
from fleet.ledger.values import Limits
from profiles.errors import Refused, StokerError, WrongInput
from profiles.load import load
from tests.fleet.deploy.shelf import IMAGE, an_offer

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE6f8i2v3l4k5j6h7g8f9d0s1a2q3w4e5r6t7y8u9i0o someone@laptop"
PLANNED = Estimate("fits", "", 1000, Figure(5.0, "h", "", 4.0, 8.0), Figure(80.0, "USD", "", 64.0, 128.0))
FIRST = Priced(an_offer(), Decimal("16.04"), 200, None, PLANNED)
PROFILE = load("h100-fp8")
NEEDS = needs_of(PROFILE)


def test_without_typed_limits_the_plan_s_longest_and_a_fifth_is_the_limit():
    found = bounded(Wishes(), FIRST, Decimal("20.00"))
    assert found.limits == Limits(Decimal("192.00"), Decimal("20.00"), 9.6, 30.0)
    assert any("--hours" in note for note in found.notes) and any("--budget" in note for note in found.notes)


def test_typed_limits_stand_as_they_are():
    found = bounded(Wishes(usd=Decimal(50), hours=3.0, idle_minutes=10.0), FIRST, Decimal("20"))
    assert found.limits == Limits(Decimal(50), Decimal(20), 3.0, 10.0) and not found.notes
    told = doubts(Wishes(usd=Decimal(50), hours=3.0), FIRST, found.limits)
    assert len(told) == 2 and "ends it before it is done" in told[0]


def test_without_a_plan_and_without_a_limit_nothing_is_rented():
    with pytest.raises(Refused, match="nothing would stop this machine"):
        bounded(Wishes(), replace(FIRST, estimate=None), Decimal(20))
    found = bounded(Wishes(usd=Decimal("32.08")), replace(FIRST, estimate=None), Decimal(20))
    assert found.limits.hours == pytest.approx(2.0)


def test_one_s_own_machine_costs_nothing_and_needs_hours():
    free = replace(FIRST, usd_hour=Decimal(0), estimate=None)
    with pytest.raises(Refused):
        bounded(Wishes(usd=Decimal(5)), free, Decimal(0))
    assert bounded(Wishes(hours=2.0), free, Decimal(0)).limits.usd is None


def test_a_budget_that_buys_nothing_is_told():
    with pytest.raises(WrongInput, match="less than a minute"):
        bounded(Wishes(usd=Decimal("0.10"), hours=1.0), FIRST, Decimal(20))


def test_the_container_carries_its_own_limits():
    made = recipe(PROFILE, "night", IMAGE, NEEDS, Limits(Decimal(50), Decimal(20), 3.0, 10.0), remote="hf://me/x/night")
    env = made.on(FIRST, NOW).env
    assert env["STOKER_DOLLARS"] == "50.0000" and env["TRAINING_HOURS"] == "3.00"
    assert env["STOKER_PRICE"] == "2.0050"  # of a GPU-hour, as the run script counts
    assert env["STOKER_DEADLINE"] == str(int(NOW.timestamp()) + 3 * 3600)
    assert env["STOKER_IDLE_MINUTES"] == "10"
    assert (env["STOKER_RUN"], env["MODEL_TAG"], env["STOKER_REMOTE"]) == ("night", "night", "hf://me/x/night")
    assert env["STOKER_END_INSTANCE"] == "1"


def test_where_an_hour_costs_nothing_the_container_is_told_of_no_dollars():
    """The trainer refuses dollars without a price: the run would end before its first step."""
    free = replace(FIRST, usd_hour=Decimal(0))
    made = recipe(PROFILE, "night", IMAGE, NEEDS, Limits(Decimal(50), None, 3.0, 10.0))
    assert "STOKER_DOLLARS" not in made.on(free, NOW).env and made.on(FIRST, NOW).env["STOKER_DOLLARS"] == "50.0000"


def test_a_machine_is_not_ended_with_the_run_when_nothing_outlives_it():
    env = recipe(PROFILE, "night", IMAGE, NEEDS, Limits(hours=3.0)).on(FIRST, NOW).env
    assert "STOKER_END_INSTANCE" not in env and "STOKER_REMOTE" not in env and env["STOKER_DEADLINE"]


@pytest.mark.parametrize("url", ["ftp://x/y", "hf://", "plain", "s3://a:secret@b/c", 'hf://a/"b', "hf://a/b c"])
def test_what_is_no_store_is_refused_without_repeating_a_password(url: str):
    with pytest.raises(StokerError) as refused:
        recipe(PROFILE, "night", IMAGE, NEEDS, Limits(), remote=url)
    assert "secret" not in refused.value.what + refused.value.next_step


def test_what_the_ledger_keeps_holds_no_secret_and_gives_the_same_container_back():
    secrets = {"HF_TOKEN": "hf_planted_token_0123456789abcdef"}
    container = recipe(PROFILE, "night", IMAGE, NEEDS, Limits(), secrets=secrets).on(FIRST)
    kept = stored(container)
    assert "planted" not in str(kept) and "planted" not in repr(container)
    assert restored(kept, secrets) == container
    with pytest.raises(WrongInput, match="HF_TOKEN"):
        restored(kept, {})


def test_the_public_key_is_the_user_s_without_its_comment(tmp_path: Path):
    assert public_key({}, tmp_path) == ""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519.pub").write_text(KEY + "\n")
    assert public_key({}, tmp_path) == KEY.rpartition(" ")[0]
    assert public_key({"PUBLIC_KEY": KEY}, tmp_path) == KEY


@pytest.mark.parametrize("text", ["-----BEGIN OPENSSH PRIVATE KEY-----", "/root/.ssh/id_ed25519", "SHA256:abcdef"])
def test_a_private_key_never_leaves_this_machine(text: str, tmp_path: Path):
    with pytest.raises(WrongInput) as refused:
        public_key({"PUBLIC_KEY": text}, tmp_path)
    assert text not in refused.value.what
