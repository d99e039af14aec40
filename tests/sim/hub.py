"""A Hugging Face Hub on loopback, as the official client knows it: two servers, one for the Hub, one for its storage.

    with hub(tmp_path) as server:
        HfApi(endpoint=server.url, token=server.token).create_repo("tester/run", private=True)
        server.faults.cut("PUT /lfs", after=1000)

    python -m tests.sim.hub --port 0 --folder DIR --token T      # prints its URL, runs until it is killed

Everything it answers is read off huggingface_hub 2.4's source; where that leaves the server's side open, a comment
says that it is a guess. Xet is not served: set HF_HUB_DISABLE_XET=1 (with hf_xet installed the client always asks
for a Xet token first, and the protocol behind it is in compiled code).
"""

from __future__ import annotations

import argparse
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.sim.hub_faults import Faults
from tests.sim.hub_lfs import Hub
from tests.sim.hub_model import Repositories, Repository, Stored, now
from tests.sim.hub_storage import SIGNATURE, Storage

USER = "tester"


class Listener(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # Takes little in advance, so that what a client has sent is nearly what has arrived.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        super().server_bind()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class HubServer:
    """url, token (may write), reader (a token that may only read), user: whose repositories they are.

    part_bytes: LFS objects above it are uploaded in parts of that size. page: entries of /tree per answer.
    """

    def __init__(self, folder: Path, token: str = "hf_simulated", port: int = 0) -> None:
        self.user, self.token, self.reader = USER, token, "hf_reader"
        self.tokens = {self.token: (USER, "write"), self.reader: (USER, "read")}
        self.faults = Faults()
        self.repositories = Repositories(folder)
        self.part_bytes: int | None = None
        self.page = 1000
        shared = {"faults": self.faults, "server_state": self}
        self._servers = [
            Listener(("127.0.0.1", port), type("HubHandler", (Hub,), shared)),
            Listener(("127.0.0.1", 0), type("StorageHandler", (Storage,), shared)),
        ]
        self.url, self.storage_url = (f"http://127.0.0.1:{one.server_address[1]}" for one in self._servers)

    def start(self) -> None:
        for one in self._servers:
            threading.Thread(target=one.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.faults.closing.set()
        for one in self._servers:
            one.shutdown()
            one.server_close()

    def repository(self, name: str, kind: str = "model") -> Repository:
        return self.repositories.all[kind, name]

    def variables(self, home: Path) -> dict[str, str]:
        """The environment of a process that shall talk to this Hub; home: for its caches, and with no login in it."""
        settings = {"HF_ENDPOINT": self.url, "HF_TOKEN": self.token, "HF_HOME": str(home)}
        return {**settings, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}

    # for the handlers

    def key(self, repository: Repository) -> str:
        return repository.folder.name

    def by_key(self, key: str) -> Repository | None:
        return next((one for one in self.repositories.all.values() if one.folder.name == key), None)

    def object_url(self, repository: Repository, sha: str) -> str:
        return f"{self.storage_url}/lfs/{self.key(repository)}/{sha}?X-Amz-Expires=900&{SIGNATURE}"

    def store(self, repository: Repository, sha: str, size: int, path: Path) -> None:
        """Keeps an upload, unless a test wants it lost."""
        noticed = self.faults.lost()
        if noticed is not None:
            path.unlink()
            if not noticed:
                repository.believed.add(sha)
            return
        with self.repositories.lock:
            path.replace(repository.object_path(sha))
            repository.stored[sha] = Stored(sha, size, now())


@contextmanager
def hub(folder: Path, **settings: Any) -> Iterator[HubServer]:
    """A running Hub that keeps its objects below `folder`."""
    server = HubServer(folder, **settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.hub", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--folder", type=Path, required=True, help="where objects are kept; nothing is read back")
    parser.add_argument("--token", default="hf_simulated", help="the one token that may write")
    parser.add_argument("--quota", type=int, help="bytes of LFS objects")
    given = parser.parse_args()
    with hub(given.folder, token=given.token, port=given.port) as server:
        server.faults.quota = given.quota
        print(server.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
