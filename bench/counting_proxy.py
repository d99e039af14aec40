"""A proxy before a registry that counts the bytes of request bodies, by what they were sent to.

It looks at request heads only and passes answers through as they are, so that it costs little. Requests must state
their Content-Length, as Stoker's do.
"""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import threading
from dataclasses import dataclass, field
from io import BufferedIOBase

PIECE = 1 << 18


@dataclass
class Counts:
    """Bytes that arrived: of blobs, of manifests; requests: how many."""

    blobs: int = 0
    manifests: int = 0
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, path: str, count: int) -> None:
        with self.lock:
            if "/blobs/" in path:
                self.blobs += count
            else:
                self.manifests += count

    def reset(self) -> None:
        with self.lock:
            self.blobs = self.manifests = self.requests = 0


class CountingProxy:
    """Listens on a free loopback port while the context is open; `host` is what references must name."""

    def __init__(self, upstream: str) -> None:
        self.upstream, self.counts = upstream, Counts()
        self.hold_at: int | None = None  # bytes of blobs after which nothing moves on until `release`
        self.held, self.released = threading.Event(), threading.Event()
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    proxy.serve(self.rfile, self.connection)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> CountingProxy:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def release(self) -> None:
        """Lets everything move again, for good."""
        self.hold_at = None
        self.released.set()

    def serve(self, reader: BufferedIOBase, client: socket.socket) -> None:
        """One connection: requests are read here, answers flow back in a thread of their own."""
        host, _, port = self.upstream.partition(":")
        with socket.create_connection((host, int(port))) as upstream:
            back = threading.Thread(target=flow, args=(upstream, client), daemon=True)
            back.start()
            while head := read_head(reader):
                upstream.sendall(head)
                self.body(reader, upstream, head)
            with contextlib.suppress(OSError):
                upstream.shutdown(socket.SHUT_WR)
            back.join()

    def body(self, reader: BufferedIOBase, upstream: socket.socket, head: bytes) -> None:
        path = head.split(b" ", 2)[1].decode("latin-1")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        left = int(length[1]) if length else 0
        with self.counts.lock:
            self.counts.requests += 1
        while left > 0 and (piece := reader.read1(min(PIECE, left))):
            left -= len(piece)
            self.counts.add(path, len(piece))
            if self.hold_at is not None and self.counts.blobs >= self.hold_at:
                self.held.set()
                self.released.wait()
            upstream.sendall(piece)


def read_head(reader: BufferedIOBase) -> bytes:
    """Request line and headers, up to the empty line; empty at the connection's end."""
    lines = []
    while line := reader.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def flow(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
