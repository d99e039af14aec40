"""A create on RunPod: what is sent, that it is sent once, and what each way of ending means."""

from __future__ import annotations

import socket
from decimal import Decimal
from pathlib import Path

import pytest

from fleet.offers.offer import SPOT
from fleet.providers.outcomes import Because, NotCreated, Unclear
from fleet.providers.runpod.client import RunPod
from fleet.providers.runpod.created import SUSPECT
from fleet.providers.values import State
from tests.fleet.providers.runpod.account import KEY, Account, Fault
from tests.fleet.providers.runpod.bodies import FULL, problem
from tests.fleet.providers.runpod.conftest import PASSWORD, TOKEN, Hours

PODS = ("POST", "/v2/pods")


def test_a_pod_from_a_template_says_only_what_is_its_own(client, account, order, container):
    template = client.ensure_template(container())
    made = client.launch(order(template))
    (sent,) = account.asked(*PODS)
    assert sent.body["templateId"] == template.id
    assert sent.body["image"] == container().image  # what runs is this digest, whatever became of the template
    assert sent.body["gpu"] == {"id": "NVIDIA H100 80GB HBM3", "count": 2, "minCudaVersion": "12.9"}
    assert (sent.body["cloud"], sent.body["dataCenterIds"]) == ("SECURE", ["US-KS-2"])
    assert {"args", "disk", "ports", "mounts", "registry"} & set(sent.body) == set()
    assert sent.body["env"].keys() == {"HF_TOKEN", "STOKER_RUN", "STOKER_REMOTE", "STOKER_TAG"}
    (pod,) = account.rows["pods"].values()
    assert pod["env"]["OMP_NUM_THREADS"] == "8"  # merged with the template's
    assert (made.id, made.tag, made.state) == (pod["id"], "stk-ab12-run-0a1b2c3d", State.PENDING)
    assert made.usd_hour == Decimal("5.98")
    assert made.env == {"STOKER_RUN": "run", "STOKER_REMOTE": "s3://bucket/run", "STOKER_TAG": made.tag}


def test_a_pod_without_a_template_says_everything(client, account, order):
    client.launch(order())
    (sent,) = account.asked(*PODS)
    assert "templateId" not in sent.body
    assert (sent.body["disk"], sent.body["ports"]) == (60, ["22/tcp"])
    assert sent.body["args"] == "run --seed 'it'\"'\"'s 7'"
    assert sent.body["env"]["OMP_NUM_THREADS"] == "8"


def test_one_gpu_is_said_too_because_without_a_count_nothing_is_ever_found(client, account, order, offer):
    client.launch(order(offer=offer(count=1)))
    assert account.asked(*PODS)[0].body["gpu"]["count"] == 1


def test_an_offer_of_no_region_and_of_the_community_goes_out_so(client, account, order, offer):
    client.launch(order(offer=offer(region="", tier="community"), cuda=""))
    body = account.asked(*PODS)[0].body
    assert ("dataCenterIds" in body, body["cloud"], "minCudaVersion" in body["gpu"]) == (False, "COMMUNITY", False)


def test_a_network_volume_is_mounted_at_create_because_a_template_refuses_one(client, account, order, container):
    template = client.ensure_template(container(volume="2q9m7x4c"))
    client.launch(order(template, volume="2q9m7x4c"))
    assert account.asked(*PODS)[0].body["mounts"] == {"network": [{"volumeId": "2q9m7x4c", "path": "/workspace"}]}
    (kept,) = account.rows["templates"].values()
    assert kept["mounts"] == {}


def test_a_volume_disk_stands_in_the_template(client, account, container):
    client.ensure_template(container(volume_gb=30))
    (kept,) = account.rows["templates"].values()
    assert kept["mounts"] == {"persistent": {"size": 30, "path": "/workspace"}}


def test_an_own_public_key_goes_out_as_it_is(client, account, order):
    key = "ssh-ed25519 AAAAexample run"
    client.launch(order(env={"PUBLIC_KEY": key}))
    body = account.asked(*PODS)[0].body
    assert (body["env"]["PUBLIC_KEY"], body["startSsh"], body["startJupyter"]) == (key, True, False)


@pytest.mark.parametrize("key", ["-----BEGIN OPENSSH PRIVATE KEY-----", "SHA256:abc", "~/.ssh/id.pub", "ssh-rsa A\r\n"])
def test_what_is_no_public_key_is_not_sent(client, account, order, key):
    with pytest.raises(NotCreated, match="PUBLIC_KEY") as refused:
        client.launch(order(env={"PUBLIC_KEY": key}))
    assert refused.value.because is Because.INVALID
    assert account.asked(*PODS) == []


@pytest.mark.parametrize(
    ("status", "because"),
    [
        (400, Because.CAPACITY),
        (401, Because.KEY),
        (402, Because.CREDIT),
        (403, Because.FORBIDDEN),
        (404, Because.INVALID),
        (409, Because.CAPACITY),
        (413, Because.INVALID),
        (422, Because.INVALID),
        (429, Because.BUSY),
    ],
)
def test_each_refusal_of_the_table_means_that_nothing_was_made(client, account, order, status, because):
    account.faults = [Fault(*PODS, status)]
    with pytest.raises(NotCreated) as refused:
        client.launch(order())
    assert refused.value.because is because
    assert str(status) in refused.value.what and "wording invented" in refused.value.what
    assert len(account.asked(*PODS)) == 1


