"""Bringing a run back: settle, judge, find what it goes on from, end what is left, rent, and see it train.

Nothing but the ledger is remembered: the same command after a reboot goes on where this one was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from fleet.clock import Clock
from fleet.deploy import waiting
from fleet.deploy.deploy import Deployed, Ready, trains
from fleet.launch.end import end
from fleet.launch.thin import is_own
from fleet.ledger.values import DONE, OPEN, Run
from fleet.life.verdict import Patience as LifePatience
from fleet.providers.provider import Provider
from fleet.providers.values import Instance, Login
from fleet.resume import decide
from fleet.resume.looked import judged, settled
from fleet.resume.losses import ASKED, LOST, recent
from fleet.resume.policy import Policy, fruitless, gives_up, pause
from fleet.resume.rent import rent, taken_over
from fleet.resume.saved import Saved, Stored, last_step, last_words
from fleet.resume.start import started
from fleet.watch.watched import Watched
from profiles.errors import CheckFailed, StoppedEarly, WrongInput

if TYPE_CHECKING:
    from fleet.launch.patience import Patience
    from fleet.ledger.ledger import Ledger


MORE = "--steps N with more of them, or --force, goes on all the same"


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked for. policy: where, at which price, how often; count: GPUs of one machine, None: as before; where:
    providers that may be rented from, (): all that are given; force: also when its machine lives, or its disk holds
    what the remote lacks; from_start: also when nothing of it is saved; same: a machine that stands with such a disk is
    started again; more: also when it ended early and well; unattended: nobody is there to be asked: one that never
    saved anything may begin anew."""

    policy: Policy = field(default_factory=Policy)
    count: int | None = None
    where: tuple[str, ...] = ()
    force: bool = False
    from_start: bool = False
    same: bool = False
    more: bool = False
    unattended: bool = False

    @property
    def word(self) -> decide.Word:
        """What the user said of what may be thrown away."""
        return decide.Word(self.force, self.from_start)


@dataclass(slots=True)
class Comeback:
    """What is needed for it. providers: all where machines of the run are or may be rented; secrets: of now; login: for
    a private image; rebuilt: of a run that was recovered without its plan, its row with one, and the login; agree: asks
    a person with a line of what would be rented, raises Refused; asked: the run's row with what is asked for anew, its
    limits above all, which is kept with that yes and not before; fit: raises Refused when nothing may be rented at a
    provider from here now (our clock is wrong)."""

    ledger: Ledger
    providers: Mapping[str, Provider]
    clock: Clock
    say: Callable[[str], None]
    stored: Stored
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    login: Login | None = None
    terms: Terms = field(default_factory=Terms)
    rebuilt: Callable[[], tuple[Run, Login | None]] | None = None
    agree: Callable[[str], None] = lambda words: None
    asked: Callable[[Run], Run] = lambda run: run
    fit: Callable[[str], None] = lambda provider: None
    ready: Ready = waiting.ready
    patience: Patience | None = None
    life: LifePatience = field(default_factory=LifePatience)
    first_step: timedelta = waiting.BOOT


@dataclass(frozen=True, slots=True)
class Resumed:
    """words: what was found or done; deployed: the machine that was rented, None when nothing had to be done; step: of
    the checkpoint that it goes on from, None: from the start, or nothing was rented."""

    run: str
    words: str
    deployed: Deployed | None = None
    step: int | None = None


def resume(back: Comeback, name: str, wait: bool = True) -> Resumed:
    """Brings the run back, machine after machine, until it trains or the policy gives up.

    wait False: one machine, and judging it is left to the watcher who asked. Raises WrongInput for an unknown run,
    Refused (nothing to go on from, a limit is reached, another process is at it), OutsideFailed (a provider or the
    store does not answer: nothing is concluded; NoMachine with what was tried), CheckFailed (given up), StillThere (the
    old machine may bill: no second one beside it), StoppedEarly (Ctrl-C).
    """
    ledger = back.ledger
    before = ledger.run(name).state
    if back.terms.unattended and before != OPEN:
        return Resumed(name, f"is {before}: only a person opens it again")
    try:
        with ledger.hold(name):
            found = begun(back, name, wait)
        while not isinstance(found, Resumed):
            rested(back, name)
            with ledger.hold(name):
                if any(is_own(ledger, one) and not one.ending for one in ledger.live(name)):
                    return Resumed(name, "another process has brought it back")
                instance = rent(back, back.asked(ledger.run(name)), found, before)
                before = OPEN  # it is open now: whoever ends it from here on has the last word
            done = seen(back, name, instance, wait)
            step = found.step if found else None
            if not done.waiting:
                return Resumed(name, "trains" if wait else "rented", done, step)
            with ledger.hold(name):
                now = judged(ledger, ledger.run(name), back.providers, back.clock, back.say, back.life)
                if not now.verdict.resumable:
                    return Resumed(name, f"{now.verdict.life}: {done.waiting}", done, step)
                found = cleared(back, now, back.terms.unattended or found is None)
    except KeyboardInterrupt:
        raise StoppedEarly(*kept(ledger, name)) from None
    return found


