"""Nobody asks faster than Vast allows (providers.md 2.1): waiting is cheaper than being refused."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from fleet.providers.vast.client import Vast
from fleet.providers.vast.pace import Pace, turn_of
from tests.fleet.providers.vast.desk import Desk, Steps, order


@pytest.mark.parametrize(
    ("method", "path", "seconds"),
    [
        ("PUT", "/api/v0/asks/12345678/", 4.5),
        ("GET", "/api/v1/instances/", 1.0),
        ("GET", "/api/v0/instances/4242/", 2.0),
        ("PUT", "/api/v0/instances/4242/", 1.0),
        ("DELETE", "/api/v0/instances/4242/", 3.0),
        ("GET", "/api/v0/template/", 3.0),
        ("GET", "/api/v0/secrets/", 5.0),
        ("POST", "/api/v0/secrets/", 3.0),
        ("GET", "/api/v0/volumes/", 5.5),
        ("GET", "/api/v0/users/current", 1.0),
    ],
)
def test_each_endpoint_has_its_interval(method: str, path: str, seconds: float):
    clock = Steps()
    pace = Pace(clock)
    pace(method, path)
    assert clock.slept == []
    pace(method, path)
    assert clock.slept == [seconds]


def test_different_endpoints_do_not_wait_for_each_other():
    clock = Steps()
    pace = Pace(clock)
    for method, path in (("GET", "/api/v1/instances/"), ("PUT", "/api/v0/asks/1/"), ("DELETE", "/api/v0/instances/1/")):
        pace(method, path)
    assert clock.slept == []


def test_all_instances_share_one_turn():
    assert turn_of("DELETE", "/api/v0/instances/1/") == turn_of("DELETE", "/api/v0/instances/2/")


def test_ten_searches_a_minute_may_come_at_once():
    clock = Steps()
    pace = Pace(clock)
    for _ in range(10):
        pace("POST", "/api/v0/bundles/")
    assert clock.slept == []
    pace("POST", "/api/v0/bundles/")
    assert clock.slept == [60.0]


def test_a_clock_that_was_set_back_makes_nobody_wait_for_hours():
    clock = Steps()
    pace = Pace(clock)
    pace("GET", "/api/v1/instances/")
    clock.time -= timedelta(hours=5)
    pace("GET", "/api/v1/instances/")
    assert sum(clock.slept) <= 8


def test_threads_take_their_turns_one_after_another():
    clock, lock = Steps(), threading.Lock()
    taken: list[float] = []

    class Kept(Steps):
        def sleep(self, seconds: float) -> None:
            with lock:
                taken.append(seconds)

    pace = Pace(Kept())
    threads = [threading.Thread(target=pace, args=("GET", "/api/v1/instances/")) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [1.0, 2.0, 3.0, 4.0]
    assert clock.slept == []


def test_two_orders_are_never_closer_than_the_create_allows(desk: Desk, vast: Vast, clock: Steps):
    vast.launch(order())
    vast.launch(order())
    assert 4.5 in clock.slept
