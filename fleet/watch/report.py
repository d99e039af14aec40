"""The story of one run: what was asked for, every machine with its hours and dollars, checkpoints, what happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Checkpoint, Event, Known, Run
from fleet.watch.spending import billed


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of the run. hours: that it was rented so far; usd: the same in dollars."""

    known: Known
    hours: float
    usd: Decimal

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
            "usd_hour": f"{one.usd_hour:f}",
            "price_assumed": one.assumed,
            "usd": f"{self.usd:f}",
            "ended_because": one.why or None,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """usd, hours: over all machines; left: USD of the budget, None without one; goal: the step it trains to."""

    run: Run
    machines: tuple[Machine, ...]
    checkpoints: tuple[Checkpoint, ...]
    events: tuple[Event, ...]
    usd: Decimal
    left: Decimal | None
    hours: float
    goal: int | None

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
            "saved_step": self.checkpoints[0].step if self.checkpoints else None,
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
            one, ((one.ended or now) - one.first).total_seconds() / 3600, ledger.instance_cost(one.provider, one.id)
        )
        for one in ledger.known(name)
    ]
    return Report(
        run=run,
        machines=tuple(machines),
        checkpoints=tuple(ledger.checkpoints(name)),
        events=tuple(ledger.events(name)),
        usd=ledger.cost(name),
        left=ledger.left(name),
        hours=billed(ledger, name, now).total_seconds() / 3600,
        goal=goal(run),
    )


def goal(run: Run) -> int | None:
    """The step that the run was planned to end at."""
    finish = (run.plan.get("machine") or {}).get("to_finish") or {}
    steps = finish.get("steps")
    return steps if isinstance(steps, int) else None
