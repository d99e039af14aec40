"""Prices that are kept: asked once, told how old, never trusted when damaged."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleet.offers import cache
from fleet.offers.current import ago, current
from fleet.offers.offer import Question
from tests.fleet.offers.market import KEY, reply

NOW = datetime(2026, 11, 21, 14, 2, tzinfo=UTC)
ALL = Question(counts=(1, 2, 8))
BOTH = ["vast", "hyperbolic"]


def later(**more) -> datetime:
    return NOW + timedelta(**more)


def requests(markets) -> int:
    return sum(len(each.seen) for each in markets.values())


def test_planning_again_asks_nobody_and_says_how_old_the_prices_are(tmp_path, markets, keys):
    first = current(tmp_path, BOTH, keys, ALL, NOW)
    asked = requests(markets)
    second = current(tmp_path, BOTH, keys, ALL, later(minutes=9))
    assert requests(markets) == asked
    assert set(second.offers) == set(first.offers)
    assert first.notes == ()
    assert second.notes == ("vast: prices are 9 min old", "hyperbolic: prices are 9 min old")
    assert {offer.seen for offer in second.offers} == {"2026-11-21T14:02:00+00:00"}


def test_old_prices_are_asked_again(tmp_path, markets, keys):
    current(tmp_path, BOTH, keys, ALL, NOW)
    asked = requests(markets)
    answer = current(tmp_path, BOTH, keys, ALL, later(minutes=11))
    assert requests(markets) == 2 * asked
    assert answer.notes == ()
    assert set(answer.seen.values()) == {later(minutes=11)}


def test_offline_takes_old_prices_and_says_so(tmp_path, markets, keys):
    current(tmp_path, ["vast"], keys, ALL, NOW)
    asked = requests(markets)
    answer = current(tmp_path, BOTH, keys, ALL, later(hours=5), offline=True)
    assert requests(markets) == asked
    assert answer.notes == ("vast: prices are 5 h old and not asked again, offline",)
    assert "--price" in answer.failures["hyperbolic"]
    assert {offer.provider for offer in answer.offers} == {"vast"}


def test_when_a_provider_fails_its_old_prices_count_and_the_failure_is_told(tmp_path, markets, keys):
    current(tmp_path, BOTH, keys, ALL, NOW)
    markets["vast"].script = [reply({"success": False, "error": "auth_error", "msg": "Invalid user key"}, 404)]
    answer = current(tmp_path, BOTH, keys, ALL, later(hours=3))
    assert answer.notes == ("vast: prices are 3 h old and could not be asked again",)
    assert list(answer.failures) == ["vast"]
    assert {offer.provider: offer.seen[11:16] for offer in answer.offers} == {"vast": "14:02", "hyperbolic": "17:02"}


def test_a_narrower_question_is_answered_from_what_is_kept_and_a_wider_one_is_not(tmp_path, markets, keys):
    current(tmp_path, BOTH, keys, ALL, NOW)
    asked = requests(markets)
    narrow = current(tmp_path, BOTH, keys, Question(gpus=("h100-pcie",), counts=(1,)), later(minutes=1))
    assert requests(markets) == asked
    assert [(offer.gpu, offer.count) for offer in narrow.offers] == [("h100-pcie", 1)]
    current(tmp_path, BOTH, keys, Question(counts=(1, 2, 8), spot=True), later(minutes=1))
    assert requests(markets) > asked


@pytest.mark.parametrize(
    "wider",
    [{"min_reliability": 0.5}, {"disk_gb": 500.0}, {"counts": (1, 4)}, {"gpus": ()}, {"spot": True}],
)
def test_what_is_kept_answers_no_question_that_it_was_not_asked(wider):
    kept = Question(gpus=("h100-sxm",), counts=(1, 2))
    asked = {"gpus": ("h100-sxm",), "counts": (1,)}
    assert kept.covers(Question(**asked))
    assert not kept.covers(Question(**{**asked, **wider}))


def test_a_time_to_come_is_no_fresh_price(tmp_path, markets, keys):
    current(tmp_path, BOTH, keys, ALL, later(days=1))
    asked = requests(markets)
    current(tmp_path, BOTH, keys, ALL, NOW)
    assert requests(markets) == 2 * asked


def test_no_key_is_kept(tmp_path, markets, keys):
    current(tmp_path, BOTH, keys, ALL, NOW)
    assert KEY not in (tmp_path / cache.NAME).read_text()


def damaged() -> list[str]:
    row = {"seen": NOW.isoformat(), "offers": [], "skipped": []}
    question = {"gpus": [], "counts": [1, 2, 8], "spot": False, "disk_gb": 50, "min_reliability": 0.9}
    rows = [
        {**row, "question": {}},
        {**row, "question": {**question, "gpus": ["no such"]}},
        {**row, "question": {**question, "counts": None}},
        {**row, "question": {**question, "disk_gb": "much"}},
        {**row, "question": question, "seen": "yesterday"},
        {**row, "question": question, "seen": "2026-11-21T14:02:00"},
        {**row, "question": question, "offers": None},
        7,
    ]
    whole = [json.dumps({"version": 1, "providers": {"vast": each}}) for each in rows]
    return ["", "{", "[]", '{"version": 99, "providers": {}}', '{"version": 1, "providers": []}', "[" * 99999, *whole]


@pytest.mark.parametrize("content", damaged(), ids=range(len(damaged())))
def test_a_damaged_file_is_as_none_and_is_replaced(tmp_path, markets, keys, content):
    (tmp_path / cache.NAME).write_text(content)
    answer = current(tmp_path, ["vast"], keys, ALL, NOW)
    assert [offer.gpu for offer in answer.offers] == ["rtx4090"]
    assert list(cache.read(tmp_path)) == ["vast"]


def test_a_damaged_offer_in_a_whole_file_is_left_out(tmp_path, markets, keys):
    current(tmp_path, ["vast"], keys, ALL, NOW)
    path = tmp_path / cache.NAME
    content = json.loads(path.read_text())
    (good,) = content["providers"]["vast"]["offers"]
    spoiled = [
        {"price": 0},
        {"price": None},
        {"count": 0.5},
        {"gpu": "no"},
        {"kind": "gift"},
        {"seen": "x"},
        {"provider": ""},
    ]
    content["providers"]["vast"]["offers"] += [{**good, **each} for each in spoiled] + [None, 3, []]
    path.write_text(json.dumps(content))
    assert [offer.to_json() for offer in cache.read(tmp_path)["vast"].found.offers] == [good]


def test_a_folder_that_cannot_be_written_costs_nothing_but_a_note(tmp_path, markets, keys):
    (tmp_path / "file").write_text("")
    answer = current(tmp_path / "file", ["vast"], keys, ALL, NOW)
    assert answer.offers
    assert "prices are not kept" in answer.notes[0]


def test_a_full_disk_leaves_the_old_file_whole_and_nothing_beside_it(tmp_path, markets, keys, monkeypatch):
    current(tmp_path, ["vast"], keys, ALL, NOW)
    before = (tmp_path / cache.NAME).read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    answer = current(tmp_path, ["vast"], keys, ALL, later(hours=1))
    assert "No space left" in answer.notes[0]
    assert (tmp_path / cache.NAME).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [cache.NAME]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (600, "10 min"), (7200, "2 h"), (86400 * 3, "3 days"), (-60, "an unknown time")],
)
def test_an_age_is_told_in_one_unit(seconds, words):
    assert ago(NOW, later(seconds=seconds)) == words
