"""Ending goes on until nothing can be billed any more (providers.md 0.2, point 6)."""

from __future__ import annotations

import pytest

from fleet.providers.vast.client import Vast
from fleet.wire.failed import KeyRefused, ProviderFailed, Throttled
from tests.fleet.offers.market import Reply, Seen, reply
from tests.fleet.providers.vast.desk import Desk, Steps, row

ID = "20118481"


@pytest.fixture
def rented(desk: Desk) -> Desk:
    desk.rows = {ID: row()}
    return desk


def test_it_is_ended_with_an_empty_body(rented: Desk, vast: Vast):
    vast.terminate(ID)
    assert rented.rows == {}
    assert [seen.body for seen in rented.sent("DELETE")] == [{}]


@pytest.mark.parametrize("code", ["no_such_instance", "not_found"])
def test_one_that_is_not_there_is_ended(desk: Desk, vast: Vast, code: str):
    desk.first("DELETE /api/v0/instances/", reply({"success": False, "error": code, "msg": "no"}, 404))
    vast.terminate(ID)


def test_twice_is_no_error(rented: Desk, vast: Vast):
    vast.terminate(ID)
    vast.terminate(ID)


@pytest.mark.parametrize(
    "given",
    [
        Reply(429, b"API requests too frequent"),
        reply({"success": False, "error": "rate_limit_exceeded", "msg": "too frequent threshold=3.0"}, 429),
        Reply(503, b""),
        Reply(502, b"<html>bad gateway</html>"),
        Reply(200, b"<html>login</html>"),
        Reply(200, b""),
        reply({"success": False, "msg": "busy"}),
    ],
)
def test_it_is_patient(rented: Desk, vast: Vast, clock: Steps, given: Reply):
    rented.first("DELETE /api/v0/instances/", *[given] * 4)
    vast.terminate(ID)
    assert rented.rows == {}
    assert sum(clock.slept) >= 12  # never faster than the endpoint's own interval


def test_a_lost_answer_is_asked_again(rented: Desk, vast: Vast):
    def lost(seen: Seen) -> Reply:
        return Reply(200, rented.delete_v0_instances_N(seen).body, cut=True)

    rented.first("DELETE /api/v0/instances/", lost)
    vast.terminate(ID)
    assert rented.rows == {}


def test_giving_up_is_loud(rented: Desk, vast: Vast):
    rented.first("DELETE /api/v0/instances/", *[Reply(429, b"API requests too frequent")] * 99)
    with pytest.raises(Throttled) as told:
        vast.terminate(ID)
    assert f"instance {ID} may still be there" in told.value.what
    assert rented.rows


@pytest.mark.parametrize("given", [Reply(404, b""), Reply(404, b"<html>no</html>"), reply({"error": "x"}, 404)])
def test_a_404_without_the_providers_words_proves_nothing(rented: Desk, vast: Vast, given: Reply):
    rented.first("DELETE /api/v0/instances/", given)
    with pytest.raises(ProviderFailed) as told:
        vast.terminate(ID)
    assert "may still be there" in told.value.what


@pytest.mark.parametrize("status", [401, 404])
def test_a_bad_key_ends_nothing_and_says_so(rented: Desk, vast: Vast, clock: Steps, status: int):
    body = {"success": False, "error": "auth_error", "msg": "Invalid user key"}
    rented.first("DELETE /api/v0/instances/", reply(body, status))
    with pytest.raises(KeyRefused) as told:
        vast.terminate(ID)
    assert "VAST_API_KEY" in told.value.next_step
