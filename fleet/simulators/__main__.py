"""`python -m fleet.simulators`: the providers on this machine, until Ctrl-C or SIGTERM.

Prints one line of JSON when ready: {"runpod": "http://127.0.0.1:PORT", ..., "clock": "http://127.0.0.1:PORT"}.
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from fleet.simulators.bodies.body import BodyFailed
from fleet.simulators.bodies.open import KINDS, open_bodies
from fleet.simulators.bodies.state import State
from fleet.simulators.clock import BEGINNING, VirtualClock
from fleet.simulators.server import running
from fleet.simulators.site import Site

PROVIDERS = ("runpod", "vast", "hyperbolic")  # fleet/simulators/NAME/site.py: open_site(clock, bodies, seed, credit)


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("fleet.simulators", description="GPU providers on this machine, to rehearse with")
    for name in PROVIDERS:
        parser.add_argument(f"--{name}", nargs="?", const=0, type=int, metavar="PORT", help="serve it (a free port)")
    parser.add_argument("--bodies", choices=KINDS, default="none", help="what runs in a machine")
    parser.add_argument("--command", default="", help="process bodies: the command, with {workspace} {id} {image}")
    parser.add_argument("--network", choices=("host", "bridge"), default="host", help="docker bodies")
    parser.add_argument("--speed", type=float, default=1.0, help="virtual seconds per second; inf: only sleeps count")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--credit", default="1000", help="USD at each provider")
    parser.add_argument(
        "--authorized-keys", type=Path, metavar="FILE", help="hyperbolic: public SSH keys that may log in"
    )
    parser.add_argument("--state", type=Path, help="a folder to keep: by it a run that was killed is cleaned up after")
    return parser.parse_args(arguments)


def open_sites(given: argparse.Namespace, state: State) -> tuple[list[Site], list[int]]:
    """The sites that were asked for (all three when none was), and their ports."""
    asked = [name for name in PROVIDERS if getattr(given, name) is not None] or list(PROVIDERS)
    clock = VirtualClock(given.speed, BEGINNING if given.speed == float("inf") else datetime.now(UTC))
    bodies = open_bodies(given.bodies, state, given.command, given.network)
    sites = []
    for name in asked:
        opened = importlib.import_module(f"fleet.simulators.{name}.site").open_site
        lets_in = {"authorized_keys": given.authorized_keys} if name == "hyperbolic" else {}
        sites.append(opened(clock, bodies, given.seed, Decimal(given.credit), **lets_in))
    return sites, [getattr(given, name) or 0 for name in asked]


def main(arguments: Sequence[str]) -> int:
    """Serves until a signal. 0 then; 2 when it could not begin."""
    given = read_arguments(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    state = None
    try:
        state = State(given.state)
        sites, ports = open_sites(given, state)
        with running(sites, ports) as urls:
            print(json.dumps(urls), flush=True)
            stop.wait()
    except (BodyFailed, ValueError, InvalidOperation, OSError) as failure:
        print(f"the simulators cannot begin: {failure}", file=sys.stderr)
        return 2
    finally:
        if state is not None:
            state.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