def test_the_known_words_of_no_capacity_are_no_reason_for_doubt(client, account, order):
    account.faults = [Fault(*PODS, 400, detail=FULL)]
    with pytest.raises(NotCreated) as refused:
        client.launch(order())
    assert (refused.value.because, refused.value.next_step) == (Because.CAPACITY, "")


def test_any_other_400_is_the_next_offer_with_a_doubt(client, account, order):
    account.faults = [Fault(*PODS, 400, detail="volume and offer do not go together")]
    with pytest.raises(NotCreated, match="volume and offer do not go together") as refused:
        client.launch(order())
    assert (refused.value.because, refused.value.next_step) == (Because.CAPACITY, SUSPECT)


def test_what_a_422_lists_is_told(client, account, order):
    body = problem(422, "Request validation failed.", "$: additional properties 'bogus' not allowed")
    account.faults = [Fault(*PODS, 422, body)]
    with pytest.raises(NotCreated, match="additional properties 'bogus'"):
        client.launch(order())


def test_429_says_how_long_to_wait(client, account, order):
    account.faults = [Fault(*PODS, 429, headers={"Retry-After": "12"})]
    with pytest.raises(NotCreated) as refused:
        client.launch(order())
    assert refused.value.after == 12


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("status", [0, 408, 500, 502, 503, 504, 524])
def test_a_lost_answer_and_a_5xx_are_unclear_whether_or_not_something_was_made(client, account, order, status, before):
    account.faults = [Fault(*PODS, status, before=before, headers={"unchecked": "yes"} if status else {})]
    with pytest.raises(Unclear):
        client.launch(order())
    assert len(account.asked(*PODS)) == 1  # never again
    assert len(client.instances()) == (0 if before else 1)


@pytest.mark.parametrize("body", ["", "{", "[]", {}, {"id": ""}, {"id": None}, {"id": 7}, "<html>"])
def test_created_without_an_id_is_unclear(client, account, order, body):
    account.faults = [Fault(*PODS, 201, body, before=False, headers={"unchecked": "yes"})]
    with pytest.raises(Unclear):
        client.launch(order())


@pytest.mark.parametrize("status", [302, 307, 418])
def test_an_answer_outside_the_table_is_unclear(client, account, order, status):
    account.faults = [Fault(*PODS, status, headers={"Location": "http://127.0.0.1:1/", "unchecked": "yes"})]
    with pytest.raises(Unclear):
        client.launch(order())


def test_nobody_there_means_surely_nothing_was_made(order, tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    nobody = RunPod(KEY, tmp_path, Hours(), {"STOKER_RUNPOD_URL": url})
    with pytest.raises(NotCreated) as refused:
        nobody.launch(order(secrets={}))
    assert (refused.value.because, refused.value.after) == (Because.BUSY, 5.0)


def test_without_a_key_nothing_is_sent_and_the_way_to_one_is_told(account: Account, order, tmp_path: Path):
    keyless = RunPod("", tmp_path, Hours(), {"STOKER_RUNPOD_URL": account.url})
    with pytest.raises(NotCreated) as refused:
        keyless.launch(order(secrets={}))
    assert refused.value.because is Because.KEY
    assert "RUNPOD_API_KEY" in refused.value.next_step
    assert account.sent == []


def test_trouble_before_the_create_means_that_nothing_was_made(client, account, order):
    account.faults = [Fault("GET", "/v2/secrets", 503, times=4)]
    with pytest.raises(NotCreated) as refused:
        client.launch(order())
    assert refused.value.because is Because.BUSY
    assert account.asked(*PODS) == []


def test_a_template_that_is_gone_is_wrong_for_every_offer(client, account, order, container):
    template = client.ensure_template(container())
    account.rows["templates"].clear()
    with pytest.raises(NotCreated, match="404") as refused:
        client.launch(order(template))
    assert refused.value.because is Because.INVALID


@pytest.mark.parametrize(
    "changed",
    [
        {"disk_gb": 0},
        {"volume_gb": 5},
        {"cuda": "12"},
        {"ports": ("53/udp",)},
        {"env": {"BIG": "x" * 103_000}},
        {"ports": tuple(f"{port}/http" for port in range(8000, 8011))},
    ],
)
def test_what_every_machine_would_refuse_is_refused_before_it_is_sent(client, account, order, changed):
    with pytest.raises(NotCreated) as refused:
        client.launch(order(**changed))
    assert refused.value.because is Because.INVALID
    assert account.asked(*PODS) == []


def test_an_offer_that_no_pod_can_be_is_refused_before_it_is_sent(client, account, order, offer):
    for wrong in (offer(provider="vast"), offer(kind=SPOT), offer(name="")):
        with pytest.raises(NotCreated):
            client.launch(order(offer=wrong))
    with pytest.raises(NotCreated, match="network volume"):
        client.launch(order(offer=offer(tier="community"), volume="2q9m7x4c"))
    assert account.asked(*PODS) == []


@pytest.mark.parametrize("secret", [TOKEN, PASSWORD])
def test_a_refusal_that_repeats_a_secret_is_told_without_its_words(client, account, order, login, secret):
    account.faults = [Fault(*PODS, 422, problem(422, "not valid", f"$.env.HF_TOKEN: '{secret}' is too short"))]
    with pytest.raises(NotCreated) as refused:
        client.launch(order(login=login))
    assert secret[:8] not in str(refused.value) + refused.value.next_step
    assert refused.value.because is Because.INVALID
