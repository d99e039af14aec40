"""A clock that is off would end a run at the wrong moment: that is told before anything is rented."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fleet.deploy import skew
from profiles.errors import Refused
from tests.conftest import free_port

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Still:
    """Our own clock."""

    def now(self) -> datetime:
        return NOW

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing is waited for")


@dataclass
class Server:
    """headers: of every answer."""

    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()

    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            made.asked.append(str(self.headers))
            self.send_response_only(404)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    made.url = f"http://127.0.0.1:{running.server_port}"
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    running.shutdown()
    running.server_close()


def at(**off: float) -> dict[str, str]:
    return {"Date": format_datetime(NOW + timedelta(**off), usegmt=True)}


@pytest.fixture
def rented(server: Server, monkeypatch) -> Server:
    """The server as a provider elsewhere."""
    monkeypatch.setattr(skew, "base", lambda provider, environ: server.url)
    monkeypatch.setattr(skew, "LOOPBACK", ())
    return server


@pytest.mark.parametrize(
    ("off", "words"), [({"hours": 5}, "5 h 0 min behind vast's"), ({"minutes": -7}, "0 h 7 min ahead of vast's")]
)
def test_a_clock_that_is_off_is_refused_by_how_much_and_with_a_way_out(rented: Server, off, words: str):
    rented.headers = at(**off)
    with pytest.raises(Refused, match=words) as refused:
        skew.refuse("vast", Still(), {})
    assert "timedatectl" in refused.value.next_step
    assert "authorization" not in rented.asked[0].lower()


def test_a_login_in_netrc_is_not_sent(rented: Server, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    skew.refuse("vast", Still(), {})
    assert len(rented.asked) == 1 and "authorization" not in rented.asked[0].lower()


@pytest.mark.parametrize("headers", [at(minutes=4), at(minutes=-4), {}, {"Date": "noon"}, {**at(hours=-5), "Age": "9"}])
def test_a_clock_that_is_right_or_that_nobody_tells_is_none(rented: Server, headers: dict[str, str]):
    rented.headers = headers
    skew.refuse("vast", Still(), {})
    assert len(rented.asked) == 1


def test_a_provider_that_does_not_answer_concludes_nothing():
    assert skew.ahead(f"http://127.0.0.1:{free_port()}", Still()) is None


def test_a_rehearsal_and_one_s_own_machine_have_no_other_clock(server: Server, monkeypatch):
    server.headers = at(hours=5)
    skew.refuse("vast", Still(), {"STOKER_VAST_URL": server.url})
    skew.refuse("local", Still(), {})
    skew.refuse("vast", Still(), {"STOKER_CLOCK": "http://127.0.0.1:1", "STOKER_VAST_URL": "https://vast.example"})
    assert server.asked == []
