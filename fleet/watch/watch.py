"""Watching: look, judge, act, wait. Ends what reached a limit, ends what is done, hands over what was lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from fleet.launch.end import end
from fleet.launch.patience import Patience
from fleet.launch.thin import is_own
from fleet.ledger.values import DONE, ENDED, FAILED, OPEN, Run
from fleet.life.heard import Heard
from fleet.life.verdict import Life
from fleet.providers.values import State
from fleet.watch.kept import Kept
from fleet.watch.memory import OFTEN, keep
from fleet.watch.watched import Eyes, Watched, look
from profiles.errors import StokerError, WrongInput

OVER = {Life.DONE: DONE, Life.LIMITED: ENDED, Life.FAILED: FAILED}
# A provider that does not answer holds up the others' limits for so long, and is asked again in the next round.
ENDING = Patience(ending=75.0, appear=60.0)
SENDS = timedelta(minutes=10)  # after the last step, when everything is at the remote
AT_WORK = (State.PENDING, State.STARTING, State.RUNNING, State.UNKNOWN)


class Resumes(Protocol):
    """Who brings lost runs back (fleet/watch/beside.py)."""

    gave_up: dict[str, str]

    def begin(self, run: str) -> None:
        """Begins with it and comes back at once."""

    def busy(self, run: str) -> bool:
        """Whether it is under way."""


@dataclass(slots=True)
class Watch:
    """report: called with what each look found; trouble: with a line for what failed and is tried again; resumes: None:
    a lost run is told, its machine is ended and the run left open; finished: of a run whose machine is gone, the step
    at its remote when that is its last one, else None (it may have ended itself, before anybody heard why); saved: the
    newest whole step at a run's remote, None: there is none. Raises OutsideFailed, WrongInput when that is not told."""

    eyes: Eyes
    report: Callable[[Watched], None]
    trouble: Callable[[str], None]
    resumes: Resumes | None = None
    finished: Callable[[Run], int | None] = lambda run: None
    saved: Callable[[Run], int | None] = lambda run: None
    heard: dict[tuple[str, str], Heard] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)  # lost, and nobody here brings them back: run -> why
    told: set[tuple[str, str]] = field(default_factory=set)
    kept: Kept = field(init=False)  # machines that hold what nobody else has

    def __post_init__(self) -> None:
        self.kept = Kept(self.eyes, lambda run: self.saved(run), lambda words: self.trouble(words))


def watch(watching: Watch, names: Sequence[str]) -> None:
    """Looks at the runs until each of them is closed, or lost for good. Without `names`: all open runs, also those that
    come meanwhile. Raises WrongInput for an unknown name."""
    for name in names:
        watching.eyes.ledger.run(name)
    while runs := [run for run in watching.eyes.ledger.runs() if watched(watching, run, names)]:
        for run in sorted(runs, key=lambda run: last_heard(watching, run)):
            try:
                act(watching, once(watching, run))
            except StokerError as failed:  # it may still bill: the next look tries again, and the other runs go on
                watching.trouble(f"{run.name}: {failed.what}")
        watching.eyes.clock.sleep(watching.eyes.every.total_seconds())


def last_heard(watching: Watch, run: Run) -> datetime:
    """When its output was last asked for: whoever waits longest is first."""
    asked = [heard.asked for (name, _), heard in watching.heard.items() if name == run.name and heard.asked is not None]
    return max(asked, default=datetime.min.replace(tzinfo=UTC))


def watched(watching: Watch, run: Run, names: Sequence[str]) -> bool:
    """Whether `run` is one to look at. One that is lost for good is looked at while its machine may bill."""
    if run.state != OPEN or (names and run.name not in names):
        return False
    return run.name not in watching.left or bool(watching.eyes.ledger.live(run.name))


def once(watching: Watch, run: Run) -> Watched:
    """One look at one run, reported."""
    live = watching.eyes.ledger.live(run.name)
    heard = watching.heard.setdefault((run.name, live[-1].id if live else ""), Heard())
    found = look(watching.eyes, run, heard)
    watching.report(found)
    return found


def act(watching: Watch, found: Watched) -> None:
    """Ends, or hands over, as the verdict and the limits say. A limit outranks a loss: nothing is rented past it.

    A run that another process launches for is left to it: it holds the limits itself (fleet/launch/arrive.py).
    """
    life = found.verdict.life
    if found.holder:
        return
    beside(watching, found)
    remember(watching, found)
    if found.breaches:
        words = "; ".join(breach.words for breach in found.breaches)
        finish(watching, found, ENDED, f"limit reached: {words}")
    elif words := watching.kept.too_long(found):
        finish(watching, found, OVER.get(life, ENDED), words)
    elif life in OVER:
        over(watching, found)
    elif found.verdict.resumable:
        lost(watching, found)


