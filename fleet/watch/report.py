"""The story of one run: what was asked for, every machine with its hours and dollars, checkpoints, what happened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Checkpoint, Event, Known, Run
from fleet.life.told import HEARD
from fleet.watch.spending import billed

SAVED = re.compile(r"\bsaved step (\d+)")  # fleet/watch/memory.py
LAST = re.compile(r"step (\d+), its last one\b")  # fleet/watch/watch.py, fleet/resume/saved.py


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of the run. hours: that it was rented so far; usd: the same in dollars; usd_hour: what it is counted
    at, and of one that is over the most that it ever was (a stopped one may cost nothing at its end)."""

    known: Known
    hours: float
    usd: Decimal
    usd_hour: Decimal

    def to_json(self) -> dict[str, Any]:
        """Plain values; money as text of a decimal number."""
        one = self.known
        return {
            "provider": one.provider,
            "id": one.id,
            "gpu": one.instance.gpu or None,
            "gpus": one.instance.gpus,
            "kind": one.instance.kind or None,
            "from": one.first.isoformat(timespec="seconds"),
            "to": one.ended.isoformat(timespec="seconds") if one.ended else None,
            "hours": round(self.hours, 3),
            "usd_hour": f"{self.usd_hour:f}",
            "price_assumed": one.assumed,
            "usd": f"{self.usd:f}",
            "ended_because": one.why or None,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """usd, hours: over all machines; left: USD of the budget, None without one; goal: the step it trains to;
    saved: the newest step of which anybody heard that its checkpoint was written."""

    run: Run
    machines: tuple[Machine, ...]
    checkpoints: tuple[Checkpoint, ...]
    events: tuple[Event, ...]
    usd: Decimal
    left: Decimal | None
    hours: float
    goal: int | None
    saved: int | None

    def to_json(self) -> dict[str, Any]:
        """Plain values; nothing secret."""
        run, limits = self.run, self.run.limits
        return {
            "run": run.name,
            "state": run.state,
            "words": run.words or None,
            "profile": run.profile or None,
            "image": run.image or None,
            "remote": run.remote or None,
            "policy": run.policy or None,
            "made": run.made.isoformat(timespec="seconds") if run.made else None,
            "limits": {
                "usd": None if limits.usd is None else f"{limits.usd:f}",
                "usd_hour": None if limits.usd_hour is None else f"{limits.usd_hour:f}",
                "hours": limits.hours,
                "idle_minutes": limits.idle_minutes,
            },
            "usd": f"{self.usd:f}",
            "left_usd": None if self.left is None else f"{self.left:f}",
            "hours": round(self.hours, 3),
            "goal_step": self.goal,
            "saved_step": self.saved,
            "machines": [one.to_json() for one in self.machines],
            "checkpoints": [
                {"step": one.step, "url": one.url, "seen": one.at.isoformat(timespec="seconds")}
                for one in self.checkpoints
            ],
            "story": [
                {
                    "at": one.at.isoformat(timespec="seconds"),
                    "kind": one.kind,
                    "words": one.words,
                    "instance": one.instance or None,
                }
                for one in self.events
            ],
        }


def report(ledger: Ledger, name: str, now: datetime) -> Report:
    """By the ledger alone; no provider is asked. Raises WrongInput for an unknown run."""
    run = ledger.run(name)
    machines = [
        Machine(
            one,
            ((one.ended or now) - one.first).total_seconds() / 3600,
            ledger.instance_cost(one.provider, one.id),
            (ledger.dearest(one.provider, one.id) if one.ended else None) or one.usd_hour,
        )
        for one in ledger.known(name)
    ]
    checkpoints, events = ledger.checkpoints(name), ledger.events(name)
    return Report(
        run=run,
        machines=tuple(machines),
        checkpoints=tuple(checkpoints),
        events=tuple(events),
        usd=ledger.cost(name),
        left=ledger.left(name),
        hours=billed(ledger, name, now).total_seconds() / 3600,
        goal=goal(run),
        saved=saved(run, checkpoints, events),
    )


def saved(run: Run, checkpoints: Sequence[Checkpoint], events: Sequence[Event]) -> int | None:
    """The newest step that is known to be saved: seen at the remote, said by its machine, or why the run is done."""
    told = [found for one in events if one.kind == HEARD and (found := SAVED.search(one.words))]
    told += [found for words in (run.words, *(one.words for one in events)) if (found := LAST.match(words))]
    return max((*(one.step for one in checkpoints), *(int(found[1]) for found in told)), default=None)


def goal(run: Run) -> int | None:
    """The step that the run was planned to end at."""
    finish = (run.plan.get("machine") or {}).get("to_finish") or {}
    steps = finish.get("steps")
    return steps if isinstance(steps, int) else None
