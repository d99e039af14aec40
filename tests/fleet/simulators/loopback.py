"""Programs that must not reach anybody: run in a network namespace that has loopback and nothing else.

The vendors' own clients fall back to the vendor's real host when a variable is misspelt (providers.md 5), so they are
driven in here or not at all.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
SIOCSIFFLAGS = 0x8914  # linux/sockios.h
UP_AND_RUNNING = 0x41  # IFF_UP | IFF_RUNNING


def alone(module: str, *arguments: str, seconds: float = 300) -> Any:
    """What `python -m MODULE ARGUMENTS` prints as JSON, run in a namespace of its own; the module calls `begin`.

    A machine that allows no such namespace skips the test; with CI=true it fails.
    """
    way = allowed()
    done = subprocess.run(
        [*way, sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def allowed() -> list[str]:
    """The command that makes the namespace: as root without, else with a user namespace."""
    way = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    try:
        refused = subprocess.run([*way, "true"], capture_output=True, text=True).stderr.strip()
    except OSError as failure:
        refused = str(failure)
    if refused:
        words = f"no network namespace can be made here: {refused}"
        pytest.fail(words) if os.environ.get("CI") == "true" else pytest.skip(words)
    return way


def begin() -> list[str]:
    """Inside: loopback goes up. Returns the interfaces there are; raises RuntimeError when one leads out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        fcntl.ioctl(line, SIOCSIFFLAGS, struct.pack("16sh", b"lo", UP_AND_RUNNING))
    found = [name for _, name in socket.if_nameindex()]
    routes = Path("/proc/net/route").read_text().splitlines()[1:]
    if found != ["lo"] or routes:
        raise RuntimeError(f"this is no namespace of its own: {found}, {len(routes)} routes")
    return found
