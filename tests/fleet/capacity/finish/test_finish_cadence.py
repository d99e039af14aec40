from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.capacity.finish.cadence import NICE, cadence, nice, young_daly
from fleet.capacity.finish.habits import Habits
from fleet.capacity.finish.interruptions import mtbf

HOUR = 3600.0


def test_half_a_second_of_stall_and_six_hours_between_failures_make_147_seconds():
    assert young_daly(0.5, 6 * HOUR) == pytest.approx(147, abs=0.5)


def test_sixteen_seconds_of_stall_make_fourteen_minutes():
    assert young_daly(16, 6 * HOUR) / 60 == pytest.approx(14, abs=0.2)


def test_a_negative_stall_is_no_stall():
    with pytest.raises(ValueError, match="stall"):
        young_daly(-1, 6 * HOUR)


@given(stall=st.floats(0.01, 60), failures=st.floats(600, 1e6))
def test_no_other_interval_loses_less(stall, failures):
    """The derivative's zero is a minimum of stall / interval + interval / 2 / mtbf."""
    best = young_daly(stall, failures)

    def lost(interval: float) -> float:
        return stall / interval + interval / 2 / failures

    assert all(lost(best) <= lost(best * factor) + 1e-12 for factor in (0.5, 0.9, 1.1, 2))


def test_saving_faster_than_the_upload_gains_nothing_so_the_upload_decides():
    chosen = cadence(step=1.0, stall=0.1, mtbf=6 * HOUR, write=9, upload=146)
    assert chosen.optimum == pytest.approx(65.7, abs=0.1)
    assert (chosen.bound, chosen.steps) == ("upload", 200)


def test_saving_faster_than_the_disk_writes_gains_nothing():
    chosen = cadence(step=1.0, stall=0.1, mtbf=6 * HOUR, write=146, upload=0)
    assert (chosen.bound, chosen.steps) == ("write", 200)


def test_what_is_asked_is_taken_and_told():
    chosen = cadence(step=2.0, stall=0.1, mtbf=6 * HOUR, write=9, upload=10, asked=730)
    assert (chosen.bound, chosen.steps, chosen.seconds) == ("asked", 730, 1460.0)


def test_half_an_interval_and_the_way_to_the_store_are_at_risk():
    assert cadence(step=1, stall=0.5, mtbf=6 * HOUR, write=9, upload=50, asked=100).at_risk == 50 + 9 + 50


@given(step=st.floats(0.001, 1e4), stall=st.floats(0, 100), write=st.floats(0, 1e4), upload=st.floats(0, 1e5))
def test_an_interval_is_a_round_number_of_steps_never_shorter_than_a_save_takes(step, stall, write, upload):
    chosen = cadence(step, stall, 6 * HOUR, write, upload)
    digits = str(chosen.steps).rstrip("0")
    assert int(digits) in NICE
    assert chosen.seconds >= max(write, upload) * (1 - 1e-9)


@given(st.floats(1, 1e9))
def test_rounding_moves_by_less_than_a_factor_of_the_root_of_two_and_a_half(steps):
    assert 1 / 2.5**0.5 - 1e-9 <= nice(steps) / steps <= 2.5**0.5 + 1e-9


def test_sixteen_thousand_gpus_fail_every_two_and_a_half_hours_as_llama_3_did():
    found = mtbf(Habits(), 16384, 2048)
    assert found.value == pytest.approx(2.5)
    assert "2407.21783" in found.source


def test_eight_gpus_on_demand_fail_once_in_months():
    assert mtbf(Habits(), 8, 1).value > 24 * 30


def test_spot_machines_go_more_often_than_on_demand_ones():
    spot, demand = (mtbf(Habits(kind=kind), 8, 1).value for kind in ("spot", "on-demand"))
    assert spot < demand
    assert spot < 6 <= spot * 1.01


def test_two_spot_machines_are_lost_twice_as_often():
    assert mtbf(Habits(kind="spot"), 16, 2).value == pytest.approx(mtbf(Habits(kind="spot"), 8, 1).value / 2)
