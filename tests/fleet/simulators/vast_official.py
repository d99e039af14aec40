"""Runs in a network namespace of its own: our simulator, and the official client of `python` (its own virtual
environment) against it. Prints what the client saw, and the truth, as one line of JSON.

    python -m tests.fleet.simulators.vast_official OTHER_PYTHON SCRATCH_HOME
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

from fleet.simulators.bodies.nothing import NoBodies
from fleet.simulators.clock import VirtualClock
from fleet.simulators.server import running
from fleet.simulators.truth import rentals
from fleet.simulators.vast.site import open_site
from tests.fleet.providers.vast.published import watched

SIOCSIFFLAGS, IFF_UP = 0x8914, 1  # linux/sockios.h, net/if.h


def loopback_up() -> None:
    """A new network namespace has its loopback down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        fcntl.ioctl(line, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def only_loopback() -> bool:
    return [name for _, name in socket.if_nameindex()] == ["lo"]


def main(python: str, home: str) -> None:
    if not only_loopback():
        raise SystemExit("not in a network namespace of its own: nothing was started")
    loopback_up()
    site = open_site(VirtualClock(), NoBodies())
    wrong = watched(site)
    with running([site]) as urls:
        env = {"PATH": os.defpath, "HOME": home, "CI": "1", "VASTAI_NO_UPDATE_CHECK": "1", "VAST_URL": urls["vast"]}
        script = Path(__file__).with_name("vast_sdk_tour.py")
        done = subprocess.run([python, str(script)], env=env, capture_output=True, text=True, timeout=150)
        command = [str(Path(python).with_name("vastai")), "--api-key", "DUMMY", "show", "user", "--raw"]
        typed = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        seen = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
        truth = rentals(site.world)
        log = site.log.shown()
    print(
        json.dumps(
            {
                "seen": seen,
                "error": done.stderr[-3000:] if done.returncode else "",
                "typed": typed.stdout,
                "typed_error": typed.stderr[-2000:] if typed.returncode else "",
                "truth": truth,
                "requests": [{name: row[name] for name in ("method", "path", "agent", "status")} for row in log],
                "violations": dict(site.log.violations),
                "unpublished": wrong,
                "crashes": [str(crash) for crash in site.crashes],
            },
            default=str,
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
