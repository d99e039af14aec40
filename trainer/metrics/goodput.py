"""Goodput: the share of a run's wall time, all attempts together, spent in steps that are part of the final model.

A pure function of the lines of `training_metrics.jsonl`. Counted apart, and no part of it: start-up (process start to
`start` line), compiling (what the first step of an attempt took longer than the median of those that follow), saves (as
far as the loop stood still), evaluation, skipped steps and steps lost to a kill or a rollback (they were done again),
and the rest. The time between two attempts, when no trainer ran, is told but counts nowhere; neither does what a killed
attempt did after its last line, since nobody wrote it down.

Durations come from `up`, a clock that cannot jump, never from the wall clock. Lines used, beside `attempt` and `up`:

    start   step (the step it goes on from), gpus, price (dollars per GPU-hour)
    step    step, step_seconds (else: since the line before)
    eval    seconds (else: since the line before)
    save    stall: seconds the loop stood still (else seconds, else: since the line before); error: there is none
    guard   action: skip, rollback; to: the step it went back to
"""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from trainer.metrics.money import dollars

COMPARED = 5  # steps whose median the first one is held against
KINDS = ("steps", "lost", "startup", "compile", "save", "evaluation", "other")


@dataclass(frozen=True)
class Goodput:
    """Seconds by kind; they add up to `seconds`. goodput: steps / seconds, None before anything was measured.

    unsaved_steps: steps since the newest save, which a kill now would add to the lost ones.
    """

    goodput: float | None
    seconds: float
    steps: float
    lost: float
    startup: float
    compile: float
    save: float
    evaluation: float
    other: float
    attempts: int
    lost_steps: int
    unsaved_steps: int
    between_attempts: float
    dollars: float
    dollars_attempt: float

    def to_json(self) -> dict[str, Any]:
        """As plain values, rounded to milliseconds and hundredths of a cent."""
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}


@dataclass(slots=True)
class _Step:
    number: int
    seconds: float
    lost: bool = False


@dataclass
class _Attempt:
    number: int
    price: float
    gpus: int
    seconds: float = 0.0
    pool: float = 0.0  # seconds nothing has claimed yet
    ended: float | None = None  # wall clock of its newest line


@dataclass
class _Opening:
    """The first step of an attempt, which compiles, and what the next ones took."""

    attempt: _Attempt
    first: _Step
    following: list[float] = field(default_factory=list)

    def excess(self) -> float:
        """Seconds the first step took longer than those that followed."""
        return max(0.0, self.first.seconds - statistics.median(self.following)) if self.following else 0.0


