"""Whether a run lives: its provider's word and its own signs, each of which may be late, wrong or missing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fleet.life.signs import Signs
from fleet.providers.values import Instance, State

FINISHED = frozenset({"done", "the token limit", "no better validation loss"})  # trainer/run/ends.py: exit code 0
LIMITED = frozenset({"the time limit", "the dollar limit"})


class Life(StrEnum):
    """What a run is doing."""

    BOOTING = "booting"
    TRAINING = "training"
    SILENT = "silent"  # its machine runs, and it makes no steps
    DONE = "done"
    LIMITED = "at its limit"  # of hours or dollars: only more of it helps
    LOST = "lost"  # preempted, host gone, out of credit: to be resumed elsewhere
    STUCK = "stuck"  # never came up in its time
    FAILED = "failed"  # the container ended by itself, and not well
    PAUSED = "stopped by the user"  # until the user says otherwise
    UNREADABLE = "unreadable"  # nobody can tell now; nothing may be concluded


@dataclass(frozen=True, slots=True)
class Patience:
    """boot: from the order to the first step, with the image's pull; silence: between two steps, saves included."""

    boot: timedelta = timedelta(minutes=40)  # an image of 20 GB took others 20 minutes (providers.md 1.10)
    silence: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of a run. instance None: proven gone; listed False: its provider could not be asked.

    ordered: when it was created; heard: when a new step was last heard of; both by our own clock, since the machine's
    may be wrong; unread: its output could not be read since its first step was due; paused: the user stopped it.
    """

    instance: Instance | None
    signs: Signs
    ordered: datetime
    heard: datetime | None = None
    listed: bool = True
    unread: bool = False
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """life, and why in a clause."""

    life: Life
    why: str = ""

    @property
    def resumable(self) -> bool:
        """Whether another machine would help."""
        return self.life in (Life.LOST, Life.STUCK)


def judge(sight: Sight, now: datetime, patience: Patience) -> Verdict:
    """What the run is doing at `now`. A stop that the trainer itself told outranks the state of its machine."""
    signs = sight.signs
    if signs.exited == 0:
        return Verdict(Life.DONE, signs.stop or "the run ended with 0")
    if signs.exited in (None, 75) and signs.stop in FINISHED:
        return Verdict(Life.DONE, signs.stop)
    if signs.exited in (None, 75) and signs.stop in LIMITED:
        return Verdict(Life.LIMITED, signs.stop)
    if not sight.listed:
        return Verdict(Life.UNREADABLE, "its provider does not answer")
    found = sight.instance
    if found is None:
        return Verdict(Life.LOST, "its machine is gone")
    if signs.exited not in (None, 75):  # by itself; 75 is a stop from outside
        trained = f"trained until {signs.stop}; " if signs.stop else ""
        return Verdict(Life.FAILED, f"{trained}the run ended with {signs.exited}")
    if sight.paused and found.state in (State.STOPPED, State.INTERRUPTED):
        return Verdict(Life.PAUSED, "stopped by you")
    if found.state is State.INTERRUPTED:
        return Verdict(Life.LOST, f"interrupted: {found.words or found.status}")
    if found.state is State.STOPPED:
        return Verdict(Life.LOST, f"stopped, and not by us: {found.words or found.status}")
    if found.state is State.FAILED:
        failed = signs.step is not None and not signs.stop
        return Verdict(Life.LOST if failed else Life.FAILED, found.words or found.status or "its machine failed")
    return waiting(sight, now, patience)


def waiting(sight: Sight, now: datetime, patience: Patience) -> Verdict:
    """The verdict on a machine that is said to run, or to come."""
    found = sight.instance
    if sight.heard is None:
        late = now - sight.ordered > patience.boot
        if found is not None and found.state is State.UNKNOWN and not late:
            return Verdict(Life.UNREADABLE, f"its state is told as `{found.status}`")
        words = f"no step in {minutes(now - sight.ordered)} since it was ordered"
        if late and sight.unread and found is not None and found.state in (State.RUNNING, State.UNKNOWN):
            return Verdict(Life.UNREADABLE, "it runs, and its output cannot be read")
        return Verdict(Life.STUCK, words) if late else Verdict(Life.BOOTING, found.words if found else "")
    quiet = now - sight.heard
    if quiet > patience.silence:
        return Verdict(Life.SILENT, f"no new step for {minutes(quiet)}")
    return Verdict(Life.TRAINING, f"step {sight.signs.step}")


def minutes(span: timedelta) -> str:
    """'17 min'."""
    return f"{span.total_seconds() / 60:.0f} min"
