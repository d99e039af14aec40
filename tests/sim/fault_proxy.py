"""An HTTP/1.1 proxy before a real registry that breaks what it is told to break, and counts what it sees.

    with FaultProxy("127.0.0.1:5000") as proxy:
        proxy.add(Rule("PATCH", "/blobs/uploads/", cut_request=1_000_000))
        ... use proxy.host ...
        assert proxy.count("PATCH") == 2

A rule matches by method and by a regular expression on the path with its query; it acts `times` times.
"""

from __future__ import annotations

import http.client
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

PIECE = 1 << 16
HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})


@dataclass
class Rule:
    """One fault. times: how often it acts; after: how many matches pass unharmed before."""

    method: str = ".*"
    path: str = ".*"
    times: int = 1
    after: int = 0
    status: int | None = None  # answered by the proxy itself, without asking the registry
    headers: dict[str, str] = field(default_factory=dict)  # of such an answer, or set on the registry's
    body: bytes = b""
    drop: tuple[str, ...] = ()  # headers removed from the registry's answer
    cut_request: int | None = None  # both sides are closed after so many bytes of the request's body
    cut_response: int | None = None  # ... of the answer's body
    flip: int | None = None  # the byte at this place of the answer's body is inverted
    flip_request: int | None = None  # the byte at this place of the request's body is inverted
    replace: Callable[[bytes], bytes] | None = None  # the answer's whole body is replaced
    lose_answer: bool = False  # the registry does its work, the client never hears of it
    as_status: int | None = None  # the registry's own answer with another status
    delay: float = 0.0  # seconds between pieces of the answer's body
    wait: float = 0.0  # seconds before the request goes on to the registry
    strip_range: bool = False  # the registry never sees Range

    def matches(self, method: str, path: str) -> bool:
        return bool(re.fullmatch(self.method, method)) and bool(re.search(self.path, path))


@dataclass
class Seen:
    """One request as it arrived. body: bytes of it that were read."""

    method: str
    path: str
    headers: dict[str, str]
    body: int = 0
    status: int = 0
    content: bytes = b""  # of requests to /token


class FaultProxy:
    """Listens on a free port of the loopback; `host` is what a reference must name."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.rules: list[Rule] = []
        self.seen: list[Seen] = []
        self.gate: Callable[[Seen], tuple[int, dict[str, str], bytes] | None] | None = None
        self.pace = 0.0  # seconds between pieces of request bodies: a slow uplink
        self.lock = threading.Lock()
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            wbufsize = 0

            def handle(self) -> None:
                try:
                    while proxy.serve(self.rfile, self.connection):
                        pass
                except (OSError, http.client.HTTPException, ValueError):
                    pass

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 64

        self.server = Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> FaultProxy:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, *rules: Rule) -> None:
        with self.lock:
            self.rules.extend(rules)

    def count(self, method: str, path: str = "") -> int:
        return len(self.requests(method, path))

    def requests(self, method: str = ".*", path: str = "") -> list[Seen]:
        with self.lock:
            return [s for s in self.seen if re.fullmatch(method, s.method) and re.search(path, s.path)]

    def body_bytes(self, path: str = "/blobs/uploads/") -> int:
        """Bytes of request bodies that arrived here."""
        return sum(seen.body for seen in self.requests(path=path))

    def take(self, method: str, path: str) -> Rule | None:
        with self.lock:
            for rule in self.rules:
                if rule.times > 0 and rule.matches(method, path):
                    if rule.after > 0:
                        rule.after -= 1
                        continue
                    rule.times -= 1
                    return rule
        return None

    def serve(self, reader: BinaryIO, client: socket.socket) -> bool:
        """One request; False when the connection is over."""
        line = reader.readline().decode("latin-1").split()
        if len(line) != 3:
            return False
        message = http.client.parse_headers(reader)
        seen = Seen(line[0], line[1], {k.lower(): v for k, v in message.items()})
        with self.lock:
            self.seen.append(seen)
        length = int(seen.headers.get("content-length", "0"))
        if seen.path.startswith("/token"):
            seen.content, seen.body, length = reader.read(length), length, 0
        rule = self.take(seen.method, seen.path) or Rule()
        answer = self.gate(seen) if self.gate is not None else None
        if answer is not None or rule.status is not None:
            self.swallow(reader, seen, length)
            status, headers, body = answer or (rule.status or 0, rule.headers, rule.body)
            seen.status = status
            reply(client, status, headers, b"" if seen.method == "HEAD" else body, len(body))
            return True
        return self.forward(reader, client, seen, length, rule)

    def swallow(self, reader: BinaryIO, seen: Seen, length: int) -> None:
        while length > 0 and (piece := reader.read(min(PIECE, length))):
            length -= len(piece)
            seen.body += len(piece)

    def forward(self, reader: BinaryIO, client: socket.socket, seen: Seen, length: int, rule: Rule) -> bool:
        host, _, port = self.upstream.partition(":")
        time.sleep(rule.wait)
        upstream = http.client.HTTPConnection(host, int(port), timeout=30)
        try:
            upstream.putrequest(seen.method, seen.path, skip_host=True, skip_accept_encoding=True)
            for name, value in seen.headers.items():
                if name not in HOP and not (rule.strip_range and name == "range"):
                    upstream.putheader(name, value)
            upstream.endheaders()
            if not self.send_body(reader, upstream, seen, length, rule):
                return False
            response = upstream.getresponse()
            seen.status = response.status
            if rule.lose_answer:
                response.read()
                return False
            return self.answer(response, client, seen, rule)
        finally:
            upstream.close()

    def send_body(
        self, reader: BinaryIO, upstream: http.client.HTTPConnection, seen: Seen, length: int, rule: Rule
    ) -> bool:
        """False when the rule cut the connection."""
        left = length if rule.cut_request is None else min(length, rule.cut_request)
        while left > 0:
            piece = bytearray(reader.read1(min(PIECE, left)))  # type: ignore[attr-defined]
            if not piece:
                return False
            if rule.flip_request is not None and seen.body <= rule.flip_request < seen.body + len(piece):
                piece[rule.flip_request - seen.body] ^= 0xFF
            left -= len(piece)
            seen.body += len(piece)
            upstream.send(piece)
            time.sleep(self.pace)
        return rule.cut_request is None

    def answer(self, response: http.client.HTTPResponse, client: socket.socket, seen: Seen, rule: Rule) -> bool:
        dropped = {name.lower() for name in rule.drop} | HOP | {name.lower() for name in rule.headers}
        headers = {k: v for k, v in response.getheaders() if k.lower() not in dropped} | rule.headers
        status = rule.as_status or response.status
        if seen.method == "HEAD" or status in (204, 304):
            reply(client, status, headers, b"", None)
            return True
        if rule.replace is not None:
            body = rule.replace(response.read())
            headers.pop("Content-Length", None)
            reply(client, status, headers, body, len(body))
            return True
        reply(client, status, headers, b"", None)
        done = 0
        while piece := bytearray(response.read(PIECE)):
            if rule.flip is not None and done <= rule.flip < done + len(piece):
                piece[rule.flip - done] ^= 0xFF
            if rule.cut_response is not None and done + len(piece) > rule.cut_response:
                client.sendall(piece[: rule.cut_response - done])
                return False
            client.sendall(piece)
            done += len(piece)
            time.sleep(rule.delay)
        return response.getheader("content-length") is not None


def reply(client: socket.socket, status: int, headers: dict[str, str], body: bytes, length: int | None) -> None:
    """Writes an answer; length None: the headers say it already."""
    lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    client.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
