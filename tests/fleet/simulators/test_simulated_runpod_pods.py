"""RunPod's pods (providers.md 1.7-1.10, 4.1): what a create may say, a pod's life, its price, its actions."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from fleet.simulators.runpod.problems import NO_CAPACITY, NO_FREE_GPU
from tests.fleet.simulators.talking import H100, RTX, Talk, pod


def running(runpod: Talk, **more: Any) -> str:
    """The id of a pod that is RUNNING and ready."""
    made = runpod.made("/v2/pods", pod(**more))
    runpod.sleep(60)
    return str(made["id"])


def state(runpod: Talk, pod_id: str) -> tuple[str, list[str], float]:
    row = runpod.get(f"/v2/pods/{pod_id}")
    return row["status"], row["actions"], row["cost"]


def test_a_pod_goes_through_its_states_to_readiness(runpod: Talk):
    made = runpod.made("/v2/pods", pod(gpu={"id": H100, "count": 2}, ports=["22/tcp", "8888/http"]))
    assert (made["status"], made["actions"], made["cost"]) == ("PROVISIONING", ["stop", "terminate"], 5.98)
    assert (made["dataCenterId"], made["runtime"], made["startedAt"]) == (None, None, None)
    seen = []
    for _ in range(9):
        runpod.sleep(4)
        row = runpod.get(f"/v2/pods/{made['id']}")
        seen.append((row["status"], row["ssh"]["direct"] is not None, bool(row["runtime"])))
    assert list(dict.fromkeys(seen)) == [
        ("PROVISIONING", False, False), ("STARTING", False, False), ("RUNNING", False, False), ("RUNNING", True, True)
    ]  # fmt: skip
    assert row["dataCenterId"] == "US-KS-2"
    assert row["actions"] == ["stop", "restart", "terminate"]
    assert row["ssh"]["direct"]["username"] == "root"
    assert row["runtime"]["ports"][0] | {"public": 0} == {"private": 22, "type": "tcp", "public": 0, "ip": "127.0.0.1"}


def test_ssh_of_a_ready_pod_greets_like_a_server(runpod: Talk):
    import socket

    pod_id = running(runpod, ports=["22/tcp"])
    direct = runpod.get(f"/v2/pods/{pod_id}")["ssh"]["direct"]
    with socket.create_connection((direct["host"], direct["port"]), timeout=10) as line:
        assert line.recv(64).startswith(b"SSH-2.0-")


@pytest.mark.parametrize("body", [pod(bogus=1), pod(gpu={"id": H100, "count": 1, "bogus": 1})])
def test_an_unknown_field_is_422_in_the_recorded_words(runpod: Talk, body: dict[str, Any]):
    where = "$" if "bogus" in body else "$.gpu"
    assert runpod.wrong("POST", "/v2/pods", body) == [f"{where}: additional properties 'bogus' not allowed"]


@pytest.mark.parametrize(
    "change",
    [{"name": ""}, {"name": None}, {"disk": 0}, {"disk": 1.5}, {"disk": True}, {"ports": ["22/udp"]}, {"env": {"A": 1}},
     {"gpu": {"count": 1}}, {"gpu": {"id": H100, "count": 0}}, {"gpu": {"id": H100, "minCudaVersion": "12"}},
     {"mounts": {"persistent": {"size": 9, "path": "/w"}}}, {"mounts": {"network": [{"volumeId": "x"}]}},
     {"cloud": "ALL"}, {"dataCenterIds": "US-KS-2"}, {"image": 7}, {"startSsh": "yes"}],
)  # fmt: skip
def test_a_body_that_fails_validation_is_422_and_makes_nothing(runpod: Talk, change: dict[str, Any]):
    assert runpod.wrong("POST", "/v2/pods", pod(**change))
    assert runpod.rentals()["rentals"] == []


def test_an_image_is_needed_without_a_template(runpod: Talk):
    body = pod()
    del body["image"]
    assert runpod.wrong("POST", "/v2/pods", body) == ["$: missing property 'image'"]


def test_a_body_that_is_no_json_makes_nothing(runpod: Talk):
    headers = {"Authorization": "Bearer k"}
    assert requests.post(f"{runpod.url}/v2/pods", data=b"{", headers=headers, timeout=10).status_code == 400


@pytest.mark.parametrize(
    "change",
    [{"cpu": {"id": "cpu5c", "vcpuCount": 4}}, {"gpu": None},
     {"mounts": {"persistent": {"size": 10, "path": "/a"}, "network": [{"volumeId": "x", "path": "/b"}]}},
     {"gpu": {"id": H100, "count": 1, "minCudaVersion": "12.4", "allowedCudaVersions": ["12.8"]}},
     {"registry": "nobody"}, {"ports": [f"{port}/http" for port in range(8000, 8011)]}],
)  # fmt: skip
def test_fields_that_contradict_each_other_are_400(runpod: Talk, change: dict[str, Any]):
    body = {name: value for name, value in pod(**change).items() if value is not None}
    status, detail = runpod.refused("POST", "/v2/pods", body)
    assert status == 400
    assert detail != NO_CAPACITY


def test_an_empty_list_of_cuda_versions_is_no_constraint_and_may_accompany_a_minimum(runpod: Talk):
    gpu = {"id": H100, "count": 1, "allowedCudaVersions": [], "minCudaVersion": "12.4"}
    runpod.made("/v2/pods", pod(gpu=gpu))


@pytest.mark.parametrize(
    "change",
    [{"gpu": {"id": H100}}, {"gpu": {"id": H100, "count": 9}}, {"gpu": {"id": "NVIDIA H100", "count": 1}},
     {"dataCenterIds": ["us-ks-2"]}, {"dataCenterIds": ["EU-RO-1"]},
     {"gpu": {"id": "NVIDIA L4", "count": 1}, "cloud": "COMMUNITY"},
     {"gpu": {"id": H100, "count": 1, "minCudaVersion": "13.1"}},
     {"gpu": {"id": H100, "count": 1, "allowedCudaVersions": ["12.3"]}},
     {"gpu": {"id": H100, "count": 1, "minRamPerGpu": 4000}}],
)  # fmt: skip
def test_whatever_cannot_be_placed_is_the_one_capacity_400(runpod: Talk, change: dict[str, Any]):
    assert runpod.refused("POST", "/v2/pods", pod(**change)) == (400, NO_CAPACITY)


def test_cuda_versions_are_compared_as_numbers(runpod: Talk):
    made = runpod.made("/v2/pods", pod(gpu={"id": RTX, "count": 1, "minCudaVersion": "12.5"}))
    runpod.sleep(10)
    assert runpod.get(f"/v2/pods/{made['id']}")["cudaVersion"] == "13.0"


def test_gpu_count_may_be_optional_by_a_knob(runpod: Talk):
    runpod.faults(gpu_count_optional=True)
    assert runpod.made("/v2/pods", pod(gpu={"id": H100}))["gpu"]["count"] == 1


def test_stock_is_used_up_listed_and_given_back(runpod: Talk):
    key = f"SECURE/{H100}/US-KS-2"
    runpod.admin("stock", {key: 2})
    here = pod(gpu={"id": H100, "count": 2}, dataCenterIds=["US-KS-2"])
    made = runpod.made("/v2/pods", here)
    assert runpod.refused("POST", "/v2/pods", here) == (400, NO_CAPACITY)
    path = f"/v2/catalog/gpus/{H100.replace(' ', '%20')}?include=AVAILABILITY&product=POD"
    centres = {row["id"]: row["availability"] for row in runpod.get(path)["dataCenters"]}
    assert (centres["US-KS-2"], centres["US-TX-3"]) == ("NONE", "HIGH")
    runpod.ask("DELETE", f"/v2/pods/{made['id']}")
    assert runpod.admin("stock") == {key: 2}


def test_a_listed_gpu_may_still_refuse(runpod: Talk):
    runpod.faults(capacity_phantom={"gpu": H100})
    assert runpod.refused("POST", "/v2/pods", pod()) == (400, NO_CAPACITY)
    runpod.made("/v2/pods", pod(gpu={"id": RTX, "count": 1}))


def test_a_pool_may_be_forbidden(runpod: Talk):
    runpod.faults(pool_forbidden={"gpu": H100})
    assert runpod.refused("POST", "/v2/pods", pod()) == (403, "access denied")


def test_less_than_one_hour_of_credit_is_402(runpod: Talk):
    runpod.admin("credit", {"usd": "2.98"})
    assert runpod.refused("POST", "/v2/pods", pod())[0] == 402
    assert runpod.rentals()["rentals"] == []


@pytest.mark.parametrize("entry", ["delete", "action"])
def test_a_terminated_pod_is_gone_without_a_body_and_404_afterwards(runpod: Talk, entry: str):
    pod_id = running(runpod)
    if entry == "delete":
        answer = runpod.ask("DELETE", f"/v2/pods/{pod_id}")
    else:
        answer = runpod.ask("POST", f"/v2/pods/{pod_id}/action", {"action": "terminate"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert runpod.refused("DELETE", f"/v2/pods/{pod_id}") == (404, "resource not found")
    assert runpod.get("/v2/pods")["pods"] == []
    assert runpod.admin("credit")["usd_per_hour"] == "0"


def test_a_stopped_pod_costs_its_volume_only_and_twice_as_much(runpod: Talk):
    pod_id = running(runpod, disk=50, mounts={"persistent": {"size": 72, "path": "/workspace"}})
    stopped = runpod.ask("POST", f"/v2/pods/{pod_id}/action", {"action": "stop"}).json()
    assert (stopped["status"], stopped["cost"], stopped["runtime"]) == ("EXITED", 0, None)
    assert stopped["actions"] == ["start", "terminate"]
    assert float(runpod.admin("credit")["usd_per_hour"]) == pytest.approx(72 * 0.20 / 720)
    assert runpod.ask("POST", f"/v2/pods/{pod_id}/action", {"action": "start"}).json()["status"] == "PROVISIONING"
    assert float(runpod.admin("credit")["usd_per_hour"]) == pytest.approx(2.99 + 122 * 0.10 / 720)


def test_an_action_that_the_state_does_not_allow_is_409(runpod: Talk):
    pod_id = running(runpod)
    assert runpod.refused("POST", f"/v2/pods/{pod_id}/action", {"action": "start"})[0] == 409
    runpod.ask("POST", f"/v2/pods/{pod_id}/action", {"action": "stop"})
    for action in ("stop", "restart"):
        assert runpod.refused("POST", f"/v2/pods/{pod_id}/action", {"action": action})[0] == 409


def test_an_unknown_action_is_422_in_the_recorded_words(runpod: Talk):
    wrong = runpod.wrong("POST", "/v2/pods/x/action", {"action": "reset"})
    assert wrong == ["$.action: value must be one of 'start', 'stop', 'restart', 'terminate'"]


def test_a_start_may_find_its_gpus_taken(runpod: Talk):
    runpod.admin("stock", {f"SECURE/{H100}/US-KS-2": 1})
    pod_id = running(runpod, dataCenterIds=["US-KS-2"])
    runpod.ask("POST", f"/v2/pods/{pod_id}/action", {"action": "stop"})
    other = runpod.made("/v2/pods", pod(dataCenterIds=["US-KS-2"]))
    assert runpod.refused("POST", f"/v2/pods/{pod_id}/action", {"action": "start"}) == (400, NO_FREE_GPU)
    runpod.ask("DELETE", f"/v2/pods/{other['id']}")
    assert runpod.ask("POST", f"/v2/pods/{pod_id}/action", {"action": "start"}).status_code == 200


def test_at_the_end_of_the_credit_pods_without_a_network_volume_are_lost_and_the_others_stopped(runpod: Talk):
    volume = runpod.made("/v2/network-volumes", {"name": "v", "size": 10, "dataCenter": "US-KS-2"})
    lost = running(runpod, name="stk-lost", mounts={"persistent": {"size": 10, "path": "/w"}})
    kept = running(runpod, name="stk-kept", mounts={"network": [{"volumeId": volume["id"], "path": "/w"}]})
    runpod.admin("credit", {"usd": "6"})
    runpod.sleep(3 * 3600)
    assert runpod.refused("GET", f"/v2/pods/{lost}")[0] == 404
    assert state(runpod, kept) == ("EXITED", ["start", "terminate"], 0)
    truth = {row["id"]: row for row in runpod.rentals()["rentals"]}
    assert truth[lost]["why"] == "out of credit"
    assert -0.01 < float(runpod.rentals()["credit_usd"]) <= 0  # the volume goes on


def test_a_host_may_be_lost(runpod: Talk):
    pod_id = running(runpod)
    assert runpod.admin("preempt", {"id": pod_id})["state"] == "EXITED"
    assert state(runpod, pod_id)[0] == "EXITED"
    other = running(runpod)
    runpod.admin("preempt", {"id": other, "how": "gone"})
    assert runpod.refused("GET", f"/v2/pods/{other}")[0] == 404


def test_a_pod_in_error_is_said_to_be(runpod: Talk):
    runpod.faults(error_state={"count": 1})
    pod_id = running(runpod)
    assert state(runpod, pod_id) == ("ERROR", ["start", "terminate"], 0)


def test_the_command_is_answered_as_args_and_in_its_exec_form(runpod: Talk):
    made = runpod.made("/v2/pods", pod(entrypoint=["/bin/bash", "-lc"], cmd=["python train.py"]))
    assert made["args"] == '{"entrypoint":["/bin/bash","-lc"],"cmd":["python train.py"]}'
    assert (made["entrypoint"], made["cmd"]) == (["/bin/bash", "-lc"], ["python train.py"])
    assert runpod.refused("POST", "/v2/pods", pod(args="other", cmd=["a"]))[0] == 400
    assert runpod.made("/v2/pods", pod(args="a b", cmd=["a", "b"]))["cmd"] == ["a", "b"]


def test_a_strict_server_of_august_rejects_the_newer_fields(runpod: Talk):
    runpod.faults(drift_fields_off=True)
    wrong = runpod.wrong("POST", "/v2/pods", pod(cmd=["a"], gpu={"id": H100, "count": 1, "minRamPerGpu": 1}))
    assert sorted(wrong) == [
        "$.gpu: additional properties 'minRamPerGpu' not allowed", "$: additional properties 'cmd' not allowed"
    ]  # fmt: skip
    assert runpod.refused("GET", "/v2/secrets")[0] == 404
    assert "entrypoint" not in runpod.made("/v2/pods", pod(args='{"cmd":["a"]}'))


def test_an_edit_replaces_what_it_names_and_resets_a_running_pod(runpod: Talk):
    pod_id = running(runpod, env={"A": "1", "B": "2"}, mounts={"persistent": {"size": 10, "path": "/w"}})
    edited = runpod.ask("PATCH", f"/v2/pods/{pod_id}", {"env": {"A": "3"}, "name": "stk-renamed"}).json()
    assert (edited["env"], edited["name"], edited["status"]) == ({"A": "3"}, "stk-renamed", "STARTING")
    for mounts in ({"network": []}, {"network": [{"volumeId": "x", "path": "/w"}]}, {}):
        assert runpod.refused("PATCH", f"/v2/pods/{pod_id}", {"mounts": mounts})[0] == 400
    moved = runpod.ask("PATCH", f"/v2/pods/{pod_id}", {"mounts": {"persistent": {"size": 10, "path": "/v"}}})
    assert moved.json()["mounts"]["persistent"]["path"] == "/v"


def test_a_locked_pod_is_neither_stopped_nor_reset(runpod: Talk):
    pod_id = running(runpod)
    assert runpod.ask("PATCH", f"/v2/pods/{pod_id}", {"locked": True}).json()["locked"] is True
    assert runpod.refused("POST", f"/v2/pods/{pod_id}/action", {"action": "stop"})[0] == 409
    assert runpod.refused("PATCH", f"/v2/pods/{pod_id}", {"image": "other"})[0] == 409


def test_public_key_is_injected_only_with_start_ssh_and_registered_keys_and_an_own_one_is_kept(runpod: Talk):
    assert "PUBLIC_KEY" not in runpod.made("/v2/pods", pod(startSsh=True))["env"]
    assert runpod.ask("PUT", "/v2/account/ssh-keys", {"keys": ["ssh-ed25519 AAAA me"]}).json()["keys"]
    assert runpod.made("/v2/pods", pod(startSsh=True))["env"]["PUBLIC_KEY"] == "ssh-ed25519 AAAA me"
    assert "PUBLIC_KEY" not in runpod.made("/v2/pods", pod())["env"]
    own = runpod.made("/v2/pods", pod(startSsh=True, env={"PUBLIC_KEY": "ssh-rsa BBBB"}))
    assert own["env"]["PUBLIC_KEY"] == "ssh-rsa BBBB"


def test_a_cpu_pod_has_its_memory_and_no_volume_disk(runpod: Talk):
    body = {"name": "prep", "image": "i", "cpu": {"id": "cpu5c", "vcpuCount": 4}, "disk": 20}
    assert runpod.made("/v2/pods", body)["cpu"] == {"id": "cpu5c", "vcpuCount": 4, "memory": 10}
    assert runpod.refused("POST", "/v2/pods", {**body, "mounts": {"persistent": {"size": 10, "path": "/w"}}})[0] == 400
    assert runpod.refused("POST", "/v2/pods", {**body, "cpu": {"id": "cpu5c", "vcpuCount": 6}})[0] == 400


def test_two_pods_may_have_one_name(runpod: Talk):
    runpod.made("/v2/pods", pod())
    runpod.made("/v2/pods", pod())
    assert runpod.rentals()["per_tag"]["stk-test-1"]["commits"] == 2
