"""Vast.ai on a bad day: bids, templates, volumes, and every knob of providers.md 4 and 4.2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from fleet.simulators.vast import queries
from fleet.simulators.vast.house import KNOBS
from fleet.simulators.vast.orders import flags
from fleet.simulators.vast.templates import DEFAULTS, hash_of
from tests.fleet.simulators.vast_talking import IMAGE, Vast, simulated


@pytest.fixture
def vast() -> Iterator[Vast]:
    with simulated() as talk:
        yield talk


@pytest.fixture
def offer(vast: Vast) -> dict[str, Any]:
    return vast.offers(verified={"eq": True}, gpu_name={"eq": "RTX 4090"}, num_gpus={"eq": 1}, limit=1)[0]


STATES = ("cur_state", "intended_status", "next_state")


def test_a_bid_too_low_is_an_error_that_still_made_a_machine(vast: Vast, offer: dict[str, Any]):
    answer = vast.rent(offer["id"], price=offer["min_bid"] / 2)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_price")
    row = vast.site.world.living[str(answer.json()["new_contract"])]
    vast.later(5)
    shown = vast.seen(int(row.id))
    assert [shown[name] for name in STATES] == ["stopped"] * 3
    assert float(vast.truth()["usd_per_hour"]) == pytest.approx(shown["instance"]["diskHour"], abs=1e-6)


def test_null_as_a_price_is_on_demand_whatever_was_searched_for(vast: Vast):
    found = vast.offers(type="bid", limit=1)[0]
    assert found["is_bid"] is True
    assert found["dph_base"] == found["min_bid"]
    id = vast.rented(found["id"], price=None)
    vast.later(5)
    assert vast.seen(id)["is_bid"] is False
    assert vast.seen(id)["dph_base"] > found["dph_base"]


def test_an_outbid_machine_stops_silently_bills_its_disk_and_resumes_by_itself(vast: Vast, offer: dict[str, Any]):
    id = vast.rented(offer["id"], price=offer["min_bid"])
    vast.later(200)
    assert vast.seen(id)["actual_status"] == "running"
    vast.ask("POST", "/_sim/preempt", {"id": str(id), "seconds": 600})
    row = vast.seen(id)
    assert [row[name] for name in STATES] == ["stopped"] * 3
    assert row["instance"]["gpuCostPerHour"] == 0 < row["instance"]["diskHour"]
    vast.later(700)
    assert vast.seen(id)["actual_status"] == "running"


def test_a_raised_bid_brings_it_back_and_a_stop_of_ours_stays(vast: Vast, offer: dict[str, Any]):
    id = vast.rented(offer["id"], price=offer["min_bid"])
    vast.later(200)
    vast.ask("POST", "/_sim/preempt", {"id": str(id), "min_bid": 0.9})
    change = {"client_id": "me", "price": 1.0}
    assert vast.ask("PUT", f"/api/v0/instances/bid_price/{id}/", change).status_code == 200
    vast.later(60)
    assert vast.seen(id)["actual_status"] == "running"
    assert vast.seen(id)["dph_base"] == 1.0
    vast.ask("PUT", f"/api/v0/instances/{id}/", {"state": "stopped"})
    vast.later(5000)
    assert vast.seen(id)["intended_status"] == "stopped"


@pytest.mark.parametrize("price", [0.0005, 33, "x", None])
def test_bids_outside_their_bounds_are_refused(vast: Vast, offer: dict[str, Any], price: Any):
    id = vast.rented(offer["id"], price=offer["min_bid"])
    answer = vast.ask("PUT", f"/api/v0/instances/bid_price/{id}/", {"client_id": "me", "price": price})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_args")


@pytest.mark.parametrize(
    ("knob", "table", "status"),
    [
        ("create__5xx_after_commit", {"count": 1}, 502),
        ("create__drop_after_commit", {"count": 1}, None),
        ("create__bad_2xx", {"count": 1}, 200),
        ("create__bad_2xx", {"count": 1, "form": "truncated"}, 200),
    ],
)
def test_a_lost_answer_leaves_a_machine_behind(
    vast: Vast, offer: dict[str, Any], knob: str, table: dict[str, Any], status: int | None
):
    vast.faults(**{knob: table})
    if status is None:
        with pytest.raises(requests.ConnectionError):
            vast.rent(offer["id"])
    else:
        answer = vast.rent(offer["id"])
        assert answer.status_code == status
        assert "new_contract" not in answer.text
    assert vast.truth()["per_tag"]["t-1"]["commits"] == 1


@pytest.mark.parametrize(
    ("knob", "status"),
    [
        *(
            ("create__429_before", 429),
            ("create__5xx_before_commit", 502),
            ("ask_gone_404", 404),
            ("ask_gone_410", 410),
        ),
        *(("ask_gone_400", 400), ("foreign_ask", 403), ("spend_rate_limit", 403), ("out_of_credit_body", 400)),
    ],
)
def test_a_refusal_leaves_none(vast: Vast, offer: dict[str, Any], knob: str, status: int):
    vast.faults(**{knob: {"count": 1}})
    answer = vast.rent(offer["id"])
    assert answer.status_code == status
    assert "new_contract" not in answer.text
    assert vast.truth()["rentals"] == []


def test_two_buys_of_one_offer_can_both_be_taken_and_one_dies(vast: Vast, offer: dict[str, Any]):
    vast.rented(offer["id"])
    vast.faults(double_buy_accepts_both={"count": 1, "seconds": 60})
    second = vast.rented(offer["id"], label="t-2")
    vast.later(10)
    assert vast.row(second) is not None
    vast.later(60)
    assert vast.row(second) is None
    assert vast.truth()["alive"] == 1


@pytest.mark.parametrize(
    ("knob", "state"),
    [
        *(("never_leaves_loading", "loading"), ("stuck_provisioning", "loading"), ("oci_create_failed", "created")),
        *(("host_offline", "offline"), ("unknown_heartbeat", "unknown"), ("frozen", "frozen"), ("self_exit", "exited")),
    ],
)
def test_machines_that_never_get_anywhere(vast: Vast, offer: dict[str, Any], knob: str, state: str):
    vast.faults(**{knob: {"count": 1}})
    id = vast.rented(offer["id"])
    vast.later(3600)
    row = vast.seen(id)
    assert (row["actual_status"], row["intended_status"]) == (state, "running")
    assert (row["instance"]["gpuCostPerHour"] > 0) is (state in ("frozen", "unknown"))


def test_rows_can_be_unreadable(vast: Vast, offer: dict[str, Any]):
    id = vast.rented(offer["id"])
    vast.later(200)
    vast.faults(status__unknown_value={"count": 1, "value": "hibernating"}, price__string={"count": 1})
    row = vast.seen(id)
    assert row["actual_status"] == "hibernating"
    assert isinstance(row["dph_total"], str)
    vast.faults(status__missing={"count": 1}, price__missing={"count": 1})
    assert not {"actual_status", "cur_state", "dph_total", "instance"} & set(vast.seen(id))


def test_the_price_of_the_rental_can_be_another_than_the_offers(vast: Vast, offer: dict[str, Any]):
    vast.faults(**{"price__jump": {"count": 1, "factor": 3}})
    id = vast.rented(offer["id"])
    vast.later(5)
    assert vast.seen(id)["dph_base"] == pytest.approx(3 * offer["dph_base"], abs=1e-5)


@pytest.mark.parametrize(
    ("knob", "status", "left"),
    [("destroy__429", 429, 1), ("destroy__5xx", 503, 1), ("destroy__404", 404, 1), ("destroy__lost_answer", None, 0)],
)
def test_a_destroy_is_only_done_when_the_list_says_so(
    vast: Vast, offer: dict[str, Any], knob: str, status: int | None, left: int
):
    id = vast.rented(offer["id"])
    vast.later(5)
    vast.faults(**{knob: {"count": 1}})
    if status is None:
        with pytest.raises(requests.ConnectionError):
            vast.ask("DELETE", f"/api/v0/instances/{id}/", {})
    else:
        assert vast.ask("DELETE", f"/api/v0/instances/{id}/", {}).status_code == status
    assert vast.get("/api/v1/instances/")["total_instances"] == left


@pytest.mark.parametrize("style", ["plain", "plain_threshold", "detail", "full"])
def test_throttling_has_four_faces(vast: Vast, style: str):
    vast.faults(throttle={"count": 1, "style": style})
    answer = vast.ask("GET", "/api/v1/instances/")
    assert answer.status_code == 429
    assert "too frequent" in answer.text
    assert ("json" in answer.headers["Content-Type"]) is (style in ("detail", "full"))


def test_the_daily_quota_says_when_it_ends(vast: Vast):
    vast.faults(search_quota={"count": 1})
    answer = vast.ask("POST", "/api/v0/bundles/", {})
    assert answer.json()["error"] == "search_quota_exceeded"
    assert int(answer.headers["Retry-After"]) > 60
    assert int(answer.headers["X-RateLimit-Reset"]) % 86_400 == 0


def test_templates_are_their_content(vast: Vast):
    body = {
        "name": "train",
        "image": "a/b",
        "tag": "7",
        "env": "-e A=1 -p 8000:8000",
        "runtype": "ssh",
        "ssh_direct": True,
    }
    first, second = (vast.ask("POST", "/api/v0/template/", body).json()["template"] for _ in "ab")
    assert (first["id"], first["hash_id"]) == (second["id"], second["hash_id"])
    edited = vast.ask("PUT", "/api/v0/template/", {"hash_id": first["hash_id"], "recommended_disk_space": 60}).json()
    assert edited["template"]["id"] == first["id"]
    assert edited["template"]["hash_id"] != first["hash_id"]
    whole = {"id": first["id"], "hash_id": edited["template"]["hash_id"], "name": "train", "image": "a/b"}
    replaced = vast.ask("PUT", "/api/v1/template/", whole).json()["template"]
    assert replaced["id"] == first["id"]
    [kept] = vast.ask("GET", "/api/v0/template/").json()["templates"]
    assert (kept["image"], kept["tag"], kept["env"]) == ("a/b", None, None)
    assert vast.ask("DELETE", "/api/v0/template/", {"template_id": first["id"]}).json() == {"success": True}
    assert vast.ask("DELETE", "/api/v0/template/", {"template_id": first["id"]}).status_code == 404


def test_a_create_takes_its_template_and_its_own_values_win(vast: Vast, offer: dict[str, Any]):
    made = {
        "name": "t",
        "image": "a/b",
        "tag": "7",
        "env": "-e A=1 -e B=2",
        "runtype": "args",
        "recommended_disk_space": 30,
    }
    key = vast.ask("POST", "/api/v0/template/", made).json()["template"]["hash_id"]
    body = {"client_id": "me", "image": None, "template_hash_id": key, "env": {"B": "3"}, "disk": None, "label": "t-1"}
    id = vast.ask("PUT", f"/api/v0/asks/{offer['id']}/", body).json()["new_contract"]
    vast.later(5)
    row = vast.seen(id)
    assert (row["image_uuid"], row["disk_space"], row["image_runtype"]) == ("a/b:7", 30.0, "args")
    assert dict(row["extra_env"]) == {"A": "1", "B": "3"}


def test_two_owners_share_a_hash_and_neither_sees_the_others_machines():
    with simulated(keys={"one": 1, "two": 2}) as vast:
        as_one, as_two = ({"Authorization": f"Bearer {key}"} for key in ("one", "two"))
        body = {"name": "t", "image": "a/b", "private": True}
        made = [vast.ask("POST", "/api/v0/template/", body, headers=who).json()["template"] for who in (as_one, as_two)]
        assert made[0]["hash_id"] == made[1]["hash_id"]
        assert made[0]["id"] != made[1]["id"]
        ask = vast.ask("POST", "/api/v0/bundles/", {"limit": 1}, headers=as_one).json()["offers"][0]["id"]
        order = {"client_id": "me", "image": IMAGE, "disk": 10}
        id = vast.ask("PUT", f"/api/v0/asks/{ask}/", order, headers=as_one).json()["new_contract"]
        assert vast.ask("DELETE", f"/api/v0/instances/{id}/", {}, headers=as_two).status_code == 404
        assert vast.truth()["alive"] == 1


def test_a_volume_stays_on_its_machine_and_bills_until_it_is_deleted(vast: Vast, offer: dict[str, Any]):
    made = vast.ask("PUT", "/api/v0/volumes/", {"id": offer["avail_vol_ask_id"], "size": 100}).json()
    id = int(made["volume_name"].removeprefix("V."))
    elsewhere = vast.offers(machine_id={"neq": offer["machine_id"]}, limit=1)[0]["id"]
    link = {"create_new": False, "volume_id": id, "mount_path": "/data"}
    assert vast.rent(elsewhere, volume_info=link).status_code == 400
    instance = vast.rented(offer["id"], volume_info=link)
    assert vast.ask("DELETE", "/api/v0/volumes/", {"id": id}).status_code == 400
    vast.ask("DELETE", f"/api/v0/instances/{instance}/", {})
    assert float(vast.truth()["usd_per_hour"]) > 0
    assert vast.ask("DELETE", "/api/v0/volumes/", {"id": id}).json() == {"success": True}
    assert float(vast.truth()["usd_per_hour"]) == 0


def test_every_knob_is_named_in_the_simulator_that_takes_it():
    from pathlib import Path

    folder = Path(queries.__file__).parent
    text = "".join(path.read_text() for path in folder.glob("*.py") if path.name != "house.py")
    text += (folder / "house.py").read_text().partition("BIRTH")[2]
    assert [knob for knob in KNOBS if f'"{knob}"' not in text] == []


@given(st.floats(-1e6, 1e6), st.sampled_from(["gt", "gte", "lt", "lte", "eq", "neq"]), st.floats(-1e6, 1e6))
def test_a_number_as_text_is_the_same_number(mine: float, operator: str, asked: float):
    assert queries.passes(mine, operator, asked) == queries.passes(mine, operator, repr(asked))


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), st.text(st.characters(codec="ascii", categories=["L", "N"]))
    )
)
def test_docker_flags_are_read_as_they_were_written(env: dict[str, str]):
    assert flags(" ".join(f"-e {name}={value}" for name, value in env.items())) == env


@given(st.sampled_from(sorted(set(DEFAULTS) - {"extra_filters"})), st.text())
def test_a_template_of_other_content_has_another_hash(name: str, value: str):
    changed = {**DEFAULTS, name: value}
    assert (hash_of(changed) == hash_of(DEFAULTS)) == (DEFAULTS[name] == value)
    assert hash_of({**changed, "id": 7, "created_at": 1.0}) == hash_of(changed)
