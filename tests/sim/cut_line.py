"""A TCP line before a real server that is cut after so many bytes from the client, or falls silent.

with CutLine(port) as line:
    line.cut_after = 1_000_000
    ... connect to 127.0.0.1:line.port ...
    assert line.up < 2_000_000
"""

from __future__ import annotations

import socket
import threading


class CutLine:
    """up: bytes that went from clients to the server. Cutting is done once, then cut_after is None again."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.cut_after: int | None = None
        self.up = 0
        self.flowing = threading.Event()  # cleared: nothing goes either way, and nobody is told
        self.flowing.set()
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()

    def __enter__(self) -> CutLine:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()
        self.flowing.set()

    def cut(self) -> None:
        """Closes all connections."""
        with self._lock:
            for end in self._open:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                end.close()
            self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.upstream))
            with self._lock:
                self.connections += 1
                self._open += [client, server]
            for source, sink, up in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._carry, args=(source, sink, up), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        try:
            while piece := source.recv(1 << 15):
                if up:
                    with self._lock:
                        self.up += len(piece)
                        over = self.cut_after is not None and self.up > self.cut_after
                        self.cut_after = None if over else self.cut_after
                    if over:
                        self.cut()
                        return
                self.flowing.wait()
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
