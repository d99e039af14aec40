"""Hyperbolic's client: one create, sent once; what is not told stays unknown; no money is lost sight of."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from fleet.offers.offer import Question
from fleet.providers.hyperbolic.client import Hyperbolic
from fleet.providers.outcomes import Because, NotCreated, Unable, Unclear
from fleet.providers.values import Login, Ssh, State
from fleet.wire.failed import KeyRefused, ProviderFailed
from profiles.errors import OutsideFailed, WrongInput
from tests.fleet.offers.market import KEY, Reply, reply
from tests.fleet.providers.hosts.rented_machine import SECRET, container
from tests.fleet.providers.hyperbolic.rental_office import RENTALS, TAG, Office, order, row


def test_a_create_sends_every_known_field_and_gives_the_rental(client, office: Office):
    one = client().launch(order())
    assert [seen.body for seen in office.creates] == [
        {
            "gpuType": "h100",
            "region": "ca-east-1",
            "gpuCount": 1,
            "networkType": "ethernet",
            "termType": "on-demand",
            "label": TAG,
        }
    ]
    assert (one.id, one.tag, one.state, one.usd_hour) == ("48213", TAG, State.PENDING, Decimal("2.75"))
    assert (one.gpu, one.gpus, one.ssh) == ("h100-pcie", 1, None)


def test_it_is_shown_as_it_is_sent_and_no_secret_with_it(client, office: Office):
    what = container(login=Login("registry.example", "ada", "registry-password"))
    create, *rest = client(STOKER_LEND_KEY="1").shown(what, order())
    client().launch(order())
    assert (create.method, create.path, create.body) == ("POST", RENTALS, office.creates[0].body)
    text = json.dumps([[each.path, each.body, each.note] for each in rest])
    assert SECRET not in text and "registry-password" not in text and KEY not in text
    assert '"HF_TOKEN": "***"' in text and what.image in text and "STOKER_LEND_KEY=1" in text
    assert len(office.creates) == 1


def test_a_rental_is_read_whole(client, office: Office):
    office.rows = [row(48213)]
    (one,) = client().instances()
    assert (one.id, one.tag, one.state, one.status) == ("48213", TAG, State.RUNNING, "Running")
    assert (one.gpu, one.gpus, one.region, one.kind) == ("", 1, "ca-east-1", "on-demand")  # SXM or PCIe: not told
    assert one.ssh == Ssh("203.0.113.77", 22, "ubuntu")
    assert one.created == datetime(2026, 11, 20, 10, 0, 0, 123000, UTC)
    assert one.started == datetime(2026, 11, 20, 10, 2, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changed", "field", "value"),
    [
        ({"status": "Failed"}, "state", State.FAILED),
        ({"status": "running"}, "state", State.RUNNING),
        ({"status": "Rebooting"}, "state", State.UNKNOWN),
        ({"status": None}, "state", State.UNKNOWN),
        ({"label": None, "name": "my-box"}, "tag", "my-box"),
        ({"currentTerm": {"costPerHourCents": "275.5"}}, "usd_hour", Decimal("2.755")),
        ({"currentTerm": {"costPerHourCents": 0}}, "usd_hour", None),
        ({"currentTerm": None}, "usd_hour", None),
        ({"gpuType": "h200"}, "gpu", "h200-sxm"),
        ({"gpuType": "x9000"}, "gpu", ""),
        ({"createdAt": "yesterday"}, "created", None),
        ({"providerData": {"sshNetworking": []}}, "ssh", None),
        ({"providerData": {"sshNetworking": [{"host": "-oProxyCommand=x"}]}}, "ssh", None),
        ({"providerData": {"sshNetworking": [{"host": "h", "user": "-x"}]}}, "ssh", None),
        ({"providerData": {"sshNetworking": [{"host": "h", "port": "2222"}]}}, "ssh", Ssh("h", 2222, "ubuntu")),
    ],
)
def test_odd_rows_are_read_as_far_as_they_tell(client, office: Office, changed, field, value):
    office.rows = [row(1, **changed)]
    assert getattr(client().instances()[0], field) == value


def test_terminated_rows_are_gone_and_unknown_ones_are_not(client, office: Office):
    office.rows = [row(1, status="Terminated"), row(2, status="Terminating")]
    assert [one.id for one in client().instances()] == ["2"]


@pytest.mark.parametrize("answer", [{"rentals": []}, None, [{"status": "Running"}], [7]])
def test_a_list_that_cannot_be_read_whole_is_no_list(client, office: Office, answer):
    office.market.script = [reply(answer)]
    with pytest.raises(ProviderFailed):
        client().instances()


@pytest.mark.parametrize(
    ("status", "body", "because"),
    [
        (401, {"message": "Unauthorized"}, Because.KEY),
        (403, {"error": "forbidden"}, Because.KEY),
        (429, {"msg": "slow down"}, Because.BUSY),
        (400, {"error": "insufficient balance"}, Because.CREDIT),
        (402, {}, Because.CREDIT),
        (400, {"error": {"code": "UNAVAILABLE", "message": "option no longer available"}}, Because.CAPACITY),
        (409, "insufficient capacity", Because.CAPACITY),
        (422, {"message": "gpuCount must be a number"}, Because.INVALID),
    ],
)
def test_a_refusal_says_whether_another_offer_may_do(client, office: Office, tmp_path, status, body, because):
    office.then, office.made = reply(body, status), False
    with pytest.raises(NotCreated) as refused:
        client().launch(order())
    assert refused.value.because is because and len(office.creates) == 1
    assert list((tmp_path / "state").rglob("*.json")) == []


@pytest.mark.parametrize(
    "answer",
    [
        reply({"msg": "internal error"}, 500),
        Reply(502, b"<html>"),
        Reply(200, b'{"id": 48', cut=True),
        reply({}),
        reply([]),
    ],
    ids=["500", "502", "cut", "no id", "a list"],
)
def test_what_may_have_been_created_is_unclear_and_never_sent_again(client, office: Office, answer: Reply):
    office.then = answer
    with pytest.raises(Unclear):
        client().launch(order())
    assert len(office.creates) == 1
    (found,) = client().instances()
    assert found.tag == TAG


def test_an_unclear_one_is_found_even_where_labels_are_dropped(client, office: Office, stopwatch):
    office.rows = [row(7, label=None, name="old-friend")]
    office.then, office.echo = reply({}, 500), False
    with pytest.raises(Unclear):
        client().launch(order())
    assert {one.id: one.tag for one in client().instances()} == {"7": "old-friend", "48214": TAG}
    stopwatch.sleep(86400)  # once found, it stays known
    assert {one.id: (one.tag, one.gpu) for one in client().instances()}["48214"] == (TAG, "h100-pcie")


def test_somebody_elses_rental_is_not_taken_for_ours(client, office: Office, stopwatch):
    office.then, office.made = reply({}, 500), False
    with pytest.raises(Unclear):
        client().launch(order())
    office.rows = [
        row(1, label="my-box"),
        row(2, label=None, name="stk-cd34-gpt-00000000"),
        row(3, label=None, name="warm-plum", region="us-east-1"),
    ]
    assert TAG not in {one.tag for one in client().instances()}
    office.rows = [row(4, label=None, name="a-b"), row(5, label=None, name="c-d")]
    assert TAG not in {one.tag for one in client().instances()}  # either could be
    stopwatch.sleep(timedelta(hours=3).total_seconds())
    office.rows = [row(6, label=None, name="e-f")]
    assert TAG not in {one.tag for one in client().instances()}


def test_a_dropped_label_is_known_by_the_id(client, office: Office):
    office.echo = False
    client().launch(order())
    (one,) = client().instances()
    assert (one.tag, one.gpu) == (TAG, "h100-pcie")


def test_nothing_is_rented_while_the_list_cannot_be_read(client, office: Office):
    office.market.script = [Reply(500)] * 4
    with pytest.raises(NotCreated) as refused:
        client().launch(order())
    assert refused.value.because is Because.BUSY and office.creates == []


def test_nobody_there_is_surely_nothing_created(client, office: Office, monkeypatch):
    there = client()
    monkeypatch.setattr(there, "instances", lambda: [])  # it was there a moment ago
    office.market.server.server_close()
    office.market.server.shutdown()
    with pytest.raises(NotCreated) as refused:
        there.launch(order())
    assert (refused.value.because, refused.value.after) == (Because.BUSY, 5.0)


def test_an_offer_of_another_market_is_refused_before_anything_is_asked(client, office: Office):
    with pytest.raises(NotCreated) as refused:
        client().launch(order(id="1234567"))
    assert refused.value.because is Because.INVALID
    assert office.market.seen == []


def test_ending_twice_is_success_and_forgets_the_host_key(client, office: Office, tmp_path):
    client().launch(order())
    pinned = tmp_path / "state/host-keys/hyperbolic-48213"
    pinned.parent.mkdir(parents=True)
    pinned.write_text("key")
    client().terminate("48213")
    client().terminate("48213")
    assert office.rows == [] and not pinned.exists()
    sent = [seen.body["rentalId"] for seen in office.market.seen if seen.path.endswith("/terminate")]
    assert sent == [48213, 48213]


def test_an_end_that_failed_raises_and_a_passing_failure_is_tried_again(client, office: Office):
    office.rows = [row(1)]
    office.market.script = [Reply(500), Reply(429)]
    client().terminate("1")
    assert office.rows == []
    office.market.script = [Reply(500)] * 4
    with pytest.raises(ProviderFailed):
        client().terminate("2")
    with pytest.raises(WrongInput):
        client().terminate("../1")
    office.market.script = [reply({"message": "rental is locked"}, 400)]
    with pytest.raises(ProviderFailed):
        client().terminate("2")


@pytest.mark.parametrize(
    ("answer", "usd"),
    [
        ({"balanceCents": 2500, "maxOverdraftCents": 500}, Decimal(30)),
        ({"balanceCents": -50}, Decimal("-0.5")),
        ({"maxOverdraftCents": 0}, None),
        ({"balanceCents": None}, None),
    ],
)
def test_the_balance_may_be_below_zero_or_not_told(client, office: Office, answer, usd):
    office.balance = answer
    assert client().balance().usd == usd


def test_a_key_that_is_refused_or_missing_says_where_to_get_one(client, office: Office):
    office.market.script = [reply({"error": "revoked"}, 401)]
    for ask in (client().instances, client("").balance):
        with pytest.raises(KeyRefused) as refused:
            ask()
        assert "HYPERBOLIC_API_KEY" in refused.value.next_step


def test_what_it_lacks_says_what_to_do_instead(client):
    there = client()
    calls = {
        "ensure_template": lambda: there.ensure_template(container()),
        "stop": lambda: there.stop("1"),
        "start": lambda: there.start("1"),
        "volumes": there.volumes,
        "registries": there.registries,
        "ensure_registry": lambda: there.ensure_registry(Login("r", "u", "p")),
    }
    for name, call in calls.items():
        with pytest.raises(Unable) as unable:
            call()
        assert unable.value.next_step == there.lacks[name]
    assert there.keys() == () and "keys" in there.lacks


def test_a_machine_without_an_address_is_waited_for(client, office: Office):
    office.rows = [row(1, providerData={"sshNetworking": []})]
    (one,) = client().instances()
    with pytest.raises(OutsideFailed, match="no address for SSH yet"):
        client().settle_in(one, container(), TAG)
    assert client().ssh("1") is None
    with pytest.raises(WrongInput, match="no rental 2"):
        client().ssh("2")


def test_requests_keep_their_distance(client, office: Office, stopwatch):
    there, begun = client(), stopwatch.now()
    for _ in range(5):
        there.balance()
    assert timedelta(seconds=4) <= stopwatch.now() - begun < timedelta(seconds=6)


def test_offers_need_no_key(client, office: Office):
    office.market.rules = lambda seen: None
    office.market.script = [reply([])]
    there: Hyperbolic = client("")
    assert there.offers(Question(), "2026-11-20T10:00:00+00:00").offers == []
