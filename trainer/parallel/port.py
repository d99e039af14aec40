"""The port where the ranks meet. Between choosing a free one and rank 0 listening on it another process may take it:
rank 0 then tells the launcher by a file, and the launcher starts over with another."""

from __future__ import annotations

import os
import socket
from pathlib import Path

FOLDER = "STOKER_LAUNCH"  # set by our launcher for its ranks: a folder of this launch
TAKEN = "port-taken"


def free() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tell_taken(error: str) -> bool:
    """Whether the error means that the port is taken; if so, our launcher is told."""
    if "eaddrinuse" not in error.lower() and "address already in use" not in error.lower():
        return False
    folder = os.environ.get(FOLDER)
    if folder:
        Path(folder, TAKEN).touch()
    return True
