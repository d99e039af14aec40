"""Sites on loopback: a small HTTP/1.1 server of our own, for answers that are late, cut off, or never come."""

from __future__ import annotations

import math
import select
import socket
import socketserver
import struct
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus

from fleet.simulators.clock import VirtualClock
from fleet.simulators.embody import look
from fleet.simulators.site import Site
from fleet.simulators.wire import Reply

TICK = 0.05  # real seconds between two looks at the clock and the bodies
LONGEST = 1 << 20  # bytes of a line or a body that are read


class _Talk(socketserver.StreamRequestHandler):
    """One connection: request after request until either side leaves."""

    server: _Server
    disable_nagle_algorithm = True
    timeout = 300

    def handle(self) -> None:
        try:
            while self._one():
                pass
        except (OSError, ValueError):
            pass  # the client left, or does not speak HTTP

    def _one(self) -> bool:
        line = self.rfile.readline(LONGEST)
        if not line.strip():
            return False
        method, target, version = line.decode("latin-1").split()
        headers: dict[str, str] = {}
        while (line := self.rfile.readline(LONGEST)) not in (b"\r\n", b"\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self._body(headers)
        reply = self._answer(method, target, headers, body)
        if reply.slow:
            time.sleep(reply.slow)
        if reply.drop:
            self._hang_up()
            return False
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close" and reply.stream is None
        self._send(reply, method, keep)
        return keep

    def _answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        site = self.server.site
        try:
            return site.answer(method, target, headers, body)
        except Exception:  # a bug of the simulator: loud, and no provider's answer
            site.crashes.append(traceback.format_exc())
            print(site.crashes[-1], file=sys.stderr)
            return Reply(599, {"error": "the simulator itself broke: see its standard error"})

    def _body(self, headers: dict[str, str]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", "").lower():
            return self.rfile.read(int(headers.get("content-length", 0)))
        pieces = []
        while size := int(self.rfile.readline(LONGEST).split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline(LONGEST)
        self.rfile.readline(LONGEST)
        return b"".join(pieces)

    def _send(self, reply: Reply, method: str, keep: bool) -> None:
        content = reply.bytes()
        try:
            words = HTTPStatus(reply.status).phrase
        except ValueError:
            words = "Unknown"
        headers = dict(reply.headers)
        if reply.stream is None:
            if content:
                headers.setdefault("Content-Type", "application/json")
            if reply.status != 204:
                headers["Content-Length"] = str(len(content))
        headers["Connection"] = "keep-alive" if keep else "close"
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        sent = f"HTTP/1.1 {reply.status} {words}\r\n{head}\r\n".encode("latin-1")
        self.wfile.write(sent if method == "HEAD" else sent + content)
        if reply.stream is not None:
            for piece in reply.stream:
                if piece:
                    self.wfile.write(piece)
                elif self._left():
                    break

    def _left(self) -> bool:
        """Whether the client of a stream has hung up."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def _hang_up(self) -> None:
        """A reset in place of an answer."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        super().__init__(("127.0.0.1", port), _Talk)


@contextmanager
def running(sites: Sequence[Site], ports: Sequence[int] = ()) -> Iterator[dict[str, str]]:
    """Serves `sites` on loopback, each on `ports`' or a free port, for the length of the block.

    Yields {name: url, ..., "clock": url}. Afterwards every machine is ended, and no body is left.
    """
    servers = [_Server(site, ports[at] if at < len(ports) else 0) for at, site in enumerate(sites)]
    urls = {}
    for site, server in zip(sites, servers, strict=True):
        urls[site.name] = site.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.01,), name=site.name, daemon=True).start()
    stop = threading.Event()
    ticker = threading.Thread(target=_tick, args=(sites, stop), name="clock", daemon=True)
    ticker.start()
    try:
        yield {**urls, "clock": next(iter(urls.values()))}
    finally:
        stop.set()
        for server in servers:
            server.shutdown()
            server.server_close()
        ticker.join()
        for site in sites:
            site.world.banner.close()
        for bodies in {id(site.world.bodies): site.world.bodies for site in sites}.values():
            bodies.sweep()


def _tick(sites: Sequence[Site], stop: threading.Event) -> None:
    """Where time runs by itself or bodies live, things happen without being asked."""
    clocks: dict[int, VirtualClock] = {id(site.world.clock): site.world.clock for site in sites}
    flowing = [clock for clock in clocks.values() if not math.isinf(clock.speed)]
    real = [site.world for site in sites if site.world.bodies.real]
    if not flowing and not real:
        return
    while not stop.wait(TICK):
        for clock in flowing:
            clock.moved()
        for world in real:
            look(world)