def begun(back: Comeback, name: str, asked: bool) -> Resumed | Saved | None:
    """What the next machine goes on from, once nothing of the old one is left; Resumed when none is needed. asked: by
    a person."""
    ledger, run = back.ledger, back.ledger.run(name)
    if run.state == DONE and not (back.terms.force or back.terms.more) and not ledger.live(name):
        return Resumed(name, f"is done: {run.words}; {MORE}")
    if asked:
        ledger.tell(name, ASKED, f"resume, {back.terms.policy.where}")
    settled(ledger, name, back.providers, back.clock)
    now = judged(ledger, run, back.providers, back.clock, back.say, back.life)
    if asked and (order := decide.half_way(ledger, now)) is not None:
        instance = taken_over(back, run, order)
        if instance is not None:
            return Resumed(name, "went on with the machine that was ordered", seen(back, name, instance, True))
        now = judged(ledger, run, back.providers, back.clock, back.say, back.life)
    asks = back.asked(run)
    if not back.terms.force:
        decide.reached(now, asks.limits, run.limits)
    if back.terms.same and not (back.terms.force or back.terms.from_start):  # else it is to be ended
        found = at_remote(back, run)
        if decide.wakes(ledger, now, found, back.clock.now()):
            return started(back, now, found)
    words = decide.stands(ledger, now, back.terms.force)
    if words and (asks.limits, asks.policy) != (run.limits, run.policy):
        back.agree(f"keep what was typed for `{name}`, which {words}")
        ledger.change_run(name, limits=asks.limits, policy=asks.policy)
        words = f"{words}; what was typed is kept"
    return Resumed(name, words) if words else cleared(back, now, back.terms.unattended)


def at_remote(back: Comeback, run: Run) -> Sequence[Saved]:
    """What is saved of the run."""
    return back.stored(run.remote) if run.remote else ()


def cleared(back: Comeback, now: Watched, fresh: bool) -> Resumed | Saved | None:
    """Ends what is left of the run's machines, after it is known what to go on from: data first. Nothing is rented
    while one of them may still run, since both would write to the same place. Resumed: there is nothing left to train.
    """
    ledger, run, why = back.ledger, now.run, now.verdict.why or str(now.verdict.life)
    found, asks = at_remote(back, run), back.asked(run)
    step = None if back.terms.force else last_step(asks, found, back.terms.more)
    saved = decide.source(ledger, now, found, back.terms.word, fresh, back.clock.now())
    for known in ledger.live(run.name):
        if known.provider not in back.providers:
            raise WrongInput(f"there is no key for {known.provider}, where {known.id} may still run", "set its key")
        back.say(f"ending {known.provider} {known.id}: {why}")
        end(ledger, back.providers[known.provider], known.id, why, back.clock)
    if step is not None:
        words = last_words(run, found)
        ledger.set_state(run.name, DONE, words)
        return Resumed(run.name, f"is done: {words}; {MORE}")
    if now.known is not None:
        ledger.tell(run.name, LOST, why, now.known.id)
    if saved is not None:
        ledger.checkpoint(run.name, saved.step, run.remote, "")
        ledger.tell(run.name, "checkpoint", f"step {saved.step} is whole at {run.remote}")
    decide.affordable(ledger, asks, back.clock.now())
    return saved


def rested(back: Comeback, name: str) -> None:
    """Waits between machines that brought nothing. Raises CheckFailed when there were too many of them."""
    vain = recent(back.ledger, name)
    if why := gives_up(back.terms.policy, vain):
        back.ledger.tell(name, "gave-up", why)
        tried = "; ".join(f"{loss.provider} {loss.count} x {loss.gpu}" for loss in vain[-back.terms.policy.losses :])
        raise CheckFailed(
            f"`{name}` is not brought back: {why} ({tried})", f"./inv report {name}, then ./inv resume {name}"
        )
    wait = pause(vain)
    if wait:
        back.say(f"waiting {wait.total_seconds():.0f} s: {fruitless(vain)} lost without a new checkpoint")
        back.clock.sleep(wait.total_seconds())


def seen(back: Comeback, name: str, instance: Instance, wait: bool) -> Deployed:
    """The machine, once it trains, or why it is not known to; wait False: it is not awaited."""
    if not wait:
        return Deployed(name, instance)
    provider = back.providers[instance.provider]
    return trains(back.ledger, name, provider, instance, back.clock, back.say, back.first_step)


def kept(ledger: Ledger, name: str) -> tuple[str, str]:
    """After Ctrl-C: what there is, and how to go on."""
    live = ledger.live(name)
    if live:
        one = live[-1]
        return (
            f"stopped; {one.provider} {one.id} runs on and costs {one.usd_hour:.2f} USD/h",
            f"./inv resume {name} goes on; to end it: ./inv terminate {name}",
        )
    return "stopped; nothing is known to be rented", f"./inv resume {name} goes on"
