"""Each knob of RunPod does what it says, and the truth in the side channel shows it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import requests

from fleet.simulators.runpod.problems import NO_CAPACITY, NO_CAPACITY_VARIANTS
from tests.fleet.simulators.talking import RTX, Talk, pod


def commits(runpod: Talk) -> int:
    return len(runpod.rentals()["rentals"])


def test_a_dropped_answer_leaves_a_machine_behind(runpod: Talk):
    runpod.faults(create__drop_after_commit={"count": 1})
    assert runpod.lost("POST", "/v2/pods", pod())
    assert commits(runpod) == 1
    assert [row["name"] for row in runpod.get("/v2/pods")["pods"]] == ["stk-test-1"]


def test_a_5xx_may_or_may_not_leave_a_machine_behind_and_looks_the_same(runpod: Talk):
    runpod.faults(create__5xx_after_commit={"count": 1})
    after = runpod.ask("POST", "/v2/pods", pod())
    assert commits(runpod) == 1
    runpod.faults(create__5xx_before_commit={"count": 1})
    before = runpod.ask("POST", "/v2/pods", pod())
    assert commits(runpod) == 1
    assert after.status_code // 100 == before.status_code // 100 == 5
    assert after.json()["detail"] == before.json()["detail"]


def test_a_slow_answer_comes_too_late_for_a_machine_that_exists(runpod: Talk):
    runpod.faults(create__slow={"count": 1, "seconds": 0.5})
    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{runpod.url}/v2/pods", json=pod(), headers={"Authorization": "Bearer k"}, timeout=0.1)
    assert commits(runpod) == 1


def test_a_429_before_makes_nothing(runpod: Talk):
    runpod.faults(create__429_before={"count": 1})
    answer = runpod.ask("POST", "/v2/pods", pod())
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "12")
    assert commits(runpod) == 0


def test_a_201_may_be_cut_or_without_its_id(runpod: Talk):
    runpod.faults(create__bad_2xx={"count": 1})
    cut = runpod.ask("POST", "/v2/pods", pod())
    assert cut.status_code == 201
    with pytest.raises(requests.JSONDecodeError):
        cut.json()
    runpod.faults(create__bad_2xx={"count": 1, "no_id": True})
    assert "id" not in runpod.ask("POST", "/v2/pods", pod()).json()
    assert commits(runpod) == 2


def test_two_machines_may_carry_one_tag(runpod: Talk):
    runpod.faults(list__duplicate_tag={"count": 1})
    made = runpod.made("/v2/pods", pod())
    rows = runpod.get("/v2/pods")["pods"]
    assert len(rows) == 2
    assert {row["name"] for row in rows} == {made["name"]}
    assert runpod.rentals()["per_tag"]["stk-test-1"]["most_at_once"] == 2


def test_a_new_pod_may_be_missing_from_lists_and_a_gone_one_linger(runpod: Talk):
    runpod.faults(list__lag={"count": 1, "reads": 1})
    made = runpod.made("/v2/pods", pod())
    assert runpod.get("/v2/pods")["pods"] == []
    assert len(runpod.get("/v2/pods")["pods"]) == 1
    runpod.ask("DELETE", f"/v2/pods/{made['id']}")
    assert [row["status"] for row in runpod.get("/v2/pods")["pods"]] == ["TERMINATED"]
    assert runpod.get("/v2/pods")["pods"] == []


@pytest.mark.parametrize(
    ("knob", "table", "field", "value"),
    [("status.unknown_value", True, "status", "DEGRADED"), ("status_misread", {"value": "GONE"}, "status", "GONE"),
     ("status.missing", True, "status", None), ("price.missing", True, "cost", None),
     ("cost_missing", True, "cost", None), ("price.string", True, "cost", "2.99")],
)  # fmt: skip
def test_what_a_pod_says_of_itself_may_be_unreadable(runpod: Talk, knob: str, table: Any, field: str, value: Any):
    made = runpod.made("/v2/pods", pod())
    runpod.admin("faults", {knob: table})
    assert runpod.get(f"/v2/pods/{made['id']}").get(field) == value
    assert runpod.rentals()["alive"] == 1


def test_a_price_may_be_above_the_listed_one(runpod: Talk):
    runpod.faults(price__jump={"count": 1, "factor": 3})
    assert runpod.made("/v2/pods", pod())["cost"] == pytest.approx(3 * 2.99)
    assert float(runpod.admin("credit")["usd_per_hour"]) > 3 * 2.99


def test_a_pod_may_vanish(runpod: Talk):
    made = runpod.made("/v2/pods", pod())
    runpod.faults(vanish={"count": 1})
    assert runpod.get("/v2/pods")["pods"] == []
    assert runpod.refused("GET", f"/v2/pods/{made['id']}")[0] == 404


@pytest.mark.parametrize(("knob", "status"), [("destroy.429", 429), ("destroy.5xx", 503)])
def test_a_destroy_may_be_refused_and_the_pod_lives_on(runpod: Talk, knob: str, status: int):
    made = runpod.made("/v2/pods", pod())
    runpod.admin("faults", {knob: {"count": 1}})
    assert runpod.refused("DELETE", f"/v2/pods/{made['id']}")[0] == status
    assert runpod.rentals()["alive"] == 1
    assert runpod.ask("DELETE", f"/v2/pods/{made['id']}").status_code == 204


def test_the_answer_to_a_destroy_may_be_lost(runpod: Talk):
    made = runpod.made("/v2/pods", pod())
    runpod.faults(destroy__lost_answer={"count": 1})
    assert runpod.lost("DELETE", f"/v2/pods/{made['id']}")
    assert runpod.rentals()["alive"] == 0


@pytest.mark.parametrize("alive", [False, True])
def test_a_destroy_may_be_answered_404_and_that_may_be_a_lie(runpod: Talk, alive: bool):
    made = runpod.made("/v2/pods", pod())
    runpod.faults(destroy__404={"count": 1, "alive": alive})
    assert runpod.refused("DELETE", f"/v2/pods/{made['id']}")[0] == 404
    assert runpod.rentals()["alive"] == int(alive)


def test_a_pod_may_never_leave_provisioning(runpod: Talk):
    runpod.faults(stuck_provisioning={"count": 1})
    made = runpod.made("/v2/pods", pod())
    runpod.sleep(86400)
    assert runpod.get(f"/v2/pods/{made['id']}")["status"] == "PROVISIONING"
    assert float(runpod.rentals()["rentals"][0]["billed_usd"]) > 24 * 2.99


def test_a_pull_may_take_its_time(runpod: Talk):
    runpod.faults(image_pull_minutes={"count": 1, "minutes": 18})
    made = runpod.made("/v2/pods", pod())
    runpod.sleep(18 * 60)
    assert runpod.get(f"/v2/pods/{made['id']}")["status"] == "STARTING"
    runpod.sleep(60)
    assert runpod.get(f"/v2/pods/{made['id']}")["status"] == "RUNNING"


def test_running_is_not_ready(runpod: Talk):
    runpod.faults(running_no_ssh={"count": 1})
    without = runpod.made("/v2/pods", pod(ports=["22/tcp"]))
    runpod.faults(uptime_zero_forever={"count": 1})
    zero = runpod.made("/v2/pods", pod(ports=["22/tcp"]))
    runpod.faults(ssh_refused={"count": 1})
    refused = runpod.made("/v2/pods", pod(ports=["22/tcp"]))
    runpod.sleep(3600)
    rows = {row["id"]: row for row in runpod.get("/v2/pods")["pods"]}
    assert {row["status"] for row in rows.values()} == {"RUNNING"}
    assert rows[without["id"]]["ssh"]["direct"] is None
    assert rows[zero["id"]]["runtime"] == {"uptime": 0, "gpus": [], "ports": []}
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{rows[refused['id']]['ssh']['direct']['port']}", timeout=5)


def test_the_runtime_may_be_an_empty_object_before_it_is_ready(runpod: Talk):
    runpod.faults(runtime_empty_object=True)
    made = runpod.made("/v2/pods", pod())
    runpod.sleep(26)
    row = runpod.get(f"/v2/pods/{made['id']}")
    assert (row["status"], row["runtime"]) == ("RUNNING", {})


def test_capacity_may_be_nowhere_and_in_other_words(runpod: Talk):
    runpod.faults(capacity_all_400=True)
    assert runpod.refused("POST", "/v2/pods", pod()) == (400, NO_CAPACITY)
    runpod.faults(capacity_text_variant=True)
    assert runpod.refused("POST", "/v2/pods", pod()) == (400, NO_CAPACITY_VARIANTS[0])


def test_the_specs_own_example_of_actions(runpod: Talk):
    runpod.faults(actions_of_spec_example=True)
    made = runpod.made("/v2/pods", pod())
    assert made["actions"] == ["start", "terminate"]
    assert runpod.refused("POST", f"/v2/pods/{made['id']}/action", {"action": "stop"})[0] == 409


def test_the_providers_time_may_be_off(runpod: Talk):
    runpod.faults(clock__skew={"seconds": 7200})
    assert runpod.made("/v2/pods", pod())["createdAt"] == "2026-11-21T02:00:00Z"
    assert runpod.admin("clock")["now"].startswith("2026-11-21T00:00:00")


def test_two_hundred_launches_on_a_bad_day_leave_a_truth_that_adds_up(runpod: Talk):
    runpod.faults(
        create__drop_after_commit={"chance": 0.1}, create__5xx_after_commit={"chance": 0.1},
        create__5xx_before_commit={"chance": 0.1}, create__429_before={"chance": 0.1},
        list__lag={"chance": 0.1, "reads": 2},
    )  # fmt: skip
    answered = {}
    for number in range(200):
        try:
            answered[f"stk-{number}"] = runpod.ask("POST", "/v2/pods", pod(f"stk-{number}")).status_code
        except requests.ConnectionError:
            answered[f"stk-{number}"] = 0
        runpod.sleep(1)
    per_tag = runpod.rentals()["per_tag"]
    assert all(row["commits"] == 1 for row in per_tag.values())
    assert {tag for tag, status in answered.items() if status == 201} <= set(per_tag)
    assert {tag for tag, status in answered.items() if status == 429} & set(per_tag) == set()
    assert {answered[tag] for tag in per_tag} == {0, 201, 500}


def test_clients_at_the_same_time_get_what_each_of_them_asked_for(runpod: Talk):
    runpod.admin("stock", {f"SECURE/{RTX}/US-KS-2": 3})
    answers: list[int] = []

    def launch(name: str) -> None:
        talk = Talk(runpod.url)
        for number in range(15):
            body = pod(f"stk-{name}-{number}", gpu={"id": RTX, "count": 1}, dataCenterIds=["US-KS-2"])
            made = talk.ask("POST", "/v2/pods", body)
            answers.append(made.status_code)
            if made.status_code == 201:
                talk.sleep(5)
                assert talk.ask("DELETE", f"/v2/pods/{made.json()['id']}").status_code == 204

    threads = [threading.Thread(target=launch, args=(str(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    truth = runpod.rentals()
    assert len(answers) == 90
    assert answers.count(201) == len(truth["rentals"])
    assert (truth["alive"], truth["usd_per_hour"]) == (0, "0")
    assert runpod.admin("stock") == {f"SECURE/{RTX}/US-KS-2": 3}
