"""The list decides whether a machine was rented: it is whole or it is no list (providers.md 2.6)."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from fleet.providers.values import Ssh, State
from fleet.providers.vast.client import Vast
from fleet.wire.failed import KeyRefused, ProviderFailed
from profiles.errors import WrongInput
from tests.fleet.offers.market import Reply, Seen, reply
from tests.fleet.providers.vast.desk import DIGEST, TAG, TOKEN, Desk, row


def keep(desk: Desk, *rows: dict[str, Any]) -> None:
    desk.rows = {str(each["id"]): each for each in rows}


def test_an_instance_is_read_whole(desk: Desk, vast: Vast):
    keep(desk, row())
    [found] = vast.instances()
    assert (found.id, found.tag, found.state, found.kind) == ("20118481", TAG, State.RUNNING, "on-demand")
    assert (found.gpu, found.gpus, found.region, found.machine) == ("rtx4090", 2, "SE", "88888")
    assert found.usd_hour == Decimal("0.708333")
    assert found.ssh == Ssh("203.0.113.42", 40022)  # its address came with blanks
    assert found.image.endswith(DIGEST)
    assert found.created == datetime.fromtimestamp(1795168800.5, UTC)
    assert found.env == {"STOKER_RUN": "demo", "STOKER_TAG": TAG}
    assert TOKEN not in repr(found) + str(dict(found.env))


def test_a_row_that_lost_its_label_is_known_by_its_environment(desk: Desk, vast: Vast):
    keep(desk, row(label=None))
    assert [each.tag for each in vast.instances()] == [TAG]


def test_a_hundred_instances_come_in_pages_each_once(desk: Desk, vast: Vast):
    keep(desk, *[row(1000 + index, label=f"t{index}") for index in range(101)])
    assert [each.tag for each in vast.instances()] == [f"t{index}" for index in range(101)]
    assert len(desk.sent("GET", "/api/v1/instances/")) == 5


def test_a_tag_is_looked_up_by_its_label(desk: Desk, vast: Vast):
    keep(desk, row(1, label="other"), row(2), row(3))
    assert [each.id for each in vast.tagged(TAG)] == ["2", "3"]
    assert vast.tagged("stk-none") == []


def answered(**changed: Any) -> Reply:
    whole = {"success": True, "instances_found": 0, "total_instances": 0, "label_counts": {}, "next_token": None}
    return reply({**whole, "instances": [], **changed})


@pytest.mark.parametrize(
    "given",
    [
        answered(label_counts={TAG: 1}),  # counted, and not listed
        answered(label_counts={TAG: "2"}, instances=[row()]),
        answered(instances=None),
        answered(instances={"id": 1}),
        answered(instances=[row(id=None)]),
        answered(instances=[row(), "text"]),
        answered(success=False, msg="try later"),
        answered(next_token=7),
        answered(next_token="again"),  # the same one for ever
        reply([]),
        Reply(200, b""),
        Reply(200, b"<html>login</html>"),
    ],
)
@pytest.mark.parametrize("tag", ["", TAG])
def test_an_answer_that_is_not_whole_never_looks_like_none(desk: Desk, vast: Vast, given: Reply, tag: str):
    desk.first("GET /api/v1/instances/", *[given] * 8)
    with pytest.raises(ProviderFailed):
        vast.tagged(tag) if tag else vast.instances()


def test_more_counted_than_listed_is_no_whole_list(desk: Desk, vast: Vast):
    desk.first("GET /api/v1/instances/", *[answered(total_instances=1)] * 2)
    with pytest.raises(ProviderFailed):
        vast.instances()


def test_an_instance_that_came_between_two_looks_is_in_the_second(desk: Desk, vast: Vast):
    keep(desk, row())
    desk.first("GET /api/v1/instances/", answered(label_counts={TAG: 1}))
    assert [each.id for each in vast.tagged(TAG)] == ["20118481"]


def test_a_filter_that_is_not_heeded_finds_nothing_foreign(desk: Desk, vast: Vast):
    desk.first("GET /api/v1/instances/", answered(instances=[row(1, label="other"), row(2)], label_counts={TAG: 1}))
    assert [each.id for each in vast.tagged(TAG)] == ["2"]


def test_a_list_that_fails_on_its_second_page_is_none(desk: Desk, vast: Vast):
    keep(desk, *[row(1000 + index) for index in range(30)])
    desk.first("GET /api/v1/instances/", desk.get_v1_instances, *[Reply(503)] * 4)
    with pytest.raises(ProviderFailed):
        vast.instances()


# --- one --------------------------------------------------------------------------------------------------------------


def test_null_is_the_proof_that_there_is_none(desk: Desk, vast: Vast):
    assert vast.instance("4242") is None


@pytest.mark.parametrize("code", ["no_such_instance", "not_found"])
def test_so_are_the_providers_own_words(desk: Desk, vast: Vast, code: str):
    desk.first("GET /api/v0/instances/", reply({"success": False, "error": code, "msg": "no"}, 404))
    assert vast.instance("4242") is None


@pytest.mark.parametrize(
    "given",
    [
        reply({}),
        reply({"instances": []}),
        reply({"instances": {}}),
        reply({"instances": row(1)}),  # another one's
        Reply(404, b"<html>not found</html>"),
        Reply(404, b""),
        reply(None),
    ],
)
def test_nothing_else_is(desk: Desk, vast: Vast, given: Reply):
    desk.first("GET /api/v0/instances/", *[given] * 4)
    with pytest.raises(ProviderFailed):
        vast.instance("4242")


def test_a_bad_key_is_told_as_one(desk: Desk, vast: Vast):
    desk.first(
        "GET /api/v0/instances/", reply({"success": False, "error": "auth_error", "msg": "Invalid user key"}, 404)
    )
    with pytest.raises(KeyRefused):
        vast.instance("4242")


def test_an_id_that_is_no_number_gets_into_no_path(desk: Desk, vast: Vast):
    for asked in (vast.instance, vast.terminate, vast.stop, vast.ssh, lambda id: list(vast.logs(id))):
        with pytest.raises(WrongInput):
            asked("../users/current")
    assert desk.market.seen == []


def test_the_older_shape_of_one_is_read_too(desk: Desk, vast: Vast):
    desk.odd = True  # v0's schema as published: ports as numbers, environment as text (2.1)
    keep(desk, row(ports=[22, 8080], extra_env=[f"STOKER_TAG={TAG}"], label=None))
    found = vast.instance("20118481")
    assert found is not None and (found.tag, found.ssh) == (TAG, None)


def test_a_shell_through_the_proxy_needs_a_runtype_that_has_one(desk: Desk, vast: Vast):
    keep(desk, row(ports=None, image_runtype="ssh ssh_proxy"))
    assert vast.ssh("20118481") == Ssh("ssh5.vast.ai", 10882)
    keep(desk, row(ports=None))
    assert vast.ssh("20118481") is None


def test_stopping_and_starting_are_asked_for(desk: Desk, vast: Vast):
    def halted(seen: Seen) -> Reply:
        return reply({"success": True})

    keep(desk, row(is_bid=True))
    desk.first("PUT /api/v0/instances/", halted)
    vast.stop("20118481")
    keep(desk, row(is_bid=True, intended_status="stopped", cur_state="stopped", next_state="stopped"))
    assert [each.state for each in vast.instances()] == [State.STOPPED]  # we asked: nobody outbid us
    vast.start("20118481")
    assert [each.state for each in vast.instances()] == [State.INTERRUPTED]
    assert [seen.body for seen in desk.sent("PUT")] == [{"state": "stopped"}, {"state": "running"}]


def test_a_refused_stop_is_told(desk: Desk, vast: Vast):
    with pytest.raises(ProviderFailed):
        vast.stop("4242")
