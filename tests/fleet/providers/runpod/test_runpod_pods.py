"""Pods as RunPod lists them: every page, unknown fields and states, money that cannot be read; and their ends."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.providers.runpod import pages, read
from fleet.providers.values import Ssh, State
from fleet.wire.failed import KeyRefused, ProviderFailed
from profiles.errors import WrongInput
from tests.fleet.providers.runpod.account import Fault
from tests.fleet.providers.runpod.bodies import pod_row

READY = {
    "status": "RUNNING",
    "dataCenterId": "US-KS-2",
    "ssh": {"proxy": None, "direct": {"host": "203.0.113.9", "port": 34446, "username": "root", "command": "ssh"}},
    "runtime": {"uptime": 42, "ports": [{"private": 22, "public": 34446, "type": "tcp", "ip": "203.0.113.9"}]},
    "startedAt": "2026-11-20T10:02:00Z",
}


def fill(account, many):
    for number in range(many):
        id = f"pod{number:03d}"
        account.rows["pods"][id] = pod_row(id=id, name=f"stk-ab12-run-{number:08d}")


def test_a_running_pod_tells_price_place_shell_and_age():
    pod = read.instance(pod_row(**READY))
    assert (pod.state, pod.status, pod.usd_hour) == (State.RUNNING, "RUNNING", Decimal("5.98"))
    assert (pod.gpu, pod.gpus, pod.region, pod.kind) == ("h100-sxm", 2, "US-KS-2", "on-demand")
    assert pod.ssh == Ssh("203.0.113.9", 34446, "root")
    assert pod.created == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert pod.started == datetime(2026, 11, 20, 10, 2, tzinfo=UTC)
    assert pod.env == {"STOKER_RUN": "run"}


@pytest.mark.parametrize(
    ("gpus", "busy"),
    [
        ([{"util": 0, "memoryUtil": 1}, {"util": 97}], 0.97),
        ([{"util": 0}], 0.0),
        ([{"util": 0}, {"util": None}], None),  # one that is not told may be the busy one
        ([{"util": 400}], None),
        ([], None),
        (None, None),
    ],
)
def test_the_busiest_gpu_is_told_and_an_unknown_one_is_not_idle(gpus, busy):
    assert read.instance(pod_row(status="RUNNING", runtime={"uptime": 1, "gpus": gpus})).gpu_busy == busy


def test_running_without_a_mapped_port_has_no_shell_and_a_proxy_is_none():
    proxy = {"host": "ssh.runpod.io", "port": 22, "username": "x-1", "command": "ssh"}
    for runtime in (None, {}, {"uptime": 0, "ports": []}, {"ports": [{"private": 22, "public": None, "ip": None}]}):
        pod = read.instance(pod_row(status="RUNNING", ssh={"proxy": proxy, "direct": None}, runtime=runtime))
        assert (pod.state, pod.ssh) == (State.RUNNING, None)


def test_the_mapping_of_port_22_is_a_shell_when_its_own_block_is_missing():
    pod = read.instance(pod_row(**{**READY, "ssh": {"proxy": None, "direct": None}}))
    assert pod.ssh == Ssh("203.0.113.9", 34446)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("PROVISIONING", State.PENDING),
        ("starting", State.STARTING),
        ("ERROR", State.FAILED),
        ("EXITED", State.STOPPED),
        ("MIGRATING", State.UNKNOWN),
        ("", State.UNKNOWN),
        (None, State.UNKNOWN),
        (17, State.UNKNOWN),
        ({"value": "RUNNING"}, State.UNKNOWN),
    ],
)
def test_each_state_has_one_meaning_and_a_new_one_is_unknown(status, state):
    assert read.instance(pod_row(status=status)).state is state


def test_a_stopped_pod_costs_its_volume_disk_at_the_double_price():
    stopped = read.instance(pod_row(status="EXITED", cost=0, mounts={"persistent": {"size": 720, "path": "/w"}}))
    assert stopped.usd_hour == Decimal("0.20")
    assert "does not tell by whom" in stopped.words
    assert read.instance(pod_row(status="EXITED", cost=0)).usd_hour == 0


@pytest.mark.parametrize("cost", [None, "", "free", -1, True, [], {}, float("nan"), float("inf"), 0, "0"])
def test_a_price_that_cannot_be_read_is_unknown_and_never_free(cost):
    assert read.instance(pod_row(status="RUNNING", cost=cost)).usd_hour is None


def test_a_price_sent_as_text_is_read():
    assert read.instance(pod_row(cost="5.98")).usd_hour == Decimal("5.98")


@given(
    st.dictionaries(
        st.sampled_from(sorted(pod_row())),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "direct",
                            "host",
                            "port",
                            "ports",
                            "id",
                            "count",
                            "size",
                            "persistent",
                            "private",
                            "public",
                            "type",
                            "ip",
                        ]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=8,
        ),
    )
)
def test_no_pod_is_too_odd_to_be_read(changed):
    pod = read.instance(pod_row(**changed))
    assert pod.usd_hour is None or pod.usd_hour >= 0
    assert pod.ssh is None or 0 < pod.ssh.port < 65536


@pytest.mark.parametrize("page", [0, 1, 2, 3, 7])
def test_every_page_is_read_in_the_older_form_and_in_the_newer(client, account, page):
    fill(account, 5)
    account.page = page
    assert sorted(pod.id for pod in client.instances()) == [f"pod{number:03d}" for number in range(5)]
    assert account.sent[0].query == {}  # the older form knows no cursor


@pytest.mark.parametrize(
    "body",
    [
        {"pods": [], "pagination": {"nextCursor": None, "hasNextPage": True}},
        {"pods": [], "pagination": "yes"},
        {"pods": [pod_row(id="")]},
        {"pods": [pod_row(id=None)]},
        {"pods": [pod_row(), "pod"]},
        {"pods": {"a": pod_row()}},
        {"items": []},
        [],
    ],
)
def test_a_list_that_is_not_whole_is_no_list(client, account, body):
    account.faults = [Fault("GET", "/v2/pods", 200, body, headers={"unchecked": "yes"})]
    with pytest.raises(ProviderFailed):
        client.instances()


def test_a_page_that_fails_takes_the_whole_list_with_it(client, account):
    fill(account, 4)
    account.page = 2
    client.line.get("/v2/pods")
    account.faults = [Fault("GET", "/v2/pods", 403, times=9)]
    with pytest.raises(KeyRefused):
        client.instances()


def test_pages_that_go_in_a_circle_end(client, account):
    circle = {"pods": [pod_row()], "pagination": {"nextCursor": "c1", "hasNextPage": True}}
    account.faults = [Fault("GET", "/v2/pods", 200, circle, times=9)]
    with pytest.raises(ProviderFailed, match="same page"):
        client.instances()


def test_a_row_that_moves_to_the_next_page_counts_once():
    class Moving:
        answers = iter(
            [
                {"pods": [{"id": "b"}, {"id": "a"}], "pagination": {"nextCursor": "x", "hasNextPage": True}},
                {"pods": [{"id": "a"}], "pagination": {"nextCursor": None, "hasNextPage": False}},
            ]
        )

        def get(self, *_):
            return next(self.answers)

    assert [row["id"] for row in pages.listed(Moving(), "/v2/pods", "pods")] == ["b", "a"]


def test_a_deleted_pod_that_is_still_listed_is_gone(client, account):
    fill(account, 2)
    account.rows["pods"]["pod000"]["status"] = "TERMINATED"
    assert [pod.id for pod in client.instances()] == ["pod001"]
    assert client.instance("pod000") is None


def test_one_pod_is_none_only_when_the_list_agrees(client, account):
    fill(account, 1)
    assert client.instance("pod000").id == "pod000"
    assert client.instance("other") is None
    account.faults = [Fault("GET", "/v2/pods/pod000", 404)]  # a read that lags behind the list
    assert client.instance("pod000").id == "pod000"
    account.faults = [Fault("GET", "/v2/pods/pod000", 404), Fault("GET", "/v2/pods", 503, times=4)]
    with pytest.raises(ProviderFailed):
        client.instance("pod000")


def test_another_pod_than_the_one_asked_for_is_no_answer(client, account):
    fill(account, 1)
    account.faults = [Fault("GET", "/v2/pods/pod000", 200, pod_row(id="zzz"))]
    with pytest.raises(ProviderFailed):
        client.instance("pod000")


def test_ending_works_through_429_and_5xx_and_twice(client, account, hours):
    fill(account, 1)
    path = "/v2/pods/pod000"
    account.faults = [Fault("DELETE", path, status, times=4) for status in (429, 503)]
    account.faults.append(Fault("DELETE", path, 0, before=False))  # done, and the answer is lost
    client.terminate("pod000")
    assert client.instances() == []
    assert len(account.asked("DELETE", path)) == 10
    client.terminate("pod000")
    assert sum(hours.slept) > 5


def test_ending_that_fails_for_good_is_never_silent(client, account):
    fill(account, 1)
    account.faults = [Fault("DELETE", "/v2/pods/pod000", 503, times=100)]
    with pytest.raises(ProviderFailed, match="503"):
        client.terminate("pod000")
    account.faults = [Fault("DELETE", "/v2/pods/pod000", 409, headers={"unchecked": "yes"})]
    with pytest.raises(ProviderFailed, match="409"):
        client.terminate("pod000")
    account.faults = [Fault("DELETE", "/v2/pods/pod000", 401)]
    with pytest.raises(KeyRefused):
        client.terminate("pod000")


@pytest.mark.parametrize("id", ["", ".", ".."])
def test_ending_nothing_does_not_end_the_list(client, account, id):
    with pytest.raises(WrongInput):
        client.terminate(id)
    assert account.sent == []


def test_an_id_cannot_lead_to_another_path(client, account):
    client.terminate("../templates/x")
    assert account.sent[0].path == "/v2/pods/..%2Ftemplates%2Fx"


def test_stopping_and_starting_repeat_safely(client, account):
    fill(account, 1)
    row, path = account.rows["pods"]["pod000"], "/v2/pods/pod000/action"
    account.faults = [Fault("POST", path, 0, before=False)]  # stopped, and the answer is lost: the second try gets 409
    client.stop("pod000")
    assert row["status"] == "EXITED"
    client.stop("pod000")
    client.start("pod000")
    assert row["status"] == "STARTING"
    client.start("pod000")
    row |= {"status": "ERROR", "actions": []}
    with pytest.raises(ProviderFailed, match="409"):
        client.stop("pod000")


def test_a_start_without_a_free_gpu_says_so(client, account):
    words = "There are not enough free GPUs on the host machine to start this pod."
    account.faults = [Fault("POST", "/v2/pods/pod000/action", 400, detail=words)]
    with pytest.raises(ProviderFailed, match="not enough free GPUs"):
        client.start("pod000")


def test_the_shell_is_told_when_there_is_one(client, account):
    account.rows["pods"]["a"] = pod_row(id="a")
    account.rows["pods"]["b"] = pod_row(id="b", **READY)
    assert (client.ssh("a"), client.ssh("b")) == (None, Ssh("203.0.113.9", 34446))
