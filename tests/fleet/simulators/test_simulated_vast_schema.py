"""Every call of the simulated Vast that the published file has, answered as the file says (vast_corrections.yaml names
what is wrong with the file, with the reasons). `simulated` holds each answer of every other test against it too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fleet.simulators.wire import Reply, Request
from tests.fleet.providers.vast.published import answered, held, published
from tests.fleet.simulators.vast_talking import Vast, simulated

SSH = {"ssh_key": "ssh-ed25519 AAAAexample you@example.com"}


@pytest.fixture
def vast() -> Iterator[Vast]:
    with simulated() as made:
        yield made


def called(vast: Vast) -> set[tuple[str, str]]:
    """The published calls that were made, by the file's own name of the path."""
    found = set()
    for row in vast.site.log.shown():
        operation = published().operation(row["method"], row["path"])
        if not isinstance(operation, str):
            found.add((row["method"], operation[0][1]))
    return found


def instances(vast: Vast) -> None:
    """The life of one, and everything that can be asked of it."""
    template = vast.ask("POST", "/api/v0/template/", {"name": "t", "image": "a/b", "tag": "1"}).json()["template"]
    vast.get("/api/v0/template/?select_cols=%5B%22*%22%5D")
    edit = {"hash_id": template["hash_id"], "recommended_disk_space": 30}
    hash_id = vast.ask("PUT", "/api/v0/template/", edit).json()["template"]["hash_id"]
    asks = [row["id"] for row in vast.offers(limit=20, order=[["dph_total", "asc"]])]
    id = vast.rented(asks[0], template_hash_id=hash_id)
    vast.row(id)
    vast.later(300)
    vast.row(id)
    vast.get("/api/v1/instances/?limit=1")
    for path, body in (
        ("request_logs/{}/", {"tail": "10"}), ("command/{}/", {"command": "ls"}), ("reboot/{}/", {}),
        ("recycle/{}/", {}), ("prepay/{}/", {"amount": 1.0}), ("bid_price/{}/", {"client_id": "me", "price": 0.5}),
        ("{}/", {"state": "stopped"}), ("{}/", {"label": "x"}),
    ):  # fmt: skip
        vast.ask("PUT", f"/api/v0/instances/{path.format(id)}", body)
    vast.get(f"/api/v0/instances/balance/{id}/")
    vast.ask("POST", f"/api/v0/instances/{id}/ssh/", SSH)
    [key] = json.loads(vast.get(f"/api/v0/instances/{id}/ssh/")["ssh_keys"])
    vast.ask("DELETE", f"/api/v0/instances/{id}/ssh/{key['id']}/")
    vast.ask("DELETE", f"/api/v0/instances/{id}/", {})
    vast.ask("DELETE", f"/api/v0/instances/{id}/", {})
    vast.row(id)
    vast.ask("DELETE", "/api/v0/template/", {"template_id": template["id"]})


def account(vast: Vast) -> None:
    """Money, volumes, keys, secrets."""
    vast.later(7200)
    [volume, *_] = vast.ask("POST", "/api/v0/volumes/search/", {"disk_space": {"gte": "10"}}).json()["offers"]
    name = vast.ask("PUT", "/api/v0/volumes/", {"id": volume["id"], "size": 20}).json()["volume_name"]
    vast.later(3600)
    assert len(vast.get("/api/v0/volumes/")["volumes"]) == 1
    day = {"day": {"gte": 0, "lte": int(vast.site.house.now)}, "type": {"in": ["instance", "volume"]}}
    found = vast.get(f"/api/v0/charges/?select_filters={json.dumps(day)}&limit=1")
    assert found["total"] == 2 and found["next_token"]
    vast.get('/api/v1/invoices/?select_filters={"when":{"gte":0,"lte":1}}')
    vast.ask("DELETE", "/api/v0/volumes/", {"id": int(name.removeprefix("V."))})
    vast.get("/api/v0/users/current")
    made = vast.ask("POST", "/api/v0/ssh/", SSH).json()["key"]
    vast.get("/api/v0/ssh/")
    vast.ask("PUT", f"/api/v0/ssh/{made['id']}/", {**SSH, "id": made["id"]})
    vast.ask("DELETE", f"/api/v0/ssh/{made['id']}/")
    for method in ("POST", "PUT", "DELETE"):
        vast.ask(method, "/api/v0/secrets/", {"key": "A", "value": "b"})
    vast.get("/api/v0/secrets/")


