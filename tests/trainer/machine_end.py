"""A provider as its rented machine sees it: one address that is asked to end it, and the clock of a rehearsal."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

START = datetime(2026, 11, 20, 10, 0, tzinfo=UTC).timestamp()


@dataclass(frozen=True)
class Call:
    """One request. now: the rehearsal's time."""

    method: str
    path: str
    body: Any
    key: str
    agent: str
    now: float

    def __str__(self) -> str:
        action = f" {self.body['action']}" if isinstance(self.body, dict) and "action" in self.body else ""
        return f"{self.method} {self.path}{action}"


@dataclass
class Provider:
    """answers: what the next requests get, (status, body), None: the line is cut; then 204. What ends it (2xx to
    anything but a GET) kills `machine`, a process group, as a provider does."""

    url: str = ""
    answers: list[tuple[int, Any] | None] = field(default_factory=list)
    rentals: Any = None
    calls: list[Call] = field(default_factory=list)
    machine: int = 0
    now: float = START
    headers: dict[str, str] = field(default_factory=dict)
    looks: int = 0  # how often the time was asked for

    def told(self) -> list[str]:
        return [str(call) for call in self.calls]

    def answer(self, call: Call) -> tuple[int, Any] | None:
        self.calls.append(call)
        if call.method == "GET":
            return 200, self.rentals
        found = self.answers.pop(0) if self.answers else (204, None)
        refused = isinstance(found, tuple) and isinstance(found[1], dict) and found[1].get("errors")
        if found and 200 <= found[0] < 300 and self.machine and not refused:
            with suppress(ProcessLookupError):
                os.killpg(self.machine, signal.SIGKILL)
        return found


@contextmanager
def serving() -> Iterator[Provider]:
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            if self.path == "/_sim/clock":
                provider.looks += 1
                return self.say(200, {"now": datetime.fromtimestamp(provider.now, UTC).isoformat()})
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            key = self.headers.get("Authorization", "").removeprefix("Bearer ")
            body = json.loads(raw) if raw else None
            found = provider.answer(
                Call(self.command, self.path, body, key, self.headers["User-Agent"] or "", provider.now)
            )
            if found is None:
                self.close_connection = True
                return self.connection.close()
            return self.say(*found)

        def say(self, status: int, body: Any) -> None:
            content = b"" if body is None else json.dumps(body).encode()
            with suppress(OSError):  # the machine is gone
                self.send_response(status)
                for name, value in provider.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = reply

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError, ValueError):
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        provider.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield provider
        server.shutdown()
        thread.join()
