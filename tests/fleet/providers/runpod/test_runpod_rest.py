"""The rest of RunPod's client: balance, volumes, keys, the dry run, the pace; no secret where it should not be."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from fleet.offers.offer import Question
from fleet.providers.runpod.client import RunPod
from fleet.providers.runpod.pace import MOST, Pace
from fleet.wire.failed import KeyRefused
from profiles.errors import WrongInput
from tests.fleet.providers.openapi import OpenApi
from tests.fleet.providers.runpod.account import KEY, Fault
from tests.fleet.providers.runpod.conftest import PASSWORD, TOKEN, Hours
from tests.fleet.providers.runpod.drift import newer, published

GRAPHQL = ("POST", "/graphql")


def test_the_balance_is_a_decimal_with_what_is_being_spent(client):
    balance = client.balance()
    assert (balance.usd, balance.usd_hour) == (Decimal("12.5"), Decimal("0.69"))


def test_a_negative_balance_is_told_as_it_is(client, account):
    account.money = {"data": {"myself": {"clientBalance": -3.25}}}
    assert client.balance().usd == Decimal("-3.25")


@pytest.mark.parametrize(
    "answer",
    [
        {"errors": [{"message": "not authorised"}], "data": None},
        {"data": {"myself": {"clientBalance": None}}},
        {"data": {"myself": None}},
        {"data": []},
        [],
        {},
    ],
)
def test_a_balance_that_is_not_told_is_unknown_and_never_nothing(client, account, answer):
    account.money = answer
    balance = client.balance()
    assert balance.usd is None and balance.words


def test_a_retired_graphql_means_an_unknown_balance(client, account):
    account.faults = [Fault(*GRAPHQL, 410)]
    balance = client.balance()
    assert (balance.usd, "retired" in balance.words) == (None, True)


def test_a_graphql_that_fails_means_an_unknown_balance(client, account):
    account.faults = [Fault(*GRAPHQL, 500, times=4)]
    assert client.balance().usd is None


def test_a_key_without_the_right_to_the_balance_is_not_a_wrong_key(client, account):
    account.faults = [Fault(*GRAPHQL, 403)]
    assert "no right" in client.balance().words


def test_a_wrong_key_is_said_to_be_one(account, tmp_path):
    wrong = RunPod("rpa_wrong", tmp_path, Hours(), {"STOKER_RUNPOD_URL": account.url})
    for ask in (wrong.balance, wrong.instances, wrong.volumes, lambda: wrong.offers(Question(), "")):
        with pytest.raises(KeyRefused) as refused:
            ask()
        assert "RUNPOD_API_KEY" in refused.value.next_step
        assert "rpa_wrong" not in str(refused.value) + refused.value.next_step


def test_volumes_tell_where_they_are_and_what_they_cost_by_the_month(client, account):
    for id, size, kind in (("a", 100, "STANDARD"), ("b", 3000, "STANDARD"), ("c", 100, "HIGH_PERFORMANCE")):
        account.rows["network-volumes"][id] = {
            "id": id, "name": f"v{id}", "size": size, "dataCenter": "US-KS-2", "type": kind
        }  # fmt: skip
    found = {volume.id: volume for volume in client.volumes()}
    assert (found["a"].gb, found["a"].region, found["a"].usd_month) == (100, "US-KS-2", Decimal("7.00"))
    assert found["b"].usd_month == Decimal("170.00")  # 0.07 for the first 1000 GB, 0.05 for the rest
    assert found["c"].usd_month is None  # its price is published nowhere


def test_the_accounts_keys_come_without_their_comments(client):
    assert client.keys() == ["ssh-ed25519 AAAAexample"]


def test_the_dry_run_shows_the_bytes_that_are_sent_and_asks_nothing(client, account, order, container, login):
    shown = client.shown(container(login=login), order(login=login))
    assert account.sent == []
    template = client.ensure_template(container(login=login))
    client.launch(order(template, login=login))
    real = [each for each in account.sent if each.method == "POST"]
    assert [(each.method, each.path) for each in shown] == [(each.method, each.path) for each in real]
    for dry, sent in zip(shown, real, strict=True):
        differing = {name for name in sent.body if dry.body.get(name) != sent.body[name]}
        assert dry.body.keys() == sent.body.keys()
        # passwords and values are masked; ids and the template's name, which holds the login's id, are not known before
        assert differing <= {"password", "value", "registry", "templateId", "name"}
        assert ("name" in differing) == (dry.path == "/v2/templates")


def test_no_secret_is_in_the_dry_run_wherever_it_was_put(client, container, order, login):
    odd = {"login": login, "command": ("run", "--token", TOKEN), "env": {"PIP_INDEX_URL": f"https://u:{PASSWORD}@x/"}}
    text = json.dumps([each.body for each in client.shown(container(**odd), order(**odd))])
    assert TOKEN not in text and PASSWORD not in text
    assert "***" in text


def test_no_secret_is_in_a_repr_or_in_a_file(client, container, order, login, tmp_path):
    template = client.ensure_template(container(login=login))
    made = client.launch(order(template, login=login))
    texts = [repr(each) for each in (client, client.line, made, template, container(login=login), login)]
    texts += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(hidden in text for hidden in (KEY, TOKEN, PASSWORD) for text in texts)


def test_the_dry_run_refuses_what_cannot_be_run(client, container, order):
    with pytest.raises(WrongInput):
        client.shown(container(cuda="new"), order(cuda="new"))


def test_the_pace_keeps_below_sixty_in_any_minute():
    hours = Hours()
    pace, times = Pace(hours), []
    for _ in range(4 * MOST):
        pace("GET", "/v2/pods")
        times.append(hours.now())
        hours.time += timedelta(milliseconds=100)
    for start in times:
        assert sum(start <= each < start + timedelta(seconds=60) for each in times) <= MOST


def test_a_clock_that_is_set_back_does_not_stop_the_client():
    hours = Hours()
    pace = Pace(hours)
    for _ in range(MOST):
        pace("GET", "/v2/pods")
    hours.time -= timedelta(days=3)
    pace("GET", "/v2/pods")
    assert hours.slept == []


def test_what_we_send_is_in_the_published_form_too_apart_from_the_secrets(client, account, order, container, login):
    account.spec = published()
    template = client.ensure_template(container(secrets={}, login=login, volume_gb=20))
    client.launch(order(template, secrets={}))
    client.launch(order(secrets={}, login=login))
    client.instances()
    assert account.wrong == []


def wrong_pod(**changed):
    body = {"name": "x", "image": "i", "gpu": {"id": "NVIDIA L4", "count": 1}, **changed}
    return published().request("POST", "/v2/pods", {}, {}, body)


def test_the_document_finds_what_is_wrong_with_a_request():
    assert wrong_pod() == []
    assert any("bogus" in line for line in wrong_pod(bogus=1))
    assert any("count" in line for line in wrong_pod(gpu={"id": "NVIDIA L4", "count": 0}))
    assert any("minCudaVersion" in line for line in wrong_pod(gpu={"id": "NVIDIA L4", "minCudaVersion": "12"}))
    assert any("size" in line for line in wrong_pod(mounts={"persistent": {"size": 9, "path": "/w"}}))
    assert published().request("POST", "/v2/pods", {}, {}) == ["body: required"]
    assert published().request("GET", "/v2/pods", {"cursor": "x"}, {}) == ["query cursor: not documented"]
    assert published().request("GET", "/v2/nothing", {}, {}) == ["GET /v2/nothing: not documented"]
    assert published().request("GET", "/v2/catalog/gpus", {"count": "0"}, {}) != []
    assert published().request("GET", "/v2/pods/a/logs", {"tail": "5001"}, {}) != []


def test_the_document_finds_what_is_wrong_with_an_answer():
    spec = published()
    assert spec.answer("GET", "/v2/pods", 200, "application/json", {"pods": []}) == []
    assert spec.answer("GET", "/v2/pods", 200, "application/json", {"items": []}) != []
    assert spec.answer("GET", "/v2/pods", 200, "application/json", {"pods": [{"id": "a"}]}) != []
    assert spec.answer("GET", "/v2/pods", 500, "text/html", "<html>") != []
    assert spec.answer("DELETE", "/v2/pods/a", 204, "", None) == []
    assert spec.answer("DELETE", "/v2/pods/a", 204, "", {"id": "a"}) != []


def test_the_drift_is_refused_by_the_published_form_and_taken_by_the_newer():
    body = {
        "name": "x",
        "image": "i",
        "cmd": ["run"],
        "gpu": {"id": "NVIDIA L40S", "count": 1, "minRamPerGpu": 48, "minVcpuCountPerGpu": 8},
    }
    assert published().request("POST", "/v2/pods", {}, {}, body) != []
    assert newer().request("POST", "/v2/pods", {}, {}, body) == []
    assert newer().request("GET", "/v2/pods", {"cursor": "x", "limit": "1000"}, {}) == []
    assert newer().request("GET", "/v2/pods", {"limit": "1001"}, {}) != []
    assert newer().request("POST", "/v2/secrets", {}, {}, {"name": "RUNPOD_X", "value": "v"}) != []


def test_a_literal_path_wins_over_a_pattern_and_parameters_of_the_path_count():
    spec = OpenApi(
        {
            "paths": {
                "/things/{id}": {
                    "parameters": [{"name": "deep", "in": "query", "required": True, "schema": {"type": "boolean"}}],
                    "get": {"responses": {"200": {}}},
                },
                "/things/all": {"get": {"responses": {"200": {}}}},
            }
        }
    )
    assert spec.request("GET", "/things/all/", {}, {}) == []
    assert spec.request("GET", "/things/7", {}, {}) == ["query deep: required"]
    assert spec.request("GET", "/things/7", {"deep": "true"}, {}) == []
    assert spec.request("GET", "/things/7", {"deep": "very"}, {}) != []
