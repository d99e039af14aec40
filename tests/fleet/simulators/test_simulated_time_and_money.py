"""The world below every simulator: what is due happens in order, and every microsecond is billed exactly once."""

from __future__ import annotations

import threading
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.simulators.bodies.nothing import NoBodies
from fleet.simulators.clock import HOUR, SECOND, VirtualClock
from fleet.simulators.faults import Faults
from fleet.simulators.machine import Machine
from fleet.simulators.world import World


def world(credit: str = "1000") -> World:
    return World("any", VirtualClock(), Faults(), NoBodies(), credit=Decimal(credit))


def machine(here: World, name: str = "a", usd_hour: str = "0") -> Machine:
    made = here.commit(name, f"tag-{name}", {}, {}, "RUNNING")
    here.charge(made.meter, {"gpu": Decimal(usd_hour)})
    return made


def test_time_stands_still_until_somebody_sleeps():
    clock = VirtualClock()
    before = clock.now()
    assert clock.now() == before
    clock.sleep(90)
    assert (clock.now() - before).total_seconds() == 90


def test_a_clock_with_a_speed_really_waits():
    clock = VirtualClock(speed=1000)
    before = clock.micros()
    clock.sleep(100)
    assert clock.micros() - before >= 100 * SECOND


def test_what_is_due_happens_in_the_order_of_its_time_and_at_its_time():
    here, seen = world(), []
    begin = here.now
    here.after(20, lambda: seen.append(("b", here.now - begin)))
    here.after(
        10, lambda: (seen.append(("a", here.now - begin)), here.after(5, lambda: seen.append(("c", here.now - begin))))
    )
    here.clock.sleep(60)
    assert seen == [("a", 10 * SECOND), ("c", 15 * SECOND), ("b", 20 * SECOND)]


def test_nothing_happens_any_more_to_a_machine_that_has_ended():
    here, seen = world(), []
    one = machine(here)
    here.after(10, lambda: seen.append(1), one)
    here.end(one, "terminated")
    here.clock.sleep(60)
    assert seen == []


def test_a_machine_bills_by_the_microsecond_from_its_price_to_its_end():
    here = world()
    one = machine(here, usd_hour="2.99")
    here.clock.sleep(1.000001)
    here.end(one, "terminated")
    here.clock.sleep(3600)
    assert one.meter.between(0, here.now) == {"gpu": Decimal("2.99") * 1_000_001 / HOUR}


def test_the_credit_ends_at_its_exact_moment_and_only_once():
    here, seen = world("5"), []
    one = machine(here, usd_hour="2.5")

    def broke() -> None:
        seen.append(here.now)
        here.end(one, "out of credit")

    here.on_broke = broke
    begin = here.now
    here.clock.sleep(10 * 3600)
    assert seen == [begin + 2 * HOUR]
    assert one.meter.spent(here.now) == Decimal(5)
    assert here.credit == 0


def test_what_goes_on_without_credit_makes_debts_and_new_money_can_run_out_again():
    here, seen = world("1"), []
    machine(here, usd_hour="1")
    here.on_broke = lambda: seen.append(here.now)
    here.clock.sleep(2 * 3600)
    assert here.credit == -1
    here.credit = Decimal("0.5")
    here.clock.sleep(3600)
    assert len(seen) == 2


def test_the_credit_may_end_between_two_events():
    here, seen = world("1"), []
    machine(here, usd_hour="1")
    here.on_broke = lambda: seen.append("broke")
    for hour in (0.5, 1.5):
        here.after(hour * 3600, lambda: seen.append("event"))
    here.clock.sleep(2 * 3600)
    assert seen == ["event", "broke", "event"]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(0, 5), st.decimals("0", "50", places=4)),
        st.tuples(st.just("price"), st.integers(0, 5), st.decimals("0", "50", places=4)),
        st.tuples(st.just("end"), st.integers(0, 5), st.just(Decimal(0))),
        st.tuples(st.just("sleep"), st.integers(0, 100_000), st.just(Decimal(0))),
        st.tuples(st.just("fee"), st.integers(0, 5), st.decimals("0", "3", places=3)),
    ),
    max_size=30,
)


