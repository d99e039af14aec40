"""Something that greets like an SSH server, for machines without a body: the handshake's first line, and no more.

Readiness is a port that answers (providers.md 0.4), so a machine without a body must have one too.
"""

from __future__ import annotations

import socketserver
import threading

GREETING = b"SSH-2.0-Simulated\r\n"  # RFC 4253, 4.2


class _Greet(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(GREETING)
        self.request.settimeout(5)
        try:
            self.request.recv(256)
        except OSError:
            pass


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True


class Banner:
    """A listener on a free loopback port, there from its first use to `close`."""

    def __init__(self) -> None:
        self._server: _Listener | None = None
        self._lock = threading.Lock()

    def port(self) -> int:
        """Where it listens."""
        with self._lock:
            if self._server is None:
                self._server = _Listener(("127.0.0.1", 0), _Greet)
                threading.Thread(target=self._server.serve_forever, args=(0.01,), name="banner", daemon=True).start()
            return int(self._server.server_address[1])

    def close(self) -> None:
        with self._lock:
            if self._server is not None:
                self._server.shutdown()
                self._server.server_close()
                self._server = None
