"""One order is sent once, says exactly what it wants, and every way it can end has a name (providers.md 0.1, 2.5)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fleet.clock import WallClock
from fleet.offers.offer import INTERRUPTIBLE, Question
from fleet.providers.outcomes import Because, CreatedAnyway, NotCreated, Unclear
from fleet.providers.values import Login, State, Template
from fleet.providers.vast.client import Vast
from profiles.errors import StokerError
from tests.fleet.offers.market import Reply, reply, vast_row
from tests.fleet.providers.vast.desk import (
    ASK,
    AWS,
    DIGEST,
    INSTANCE_KEY,
    PASSWORD,
    TAG,
    TOKEN,
    Desk,
    Steps,
    container,
    offer,
    order,
)

TEMPLATE = Template("vast", "334548", "demo", "4e17788f74f075dd9aab7d0d4427968f", "")


def created(desk: Desk) -> Any:
    [seen] = desk.sent("PUT", "/api/v0/asks/")
    assert seen.path == f"/api/v0/asks/{ASK}/"
    return seen.body


def test_an_order_on_demand_says_everything_and_no_price(desk: Desk, vast: Vast):
    made = vast.launch(order(template=TEMPLATE))
    body = created(desk)
    assert (made.id, made.tag, made.state, made.kind) == ("20118481", TAG, State.PENDING, "on-demand")
    assert (body["price"], body["cancel_unavail"], body["label"], body["disk"]) == (None, True, TAG, 40)
    assert (body["image"], body["runtype"]) == (f"registry.example/team/train@{DIGEST}", "args")
    assert body["template_hash_id"] == TEMPLATE.key
    assert body["env"]["-p 22:22"] == "1"
    assert (body["env"]["STOKER_TAG"], body["env"]["NOTE"]) == (TAG, "d12 with blanks")
    assert "args" not in body and "image_login" not in body and "onstart" not in body


def test_a_command_replaces_the_images_own_word_by_word(desk: Desk, vast: Vast):
    vast.launch(order(container=container(command=("bash", "-c", "echo 'two words'"))))
    assert created(desk)["args"] == ["bash", "-c", "echo 'two words'"]


def test_secrets_go_into_the_store_once_and_their_names_into_the_order(desk: Desk, vast: Vast):
    vast.launch(order())
    [(name, value)] = desk.secrets.items()
    assert name.startswith("STOKER_") and name.endswith("_HF_TOKEN") and value == TOKEN
    env = created(desk)["env"]
    assert env["STOKER_SECRETS"] == f"HF_TOKEN={name}"
    assert TOKEN not in str(env)
    assert env["AWS_SECRET_ACCESS_KEY"] == AWS  # the store takes no such value
    vast.launch(order())
    assert len(desk.sent("POST", "/api/v0/secrets/")) == 1


def test_another_value_gets_another_name(desk: Desk, vast: Vast):
    vast.launch(order(container=container(secrets={"HF_TOKEN": "one"})))
    vast.launch(order(container=container(secrets={"HF_TOKEN": "two"})))
    assert sorted(desk.secrets.values()) == ["one", "two"]


def test_a_secret_that_somebody_stored_in_between_is_there(desk: Desk, vast: Vast):
    desk.first("POST /api/v0/secrets/", reply({"success": False, "error": "existing_key", "msg": "exists"}, 400))
    vast.launch(order())
    assert "STOKER_SECRETS" in created(desk)["env"]


def test_a_full_store_sends_the_secret_with_the_order_and_says_so(desk: Desk, vast: Vast):
    desk.first("POST /api/v0/secrets/", reply({"success": False, "error": "max_secrets", "msg": "too many"}, 400))
    made = vast.launch(order())
    assert created(desk)["env"]["HF_TOKEN"] == TOKEN
    assert "store is full" in made.words


def test_secrets_stay_for_another_run_that_has_the_same_and_that_is_told(desk: Desk, vast: Vast):
    first = vast.launch(order())
    kept = dict(desk.secrets)
    vast.terminate(first.id)
    assert desk.secrets == kept != {}
    assert "another run may use it" in vast.lacks["forget"]


def test_a_private_image_is_pulled_with_the_login_of_the_order(desk: Desk, vast: Vast):
    vast.launch(order(container=container(login=Login("registry.example", "me", PASSWORD))))
    assert created(desk)["image_login"] == f"-u me -p {PASSWORD} registry.example"


@pytest.mark.parametrize("password", ["two words", "", "tab\there"])
def test_a_login_that_cannot_be_said_is_never_sent(desk: Desk, vast: Vast, password: str):
    with pytest.raises(NotCreated) as refused:
        vast.launch(order(container=container(login=Login("registry.example", "me", password))))
    assert refused.value.because is Because.INVALID
    assert desk.sent("PUT") == []


def test_the_instances_own_key_is_kept_nowhere(desk: Desk, vast: Vast, tmp_path: Path):
    made = vast.launch(order())
    assert INSTANCE_KEY not in repr(made) + str(vars(vast))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# --- bids -------------------------------------------------------------------------------------------------------------


def test_a_bid_is_for_the_whole_slice_and_may_be_taken_away(desk: Desk, vast: Vast):
    made = vast.launch(order(INTERRUPTIBLE, bid="0.36"))
    body = created(desk)
    assert (body["price"], body["cancel_unavail"], made.kind) == (0.36, False, INTERRUPTIBLE)


def test_an_interruptible_offer_without_a_bid_would_be_on_demand_and_is_never_ordered(desk: Desk, vast: Vast):
    with pytest.raises(NotCreated) as refused:
        vast.launch(order(INTERRUPTIBLE))
    assert refused.value.because is Because.INVALID
    assert desk.market.seen == []


@pytest.mark.parametrize("bid", ["0.00001", "128.5"])
def test_a_bid_that_vast_does_not_take_is_never_sent(desk: Desk, vast: Vast, bid: str):
    with pytest.raises(NotCreated) as refused:
        vast.launch(order(INTERRUPTIBLE, bid=bid, most_usd_hour=Decimal(200)))
    assert refused.value.because is Because.INVALID
    assert desk.market.seen == []


def test_a_bid_of_the_on_demand_price_is_refused(desk: Desk, vast: Vast):
    desk.offers = [vast_row(id=int(ASK), dph_base=0.70)]
    with pytest.raises(NotCreated) as refused:
        vast.launch(order(INTERRUPTIBLE, bid="0.70"))
    assert refused.value.because is Because.CAPACITY and "on demand" in refused.value.what
    assert desk.sent("PUT") == []


def test_the_on_demand_price_of_the_last_search_is_not_asked_again(desk: Desk, vast: Vast):
    desk.offers = [vast_row(id=int(ASK), dph_base=0.70, gpu_name="RTX 4090", num_gpus=2, gpu_ram=24564)]
    assert vast.offers(Question(("rtx4090",)), "2026-11-21T12:00:00+00:00").offers
    searches = len(desk.sent("POST", "/api/v0/bundles/"))
    with pytest.raises(NotCreated):
        vast.launch(order(INTERRUPTIBLE, bid="0.71"))
    assert len(desk.sent("POST", "/api/v0/bundles/")) == searches


def test_a_bid_above_the_limit_is_never_sent(desk: Desk, vast: Vast):
    with pytest.raises(NotCreated) as refused:
        vast.launch(order(INTERRUPTIBLE, bid="2.01"))
    assert refused.value.because is Because.INVALID
    assert desk.sent("PUT") == []


def test_a_spent_search_quota_does_not_stop_a_bid(desk: Desk, vast: Vast):
    desk.first("POST /api/v0/bundles/", reply({"error": "search_quota_exceeded"}, 429, Retry_After="3600"))
    vast.launch(order(INTERRUPTIBLE, bid="0.36"))
    assert len(desk.sent("POST", "/api/v0/bundles/")) == 1


# --- how it ends ------------------------------------------------------------------------------------------------------

GONE_3603 = {"success": False, "error": "invalid_args", "msg": "error 404/3603: no_such_ask Instance type by id 1"}
GONE_3907 = {"success": False, "error": "no_such_ask", "msg": "error 410/3907: no_such_ask Instance type 1 is no"}
NOT_OWN = {"success": False, "error": "invalid_args", "msg": "error 403/3586: Offer 1 is not your own."}
BAD_ARGS = {"success": False, "error": "invalid_args", "msg": "error 400/3467: Invalid args: 'disk'"}
KEY = {"success": False, "error": "auth_error", "msg": "Invalid user key"}
SOON = {"detail": "API requests too frequent endpoint threshold=4.5"}
REFUSALS: list[tuple[Reply, Because]] = [
    (reply(GONE_3603, 404), Because.CAPACITY),
    (reply(GONE_3907, 410), Because.CAPACITY),
    (reply({**GONE_3907, "msg": "error 410/3907: no_such_ask"}, 400), Because.CAPACITY),
    (reply(GONE_3907, 200), Because.CAPACITY),
    (reply({"success": False, "error": "invalid_price", "msg": "bid too low"}, 400), Because.CAPACITY),
    (reply(NOT_OWN, 403), Because.FORBIDDEN),
    (reply(BAD_ARGS, 400), Because.INVALID),
    (reply({"success": False, "error": "invalid_args", "msg": "no such template"}, 404), Because.INVALID),
    (reply(KEY, 401), Because.KEY),
    (reply(KEY, 404), Because.KEY),
    (reply({"success": False, "error": "auth_error", "msg": "This action requires login."}, 403), Because.KEY),
    (reply({"msg": "Session expired. Please log in again."}, 404), Because.KEY),
    (reply({"success": False, "error": "spend_rate_limit", "msg": "spend rate limit"}, 400), Because.CREDIT),
    (reply({"success": False, "error": "spend_rate_limit", "msg": "slow down"}, 429), Because.CREDIT),
    (reply({"success": False, "msg": "Insufficient credit"}, 411), Because.CREDIT),
    (reply({"success": False, "msg": "Insufficient credits"}, 400), Because.CREDIT),
    (reply({"success": False, "error": "missing_billing", "msg": "x"}, 400), Because.CREDIT),
    (reply(SOON, 429), Because.BUSY),
    (Reply(429, b"API requests too frequent"), Because.BUSY),
]


@pytest.mark.parametrize(("given", "because"), REFUSALS)
def test_a_refusal_is_known_by_its_words_and_status(desk: Desk, vast: Vast, given: Reply, because: Because):
    desk.first("PUT /api/v0/asks/", given)
    with pytest.raises(NotCreated) as refused:
        vast.launch(order())
    assert refused.value.because is because
    assert len(desk.sent("PUT", "/api/v0/asks/")) == 1
    assert (refused.value.after >= 12) == (because is Because.BUSY)  # the penalty of a create that came too soon


def test_a_429_with_a_longer_wait_is_believed(desk: Desk, vast: Vast):
    desk.first("PUT /api/v0/asks/", reply(SOON, 429, Retry_After="45"))
    with pytest.raises(NotCreated) as refused:
        vast.launch(order())
    assert refused.value.after == 45


@pytest.mark.parametrize("status", [200, 400, 409, 500])
def test_a_refusal_that_names_an_instance_created_it_all_the_same(desk: Desk, vast: Vast, status: int):
    body = {"success": False, "error": "invalid_price", "msg": "bid too low", "new_contract": 20118482}
    desk.first("PUT /api/v0/asks/", reply(body, status))
    with pytest.raises(CreatedAnyway) as there:
        vast.launch(order())
    assert there.value.id == "20118482"


@pytest.mark.parametrize(
    "given",
    [
        Reply(200, b'{"success": true, "new_contr', cut=False),
        Reply(200, b'{"success": true, "new_contract": 20118481}', cut=True),
        Reply(200, b""),
        Reply(200, b"<html>maintenance</html>"),
        reply({"success": True}),
        reply({"new_contract": 20118481}),
        reply({"success": True, "new_contract": None}),
        reply({"success": True, "new_contract": 0}),
        reply([1, 2]),
        reply({"success": False, "error": "something", "msg": "never heard of"}),
        reply({"error": "oops"}, 500),
        Reply(502, b"<html>bad gateway</html>"),
        Reply(503, b""),
        Reply(302, b"", {"Location": "https://elsewhere.example/"}),
        reply({"msg": "conflict"}, 409),
    ],
)
def test_what_says_nothing_clear_is_unclear_and_never_sent_again(desk: Desk, vast: Vast, given: Reply):
    desk.first("PUT /api/v0/asks/", given)
    with pytest.raises(Unclear):
        vast.launch(order())
    assert len(desk.sent("PUT", "/api/v0/asks/")) == 1


def test_with_nobody_to_send_it_to_nothing_was_ordered(tmp_path: Path):
    nobody = Desk()
    nobody.market.close()
    vast = Vast("key", tmp_path, WallClock(), {"STOKER_VAST_URL": nobody.market.url})
    with pytest.raises(NotCreated) as refused:
        vast.launch(order(container=container(secrets={})))
    assert refused.value.because is Because.BUSY


def test_without_a_key_nothing_is_asked_and_the_next_step_is_told(desk: Desk, tmp_path: Path):
    with pytest.raises(NotCreated) as refused:
        desk.client(tmp_path, key="").launch(order())
    assert refused.value.because is Because.KEY and "VAST_API_KEY" in refused.value.next_step
    assert desk.market.seen == []


def test_a_store_that_does_not_answer_keeps_the_order_from_being_sent(desk: Desk, vast: Vast, clock: Steps):
    desk.first("GET /api/v0/secrets/", *[Reply(503)] * 4)
    with pytest.raises(NotCreated) as refused:
        vast.launch(order())
    assert refused.value.because is Because.BUSY
    assert desk.sent("PUT") == []


def test_an_offer_whose_id_is_none_never_gets_into_a_path(desk: Desk, vast: Vast):
    with pytest.raises(NotCreated) as refused:
        vast.launch(replace(order(), offer=replace(offer(), id="1/../../users")))
    assert refused.value.because is Because.INVALID
    assert desk.market.seen == []


def test_too_much_environment_is_told_before_anything_is_sent(desk: Desk, vast: Vast):
    with pytest.raises(NotCreated) as refused:
        vast.launch(order(container=container(env={"X": "x" * 40000}, secrets={})))
    assert refused.value.because is Because.INVALID
    assert desk.sent("PUT") == []


def test_variables_longer_than_vast_presumably_takes_are_named_when_the_order_is_wrong(desk: Desk, vast: Vast):
    desk.first("PUT /api/v0/asks/", reply(BAD_ARGS, 400))
    env = {"PUBLIC_KEY": "ssh-rsa " + "A" * 400, "EDGE": "x" * 251, "OVER": "x" * 252}
    with pytest.raises(NotCreated) as refused:
        vast.launch(order(container=container(env=env)))
    assert refused.value.next_step.endswith("256 characters of one variable: OVER, PUBLIC_KEY")


@pytest.mark.parametrize("status", [200, 400, 404, 500])
@pytest.mark.parametrize("more", [{}, {"new_contract": 20118482}])
def test_a_refusal_that_repeats_the_request_is_told_without_its_secrets(
    desk: Desk, vast: Vast, status: int, more: dict[str, Any]
):
    msg = f"invalid_args: image_login=-u bob -p {PASSWORD} registry.example, env HF_TOKEN={TOKEN} AWS={AWS[:15]}"
    desk.first("PUT /api/v0/asks/", reply({"success": False, "error": TOKEN, "msg": msg, **more}, status))
    with pytest.raises(StokerError) as refused:
        vast.launch(order(container=container(login=Login("registry.example", "bob", PASSWORD))))
    told = refused.value.what + refused.value.next_step + str(refused.value)
    assert "invalid_args: image_login=-u bob -p ***" in told
    for planted in (PASSWORD, TOKEN, AWS):
        assert planted[:8] not in told


def test_a_machines_words_hold_nothing_secret_whoever_asks(desk: Desk, vast: Vast, tmp_path: Path):
    made = vast.launch(order(container=container(login=Login("registry.example", "bob", PASSWORD))))
    desk.rows[made.id]["status_msg"] = f"docker run -p 22:22 -e HF_TOKEN={TOKEN}; docker login -u bob -p {PASSWORD} x"
    for client in (vast, desk.client(tmp_path)):  # the second one has rented nothing
        for found in (client.instance(made.id), *client.instances()):
            assert found is not None
            assert found.words == "docker run -p 22:22 -e HF_TOKEN=***; docker login -u bob -p *** x"


def test_an_offer_without_the_disk_is_left_for_the_next(desk: Desk, vast: Vast):
    with pytest.raises(NotCreated) as refused:
        vast.launch(replace(order(), offer=offer(disk_gb=39.0)))
    assert refused.value.because is Because.CAPACITY
    assert desk.market.seen == []


def test_the_disk_is_never_smaller_than_what_is_taken(desk: Desk, vast: Vast):
    vast.launch(order(container=container(disk_gb=2), most_usd_hour=Decimal(1)))
    assert created(desk)["disk"] == 8