@given(steps)
def test_credit_and_bills_always_add_up(steps: list[tuple[str, int, Decimal]]):
    here = world("100000000")
    expected: dict[str, Fraction] = {}
    rates: dict[str, Decimal] = {}
    alive: dict[int, Machine] = {}
    for number, (what, which, usd) in enumerate(steps):
        if what == "begin" and which not in alive:
            alive[which] = machine(here, f"{which}-{number}", str(usd))
            rates[alive[which].id] = usd
        elif what == "sleep":
            here.clock.sleep(which)
            for one in alive.values():
                expected[one.id] = expected.get(one.id, Fraction(0)) + Fraction(rates[one.id]) * which / 3600
        elif which in alive and what == "price":
            here.charge(alive[which].meter, {"gpu": usd})
            rates[alive[which].id] = usd
        elif which in alive and what == "fee":
            here.fee(alive[which].meter, "traffic", usd)
            expected[alive[which].id] = expected.get(alive[which].id, Fraction(0)) + Fraction(usd)
        elif which in alive and what == "end":
            here.end(alive.pop(which), "terminated")
    for one in here.machines.values():
        assert abs(Fraction(one.meter.spent(here.now)) - expected.get(one.id, Fraction(0))) <= Fraction(1, 10**9)
    bills = sum(one.meter.spent(here.now) for one in here.machines.values())
    assert abs(here.credit + bills - Decimal("100000000")) <= Decimal("1e-8")
    assert here.rate == sum((rates[one.id] for one in alive.values()), Decimal(0))


def test_stock_is_taken_once_and_given_back_once():
    here = world()
    here.stock["gpu"] = 3
    one, two = machine(here, "a"), machine(here, "b")
    assert here.take_stock(one, "gpu", 2)
    assert not here.take_stock(two, "gpu", 2)
    here.end(one, "terminated")
    here.end(one, "terminated")
    assert here.stock["gpu"] == 3


@pytest.mark.parametrize(("lag", "lists"), [({"reads": 2}, [0, 0, 1]), ({"seconds": 15}, [0, 0, 1])])
def test_a_new_machine_may_be_missing_from_lists_for_a_while(lag: dict[str, int], lists: list[int]):
    here = world()
    here.faults.set({"list.lag": {"count": 1, **lag}})
    machine(here)
    seen = []
    for _ in lists:
        seen.append(len(here.listed()))
        here.clock.sleep(10)
    assert seen == lists


def test_with_the_same_lag_a_machine_that_is_gone_lingers_in_lists():
    here = world()
    here.faults.set({"list.lag": {"count": 1, "reads": 1}})
    one = machine(here)
    assert here.listed() == []
    assert here.listed() == [one]
    here.end(one, "terminated")
    assert here.listed() == [one]
    assert here.listed() == []


def test_a_machine_that_vanishes_for_some_reads_still_bills_and_one_that_vanishes_for_good_does_not():
    here = world()
    one = machine(here, usd_hour="1")
    here.faults.set({"vanish": {"count": 1, "reads": 1}})
    assert here.listed() == []
    assert here.listed() == [one]
    here.clock.sleep(3600)
    assert one.meter.spent(here.now) == 1
    here.faults.set({"vanish": {"count": 1}})
    assert here.listed() == []
    here.clock.sleep(3600)
    assert (one.why, one.meter.spent(here.now)) == ("vanished", 1)


def test_many_threads_cannot_lose_or_double_a_bill():
    here = world()

    def live(name: str) -> None:
        for number in range(20):
            one = machine(here, f"{name}-{number}", "3.6")
            here.clock.sleep(1)
            here.end(one, "terminated")

    threads = [threading.Thread(target=live, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(here.machines) == 80
    assert here.rate == 0
    bills = sum(one.meter.spent(here.now) for one in here.machines.values())
    assert abs(here.credit + bills - 1000) <= Decimal("1e-6")
