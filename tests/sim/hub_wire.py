"""HTTP below the simulated Hub: bodies in and out, with faults, pace and counting; errors as the Hub words them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from tests.sim.hub_faults import Call, Faults

PIECE = 1 << 16


class Refused(Exception):
    """An error answer. code and message: X-Error-Code and X-Error-Message, which huggingface_hub's errors go by."""

    def __init__(self, status: int, message: str, code: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, headers or {}


class Cut(Exception):
    """The connection ends here."""


class Wire(BaseHTTPRequestHandler):
    """One connection. Subclasses list their routes as (methods, pattern, method's name)."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = PIECE
    faults: Faults
    routes: ClassVar[tuple[tuple[str, str, str], ...]] = ()

    def log_message(self, format: str, *args: object) -> None: ...

    def dispatch(self) -> None:
        self.call = Call(f"{self.command} {self.path}", {name.lower(): value for name, value in self.headers.items()})
        self.faults.record(self.call)
        self.parts = urlsplit(self.path)
        self.query = parse_qs(self.parts.query)
        self.unread = int(self.headers.get("Content-Length") or 0)
        self.cut = self.faults.take("cut", self.call.what)
        try:
            try:
                if (other := self.faults.take("before", self.call.what)) and other.act:
                    other.act()
                if planned := self.faults.take("status", self.call.what):
                    self.drain()
                    raise Refused(planned.status, planned.message or "planned", headers=planned.headers)
                self.route()
            except Refused as refused:
                self.refuse(refused)
            self.wfile.flush()
        except (Cut, OSError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = dispatch

    def route(self) -> None:
        for methods, pattern, name in self.routes:
            found = re.fullmatch(pattern, self.parts.path)
            if found and self.command in methods.split():
                getattr(self, name)(**{key: unquote(value or "") for key, value in found.groupdict().items()})
                return
        self.drain()
        raise Refused(404, f"no such route: {self.command} {self.parts.path}")

    # requests

    def body(self) -> Iterator[bytes]:
        """The request's body as it comes; chunked bodies too."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.taken(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return
        while self.unread:
            piece = self.rfile.read1(min(PIECE, self.unread))
            if not piece:
                raise Cut
            self.unread -= len(piece)
            yield self.taken(piece)

    def taken(self, piece: bytes) -> bytes:
        self.call.received += len(piece)
        self.pace(len(piece))
        if self.cut is not None and self.call.received >= self.cut.after:
            raise Cut
        return piece

    def drain(self) -> bytes:
        data = b"".join(self.body())
        self.stall()
        return data

    def json(self) -> Any:
        return json.loads(self.drain() or b"{}")

    # answers

    def stall(self) -> None:
        while planned := self.faults.take("stall", self.call.what):
            self.faults.closing.wait(planned.seconds)

    def pace(self, size: int) -> None:
        if self.faults.seconds_per_byte:
            time.sleep(size * self.faults.seconds_per_byte)

    def head(self, status: int, headers: dict[str, str], length: int) -> None:
        self.call.status = status
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def say(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send(json.dumps(content).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def send(self, data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.stream(iter([data]), len(data), status, headers)

    def stream(
        self, pieces: Iterator[bytes], length: int, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        self.stall()
        self.head(status, headers or {}, length)
        if self.command == "HEAD":
            return
        for piece in pieces:
            if self.cut is not None and self.call.sent + len(piece) >= self.cut.after:
                self.wfile.write(piece[: self.cut.after - self.call.sent])
                self.wfile.flush()
                raise Cut
            self.call.sent += len(piece)  # before they leave: whoever has the last byte may count at once
            self.wfile.write(piece)
            self.pace(len(piece))

    def refuse(self, refused: Refused) -> None:
        headers = {"X-Error-Message": refused.message.splitlines()[0], **refused.headers}
        if refused.code:
            headers["X-Error-Code"] = refused.code
        if self.unread and self.call.received == 0:
            headers["Connection"] = "close"  # the body stays unread: the client may still be sending it
            self.close_connection = True
        self.say({"error": refused.message}, refused.status, headers)

    def ranged(self, size: int) -> tuple[int, int] | None:
        """The bytes asked for (RFC 9110, 14.1.2: a first byte, with or without a last one); None for all of them."""
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not found:
            return None
        begin, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
        if begin >= size:
            raise Refused(416, "Range Not Satisfiable", headers={"Content-Range": f"bytes */{size}"})
        return begin, last
