"""What there is to go on from: the checkpoints at a run's remote, as whoever can read the store tells of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fleet.ledger.values import Run
from fleet.life.verdict import FINISHED

EARLY = FINISHED - {"done"}  # "done" is by its number of steps, which may have been raised since
BEYOND = "beyond"  # in a run's plan


@dataclass(frozen=True, slots=True)
class Saved:
    """One checkpoint at a store. whole: its manifest is there, and every file of it with its size; its bytes are held
    against their hashes on the machine that pulls it, before a step is made with them."""

    step: int
    url: str
    whole: bool = True
    why: str = ""
    of: int | None = None  # steps that its run shall make, as its manifest tells
    end: str = ""  # why the training ended at this step, as its run told (trainer/run/ended.py); "": it did not, or did
    # not come to tell


# Those at a URL; [] when there are none. Raises OutsideFailed when the store does not answer. The fleet imports no
# trainer, which knows the stores: the caller brings it.
Stored = Callable[[str], Sequence[Saved]]


def newest(found: Sequence[Saved]) -> Saved | None:
    """The one that a machine would go on from."""
    return max((one for one in found if one.whole), key=lambda one: one.step, default=None)


def planned_steps(run: Run) -> int | None:
    """The step at which the run ends, as it was told on its command line; None: nobody told."""
    words = [str(word) for word in (run.plan.get("container") or {}).get("command", ())]
    told = [after for flag, after in pairwise(words) if flag == "--steps"]
    return int(told[-1]) if told and told[-1].isdigit() else None


def beyond(run: Run) -> int:
    """The step at which it had ended well when the user asked to go on all the same; -1: that was never asked."""
    step = run.plan.get(BEYOND)
    return step if isinstance(step, int) else -1


def last_step(run: Run, found: Sequence[Saved], on: bool = False) -> int | None:
    """The step of the newest checkpoint when there is nothing left to train after it, else None: all steps are made, or
    the run ended there early and well. A stop from outside, or at the run's hours or dollars, is no such end.

    on: the user wants to go on after an early end; the number of steps counts all the same."""
    there = newest(found)
    if there is None:
        return None
    end = planned_steps(run) or there.of
    if end is not None and there.step >= end:
        return there.step
    return there.step if there.end in EARLY and there.step > beyond(run) and not on else None


def last_words(run: Run, found: Sequence[Saved]) -> str:
    """Of a run with a last step: what is there, for the user and the ledger."""
    there = newest(found)
    if there is None:
        return ""
    why = f" ({there.end})" if there.end in EARLY else ""
    return f"step {there.step}, its last one{why}, is at {run.remote}"
