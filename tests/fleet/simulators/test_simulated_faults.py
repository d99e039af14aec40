"""Knobs: how often, when, and where a fault strikes."""

from __future__ import annotations

import pytest

from fleet.simulators.faults import Faults, UnknownFault


def strikes(faults: Faults, name: str, times: int) -> list[bool]:
    return [faults.take(name) is not None for _ in range(times)]


def test_a_knob_that_nobody_set_never_strikes():
    assert strikes(Faults(), "create.slow", 3) == [False] * 3


def test_a_counted_knob_strikes_so_often_and_then_no_more():
    faults = Faults()
    faults.set({"create.slow": {"count": 2, "seconds": 7}})
    assert faults.take("create.slow") == {"seconds": 7}
    assert strikes(faults, "create.slow", 3) == [True, False, False]


def test_a_knob_may_wait_for_its_turn():
    faults = Faults()
    faults.set({"auth.revoked_midway": {"after": 2}})
    assert strikes(faults, "auth.revoked_midway", 4) == [False, False, True, True]


def test_chance_is_drawn_from_the_seed():
    def drawn(seed: int) -> list[bool]:
        faults = Faults(seed=seed)
        faults.set({"vanish": {"chance": 0.3}})
        return strikes(faults, "vanish", 300)

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert 50 < sum(drawn(1)) < 130


def test_a_knob_strikes_only_where_its_arguments_agree():
    faults = Faults()
    faults.set({"create.drop_after_commit": {"count": 1, "tag": "stk-b"}})
    assert faults.take("create.drop_after_commit", tag="stk-a") is None
    assert faults.take("create.drop_after_commit", tag="stk-b") is not None
    assert faults.take("create.drop_after_commit", tag="stk-b") is None


@pytest.mark.parametrize("off", [None, False])
def test_null_and_false_take_a_knob_off(off: object):
    faults = Faults()
    faults.set({"vanish": True})
    assert strikes(faults, "vanish", 1) == [True]
    faults.set({"vanish": off})
    assert strikes(faults, "vanish", 1) == [False]


def test_an_unknown_knob_is_refused_with_the_known_ones_and_nothing_is_set():
    faults = Faults(["own.knob"])
    with pytest.raises(UnknownFault, match=r"vanished.*own\.knob"):
        faults.set({"vanish": True, "vanished": True})
    assert faults.shown() == {}


@pytest.mark.parametrize("table", [3, {"count": -1}, {"count": True}, {"chance": 1.5}, {"chance": "x"}, {"after": 0.5}])
def test_a_table_that_makes_no_sense_is_refused(table: object):
    with pytest.raises(ValueError, match="vanish"):
        Faults().set({"vanish": table})
