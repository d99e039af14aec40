"""One look at one run: its machine as listed, what it says, whether it lives, which limits it has reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from fleet.clock import Clock
from fleet.launch.look import sight
from fleet.launch.thin import is_own
from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Event, Known, Run
from fleet.life.heard import Heard
from fleet.life.signs import read
from fleet.life.told import STARTED, STOPPED
from fleet.life.verdict import Life, Patience, Sight, Verdict, judge
from fleet.providers.provider import Provider
from fleet.providers.values import State
from fleet.watch.disk import bare
from fleet.watch.limits import Breach, Spent, breaches
from fleet.watch.spending import AT_WORK, bounds, spending
from profiles.errors import StokerError

# Clean lists without a machine, and the time they span, before it is asked for by itself: lists lag, and two
# who watch may list in one second (providers.md 0.1, 6.2 row 5).
CLEAN_LISTS, MISSED = 2, timedelta(seconds=90)
TAIL = 200  # lines of output
# Requests to one provider: two lists a minute and at most READS outputs, of three requests each at Vast.ai (see
# providers.md 2.8): 20 a minute. Up to twelve runs are read every OUTPUT, more of them less often.
EVERY = timedelta(seconds=30)
OUTPUT = timedelta(minutes=2)
READS, MINUTE = 6, timedelta(minutes=1)
FRESH = 0.9  # of EVERY: a list that is younger answers everybody who looks in this round, in ten processes too
COMING = timedelta(minutes=10)  # from a start until the machine is listed as running, or never will be


@dataclass(frozen=True, slots=True)
class Eyes:
    """How runs are looked at. every: between two lists of one provider; output: between two readings of one machine;
    reads: when outputs were read at each provider, in the last minute."""

    ledger: Ledger
    providers: Mapping[str, Provider]
    clock: Clock
    every: timedelta = EVERY
    output: timedelta = OUTPUT
    patience: Patience = field(default_factory=Patience)
    reads: dict[str, list[datetime]] = field(default_factory=dict)

    def may_read(self, provider: str, now: datetime) -> bool:
        """Whether an output may be asked for now; counts it then."""
        lately = [at for at in self.reads.get(provider, ()) if timedelta(0) <= now - at < MINUTE]
        allowed = len(lately) < READS
        self.reads[provider] = [*lately, now] if allowed else lately
        return allowed


@dataclass(frozen=True, slots=True)
class Watched:
    """A run after one look. known None: it has no machine; gone: that is proven, of one that it had; holder: the
    process that launches for it, "" for none; bare: why nothing of the run ends with its machine, "" when it may."""

    run: Run
    known: Known | None
    verdict: Verdict
    heard: Heard
    spent: Spent
    breaches: tuple[Breach, ...] = ()
    trouble: str = ""  # what could not be asked, with the reason
    holder: str = ""
    gone: bool = True
    bare: str = ""


def look(eyes: Eyes, run: Run, heard: Heard) -> Watched:
    """Looks at `run`. Lists and output that are young enough are not asked for again. Raises nothing for a provider
    that does not answer."""
    ledger, now = eyes.ledger, eyes.clock.now()
    machines, holder = ledger.live(run.name), ledger.held_by(run.name)
    if not machines:
        verdict = Verdict(Life.BOOTING, f"being rented by {holder}") if holder else Verdict(Life.LOST, NONE)
        spent = spending(ledger, run, None, heard, now, verdict.life)
        return Watched(run, None, verdict, heard, spent, bound(spent, run, eyes), holder=holder)
    known = ([one for one in machines if is_own(ledger, one)] or machines)[-1]  # one that came too late is no run's
    listed, trouble = listing(eyes, known.provider)
    known = ledger.instance(known.provider, known.id) or known
    if listed and known.ended is None and not known.missed:
        trouble = listen(eyes, known, heard)
    now = eyes.clock.now()
    away = is_gone(eyes, known, now)
    begun = started(ledger, known)
    if begun > known.first:
        heard.started(begun)
    without = bare(run, known.instance, eyes.providers.get(known.provider))
    verdict = judge(seen(eyes, known, heard, listed, begun, away), now, eyes.patience)
    spent = spending(ledger, run, known, heard, now, verdict.life)
    return Watched(run, known, verdict, heard, spent, bound(spent, run, eyes), trouble, holder, away, without)


def is_gone(eyes: Eyes, known: Known, now: datetime) -> bool:
    """Whether its provider has shown that the machine is there no more: by lists for long enough, and by its own page.
    What cannot be asked shows nothing."""
    if known.ended is not None:
        return True
    since = known.missed_since
    if known.missed < CLEAN_LISTS or since is None or now - since < MISSED or known.provider not in eyes.providers:
        return False
    try:
        return eyes.providers[known.provider].instance(known.id) is None
    except StokerError:
        return False


NONE = "it has no machine"


def seen(eyes: Eyes, known: Known, heard: Heard, listed: bool, begun: datetime, gone: bool) -> Sight:
    """What is put before the judge. Time in which nobody could listen is not held against the run. begun: when its
    machine was rented, or started again."""
    due, now = begun + eyes.patience.boot, eyes.clock.now()
    told = heard.quiet
    return Sight(
        instance=None if gone else known.instance,
        signs=heard.signs,
        ordered=begun,
        heard=None if told is None else now - told,
        listed=listed or known.ended is not None,
        unread=heard.read is None or heard.read < due,
        paused=known.instance.state is State.STOPPED and paused(eyes.ledger, known, now),
    )


def paused(ledger: Ledger, known: Known, now: datetime) -> bool:
    """Whether this machine stands because the user stopped it, or has only just started it again."""
    told = [event for event in ledger.events(known.run) if of(known, event)]
    return bool(told) and (told[-1].kind == STOPPED or now - told[-1].at < COMING)


def started(ledger: Ledger, known: Known) -> datetime:
    """When the machine was last begun: rented, or started again."""
    again = [event.at for event in ledger.events(known.run) if of(known, event) and event.kind == STARTED]
    return max([known.first, *again])


def of(known: Known, event: Event) -> bool:
    """Whether it tells of a stop or a start of that machine."""
    return event.kind in (STOPPED, STARTED) and event.instance == known.id


def listing(eyes: Eyes, name: str) -> tuple[bool, str]:
    """Whether `name` could be asked for its machines just now, else why not."""
    if name not in eyes.providers:
        return False, f"{name}: no key here"
    try:
        sight(eyes.ledger, eyes.providers[name], young=eyes.every.total_seconds() * FRESH)
    except StokerError as failed:
        return False, failed.what
    return True, ""


def listen(eyes: Eyes, known: Known, heard: Heard) -> str:
    """Reads the machine's output when it is time to, and whenever its state has changed: the last words tell why. What
    went wrong, else ""."""
    now, state = eyes.clock.now(), str(known.instance.state)
    if (known.instance.gpu_busy or 0.0) > AT_WORK:
        heard.busy = now
    if (state == heard.state and not heard.due(now, eyes.output)) or not eyes.may_read(known.provider, now):
        return ""
    heard.asked, heard.state = now, state
    try:
        lines = list(islice(eyes.providers[known.provider].logs(known.id, TAIL), 4 * TAIL))
    except StokerError as failed:
        return failed.what
    heard.hear(read(lines, heard.signs), eyes.clock.now())
    return ""


def bound(spent: Spent, run: Run, eyes: Eyes) -> tuple[Breach, ...]:
    """The limits of `run` that are reached."""
    return tuple(breaches(spent, bounds(run), eyes.every))
