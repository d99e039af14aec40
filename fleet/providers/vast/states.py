"""What Vast's four words about an instance mean together (providers.md 2.7). None of them alone is enough."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fleet.providers.values import State
from fleet.wire import fields

# The container's own words. `frozen` is paused in memory and bills its GPU: neither stopped nor running, so unknown.
BOOTING = frozenset({"created", "loading", "rebooting", "restarting", "recycling"})
DEAD = frozenset({"exited", "unknown", "offline"})  # while it should run: never becomes running again
BROKEN = re.compile(r"OCI runtime create failed", re.IGNORECASE)  # stays `created` for ever


def state(row: Mapping[str, Any], ours: bool = False) -> State:
    """The state of a listed row. ours: we asked for its stop, so that it is no interruption."""
    actual, wanted, now, then = (word(row, name) for name in ("actual_status", "intended_status", "cur_state",
                                                             "next_state"))  # fmt: skip
    if "unloaded" in (now, then):
        return State.FAILED  # released; its row lingers for a while
    if now == wanted == then == "stopped":
        # Of a bid: outbid, or born without a machine (dstack's detector). On demand: credit ended, or it expired.
        return State.STOPPED if ours or fields.flag(row, "is_bid") is False else State.INTERRUPTED
    if wanted != "running":
        return State.RUNNING if actual == "running" and wanted != "frozen" else State.UNKNOWN
    if BROKEN.search(fields.text(row, "status_msg")) and actual != "running":
        return State.FAILED
    if actual in DEAD:
        return State.FAILED
    if actual == "running":
        return State.RUNNING
    if actual in BOOTING:
        return State.STARTING
    if (actual == "" and "actual_status" in row and row["actual_status"] is None) or actual == "stopped":
        return State.PENDING  # not there yet; or asked to start again, which may take for ever
    return State.UNKNOWN


def word(row: Mapping[str, Any], name: str) -> str:
    """A status in lower case, "" without one."""
    return fields.text(row, name).lower()


def told(row: Mapping[str, Any]) -> str:
    """Vast's own words, as they came: 'running (running, running, running)'."""
    listed = [word(row, name) or "-" for name in ("actual_status", "intended_status", "cur_state", "next_state")]
    return f"{listed[0]} ({', '.join(listed[1:])})"
