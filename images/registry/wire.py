"""HTTP/1.1 over pooled sockets: the narrow waist below authorisation and retry.

`http.client` and not a bigger client: it imports in milliseconds, and lets a body be sent from, and received into, one
reused buffer, so that memory stays flat whatever a layer weighs. HTTP/1.1 on purpose: uploads over HTTP/2 suffer
RST_STREAM and head-of-line blocking behind CDNs (replicate/cog pkg/registry/registry_client.go).
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from images.registry.address import Origin, origin_of

if TYPE_CHECKING:
    import http.client
    import ssl

IDLE_LIMIT = 16  # connections kept per origin
DRAIN = 64 << 10  # bytes of an unread body that are worth reading to keep the connection


@dataclass(frozen=True, slots=True)
class Stream:
    """A body that is sent piece by piece and can be sent only once; pieces may share one buffer."""

    length: int  # bytes
    pieces: Iterable[memoryview | bytes]


class Response:
    """An answer whose body has not been read; closing it gives the connection back or drops it."""

    def __init__(self, wire: Wire, origin: Origin, connection: http.client.HTTPConnection, url: str) -> None:
        self.wire, self.origin, self.connection, self.url = wire, origin, connection, url
        self.raw = connection.getresponse()
        self.status = self.raw.status
        self.released = False

    def header(self, name: str) -> str | None:
        return self.raw.headers.get(name)

    def headers(self, name: str) -> list[str]:
        """All values of a header that may come several times (WWW-Authenticate, Warning)."""
        return self.raw.headers.get_all(name) or []

    @property
    def length(self) -> int | None:
        """Content-Length, None when not told."""
        text = self.header("content-length")
        return int(text) if text and text.isdigit() else None

    def read(self, limit: int) -> bytes:
        """At most `limit` bytes of the body; then the response is closed. Raises OSError, HTTPException."""
        try:
            return self.raw.read(limit)
        finally:
            self.close()

    def readinto(self, view: memoryview) -> int:
        """Fills `view` as far as the body goes; 0 at its end."""
        return self.raw.readinto(view)

    def close(self) -> None:
        if self.released:
            return
        self.released = True
        try:
            left = self.raw.length
            if not self.raw.isclosed() and left is not None and left <= DRAIN:
                self.raw.read()
        except Exception:
            self.connection.close()
        if self.raw.isclosed() and self.connection.sock is not None:
            self.wire.keep(self.origin, self.connection)
        else:
            self.raw.close()
            self.connection.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Wire:
    """Connections to any number of origins. Safe to use from several threads."""

    def __init__(self, connect_seconds: float, idle_seconds: float, unverified: frozenset[str] = frozenset()) -> None:
        self.connect_seconds, self.idle_seconds = connect_seconds, idle_seconds
        self.unverified = unverified  # hosts whose certificate is not checked: loopback and insecure ones
        self.idle: dict[Origin, list[http.client.HTTPConnection]] = {}
        self.contexts: dict[bool, ssl.SSLContext] = {}
        self.lock = threading.Lock()

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | Stream | None = None) -> Response:
        """One request, one answer, no retry but on a kept connection that the server had closed meanwhile.

        Raises OSError or http.client.HTTPException.
        """
        from http.client import HTTPException

        origin = origin_of(url)
        kept = self.take(origin)
        if kept is not None:
            try:
                return self.exchange(kept, origin, method, url, headers, body)
            except (OSError, HTTPException) as failure:
                kept.close()
                if isinstance(body, Stream) or isinstance(failure, TimeoutError):
                    raise
        fresh = self.connect(origin)
        try:
            return self.exchange(fresh, origin, method, url, headers, body)
        except BaseException:
            fresh.close()
            raise

    def exchange(
        self,
        connection: http.client.HTTPConnection,
        origin: Origin,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Stream | None,
    ) -> Response:
        parts = urlsplit(url)
        connection.putrequest(method, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        for name, value in headers.items():
            connection.putheader(name, value)
        if isinstance(body, Stream):
            connection.putheader("Content-Length", str(body.length))
            connection.endheaders()
            try:
                self.pour(connection, body)
            except (BrokenPipeError, ConnectionResetError):
                # The server may have said why before it hung up: a 401 or 413 is worth more than EPIPE.
                response = Response(self, origin, connection, url)
                if response.status < 400:
                    raise
                return response
        else:
            if body is not None or method in ("POST", "PUT", "PATCH"):
                connection.putheader("Content-Length", str(len(body or b"")))
            connection.endheaders(body or None)
        return Response(self, origin, connection, url)

    def pour(self, connection: http.client.HTTPConnection, body: Stream) -> None:
        """Sends the pieces. `send` in a loop, not `sendall`: its time-out is for the whole call, ours per progress."""
        for piece in body.pieces:
            view = memoryview(piece)
            while view:
                view = view[connection.sock.send(view) :]

    def take(self, origin: Origin) -> http.client.HTTPConnection | None:
        """A kept connection that the server has not closed."""
        while True:
            with self.lock:
                kept = self.idle.get(origin)
                connection = kept.pop() if kept else None
            if connection is None:
                return None
            readable, _, _ = select.select([connection.sock], [], [], 0)
            if not readable:
                return connection
            connection.close()

    def keep(self, origin: Origin, connection: http.client.HTTPConnection) -> None:
        with self.lock:
            kept = self.idle.setdefault(origin, [])
            if len(kept) < IDLE_LIMIT:
                kept.append(connection)
                return
        connection.close()

    def connect(self, origin: Origin) -> http.client.HTTPConnection:
        import http.client

        connection: http.client.HTTPConnection
        if origin.scheme == "https":
            context = self.context(origin.host in self.unverified)
            connection = http.client.HTTPSConnection(
                origin.host, origin.port, timeout=self.connect_seconds, context=context
            )
        else:
            connection = http.client.HTTPConnection(origin.host, origin.port, timeout=self.connect_seconds)
        connection.connect()
        connection.sock.settimeout(self.idle_seconds)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection

    def context(self, unverified: bool) -> ssl.SSLContext:
        """TLS as the system trusts it; Python 3.11 offers HTTP/1.1 only, which is what is wanted."""
        import ssl

        with self.lock:
            context = self.contexts.get(unverified)
            if context is None:
                context = self.contexts[unverified] = ssl.create_default_context()
                if unverified:
                    context.check_hostname = False
                    context.verify_mode = ssl.CERT_NONE
            return context

    def close(self) -> None:
        with self.lock:
            kept, self.idle = self.idle, {}
        for connections in kept.values():
            for connection in connections:
                connection.close()