def remember(watching: Watch, found: Watched) -> None:
    """Keeps what was heard, at once when the machine is lost. One that trains again is nobody's loss any more."""
    eyes, known = watching.eyes, found.known
    if known is not None:
        often = timedelta(0) if found.verdict.resumable else OFTEN
        keep(eyes.ledger, known, found.heard.signs, eyes.clock.now(), often)
    if found.verdict.life is Life.TRAINING:
        watching.left.pop(found.run.name, None)
        watching.kept.trains(found)
        if watching.resumes is not None and not watching.resumes.busy(found.run.name):
            watching.resumes.gave_up.pop(found.run.name, None)


def beside(watching: Watch, found: Watched) -> None:
    """Ends what came up late beside the run's own machine: an order that counted as not made, or a second of one."""
    eyes, run = watching.eyes, found.run.name
    if found.known is None or found.known.ended is not None or not is_own(eyes.ledger, found.known):
        return
    late = [one for one in eyes.ledger.live(run) if not is_own(eyes.ledger, one) and one.provider in eyes.providers]
    for one in late:
        with eyes.ledger.hold(run):
            end(eyes.ledger, eyes.providers[one.provider], one.id, "it came too late", eyes.clock, ENDING)
        watching.trouble(f"{run}: {one.provider} {one.id} came up beside its machine, and was ended")


def over(watching: Watch, found: Watched) -> None:
    """The training has ended. What it still has to send is waited for: its script says when it has ended too; limits
    hold meanwhile. What is on the machine alone stays there until a limit or the user ends it."""
    if at_work(found) and found.heard.signs.exited is None and not sent(watching, found):
        return say(watching, found, f"{found.verdict.life}: {found.verdict.why}; waiting until everything is sent")
    if watching.kept.why(found):
        return None
    return finish(watching, found, OVER[found.verdict.life], found.verdict.why)


def sent(watching: Watch, found: Watched) -> bool:
    """Whether there is nothing left to send, of a run whose script did not say that it has ended: its last step is at
    the remote, and nothing followed (fine-tuning would)."""
    env = (found.run.plan.get("container") or {}).get("env") or {}
    quiet = found.heard.quiet
    if quiet is None or quiet < SENDS or env.get("RUN_SFT"):
        return False
    return watching.finished(found.run) is not None


def lost(watching: Watch, found: Watched) -> None:
    """Ends what is left of the lost machine (a stopped one bills its disk), or has the run brought back."""
    name, why = found.run.name, found.verdict.why
    if found.gone and (step := watching.finished(found.run)) is not None:
        return finish(watching, found, DONE, f"step {step}, its last one, is at the remote")
    if watching.resumes is not None and watching.resumes.busy(name):
        return None
    if name in watching.left and not watching.kept.has(found):
        return None
    if words := watching.kept.why(found):
        watching.left[name] = f"{why}; {words}"
        return None
    watching.left.pop(name, None)
    if watching.resumes is None:
        terminate(watching, found, why)
        watching.eyes.ledger.tell(name, "lost", why, found.known.id if found.known else "")
        watching.left[name] = why
    elif name in watching.resumes.gave_up:
        watching.left[name] = watching.resumes.gave_up[name]
    else:
        watching.resumes.begin(name)
    return None


def finish(watching: Watch, found: Watched, state: str, why: str) -> None:
    """Ends the run's machines, then the run. Raises StillThere when one may still bill: the run stays open."""
    with watching.eyes.ledger.hold(found.run.name):
        terminate(watching, found, why)
        watching.eyes.ledger.set_state(found.run.name, state, why)


def terminate(watching: Watch, found: Watched, why: str) -> None:
    """Ends the run's machines, until that is proven."""
    eyes = watching.eyes
    for known in eyes.ledger.live(found.run.name):
        if known.provider not in eyes.providers:
            raise WrongInput(f"{known.provider} {known.id} cannot be ended: there is no key for {known.provider} here")
        end(eyes.ledger, eyes.providers[known.provider], known.id, why, eyes.clock, ENDING)


def say(watching: Watch, found: Watched, words: str) -> None:
    """A line, once for each machine."""
    mark = (found.known.id if found.known else found.run.name, words)
    if mark not in watching.told:
        watching.told.add(mark)
        watching.trouble(f"{found.run.name}: {words}")


def at_work(found: Watched) -> bool:
    """Whether its machine may still be doing something."""
    return not found.gone and found.known is not None and found.known.instance.state in AT_WORK
