"""`environment`, `preflight`, `shell`, `health`: what this place is, and whether it is fit. None needs torch."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from trainer.commands import place
from trainer.errors import CHECK_FAILED
from trainer.machine import driver, environment, limits, preflight, shell
from trainer.machine import profile as baked
from trainer.run import health

REPORT = "One JSON document: GPU, driver, libraries and their versions, limits of the container, disk."
BEFORE = "Says whether the driver can run what the baked profile needs; silent when it can."
EXPORTS = "Prints lines that a shell evaluates: what a login shell of the container needs to see."
WELL = "Says whether a training lives and gets on in the run folder; for HEALTHCHECK. No training is no fault."


def register(commands: Any) -> None:
    """Adds the four commands."""
    report = commands.add_parser("environment", help="JSON report of this place", description=REPORT)
    report.add_argument("--imports", action="store_true", help="really import each library (slow)")
    report.set_defaults(act=_environment)
    before = commands.add_parser("preflight", help="driver against the profile's floor", description=BEFORE)
    before.add_argument("--require-gpu", action="store_true", help="a missing driver is a failure, not a warning")
    before.set_defaults(act=_preflight)
    exports = commands.add_parser("shell", help="export lines for shells", description=EXPORTS)
    exports.set_defaults(act=_shell)
    well = commands.add_parser("health", help="is the training well; exit 0 or 1", description=WELL)
    well.add_argument("--stall-seconds", type=float, default=health.STALL_SECONDS, metavar="S", help="without a word")
    well.set_defaults(act=_health)
    for parser in (report, before, exports, well):
        place.add(parser)


def _environment(options: argparse.Namespace) -> int:
    print(json.dumps(environment.report(place.reported_folder(options), options.imports), indent=1))
    return 0


def _preflight(options: argparse.Namespace) -> int:
    if os.environ.get("STOKER_SKIP_DRIVER_CHECK") == "1":
        return 0
    profile = baked.read(options.profile)
    if profile.get("gpu"):
        for warning in preflight.check(profile, driver.read(), options.require_gpu):
            print(f"trainer: WARNING: {warning}", file=sys.stderr)
    return 0


def _shell(options: argparse.Namespace) -> int:
    profile = baked.read(options.profile)
    found = limits.report(Path("/"))
    warning = shell.shared_memory_warning(profile, found)
    if warning:
        print(f"trainer: WARNING: {warning}", file=sys.stderr)
    print("\n".join(shell.lines(profile, found, shell.container_environment())))
    return 0


def _health(options: argparse.Namespace) -> int:
    healthy, why = health.judge(place.reported_folder(options), options.stall_seconds)
    print(why)
    return 0 if healthy else CHECK_FAILED
