"""The transport: what it repeats, what it gives up on, and where a key never goes."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from fleet.wire import line as wire_line
from fleet.wire.failed import KeyRefused, ProviderFailed, Throttled
from fleet.wire.line import Line, base, retry_after
from profiles.errors import OutsideFailed, WrongInput
from tests.fleet.offers.market import KEY, Market, Reply, reply

PATH = "/v2/on-demand/rental-options"
GOOD = reply([])


@pytest.fixture
def hyperbolic(markets) -> Market:
    return markets["hyperbolic"]


def failure(line_to, **more) -> ProviderFailed:
    with pytest.raises(ProviderFailed) as caught:
        line_to("hyperbolic", **more).get(PATH)
    assert KEY not in caught.value.what + caught.value.next_step + repr(caught.value)
    assert caught.value.next_step
    assert isinstance(caught.value, OutsideFailed)
    return caught.value


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_told_at_once_with_where_to_get_one(line, hyperbolic, status):
    hyperbolic.script = [reply({"message": f"no: {KEY}"}, status)]
    failed = failure(line)
    assert isinstance(failed, KeyRefused)
    assert "HYPERBOLIC_API_KEY" in failed.next_step
    assert len(hyperbolic.seen) == 1


def test_a_part_of_the_key_that_comes_back_cut_off_is_not_shown_either(line, hyperbolic):
    hyperbolic.script = [reply({"message": "x" * 190 + KEY}, 400)]
    assert KEY[:5] not in failure(line).what


def test_a_wait_that_the_provider_names_is_kept(line, hyperbolic):
    hyperbolic.script = [reply({}, 429, Retry_After="3"), GOOD]
    assert line("hyperbolic").get(PATH) == []
    assert line.slept == [3.0]


def test_a_wait_longer_than_there_is_time_for_is_told_not_slept(line, hyperbolic):
    hyperbolic.script = [reply({"msg": "slow down"}, 429, Retry_After="3600")]
    failed = failure(line)
    assert isinstance(failed, Throttled)
    assert "3600" in failed.next_step
    assert line.slept == []


def test_429_without_a_wait_as_plain_text_backs_off(line, hyperbolic):
    hyperbolic.script = [Reply(429, b"API requests too frequent: endpoint threshold=3.0")] * 2 + [GOOD]
    assert line("hyperbolic").get(PATH) == []
    assert len(line.slept) == 2
    assert line.slept[1] > line.slept[0]


def test_a_server_error_is_asked_again_and_then_told(line, hyperbolic):
    hyperbolic.script = [reply({"error": {"code": "X", "message": "trouble"}}, 500), GOOD]
    assert line("hyperbolic").get(PATH) == []
    hyperbolic.script = [reply({"error": {"code": "X", "message": "trouble"}}, 502)] * 9
    failed = failure(line)
    assert "502 trouble" in failed.what
    assert (failed.status, failed.code) == (502, "X")
    assert len(hyperbolic.seen) == 2 + wire_line.TRIES


def test_a_request_that_is_wrong_is_not_repeated(line, hyperbolic):
    body = {"title": "Unprocessable Entity", "status": 422, "detail": "Request validation failed."}
    hyperbolic.script = [reply(body, 422)]
    assert "422 Request validation failed." in failure(line).what
    assert len(hyperbolic.seen) == 1


@pytest.mark.parametrize(
    "body", [b'[{"enabled": tr', b"<html>Just a moment...</html>", b"", b"\xff\xfe", b"[" * 100_000]
)
def test_what_is_not_json_is_a_failure_with_a_next_step(line, hyperbolic, body):
    hyperbolic.script = [Reply(200, body)]
    assert "instead of a list" in failure(line).what


def test_an_answer_cut_in_the_middle_is_asked_again(line, hyperbolic):
    hyperbolic.script = [Reply(200, b"[" + b" " * 5000 + b"]", cut=True), GOOD]
    assert line("hyperbolic").get(PATH) == []
    hyperbolic.script = [Reply(200, b"[" + b" " * 5000 + b"]", cut=True)] * 9
    assert "no connection" in failure(line).what


def test_a_redirect_is_not_followed_to_anywhere(line, hyperbolic, markets):
    elsewhere = markets["runpod"]
    hyperbolic.script = [Reply(302, b"", {"Location": f"{elsewhere.url}/steal"})]
    failed = failure(line)
    assert elsewhere.url.removeprefix("http://") in failed.what
    assert elsewhere.seen == []


def test_a_server_that_is_silent_does_not_outlast_the_deadline(line, hyperbolic):
    hyperbolic.script = [Reply(200, b"[]", wait=30.0)]
    began = time.monotonic()
    assert "no answer in time" in failure(line, deadline=0.3).what
    assert time.monotonic() - began < 20


def test_nobody_there_is_told_without_the_address_of_a_secret(line, hyperbolic, monkeypatch):
    monkeypatch.setenv("STOKER_HYPERBOLIC_URL", "http://127.0.0.1:9")
    assert "127.0.0.1:9" in failure(line).what


def test_an_answer_without_end_is_refused(line, hyperbolic, monkeypatch):
    monkeypatch.setattr(wire_line, "LARGEST", 1 << 20)
    hyperbolic.script = [Reply(200, b" " * (2 << 20))] * 9
    assert "more than 1 MiB" in failure(line).what


def test_a_login_in_netrc_does_not_replace_the_key(line, hyperbolic, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    line("hyperbolic").get(PATH)
    assert hyperbolic.seen[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_proxy_does_not_see_what_goes_to_this_machine(line, hyperbolic, markets, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, markets["runpod"].url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert line("hyperbolic").get(PATH)
    assert markets["runpod"].seen == []


def test_a_key_is_in_no_repr():
    assert KEY not in repr(Line("vast", KEY))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "ftp://127.0.0.1",
        "https://me:secret@example.com",
        "nonsense",
        "https://x.example?a=b",
        "http://[::1",
    ],
)
def test_an_address_that_would_give_the_key_away_is_refused(url):
    with pytest.raises(WrongInput, match="STOKER_VAST_URL") as refused:
        base("vast", {"STOKER_VAST_URL": url})
    assert "secret" not in refused.value.what + refused.value.next_step


@pytest.mark.parametrize(
    "url", ["https://mirror.example/", "http://localhost:81", "http://[::1]:81", "http://127.0.0.1:81"]
)
def test_an_address_of_ones_own_is_taken(url):
    assert base("vast", {"STOKER_VAST_URL": url}) == url.rstrip("/")
    assert base("vast", {}) == "https://console.vast.ai"


def test_retry_after_is_read_as_seconds_and_as_a_date():
    assert retry_after({"Retry-After": "12"}) == 12
    in_a_minute = retry_after({"Retry-After": formatdate(time.time() + 60, usegmt=True)})
    assert in_a_minute == pytest.approx(60, abs=5)
    assert retry_after({"Retry-After": formatdate(0, usegmt=True)}) == 0
    assert [retry_after({"Retry-After": word}) for word in ("", "soon", "-3", "٣")] == [None] * 4
