"""What is done about a step that went wrong: a loss or gradient that is no number, or a loss far above the others.

A step that is not finite is never applied. Then, in this order: it is skipped, with its data; after `guard.skips` in a
row the run goes back to its newest checkpoint and on behind the bad data; after `guard.rollbacks` of those it stops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainer.config import Guard

APPLY, SKIP, ROLLBACK, STOP = "apply", "skip", "rollback", "stop"


@dataclass
class Watch:
    """What the guards remember; part of the run's state. mean and variance: of the loss, over a sliding window
    (exponential, as in the usual debiased form); seen: losses in them; skipped: bad steps in a row."""

    mean: float = 0.0
    variance: float = 0.0
    seen: int = 0
    skipped: int = 0
    rollbacks: int = 0

    def learn(self, loss: float, window: int) -> None:
        """Takes a good loss into the running mean and variance."""
        self.seen += 1
        share = 1.0 / min(self.seen, window)
        ahead = loss - self.mean
        self.mean += share * ahead
        self.variance = (1 - share) * (self.variance + share * ahead * ahead)


@dataclass(frozen=True)
class Verdict:
    """action: apply, skip, rollback or stop; story: one sentence, empty when all is well."""

    action: str
    story: str = ""


def judge(loss: float, norm: float, guard: Guard, watch: Watch) -> Verdict:
    """What to do with a step of this mean loss and gradient norm. Changes `watch`.

    The same on all ranks, since loss and norm are.
    """
    bad = not (math.isfinite(loss) and math.isfinite(norm))
    if bad:
        what = f"the loss is {loss:g}, the gradient norm {norm:g}"
        return _escalate(guard.nan, what, guard, watch)
    spike = _spike(loss, guard, watch)
    if spike and guard.spike not in ("warn", "off"):
        return _escalate(guard.spike, spike, guard, watch)
    watch.skipped = 0
    watch.learn(loss, guard.spike_window)
    return Verdict(APPLY, f"{spike}; applied, since guard.spike is warn" if spike and guard.spike == "warn" else "")


def _spike(loss: float, guard: Guard, watch: Watch) -> str:
    if guard.spike == "off" or watch.seen < guard.spike_window:
        return ""
    sigma = math.sqrt(watch.variance)
    limit = watch.mean + guard.spike_sigma * max(sigma, 1e-3)
    return f"the loss {loss:.4f} is far above its mean {watch.mean:.4f} (sigma {sigma:.4f})" if loss > limit else ""


def _escalate(wish: str, what: str, guard: Guard, watch: Watch) -> Verdict:
    watch.skipped += 1
    if wish == "skip" and watch.skipped <= guard.skips:
        return Verdict(SKIP, f"{what}; skipped with its data ({watch.skipped} in a row)")
    if wish != "stop" and watch.rollbacks < guard.rollbacks:
        watch.skipped = 0
        watch.rollbacks += 1
        return Verdict(ROLLBACK, f"{what}; back to the newest checkpoint, and on behind this data")
    return Verdict(STOP, what)
