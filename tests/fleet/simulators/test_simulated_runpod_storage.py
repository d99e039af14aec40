"""What a RunPod account keeps (providers.md 1.6, 1.11, 1.12, 1.14): templates, volumes, credentials, prices, bills."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fleet.simulators.talking import H100, RTX, Talk, pod

TEMPLATE = {"name": "train-a1b2", "image": "registry.example/team/train:7"}


def test_a_template_has_the_defaults_of_the_specification(runpod: Talk):
    made = runpod.made("/v2/templates", TEMPLATE)
    rest = {name: made[name] for name in ("public", "serverless", "category", "startSsh", "startJupyter", "registry")}
    assert rest == {
        "public": False, "serverless": False, "category": "NVIDIA", "startSsh": True, "startJupyter": True,
        "registry": None,
    }  # fmt: skip
    assert runpod.get("/v2/templates")["templates"] == [made]


def test_a_pod_takes_a_snapshot_of_its_template_and_its_own_body_wins(runpod: Talk):
    template = runpod.made(
        "/v2/templates",
        {**TEMPLATE, "disk": 40, "env": {"A": "1", "B": "1"}, "ports": ["22/tcp"], "args": "bash -c run",
         "startJupyter": False, "mounts": {"persistent": {"size": 30, "path": "/workspace"}}},
    )  # fmt: skip
    body = {"name": "stk-1", "templateId": template["id"], "gpu": {"id": RTX, "count": 2}, "env": {"B": "2", "C": "2"}}
    made = runpod.made("/v2/pods", body)
    assert made["env"] == {"A": "1", "B": "2", "C": "2"}
    assert (made["image"], made["disk"], made["ports"], made["args"]) == (
        TEMPLATE["image"], 40, ["22/tcp"], "bash -c run"
    )  # fmt: skip
    assert made["mounts"] == {"persistent": {"size": 30, "path": "/workspace"}}
    assert made["template"] is None
    runpod.ask("PATCH", f"/v2/templates/{template['id']}", {"image": "other"})
    assert runpod.get(f"/v2/pods/{made['id']}")["image"] == TEMPLATE["image"]


def test_a_template_in_use_cannot_be_deleted(runpod: Talk):
    template = runpod.made("/v2/templates", TEMPLATE)
    made = runpod.made("/v2/pods", {"name": "a", "templateId": template["id"], "gpu": {"id": RTX, "count": 1}})
    assert runpod.refused("DELETE", f"/v2/templates/{template['id']}")[0] == 400
    runpod.ask("DELETE", f"/v2/pods/{made['id']}")
    assert runpod.ask("DELETE", f"/v2/templates/{template['id']}").status_code == 204
    assert runpod.refused("GET", f"/v2/templates/{template['id']}")[0] == 404


def test_a_pod_of_an_unknown_template_is_404_and_of_a_serverless_one_422(runpod: Talk):
    body: dict[str, Any] = {"name": "a", "gpu": {"id": RTX, "count": 1}}
    assert runpod.refused("POST", "/v2/pods", {**body, "templateId": "nobody"})[0] == 404
    template = runpod.made("/v2/templates", {**TEMPLATE, "serverless": True})
    assert runpod.refused("POST", "/v2/pods", {**body, "templateId": template["id"]})[0] == 422


def test_a_template_with_a_network_mount_is_422(runpod: Talk):
    mounts = {"network": [{"volumeId": "x", "path": "/w"}]}
    assert runpod.wrong("POST", "/v2/templates", {**TEMPLATE, "mounts": mounts})


def test_the_body_s_cuda_versions_replace_the_template_s(runpod: Talk):
    template = runpod.made("/v2/templates", {**TEMPLATE, "allowedCudaVersions": ["12.3"]})
    body = {"name": "a", "templateId": template["id"], "gpu": {"id": RTX, "count": 1}}
    assert runpod.refused("POST", "/v2/pods", body)[0] == 400
    runpod.made("/v2/pods", {**body, "gpu": {"id": RTX, "count": 1, "minCudaVersion": "12.4"}})


def test_an_edit_of_a_template_replaces_fields_and_leaves_an_empty_mount_alone(runpod: Talk):
    mounts = {"persistent": {"size": 30, "path": "/w"}}
    template = runpod.made("/v2/templates", {**TEMPLATE, "mounts": mounts, "env": {"A": "1"}})
    edited = runpod.ask("PATCH", f"/v2/templates/{template['id']}", {"env": {"B": "1"}, "mounts": {}}).json()
    assert (edited["env"], edited["mounts"]) == ({"B": "1"}, mounts)


def test_template_names_may_or_may_not_be_unique(runpod: Talk):
    runpod.made("/v2/templates", TEMPLATE)
    runpod.made("/v2/templates", TEMPLATE)
    runpod.faults(template_names_unique=True)
    assert runpod.refused("POST", "/v2/templates", TEMPLATE)[0] == 400


def test_a_registry_credential_never_shows_its_password_and_is_guarded_while_in_use(runpod: Talk):
    made = runpod.made("/v2/registries", {"name": "r", "username": "u", "password": "p"})
    assert made == {"id": made["id"], "name": "r"}
    template = runpod.made("/v2/templates", {**TEMPLATE, "registry": made["id"]})
    user = runpod.made("/v2/pods", pod(registry=made["id"]))
    assert runpod.refused("DELETE", f"/v2/registries/{made['id']}")[0] == 400
    runpod.ask("DELETE", f"/v2/pods/{user['id']}")
    assert runpod.ask("DELETE", f"/v2/registries/{made['id']}").status_code == 204
    assert runpod.get(f"/v2/templates/{template['id']}")["registry"] is None


def test_putting_ssh_keys_replaces_all_of_them(runpod: Talk):
    for keys in (["ssh-ed25519 AAAA a", "ssh-rsa BBBB"], ["ssh-rsa CCCC"], []):
        assert runpod.ask("PUT", "/v2/account/ssh-keys", {"keys": keys}).json() == {"keys": keys}
    assert runpod.wrong("PUT", "/v2/account/ssh-keys", {"keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]})


def test_a_network_volume_bills_until_it_is_deleted_and_only_grows(runpod: Talk):
    made = runpod.made("/v2/network-volumes", {"name": "v", "size": 100, "dataCenter": "US-KS-2"})
    assert made == {"id": made["id"], "name": "v", "size": 100, "dataCenter": "US-KS-2", "type": "STANDARD"}
    assert float(runpod.admin("credit")["usd_per_hour"]) == pytest.approx(100 * 0.07 / 720)
    path = f"/v2/network-volumes/{made['id']}"
    assert runpod.refused("PATCH", path, {"size": 50})[0] == 400
    assert runpod.wrong("PATCH", path, {})
    assert runpod.ask("PATCH", path, {"size": 2000}).json()["size"] == 2000
    assert float(runpod.admin("credit")["usd_per_hour"]) == pytest.approx(2000 * 0.05 / 720)
    assert runpod.ask("DELETE", path).status_code == 204
    assert float(runpod.admin("credit")["usd_per_hour"]) == 0


def test_a_network_volume_dictates_the_data_centre_and_wants_the_secure_cloud(runpod: Talk):
    volume = runpod.made("/v2/network-volumes", {"name": "v", "size": 10, "dataCenter": "US-TX-3"})
    mounts = {"network": [{"volumeId": volume["id"], "path": "/w"}]}
    made = runpod.made("/v2/pods", pod(mounts=mounts))
    runpod.sleep(10)
    assert runpod.get(f"/v2/pods/{made['id']}")["dataCenterId"] == "US-TX-3"
    assert runpod.refused("POST", "/v2/pods", pod(mounts=mounts, dataCenterIds=["US-KS-2"]))[0] == 400
    assert runpod.refused("POST", "/v2/pods", pod(mounts=mounts, cloud="COMMUNITY"))[0] == 400
    assert runpod.refused("POST", "/v2/pods", pod(mounts={"network": [{"volumeId": "x", "path": "/w"}]}))[0] == 404
    assert runpod.refused("DELETE", f"/v2/network-volumes/{volume['id']}")[0] == 400
    runpod.ask("DELETE", f"/v2/pods/{made['id']}")
    assert runpod.get("/v2/network-volumes")["networkVolumes"] == [volume]


def test_secrets_are_written_and_never_read(runpod: Talk):
    made = runpod.made("/v2/secrets", {"name": "HUB_TOKEN", "value": "planted", "description": "read token"})
    listed = runpod.get("/v2/secrets?name=HUB_TOKEN")["secrets"]
    assert listed == [made]
    assert "planted" not in str(listed)
    assert runpod.get("/v2/secrets?name=OTHER")["secrets"] == []
    for name in ("RUNPOD_X", "1X", "", "x" * 192):
        assert runpod.wrong("POST", "/v2/secrets", {"name": name, "value": "v"})
    runpod.faults(secrets_off=True)
    assert runpod.refused("GET", "/v2/secrets")[0] == 404


def test_the_catalogue_answers_by_percent_encoded_id(runpod: Talk):
    assert runpod.get("/v2/catalog/gpus/NVIDIA%20GeForce%20RTX%204090")["name"] == "RTX 4090"
    assert runpod.refused("GET", "/v2/catalog/gpus/RTX%204090")[0] == 404


def test_availability_needs_its_product_and_the_reverse(runpod: Talk):
    for query in ("include=AVAILABILITY", "product=POD", "count=2", "cloud=SECURE", "minCudaVersion=12"):
        assert runpod.refused("GET", f"/v2/catalog/gpus?{query}")[0] == 400
    both = "include=AVAILABILITY&product=POD&cudaVersions=12.8&minCudaVersion=12.4"
    assert runpod.refused("GET", f"/v2/catalog/gpus?{both}")[0] == 400
    for query in ("product=CAR", "count=0", "cloud=ALL", "countryCodes=us", "cudaVersions=12"):
        assert runpod.wrong(
            "GET", f"/v2/catalog/gpus?include=AVAILABILITY&product=POD&{query}".replace("product=POD&p", "p")
        )


def test_availability_is_told_for_count_cloud_country_and_cuda(runpod: Talk):
    def level(query: str, gpu: str = H100) -> str:
        path = f"/v2/catalog/gpus/{gpu.replace(' ', '%20')}?include=AVAILABILITY&product=POD&{query}"
        return str(runpod.get(path)["availability"])

    assert level("count=8") == "HIGH"
    assert level("count=9") == "NONE"
    assert level("cloud=COMMUNITY", "NVIDIA L4") == "NONE"
    assert level("minCudaVersion=14") == "NONE"
    assert level("countryCodes=JP") == "NONE"
    listed = runpod.get("/v2/catalog/gpus?include=AVAILABILITY&product=POD,CLUSTER&countryCodes=JP")["gpus"]
    assert [row["id"] for row in listed] == ["NVIDIA H200"]


def test_data_centres_are_filtered_by_region(runpod: Talk):
    listed = runpod.get("/v2/catalog/datacenters?regions=OCEANIA,ASIA&include=GPU_AVAILABILITY")["dataCenters"]
    assert [row["id"] for row in listed] == ["OC-AU-1", "AP-JP-1"]
    assert listed[1]["gpuAvailability"][0]["id"] == "NVIDIA H200"


def test_bills_per_bucket_add_up_to_what_left_the_credit(runpod: Talk):
    volume = runpod.made("/v2/network-volumes", {"name": "v", "size": 10, "dataCenter": "US-KS-2"})
    first = runpod.made("/v2/pods", pod())
    runpod.sleep(26 * 3600)
    runpod.ask("DELETE", f"/v2/pods/{first['id']}")
    runpod.ask("DELETE", f"/v2/network-volumes/{volume['id']}")
    runpod.made("/v2/pods", pod("stk-2"))
    runpod.sleep(3600)
    bills = runpod.get("/v2/billing/pods?bucketSize=day&lastN=2")
    assert [row["podId"] == first["id"] for row in bills["records"]] == [True, True, False]
    assert bills["metadata"]["uniquePodCount"] == 2
    everything = runpod.get("/v2/billing?bucketSize=hour&lastN=48")["metadata"]["totals"]["totalAmount"]
    assert everything == pytest.approx(1000 - float(runpod.rentals()["credit_usd"]), abs=1e-6)
    volumes = runpod.get("/v2/billing/network-volumes")["metadata"]["totals"]["totalAmount"]
    assert bills["metadata"]["totals"]["totalAmount"] + volumes == pytest.approx(everything, abs=1e-6)
    one = runpod.get(f"/v2/billing/pods?podId={first['id']}")
    assert {row["podId"] for row in one["records"]} == {first["id"]}


@pytest.mark.parametrize(
    ("query", "status"),
    [("lastN=1&startTime=2026-11-01T00:00:00Z", 400), ("lastN=0", 422), ("bucketSize=minute", 422),
     ("startTime=yesterday", 422)],
)  # fmt: skip
def test_a_bill_that_cannot_be_asked_for_is_refused(runpod: Talk, query: str, status: int):
    assert runpod.refused("GET", f"/v2/billing/pods?{query}")[0] == status


def test_a_body_that_its_template_makes_too_large_is_413(runpod: Talk):
    template = runpod.made("/v2/templates", {**TEMPLATE, "env": {"A": "x" * 60000}})
    body = {"name": "a", "templateId": template["id"], "gpu": {"id": RTX, "count": 1}, "env": {"B": "x" * 60000}}
    assert runpod.refused("POST", "/v2/pods", body)[0] == 413