def test_every_published_call_is_answered_as_published(vast: Vast):
    instances(vast)
    account(vast)
    every = {
        (method.upper(), path)
        for path, item in published().document["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert every - called(vast) == set()


REFUSED: tuple[tuple[str, str, Any], ...] = (
    ("PUT", "/api/v0/asks/1/", {"client_id": "me", "image": "a/b"}),
    ("PUT", "/api/v0/asks/x/", {}),
    ("POST", "/api/v0/bundles/", {"bogus": {"eq": 1}}),
    ("GET", "/api/v0/charges/", None),
    ("GET", "/api/v0/charges/?select_filters={&limit=1", None),
    ("GET", "/api/v1/instances/?order_by=[{\"col\":\"bogus\"}]", None),
    ("GET", "/api/v1/instances/?after_token=bogus", None),
    ("GET", "/api/v0/instances/x/", None),
    ("PUT", "/api/v0/instances/1/", {"state": "stopped"}),
    ("PUT", "/api/v0/instances/request_logs/1/", {}),
    ("PUT", "/api/v0/instances/command/1/", {"command": "ls"}),
    ("PUT", "/api/v0/instances/prepay/1/", {"amount": 1}),
    ("PUT", "/api/v0/instances/bid_price/1/", {"client_id": "me", "price": 1}),
    ("POST", "/api/v0/secrets/", {"key": "A"}),
    ("PUT", "/api/v0/secrets/", {"key": "A", "value": "b"}),
    ("DELETE", "/api/v0/secrets/", {"key": "A"}),
    ("POST", "/api/v0/ssh/", {}),
    ("DELETE", "/api/v0/ssh/1/", None),
    ("POST", "/api/v0/template/", {"name": "t"}),
    ("PUT", "/api/v0/template/", {"hash_id": "x"}),
    ("DELETE", "/api/v0/template/", {"template_id": 1}),
    ("DELETE", "/api/v0/volumes/", {}),
    ("DELETE", "/api/v0/volumes/", {"id": 1}),
    ("POST", "/api/v0/volumes/search/", {"bogus": {"eq": 1}}),
)  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), REFUSED, ids=lambda value: str(value)[:40])
def test_refusals_are_as_published(vast: Vast, method: str, path: str, body: Any):
    assert vast.ask(method, path, body).status_code >= 400
    vast.key = ""
    assert vast.ask(method, path, body).status_code in (401, 403, 404)


@pytest.mark.parametrize("style", ["plain", "plain_threshold", "full", "detail"])
def test_asking_too_often_is_told_in_any_of_the_shapes_that_were_met(vast: Vast, style: str):
    vast.faults(throttle={"count": 1, "style": style})
    assert vast.ask("GET", "/api/v1/instances/").status_code == 429


def test_a_slip_in_an_answer_is_found():
    def said(path: str, body: Any, status: int = 200) -> list[str]:
        return held(Request("GET", path), Reply(status, body))

    [wrong] = said("/api/v1/instances/", {"instances": [{"id": "7"}]})
    assert "instances[0].id" in wrong
    [wrong] = said("/api/v1/instances/", {"instances": [{"id": 7, "usd": 1}]})
    assert "'usd' was unexpected" in wrong
    assert said("/api/v0/instances/7/", {"instances": None}) == []
    [wrong] = said("/api/v0/instances/7/", {"instances": {"id": 7, "num_gpus": "two"}})
    assert "num_gpus" in wrong
    [wrong] = said("/api/v0/instances/7/", {"oops": 1}, 401)
    assert wrong.startswith("GET /api/v0/instances/7/ 401")
    assert answered("GET", "/api/v0/nothing", {}, 200, {}) == ["GET /api/v0/nothing: not documented"]