class Tally:
    """Adds lines up, one at a time, in the order they were written. price and gpus: when a start line has none."""

    def __init__(self, price: float = 0.0, gpus: int = 1) -> None:
        self._default = (price, gpus)
        self._kinds = dict.fromkeys(KINDS, 0.0)
        self._steps: list[_Step] = []
        self._openings: list[_Opening] = []
        self._attempts: list[_Attempt] = []
        self._money = 0.0  # of the attempts before the newest
        self._between = 0.0
        self._lost_steps = 0
        self._saved = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Takes one line; one that says nothing of use changes nothing."""
        attempt = self._attempt(record)
        if attempt is None:
            return
        gap = max(0.0, _number(record.get("up"), attempt.seconds) - attempt.seconds)
        attempt.seconds += gap
        attempt.pool += gap
        attempt.ended = _number(record.get("time"), 0.0) or attempt.ended
        take = {
            "start": self._start,
            "step": self._step,
            "eval": self._evaluation,
            "save": self._save,
            "guard": self._guard,
        }.get(str(record.get("event")))
        if take is not None:
            take(record, attempt)

    def result(self) -> Goodput:
        """What it comes to so far."""
        kinds = dict(self._kinds)
        for opening in self._openings:
            excess = opening.excess()
            kinds["lost" if opening.first.lost else "steps"] -= excess
            kinds["compile"] += excess
        kinds["other"] += sum(attempt.pool for attempt in self._attempts)
        kinds = {kind: max(0.0, value) for kind, value in kinds.items()}
        seconds = sum(kinds.values())
        newest = self._attempts[-1] if self._attempts else None
        spent = dollars(newest.seconds, newest.price, newest.gpus) if newest else 0.0
        return Goodput(
            goodput=kinds["steps"] / seconds if seconds > 0 else None,
            seconds=seconds,
            **kinds,
            attempts=len(self._attempts),
            lost_steps=self._lost_steps,
            unsaved_steps=len(self._steps) - bisect_right(self._steps, self._saved, key=lambda step: step.number),
            between_attempts=self._between,
            dollars=self._money + spent,
            dollars_attempt=spent,
        )

    def _attempt(self, record: Mapping[str, Any]) -> _Attempt | None:
        number = record.get("attempt")
        if not isinstance(number, int) or isinstance(number, bool):
            return None
        newest = self._attempts[-1] if self._attempts else None
        if newest is not None and number == newest.number:
            return newest
        if newest is not None:
            self._money += dollars(newest.seconds, newest.price, newest.gpus)
            began = _number(record.get("time"), 0.0) - _number(record.get("up"), 0.0)
            if newest.ended and began > 0:
                self._between += max(0.0, began - newest.ended)
        self._attempts.append(_Attempt(number, *self._default))
        return self._attempts[-1]

    def _start(self, record: Mapping[str, Any], attempt: _Attempt) -> None:
        attempt.price = _number(record.get("price"), attempt.price)
        attempt.gpus = int(_number(record.get("gpus"), float(attempt.gpus)))
        self._claim("startup", attempt, None)
        if isinstance(record.get("step"), int):
            self._lose_after(record["step"])
            self._saved = record["step"]

    def _step(self, record: Mapping[str, Any], attempt: _Attempt) -> None:
        number = record.get("step")
        if not isinstance(number, int):
            return
        self._lose_after(number - 1)
        step = _Step(number, self._claim("steps", attempt, record.get("step_seconds")))
        self._steps.append(step)
        newest = self._openings[-1] if self._openings else None
        if newest is None or newest.attempt is not attempt:
            self._openings.append(_Opening(attempt, step))
        elif len(newest.following) < COMPARED:
            newest.following.append(step.seconds)

    def _evaluation(self, record: Mapping[str, Any], attempt: _Attempt) -> None:
        self._claim("evaluation", attempt, record.get("seconds"))

    def _save(self, record: Mapping[str, Any], attempt: _Attempt) -> None:
        self._claim("save", attempt, record.get("stall", record.get("seconds")))
        if isinstance(record.get("step"), int) and "error" not in record:
            self._saved = max(self._saved, record["step"])

    def _guard(self, record: Mapping[str, Any], attempt: _Attempt) -> None:
        if record.get("action") in ("skip", "rollback"):
            self._claim("lost", attempt, None)
        if isinstance(record.get("to"), int):
            self._lose_after(record["to"])

    def _claim(self, kind: str, attempt: _Attempt, wish: Any) -> float:
        """Seconds of the unclaimed time that are of this kind: as many as it says, or all."""
        taken = min(attempt.pool, max(0.0, _number(wish, attempt.pool)))
        attempt.pool -= taken
        self._kinds[kind] += taken
        return taken

    def _lose_after(self, number: int) -> None:
        """The steps after this one are done again, or were not applied to what goes on."""
        while self._steps and self._steps[-1].number > number:
            step = self._steps.pop()
            step.lost = True
            self._lost_steps += 1
            self._kinds["steps"] -= step.seconds
            self._kinds["lost"] += step.seconds


def goodput(records: Iterable[Mapping[str, Any]], price: float = 0.0, gpus: int = 1) -> Goodput:
    """Of all lines of a run, oldest first."""
    tally = Tally(price, gpus)
    for record in records:
        tally.add(record)
    return tally.result()


def _number(value: Any, otherwise: float) -> float:
    """A finite number of at least 0, or the other."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15:
        return float(value)
    return otherwise
