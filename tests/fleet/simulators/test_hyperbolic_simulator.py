"""Hyperbolic as it is documented and was recorded: options, rentals, money, and its bad days (providers.md 3, 4.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from fleet.simulators.bodies.nothing import NoBodies
from fleet.simulators.clock import VirtualClock
from fleet.simulators.hyperbolic import site as pages
from fleet.simulators.hyperbolic.estate import KNOBS
from fleet.simulators.hyperbolic.site import OPEN, OPTIONS, RENTALS, HyperbolicSite, open_site
from fleet.simulators.server import running
from fleet.simulators.truth import rentals
from tests.fleet.simulators.talking import Talk

ORDER = {"gpuType": "h100", "region": "us-east-2", "gpuCount": 1, "networkType": "ethernet", "termType": "on-demand"}
ORDER["label"] = "t-1"


@pytest.fixture
def site() -> Iterator[HyperbolicSite]:
    made = open_site(VirtualClock(), NoBodies())
    with running([made]):
        yield made
    assert made.crashes == []


@pytest.fixture
def talk(site: HyperbolicSite) -> Talk:
    found = Talk(site.url)
    found.session.headers["User-Agent"] = "stoker/0.1"
    return found


def faults(site: HyperbolicSite, **knobs: Any) -> None:
    site.world.faults.set({name.replace("__", ".").lstrip("_"): table for name, table in knobs.items()})


def row(talk: Talk) -> dict[str, Any]:
    found = talk.get(RENTALS)
    assert len(found) == 1
    return dict(found[0])


def test_thirteen_rows_have_the_shapes_that_were_recorded(talk: Talk):
    rows = talk.get(OPTIONS)
    assert len(rows) == 13
    assert {row["gpuFormFactor"] for row in rows if row["gpuType"] == "h100"} == {"pcie", "sxm5"}
    assert sum("totalAvailable" in row for row in rows) == 1
    assert [row["gpuType"] for row in rows if not row["enabled"]] == ["rtx-6000-pro"]
    bare = [row for row in rows if row["machineType"] == "bare-metal"]
    assert all("cpuCount" in row["nodes"][0] and "ethernetVariant" not in row for row in bare)
    assert {row["ethernetVariant"] for row in rows if row["gpuCount"] == 8 and "ethernetVariant" in row} == {"rocev2"}
    assert all(isinstance(row["costPerHourCents"], int) for row in rows)


def test_the_options_need_no_key_at_their_other_path_and_nothing_answers_pythons_own_agent(talk: Talk):
    assert talk.ask("GET", OPEN, headers={"Authorization": ""}).json() == talk.get(OPTIONS)
    assert talk.ask("GET", OPTIONS, headers={"Authorization": ""}).status_code == 401
    assert talk.ask("GET", OPTIONS, headers={"Authorization": "Bearer wrong"}).status_code == 401
    edge = talk.ask("GET", OPEN, headers={"User-Agent": "Python-urllib/3.11"})
    assert (edge.status_code, "1010" in edge.text) == (403, True)
    with pytest.raises(ValueError):
        edge.json()


def test_a_rental_is_pending_then_running_and_bills_from_there(site: HyperbolicSite, talk: Talk):
    made = talk.made(RENTALS, ORDER)
    assert isinstance(made["id"], int)
    assert (made["status"], made["startedAt"], made["providerData"]["sshNetworking"]) == ("Pending", None, [])
    site.world.clock.sleep(133)
    assert row(talk)["status"] == "Pending"
    assert rentals(site.world)["usd_per_hour"] == "0"
    site.world.clock.sleep(76)
    now = row(talk)
    assert (now["status"], now["label"], now["currentTerm"]["costPerHourCents"]) == ("Running", "t-1", 319)
    assert now["providerData"]["sshNetworking"][0]["user"] == "ubuntu"
    assert re.fullmatch(r"2026-11-21 00:0\d:\d\d(\.\d+)?\+00", now["startedAt"])
    before = talk.get("/v2/customer/balance")["balanceCents"]
    site.world.clock.sleep(3600)
    assert talk.get("/v2/customer/balance") == {"balanceCents": before - 319, "maxOverdraftCents": 0}


def test_ids_grow_and_stock_shrinks(site: HyperbolicSite, talk: Talk):
    eight = {**ORDER, "region": "us-east-1", "gpuCount": 8}
    ids = [talk.made(RENTALS, eight)["id"] for _ in range(3)]
    assert ids == sorted(set(ids))
    assert [row["totalAvailable"] for row in talk.get(OPTIONS) if "totalAvailable" in row] == [0]
    assert talk.ask("POST", RENTALS, eight).status_code == 404
    talk.ask("POST", f"{RENTALS}/terminate", {"rentalId": ids[0]})
    assert talk.made(RENTALS, eight)["id"] > ids[-1]


def test_terminate_takes_rental_id_and_empties_the_list(site: HyperbolicSite, talk: Talk):
    id = talk.made(RENTALS, ORDER)["id"]
    assert talk.ask("POST", f"{RENTALS}/terminate", {"id": id}).status_code == 400
    answer = talk.ask("POST", f"{RENTALS}/terminate", {"rentalId": id, "reason": "run finished"})
    assert (answer.status_code, answer.json()) == (200, {"message": "Rental successfully terminated", "rentalId": id})
    assert talk.get(RENTALS) == []
    assert talk.ask("POST", f"{RENTALS}/terminate", {"rentalId": id}).status_code == 404
    faults(site, second_terminate_200={"count": 1}, terminated_rows_listed={"count": 1})
    assert talk.ask("POST", f"{RENTALS}/terminate", {"rentalId": id}).status_code == 200
    assert "Terminated" in talk.get(RENTALS)[0]["status"]


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        *(({"gpuCount": "1"}, 400), ({"gpuCount": 3}, 404), ({"region": "mars-1"}, 404), ({"networkType": None}, 400)),
        *(({"termType": "spot"}, 400), ({"gpuType": "H100"}, 404), ({"label": 7}, 400)),
        *(({"gpuType": "h200", "region": "eu-north-4", "gpuCount": 8, "networkType": "infiniband"}, 404),),
        *(({"gpuType": "rtx-6000-pro", "region": "us-east-3", "gpuCount": 2}, 404),),
    ],
)
def test_a_create_that_no_row_can_serve_makes_nothing(site: HyperbolicSite, talk: Talk, wrong: Any, status: int):
    assert talk.ask("POST", RENTALS, {**ORDER, **wrong}).status_code == status
    assert rentals(site.world)["rentals"] == []


def test_fields_that_no_client_was_seen_to_send_are_counted(site: HyperbolicSite, talk: Talk):
    talk.made(RENTALS, {**ORDER, "image": "a/b"})
    assert site.log.violations == {"create: no field image": 1}


def test_an_empty_balance_ends_everything():
    made = open_site(VirtualClock(), NoBodies(), credit=Decimal(1))
    with running([made]):
        talk = Talk(made.url)
        talk.made(RENTALS, ORDER)
        made.world.clock.sleep(3600)
        assert talk.get(RENTALS) == []
        assert talk.get("/v2/customer/balance")["balanceCents"] == 0
        assert talk.ask("POST", RENTALS, ORDER).status_code == 402
        assert rentals(made.world)["rentals"][0]["why"] == "no credit"


@pytest.mark.parametrize("style", ["message", "error_object", "error_text", "msg"])
def test_errors_have_four_shapes(site: HyperbolicSite, talk: Talk, style: str):
    faults(site, error_style={"style": style})
    body = talk.ask("POST", RENTALS, {**ORDER, "region": "x"}).json()
    assert "no longer available" in str(body)
    assert list(body) == [{"error_object": "error", "error_text": "error"}.get(style, style)]


@pytest.mark.parametrize("knob", ["_500_after_commit", "create__5xx_after_commit", "create__drop_after_commit"])
def test_a_lost_answer_leaves_a_rental_behind(site: HyperbolicSite, talk: Talk, knob: str):
    faults(site, **{knob: {"count": 1}})
    if "drop" in knob:
        with pytest.raises(requests.ConnectionError):
            talk.ask("POST", RENTALS, ORDER)
    else:
        assert talk.ask("POST", RENTALS, ORDER).status_code == 500
    assert row(talk)["label"] == "t-1"


@pytest.mark.parametrize("knob", ["_500_before_commit", "option_vanishes_before_create", "create__429_before"])
def test_a_refusal_leaves_none(site: HyperbolicSite, talk: Talk, knob: str):
    faults(site, **{knob: {"count": 1}})
    assert talk.ask("POST", RENTALS, ORDER).status_code in (500, 404, 429)
    assert rentals(site.world)["rentals"] == []


@pytest.mark.parametrize(
    ("knob", "status", "shells"),
    [("stuck_pending", "Pending", 0), ("failed", "Failed", 0), ("running_empty_ssh", "Running", 0)],
)
def test_rentals_that_never_get_anywhere(site: HyperbolicSite, talk: Talk, knob: str, status: str, shells: int):
    faults(site, **{knob: {"count": 1}})
    talk.made(RENTALS, ORDER)
    site.world.clock.sleep(3600)
    now = row(talk)
    assert (now["status"], len(now["providerData"]["sshNetworking"])) == (status, shells)


def test_the_label_may_be_echoed_or_not_or_under_another_name(site: HyperbolicSite, talk: Talk):
    talk.made(RENTALS, ORDER)
    faults(site, label_echo={"count": 1, "form": "name"})
    assert "label" not in (found := row(talk)) and found["name"] == "t-1"
    faults(site, label_echo={"count": 1, "form": "none"})
    assert "t-1" not in str(row(talk))
    unnamed = talk.made(RENTALS, {name: value for name, value in ORDER.items() if name != "label"})
    assert re.fullmatch(r"[a-z]+-[a-z]+-[a-z]+", unnamed["name"])


@pytest.mark.parametrize(
    ("knob", "status", "left"), [("destroy__429", 429, 1), ("destroy__5xx", 500, 1), ("destroy__404", 404, 1)]
)
def test_a_terminate_is_only_done_when_the_list_says_so(
    site: HyperbolicSite, talk: Talk, knob: str, status: int, left: int
):
    id = talk.made(RENTALS, ORDER)["id"]
    faults(site, **{knob: {"count": 1}})
    assert talk.ask("POST", f"{RENTALS}/terminate", {"rentalId": id}).status_code == status
    assert len(talk.get(RENTALS)) == left


def test_unknown_paths_never_answer_200(talk: Talk):
    assert talk.ask("GET", "/v2/on-demand/bare-metal-rentals").status_code == 404
    assert talk.ask("DELETE", RENTALS).status_code == 405
    assert talk.ask("POST", "/v1/marketplace", {}).status_code == 404


def test_every_knob_is_named_in_the_simulator_that_takes_it():
    folder = Path(pages.__file__).parent
    text = "".join(path.read_text() for path in folder.glob("*.py") if path.name not in ("estate.py", "invented.py"))
    text += (folder / "estate.py").read_text().partition("SHORTEST")[2]
    assert [knob for knob in KNOBS if f'"{knob}"' not in text] == []
