"""A pod's output over Server-Sent Events, which never end by themselves."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.providers.runpod import logs
from fleet.wire.failed import KeyRefused, ProviderFailed
from fleet.wire.line import Line
from tests.fleet.providers.runpod.account import KEY, Fault
from tests.fleet.providers.runpod.bodies import event, pod_row, stream_of

LOGS = "/v2/pods/pod/logs"


@pytest.fixture
def pod(account, monkeypatch):
    """A running pod, and less patience with a silent stream than users get."""
    monkeypatch.setattr(logs, "QUIET", 0.5)
    account.rows["pods"]["pod"] = pod_row(id="pod", status="RUNNING")
    return account


def streams(account, *each):
    """One stream after the other, and none after the last."""
    waiting = list(each)

    def stream(request, line):
        waiting.pop(0)(request, line) if waiting else stream_of()(request, line)

    account.stream = stream


@pytest.mark.parametrize("chunked", [True, False])
def test_what_is_there_is_told_newest_last_although_the_stream_stays_open(client, pod, chunked):
    streams(pod, stream_of(event(1, "epoch 1"), event(2, "epoch 2"), chunked=chunked, stay=3))
    assert list(client.logs("pod", tail=2)) == ["epoch 1", "epoch 2"]
    assert pod.asked("GET", LOGS)[0].query == {"tail": "2"}
    assert pod.asked("GET", LOGS)[0].headers["accept"] == "text/event-stream"


def test_what_is_there_is_told_whole_although_the_stream_is_cut(client, pod):
    torn = event(2, "epoch 2")
    streams(pod, stream_of(event(1, "epoch 1"), torn[:40]), stream_of(torn, stay=2))
    assert list(client.logs("pod")) == ["epoch 1", "epoch 2"]
    assert len(pod.asked("GET", LOGS)) == 2


def test_a_stream_that_is_cut_again_and_again_ends(client, pod):
    streams(pod)
    assert list(client.logs("pod")) == []
    assert len(pod.asked("GET", LOGS)) == 1 + logs.CUTS


def test_what_the_system_says_is_marked(client, pod):
    streams(pod, stream_of(event(1, "pulling layer 3 of 9", "system"), event(2, "epoch 1")))
    assert list(client.logs("pod")) == ["[runpod] pulling layer 3 of 9", "epoch 1"]


@pytest.mark.parametrize(("tail", "asked"), [(0, "0"), (-5, "0"), (5000, "5000"), (10**9, "5000")])
def test_the_tail_is_what_the_api_takes(client, pod, tail, asked):
    streams(pod)
    list(client.logs("pod", tail=tail))
    assert pod.asked("GET", LOGS)[0].query["tail"] == asked


def test_following_goes_on_after_the_last_whole_event_when_it_is_cut_in_the_middle(client, pod):
    torn = event(3, "epoch 3")
    streams(
        pod,
        stream_of(event(1, "epoch 1"), event(2, "epoch 2"), torn[:-30]),
        stream_of(event(2, "epoch 2"), torn),  # resumes from the event it was given
    )
    found = list(itertools.islice(client.logs("pod", follow=True), 3))
    assert found == ["epoch 1", "epoch 2", "epoch 3"]
    first, second = pod.asked("GET", LOGS)
    assert "last-event-id" not in first.headers
    assert (second.headers["last-event-id"], second.query) == ("2026-11-20T10:02:02Z/000000000002", {})


def test_following_ends_with_the_pod(client, pod, hours):
    def ends(request, line):
        stream_of(event(1, "done"))(request, line)
        pod.rows["pods"]["pod"] |= {"status": "EXITED"}

    streams(pod, ends)
    assert list(client.logs("pod", follow=True)) == ["done"]


def test_following_waits_longer_the_longer_nothing_comes(client, pod, hours):
    def gone(request, line):
        stream_of()(request, line)
        pod.rows["pods"].clear()

    streams(pod, *[stream_of()] * 4, gone)
    assert list(client.logs("pod", follow=True)) == []
    assert hours.slept == [2.0, 5.0, 10.0, 10.0]


def test_following_bears_a_bad_minute_but_not_for_ever(client, pod):
    pod.faults = [Fault("GET", LOGS, 503, times=2)]
    streams(pod, stream_of(event(1, "epoch 1")))
    assert next(client.logs("pod", follow=True)) == "epoch 1"
    pod.faults = [Fault("GET", LOGS, 503, times=99)]
    with pytest.raises(ProviderFailed, match="503"):
        list(client.logs("pod", follow=True))


@pytest.mark.parametrize(("status", "error"), [(401, KeyRefused), (404, ProviderFailed)])
def test_logs_that_cannot_be_had_are_an_error_and_not_an_empty_list(client, pod, status, error):
    for follow in (False, True):
        pod.faults = [Fault("GET", LOGS, status)]
        with pytest.raises(error):
            list(client.logs("pod", follow=follow))


def test_a_stream_that_nobody_answers_is_an_error(pod):
    pod.faults = [Fault("GET", LOGS, 0)]
    with pytest.raises(ProviderFailed, match="no stream"):
        list(Line("runpod", KEY, base=pod.url).lines(LOGS))


def test_output_steers_no_terminal(client, pod):
    streams(pod, stream_of(event(1, "\x1b[31mred\x1b[0m\a\ttab\r"), event(2, "über 漢字")))
    assert list(client.logs("pod")) == ["red\ttab", "über 漢字"]


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (["data: plain text", ""], ["plain text"]),
        (["data: a", "data: b", ""], ["ab"]),
        ([": keep-alive", "", "event: x", "retry: 5", 'data: {"line": "a"}', ""], ["a"]),
        (['data: {"line": 7}', ""], ['{"line": 7}']),
        (["data: cut off"], []),
        (["data:no space", ""], ["no space"]),
    ],
)
def test_events_are_read_as_the_standard_says(stream, found):
    assert [each.line for each in logs.events(stream)] == found


def test_an_id_that_no_header_can_carry_is_not_kept():
    assert [each.id for each in logs.events(["id: a\nb", "data: x", "", "id: ü", "data: y", ""])] == ["", ""]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=40), max_size=30))
def test_no_stream_is_too_odd_to_be_read(stream):
    for each in logs.events(stream):
        assert "\x1b" not in each.line and all(" " <= letter <= "~" for letter in each.id)
