"""Credit, volumes, keys, logs, and what Vast cannot do (providers.md 2.6, 2.8, 2.10, 2.11)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fleet.providers.outcomes import Unable
from fleet.providers.values import Login
from fleet.providers.vast import logs
from fleet.providers.vast.client import Vast
from fleet.wire.failed import KeyRefused, ProviderFailed
from tests.fleet.offers.market import Reply, Seen, reply
from tests.fleet.providers.vast.desk import PASSWORD, Desk, Steps, row

ID = "20118481"


@pytest.mark.parametrize(("credit", "expected"), [(25.0, "25.0"), ("3.5", "3.5"), (0, "0.0"), (-1.25, "-1.25")])
def test_the_credit_is_what_can_be_spent(desk: Desk, vast: Vast, credit: Any, expected: str):
    desk.account, desk.odd = {"id": 1, "credit": credit, "balance": 99}, isinstance(credit, str)
    assert vast.balance().usd == Decimal(expected)


@pytest.mark.parametrize("account", [{"balance": 99}, {"credit": None}, {"credit": True}, {"credit": "much"}])
def test_credit_that_is_not_told_is_neither_enough_nor_nothing(desk: Desk, vast: Vast, account: dict[str, Any]):
    desk.account, desk.odd = account, True
    assert vast.balance().usd is None and vast.balance().words


def test_without_a_key_it_is_told_where_one_comes_from(desk: Desk, tmp_path: Any):
    with pytest.raises(KeyRefused) as told:
        desk.client(tmp_path, key="").balance()
    assert "VAST_API_KEY" in told.value.next_step


def test_volumes_are_bound_to_a_machine(desk: Desk, vast: Vast):
    desk.volumes = [
        {"id": 7, "disk_space": 49.5, "machine_id": 88888, "geolocation": "Sweden, SE", "storage_total_cost": 0.01}
    ]
    [found] = vast.volumes()
    assert (found.id, found.gb, found.machine, found.region) == ("7", 50, "88888", "SE")
    assert found.usd_month == Decimal("7.20")


def test_a_list_of_volumes_that_is_not_whole_is_none(desk: Desk, vast: Vast):
    desk.first("GET /api/v0/volumes/", reply({"volumes": None}), reply({"volumes": [{"disk_space": 5}]}))
    for _ in range(2):
        with pytest.raises(ProviderFailed):
            vast.volumes()


def test_keys_come_without_comments_and_without_deleted_ones(desk: Desk, vast: Vast):
    assert vast.keys() == ["ssh-ed25519 AAAAone"]


def test_what_it_cannot_do_is_said_with_what_to_do_instead(vast: Vast):
    for asked in (vast.registries, lambda: vast.ensure_registry(Login("registry.example", "me", PASSWORD))):
        with pytest.raises(Unable) as told:
            asked()
        assert told.value.next_step and PASSWORD not in str(told.value)
    assert {"registries", "ensure_registry"} <= set(vast.lacks)


# --- logs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def rented(desk: Desk) -> Desk:
    desk.rows = {ID: row()}
    return desk


def test_logs_are_fetched_without_our_key_as_soon_as_they_are_there(rented: Desk, vast: Vast, clock: Steps):
    rented.log = b"step 1\nstep 2\nstep 3\n"
    rented.first("GET /logs/", Reply(404), Reply(404))
    assert list(vast.logs(ID, tail=2)) == ["step 2", "step 3"]
    fetched = rented.sent("GET", "/logs/")
    assert fetched and all("authorization" not in seen.headers for seen in fetched)
    assert rented.sent("PUT")[0].body == {"tail": "2"}


def test_what_would_steer_a_terminal_is_not_passed_on(rented: Desk, vast: Vast):
    rented.log = b"\x1b[31mred\x1b[0m\tloss 2.5\x07\x1b]0;title\x07\nplain\xff\n"
    assert list(vast.logs(ID)) == ["red\tloss 2.5", "plain\ufffd"]


def test_following_tells_each_line_once_until_the_instance_is_gone(rented: Desk, vast: Vast):
    def grown(lines: int) -> Any:
        def answer(seen: Seen) -> Reply:
            rented.log = "".join(f"step {n}\n" for n in range(lines)).encode()
            return rented.put_v0_instances_request_logs_N(seen)

        return answer

    gone = reply({"error": "invalid_id", "msg": "Invalid instance id."}, 404)
    rented.first("PUT /api/v0/instances/request_logs/", grown(5), grown(5), grown(9), gone)
    assert list(vast.logs(ID, tail=3, follow=True)) == [f"step {n}" for n in range(2, 9)]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x.example/a", "", None, 7, "https://"])
def test_logs_come_from_the_web_only(rented: Desk, vast: Vast, url: Any):
    rented.first("PUT /api/v0/instances/request_logs/", reply({"success": True, "result_url": url}))
    with pytest.raises(ProviderFailed):
        list(vast.logs(ID))


def test_the_signed_address_stands_in_no_message(rented: Desk, vast: Vast):
    for given in ([Reply(404)] * 30, [Reply(418)], [Reply(302, b"", {"Location": "https://elsewhere.example/"})]):
        rented.answers.clear()
        rented.log = b""
        rented.first("GET /logs/", *given)
        with pytest.raises(ProviderFailed) as told:
            list(vast.logs(ID))
        assert "signed" not in told.value.what + told.value.next_step


def test_endless_logs_are_not_read_to_the_end(rented: Desk, vast: Vast, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logs, "LARGEST", 1000)
    rented.log = b"x" * 100_000
    with pytest.raises(ProviderFailed) as told:
        list(vast.logs(ID))
    assert told.value.next_step == "ask for fewer lines"


def test_logs_of_nobody_are_told(desk: Desk, vast: Vast):
    with pytest.raises(ProviderFailed):
        list(vast.logs("4242"))


@pytest.mark.parametrize(
    ("before", "now", "seen"),
    [
        ([], ["a"], 0),
        (["a", "b"], ["a", "b"], 2),
        (["a", "b"], ["a", "b", "c"], 2),
        (["a", "b", "c"], ["b", "c", "d"], 2),
        (["b", "c"], ["a", "b", "c", "d"], 3),  # the later look reached further back
        (["a", "b"], ["x", "y"], 0),
        (["a", "b"], [], 0),
    ],
)
def test_two_looks_are_joined_where_they_overlap(before: list[str], now: list[str], seen: int):
    assert logs.overlap(before, now) == seen
