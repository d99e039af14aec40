"""RunPod's own client believes the simulated RunPod: @runpod/mcp-server 4.0.0, in a namespace with loopback only.

A simulator that is checked by our own client alone repeats our own misreadings (providers.md 5).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any
from urllib.parse import unquote

import pytest

from tests.fleet.providers.openapi import OpenApi
from tests.fleet.providers.runpod import drift
from tests.fleet.simulators import loopback, runpod_mcp

pytestmark = pytest.mark.slow
AGENT = "runpod-mcp-server/4.0.0 (caller=mcp; surface=v2; client=contract; client_version=0; transport=stdio)"
Told = dict[str, Any]


@pytest.fixture(scope="module")
def played() -> Callable[[str], Told]:
    """What happened in a scene of runpod_mcp_scene; each is played once."""
    node, _ = runpod_mcp.node()
    program = str(runpod_mcp.server())

    @cache
    def play(scene: str) -> Told:
        told: Told = loopback.alone("tests.fleet.simulators.runpod_mcp_scene", scene, node, program)
        return told

    return play


def calls(told: Told, tool: str) -> list[Told]:
    return [call for call in told["calls"] if call["tool"] == tool]


def wrong(told: Told, spec: OpenApi) -> list[str]:
    """What is not as specified in the requests and in the answers, whatever they are."""
    found = []
    for one in told["exchanges"]:
        path = unquote(one["target"])
        if one["status"] == 0:
            continue  # a lost answer
        found += spec.answer(one["method"], path, one["status"], one["kind"], one["answered"])
        if one["status"] < 400:
            found += spec.request(one["method"], path, one["query"], {}, one["sent"])
    return found


@pytest.mark.parametrize("scene", ["whole_life", "refusals"])
def test_every_answer_is_as_specified_with_what_is_newer_than_the_specification(
    played: Callable[[str], Told], scene: str
):
    assert wrong(played(scene), drift.newer()) == []


def test_without_the_newer_fields_every_answer_is_as_published_to_the_letter(played: Callable[[str], Told]):
    assert wrong(played("published_form"), drift.published()) == []


@pytest.mark.parametrize("scene", ["whole_life", "published_form"])
def test_a_whole_life_goes_as_the_client_expects(played: Callable[[str], Told], scene: str):
    told = played(scene)
    failed = [(call["tool"], call["said"]) for call in told["calls"] if call["failed"]]
    unreachable, in_use, gone, gone_again = failed
    assert unreachable == ("get-capacity", "fetch failed")  # it wants GraphQL at the vendor's real host
    assert in_use[0] == "delete-template" and in_use[1]["status"] == 400
    assert (gone[0], gone[1]["status"]) == ("get-pod", 404)
    assert (gone_again[0], gone_again[1]["status"]) == ("delete-pod", 404)
    assert told["books"]["violations"] == {} and told["books"]["crashes"] == []


def test_each_tool_sends_what_was_established_of_it(played: Callable[[str], Told]):
    told = played("whole_life")
    sent = {
        call["tool"]: [(one["method"], one["target"], one["query"]) for one in map(told["exchanges"].__getitem__, made)]
        for call in reversed(told["calls"])
        if (made := call["exchanges"])
    }
    first = calls(told, "create-pod")[0]["said"]["id"]
    assert sent["list-gpu-types"] == [("GET", "/v2/catalog/gpus", {"include": "AVAILABILITY", "product": "POD"})]
    assert sent["get-gpu-type"] == [("GET", "/v2/catalog/gpus/NVIDIA%20GeForce%20RTX%204090", {})]
    assert sent["create-pod"] == [("POST", "/v2/pods", {})]
    assert sent["pod-action"] == [("POST", f"/v2/pods/{first}/action", {})]
    assert sent["create-registry"] == [("POST", "/v2/registries", {})]
    assert sent["create-network-volume"] == [("POST", "/v2/network-volumes", {})]
    assert sent["list-billing"] == [("GET", "/v2/billing", {})]
    assert {len(call["exchanges"]) for call in told["calls"] if call["tool"] != "get-capacity"} == {1}


def test_a_body_arrives_as_the_caller_gave_it(played: Callable[[str], Told]):
    told = played("whole_life")
    for call in told["calls"]:
        if "body" in call["arguments"]:
            assert [told["exchanges"][at]["sent"] for at in call["exchanges"]] == [call["arguments"]["body"]]


def test_every_request_names_the_client_and_carries_the_key(played: Callable[[str], Told]):
    for one in played("whole_life")["exchanges"]:
        assert one["agent"] == AGENT
        assert one["bearer"] == f"Bearer {runpod_mcp.KEY}"


def test_the_client_sees_a_pod_become_ready_and_stop_and_start_again(played: Callable[[str], Told]):
    told = played("whole_life")
    made, ready = calls(told, "create-pod")[0]["said"], calls(told, "get-pod")[1]["said"]
    assert made["status"] == "PROVISIONING" and made["runtime"] is None and made["cost"] == pytest.approx(1.38)
    assert ready["status"] == "RUNNING" and ready["ssh"]["direct"]["port"]
    assert ready["runtime"]["ports"][0]["private"] == 22
    actions = [call["said"].get("status") for call in calls(told, "pod-action")]
    assert actions[1] == "EXITED" and calls(told, "pod-action")[1]["said"]["cost"] == 0
    assert actions[2] in ("PROVISIONING", "STARTING") and actions[3] == 204


def test_the_client_reads_lines_out_of_a_stream_that_stays_open(played: Callable[[str], Told]):
    [call] = calls(played("whole_life"), "stream-pod-logs")
    assert [line["source"] for line in call["said"]["items"]] and not call["failed"]
    assert all(re.fullmatch(r"2026-11-21T00:\d\d:\d\dZ", line["ts"]) for line in call["said"]["items"])


def test_what_the_client_is_billed_is_what_the_books_say(played: Callable[[str], Told]):
    told = played("whole_life")
    [everything], [pods] = calls(told, "list-billing"), calls(told, "list-pod-billing")
    shown = sum(Decimal(str(row["totalAmount"])) for row in pods["said"]["records"])
    booked = sum(Decimal(row["billed_usd"]) for row in told["books"]["rentals"]["rentals"])
    assert float(shown) == pytest.approx(float(booked), abs=1e-6)
    assert everything["said"]["records"] and told["books"]["rentals"]["alive"] == 0


def test_a_create_without_a_gpu_count_finds_no_capacity(played: Callable[[str], Told]):
    told = played("refusals")
    without, full = calls(told, "create-pod")[:2]
    for call in (without, full):
        assert call["failed"] and call["said"]["status"] == 400
        assert call["said"]["detail"].startswith("There are no longer any instances available")
    assert "without-count" not in told["books"]["rentals"]["per_tag"]


def test_the_client_is_told_a_failure_of_creates_that_were_made_and_the_books_know_them(
    played: Callable[[str], Told],
):
    told = played("refusals")
    said = {call["arguments"]["body"]["name"]: call for call in calls(told, "create-pod")}
    assert said["busy"]["said"]["status"] == 429
    assert said["broke"]["said"]["status"] == 402
    assert said["committed-5xx"]["said"]["status"] >= 500 and said["refused-5xx"]["said"]["status"] >= 500
    assert said["lost-answer"]["said"] == "fetch failed"
    assert all(call["failed"] and len(call["exchanges"]) == 1 for call in said.values())
    assert set(told["books"]["rentals"]["per_tag"]) == {"committed-5xx", "lost-answer"}


def test_nothing_but_loopback_is_there_so_a_wrong_variable_reaches_nobody(played: Callable[[str], Told]):
    told = played("old_variable")  # 4.0.0 ignores the 3.x name and calls the real host
    assert told["interfaces"] == ["lo"]
    assert [(call["failed"], call["said"]) for call in told["calls"]] == [(True, "fetch failed")]
    assert told["exchanges"] == []
