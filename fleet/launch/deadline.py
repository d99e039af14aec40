"""When a machine ends by itself: its container keeps the deadline that it was ordered with, whatever the run's newest
plan says, and starting the machine again does not change it (templates/run/keeper.py)."""

from __future__ import annotations

from datetime import UTC, datetime

from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Known, Run
from fleet.providers.values import Container

DEADLINE = "deadline"  # event
NAME = "STOKER_DEADLINE"  # seconds since 1970


def remember(ledger: Ledger, run: str, tag: str, container: Container) -> None:
    """Before the order is sent: the ledger keeps no container but the newest. Raises OutsideFailed: then it must not be
    sent."""
    if (at := moment(container.env.get(NAME))) is not None:
        ledger.tell(run, DEADLINE, f"{tag}: ends by itself at {at.isoformat()}")


def deadline_of(ledger: Ledger, run: Run, known: Known) -> datetime | None:
    """Of this machine; of one whose order is not in this ledger, what the run's plan says. None: none is known."""
    for event in reversed(ledger.events(run.name)):
        if known.tag and event.kind == DEADLINE and event.words.startswith(f"{known.tag}: "):
            return datetime.fromisoformat(event.words.rsplit(" ", 1)[1])
    box = run.plan.get("container") or {}
    return moment((box.get("env") or {}).get(NAME))


def moment(text: str | None) -> datetime | None:
    """Seconds since 1970 as a time; None for what is none."""
    try:
        return datetime.fromtimestamp(float(text or ""), UTC)
    except (ValueError, OverflowError, OSError):
        return None
