"""The wire below every simulator: answers that are cut, late or never come, the log, the side channel."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from fleet.simulators.bodies.nothing import NoBodies
from fleet.simulators.clock import VirtualClock
from fleet.simulators.faults import Faults
from fleet.simulators.invented import Invented
from fleet.simulators.server import running
from fleet.simulators.site import Site
from fleet.simulators.wire import Reply, Request
from fleet.simulators.world import World
from tests.fleet.simulators.talking import Talk


@pytest.fixture
def site() -> Iterator[Site]:
    world = World("any", VirtualClock(), Faults(), NoBodies())
    site = Site(
        world,
        guard=lambda request: None if request.bearer else Reply(401, {"error": "key"}),
        missing=lambda request, allowed: Reply(405 if allowed else 404, {"allowed": allowed}),
        invented=[Invented("all of it", "a test")],
        secrets=["launch_code"],
    )
    site.route("GET", "/things/{id}")(lambda request: Reply(200, request.parts))
    site.route("POST", "/things")(lambda request: Reply(201, request.json()))
    site.route("POST", "/drop")(lambda request: Reply(201, {"id": 1}, drop=True))
    site.route("POST", "/slow")(lambda request: Reply(201, {"id": 1}, slow=0.4))
    site.route("GET", "/stream")(lambda request: Reply(200, stream=pieces(), headers={"Content-Type": "text/plain"}))
    site.route("GET", "/bug")(bug)
    with running([site]):
        yield site


def pieces() -> Iterator[bytes]:
    for number in range(3):
        yield b"%d\n" % number
    while True:
        yield b""
        time.sleep(0.01)


def bug(request: Request) -> Reply:
    raise ZeroDivisionError


@pytest.fixture
def talk(site: Site) -> Talk:
    return Talk(site.url)


def test_it_listens_on_loopback_only(talk: Talk):
    assert urlsplit(talk.url).hostname == "127.0.0.1"


def test_parts_of_a_path_are_decoded_after_it_was_split(talk: Talk):
    assert talk.get("/things/NVIDIA%20A%2FB") == {"id": "NVIDIA A/B"}


def test_an_unknown_path_or_method_is_never_a_200(talk: Talk):
    assert talk.ask("GET", "/nothing").status_code == 404
    assert talk.ask("DELETE", "/things/1").json() == {"allowed": ["GET"]}
    assert requests.get(f"{talk.url}/_sim/nothing", timeout=10).status_code == 404


def test_an_answer_that_is_dropped_ends_the_connection_without_a_byte(talk: Talk):
    assert talk.lost("POST", "/drop", {})


def test_a_slow_answer_comes_later_than_an_impatient_client_waits(talk: Talk):
    with pytest.raises(requests.ReadTimeout):
        talk.session.post(f"{talk.url}/slow", headers={"Authorization": "Bearer k"}, timeout=0.1)


def test_a_slow_answer_keeps_nobody_else_waiting(talk: Talk):
    waiting = threading.Thread(target=talk.ask, args=("POST", "/slow", {}))
    began = time.monotonic()
    waiting.start()
    Talk(talk.url).get("/things/1")
    quick = time.monotonic() - began
    waiting.join()
    assert quick < time.monotonic() - began


def test_a_body_in_chunks_is_put_together(talk: Talk):
    answer = talk.ask("POST", "/things", headers={"Content-Type": "application/json"}, data=iter([b'{"a":', b"1}"]))
    assert answer.json() == {"a": 1}


def test_a_stream_stays_open_after_its_last_line(talk: Talk):
    address = urlsplit(talk.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as line:
        line.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n\r\n")
        got = b""
        while not got.endswith(b"2\n"):
            got += line.recv(4096)
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.recv(1)


@pytest.mark.parametrize(
    "garbage", [b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b""]
)
def test_garbage_ends_only_its_own_connection(talk: Talk, garbage: bytes):
    address = urlsplit(talk.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as line:
        line.sendall(garbage)
        line.shutdown(socket.SHUT_WR)
        assert line.recv(100) == b""
    assert talk.get("/things/1") == {"id": "1"}


def test_a_bug_of_the_simulator_is_no_answer_of_a_provider(talk: Talk, site: Site, capfd: pytest.CaptureFixture[str]):
    assert talk.ask("GET", "/bug").status_code == 599
    assert "ZeroDivisionError" in site.crashes[0]
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_the_request_log_counts_by_virtual_minute_and_masks_every_secret(talk: Talk):
    body = {
        "name": "stk-1", "env": {"STOKER_TAG": "stk-1", "HF_TOKEN": "hf_planted"}, "password": "pw_planted",
        "nested": [{"value": "value_planted", "launch_code": "code_planted"}],
    }  # fmt: skip
    talk.ask("POST", "/things?api_key=query_planted&page=2", body)
    talk.sleep(60)
    talk.ask("GET", "/things/1")
    talk.lost("POST", "/drop", {})
    log = talk.admin("requests")
    assert "planted" not in str(log)
    assert talk.key not in str(log)
    assert list(log["per_minute"].values()) == [1, 2]
    first = log["requests"][0]
    assert first["body"]["env"] == {"STOKER_TAG": "stk-1", "HF_TOKEN": "***"}
    assert first["query"] == "api_key=%2A%2A%2A&page=2"
    assert [row["status"] for row in log["requests"]] == [201, 200, 0]


def test_the_side_channel_needs_no_key_and_is_not_logged(talk: Talk):
    talk.sleep(1)
    assert talk.admin("requests")["count"] == 0


def test_the_log_can_be_emptied(talk: Talk):
    talk.get("/things/1")
    talk.admin("requests", method="DELETE")
    assert talk.admin("requests")["count"] == 0


def test_two_clients_share_one_time(talk: Talk):
    before = talk.admin("clock")["now"]
    Talk(talk.url).sleep(30)
    assert talk.admin("clock")["now"] > before


@pytest.mark.parametrize(
    ("name", "body"),
    [("faults", {"no.such": True}), ("clock", {"sleep": "long"}), ("stock", {"x": -1}), ("credit", {"usd": "much"}),
     ("faults", [1])],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_the_side_channel(talk: Talk, name: str, body: object):
    answer = requests.post(f"{talk.url}/_sim/{name}", json=body, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize(("knob", "status"), [("read.5xx", 503), ("read.429", 429)])
def test_any_read_may_fail(talk: Talk, knob: str, status: int):
    talk.admin("faults", {knob: {"count": 1}})
    assert talk.ask("GET", "/things/1").status_code == status
    assert talk.ask("GET", "/things/1").status_code == 200


def test_any_read_may_be_dropped(talk: Talk):
    talk.faults(read__drop={"count": 1})
    assert talk.lost("GET", "/things/1")


def test_what_is_invented_is_told_with_its_reason(talk: Talk):
    rows = talk.admin("invented")["invented"]
    assert {"what": "all of it", "why": "a test", "knob": ""} in rows


def test_truth_is_summed_per_tag_and_per_wish(talk: Talk, site: Site):
    world = site.world
    for number in (1, 2):
        made = world.commit(f"m{number}", "stk-1", {"STOKER_RUN": "north", "TOKEN": "planted"}, {}, "Pending")
        world.charge(made.meter, {"gpu": world.credit / 1000})
        talk.sleep(3600)
        if number == 1:
            world.end(made, "terminated")
    truth = talk.rentals()
    assert "planted" not in str(truth)
    assert truth["alive"] == 1
    assert truth["per_tag"]["stk-1"] | {"billed_usd": ""} == {
        "commits": 2, "billed": 2, "alive": 1, "most_at_once": 1, "billed_usd": ""
    }  # fmt: skip
    assert set(truth["per_wish"]) == {"north"}
