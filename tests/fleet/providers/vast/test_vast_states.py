"""What Vast's four words mean together (providers.md 2.7); what nobody has heard of is unknown."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.providers.values import State
from fleet.providers.vast.rows import environment, instance_of, price
from fleet.providers.vast.states import state
from tests.fleet.providers.vast.desk import STOPPED, row

OCI = "Error response from daemon: OCI runtime create failed: example"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"actual_status": None}, State.PENDING),
        ({"actual_status": "created"}, State.STARTING),
        ({"actual_status": "loading", "status_msg": "pulling layer 3/9"}, State.STARTING),
        ({"actual_status": "rebooting"}, State.STARTING),
        ({"actual_status": "running"}, State.RUNNING),
        ({"actual_status": "Running"}, State.RUNNING),
        ({"actual_status": "created", "status_msg": OCI}, State.FAILED),
        ({"actual_status": "exited"}, State.FAILED),
        ({"actual_status": "unknown"}, State.FAILED),
        ({"actual_status": "offline"}, State.FAILED),
        ({"actual_status": "frozen", "intended_status": "frozen"}, State.UNKNOWN),
        ({"actual_status": "frozen"}, State.UNKNOWN),
        ({"actual_status": "stopped", "cur_state": "stopped"}, State.PENDING),  # "scheduling", perhaps for ever
        ({**STOPPED, "is_bid": True}, State.INTERRUPTED),
        ({**STOPPED, "is_bid": True, "actual_status": None}, State.INTERRUPTED),  # born stopped
        ({**STOPPED, "is_bid": True, "actual_status": "offline"}, State.INTERRUPTED),
        ({**STOPPED, "is_bid": None}, State.INTERRUPTED),
        ({**STOPPED, "is_bid": False}, State.STOPPED),
        ({"intended_status": "stopped"}, State.RUNNING),  # asked to stop, and not there yet
        ({"intended_status": "stopped", "actual_status": "loading"}, State.UNKNOWN),
        ({"cur_state": "unloaded"}, State.FAILED),  # destroyed, its row lingers
        ({"next_state": "unloaded"}, State.FAILED),
        ({"actual_status": "levitating"}, State.UNKNOWN),
        ({"actual_status": 7}, State.UNKNOWN),
        ({"intended_status": None, "actual_status": "exited"}, State.UNKNOWN),
    ],
)
def test_a_row_is_in_one_state(changed: dict[str, Any], expected: State):
    assert state(row(**changed)) is expected


def test_a_missing_status_is_unknown_and_not_the_null_of_a_young_one():
    without = row()
    del without["actual_status"]
    assert state(without) is State.UNKNOWN


def test_a_stop_of_our_own_is_no_interruption():
    assert state(row(**STOPPED, is_bid=True), ours=True) is State.STOPPED


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(row())), JSON, max_size=8))
def test_whatever_a_row_holds_it_is_read_or_left(changed: dict[str, Any]):
    found = instance_of(row(**changed))
    if found is not None:
        assert found.id.isdigit()
        assert found.usd_hour is None or (found.usd_hour > 0 and found.usd_hour.is_finite())
        assert set(found.env) <= {"STOKER_RUN", "STOKER_TAG", "STOKER_REMOTE"}


def test_a_price_that_is_not_told_is_not_nothing():
    nothing = {"dph_total": None, "dph_base": None, "instance": None}
    assert price(row(**nothing), State.RUNNING) is None
    assert price(row(**{**nothing, "dph_total": 0}), State.RUNNING) is None
    assert price(row(dph_total="0.9"), State.RUNNING) == Decimal("0.9")


def test_a_price_without_its_total_is_added_up_for_the_disk_there_is():
    # 40 GB at 0.15 USD per GB and month of 720 h (2.4)
    assert price(row(dph_total=None), State.RUNNING) == Decimal("0.7") + Decimal("0.15") * 40 / 720


@pytest.mark.parametrize(
    ("told", "busy"), [(0.0, 0.0), (97.0, 0.97), (120.0, 1.0), (0.97, None), (1.0, None), (-1, None), (None, None)]
)
def test_how_busy_it_is_counts_only_where_the_unit_is_clear(told: Any, busy: float | None):
    found = instance_of(row(gpu_util=told))
    assert found is not None and found.gpu_busy == busy


def test_a_stopped_one_costs_its_disk():
    assert price(row(instance={"totalHour": 0.0021}), State.STOPPED) == Decimal("0.0021")
    disk = price(row(instance={}), State.INTERRUPTED)
    assert disk is not None and round(disk, 6) == Decimal("0.008333")


def test_the_environment_comes_in_three_shapes():
    expected = {"A": "1", "B": "x=y"}
    assert environment([["A", "1"], ["B", "x=y"]]) == expected
    assert environment(["A=1", "B=x=y"]) == expected
    assert environment(expected) == expected
    assert environment([["A"], 3, None]) == {}
