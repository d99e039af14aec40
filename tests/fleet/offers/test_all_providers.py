"""All providers at once: one that fails costs nobody else's offers."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest

from fleet.offers.ask import PROVIDERS, ask, chosen
from fleet.offers.offer import Question, from_json
from fleet.offers.price import priced_by
from profiles.errors import WrongInput
from tests.fleet.offers.market import KEY, Reply, reply

NOW = datetime(2026, 11, 21, 14, 2, tzinfo=UTC)
ONE = Question(counts=(1, 2, 8))


def test_offers_of_all_three_come_in_one_answer(markets, keys):
    answer = ask(list(PROVIDERS), keys, ONE, NOW)
    assert {offer.provider for offer in answer.offers} == set(PROVIDERS)
    assert {offer.seen for offer in answer.offers} == {"2026-11-21T14:02:00+00:00"}
    assert answer.failures == {}
    best = priced_by(answer.offers, "h100-sxm", 8)
    assert best is not None
    assert (best.provider, best.price) == ("runpod", 2.99)
    assert priced_by(answer.offers, "b200", 8) is None


def test_one_that_is_down_is_told_and_the_others_count(markets, keys):
    markets["vast"].script = [Reply(401, b'{"success":false,"error":"auth_error","msg":"Invalid user key"}')]
    answer = ask(list(PROVIDERS), keys, ONE, NOW)
    assert {offer.provider for offer in answer.offers} == {"runpod", "hyperbolic"}
    assert list(answer.failures) == ["vast"]
    assert "VAST_API_KEY" in answer.failures["vast"]
    assert any("VAST_API_KEY" in text for text in answer.lines())
    assert KEY not in str(answer.to_json())


def test_one_that_never_answers_does_not_hold_up_the_others(markets, keys):
    markets["runpod"].script = [Reply(200, b"{}", wait=30.0)] * 9
    began = time.monotonic()
    answer = ask(list(PROVIDERS), keys, ONE, NOW, deadline=3.0)
    assert time.monotonic() - began < 20
    assert list(answer.failures) == ["runpod"]
    assert {offer.provider for offer in answer.offers} == {"vast", "hyperbolic"}


def test_they_are_asked_in_parallel(markets, keys):
    both_there = threading.Barrier(2)
    for each in ("vast", "hyperbolic"):

        def wait_for_the_other(seen, normal=markets[each].normal):
            both_there.wait(15)
            return normal(seen)

        markets[each].normal = wait_for_the_other
    answer = ask(["vast", "hyperbolic"], keys, ONE, NOW)
    assert answer.failures == {}
    assert {offer.provider for offer in answer.offers} == {"vast", "hyperbolic"}


def test_a_mistake_in_one_room_does_not_cost_the_others(markets, keys, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError(KEY)

    monkeypatch.setitem(PROVIDERS, "vast", broken)
    answer = ask(list(PROVIDERS), keys, ONE, NOW)
    assert {offer.provider for offer in answer.offers} == {"runpod", "hyperbolic"}
    assert "ZeroDivisionError" in answer.failures["vast"]
    assert KEY not in answer.failures["vast"]


def test_a_provider_without_a_key_says_how_to_get_one_and_hyperbolic_needs_none(markets):
    answer = ask(list(PROVIDERS), {}, ONE, NOW)
    assert {offer.provider for offer in answer.offers} == {"hyperbolic"}
    assert set(answer.failures) == {"runpod", "vast"}
    assert "RUNPOD_API_KEY" in answer.failures["runpod"]
    assert markets["runpod"].seen == markets["vast"].seen == []


def test_only_providers_with_a_key_are_asked_unless_named(keys):
    assert chosen(None, {"vast": keys["vast"]}) == ["vast"]
    assert chosen(None, {}) == []
    assert chosen(["hyperbolic"], {}) == ["hyperbolic"]
    with pytest.raises(WrongInput) as refused:
        chosen(["runpot"], {})
    assert "runpod" in refused.value.next_step


def test_nothing_is_ever_rented(markets, keys):
    ask(list(PROVIDERS), keys, Question(spot=True), NOW)
    calls = {(name, seen.method, seen.path) for name, each in markets.items() for seen in each.seen}
    assert calls == {
        ("runpod", "GET", "/v2/catalog/gpus"),
        ("vast", "POST", "/api/v0/bundles/"),
        ("hyperbolic", "GET", "/v2/on-demand/rental-options"),
    }


def test_an_offer_survives_json(markets, keys):
    for offer in ask(list(PROVIDERS), keys, Question(spot=True), NOW).offers:
        assert from_json(offer.to_json()) == offer


def test_a_gpu_that_is_not_in_the_table_cannot_be_asked_for():
    with pytest.raises(WrongInput) as refused:
        Question(gpus=("h100-sxn",))
    assert "h100-sxm" in refused.value.next_step


def test_an_empty_market_is_no_failure(markets, keys):
    markets["hyperbolic"].normal = lambda seen: reply([])
    answer = ask(["hyperbolic"], keys, ONE, NOW)
    assert (answer.offers, answer.failures, list(answer.seen)) == ((), {}, ["hyperbolic"])
