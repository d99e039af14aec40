"""What the ledger takes and gives: plain values. Money is Decimal USD outside, whole micro-USD on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from fleet.offers.offer import Offer
from fleet.providers.values import Instance

# What a run is.
OPEN, DONE, ENDED, FAILED = "open", "done", "ended", "failed"
RUN_STATES = (OPEN, DONE, ENDED, FAILED)
# What a wish came to; OPEN until then.
MET, UNMET = "met", "unmet"
# What is known of one create. The first four may bill; at most one attempt of a wish is in one of them.
INTENDED = "intended"  # on disk, surely not sent yet
SENT = "sent"  # the request may have left; nobody knows more
UNCLEAR = "unclear"  # the answer was lost or says nothing
CREATED = "created"  # there is a machine
REFUSED = "refused"  # answered: nothing was created
ABSENT = "absent"  # looked for long enough: nothing was created; the tag stays on the watch list
GONE = "gone"  # its machine has ended
MAY_BILL = (INTENDED, SENT, UNCLEAR, CREATED)
UNSETTLED = (INTENDED, SENT, UNCLEAR)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may cost. None: no such limit. usd: all its machines together, failed attempts included; usd_hour:
    one machine; hours: of all of them; idle_minutes: of its GPUs."""

    usd: Decimal | None = None
    usd_hour: Decimal | None = None
    hours: float | None = None
    idle_minutes: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One training run, whatever machines it has had.

    image: reference@digest; plan: what a relaunch needs (the container without its secrets, the goal, the planner's
    numbers), JSON; policy: how it comes back after a loss; remote: where its checkpoints are; parent: the run it was
    forked from; state: one of RUN_STATES; words: why it is so; made: set by the ledger.
    """

    name: str
    profile: str = ""
    image: str = ""
    plan: Mapping[str, Any] = field(default_factory=dict, repr=False)
    limits: Limits = Limits()
    policy: str = ""
    remote: str = ""
    parent: str = ""
    state: str = OPEN
    made: datetime | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """One machine for a run. state: OPEN, MET or UNMET; why: who asked, "deploy", "resume: preempted"."""

    id: int
    run: str
    why: str
    made: datetime
    state: str = OPEN
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One create, sent at most once. state: INTENDED ... GONE; usd_hour: what was expected; most_usd_hour: the cap;
    offer None: it cannot be read any more; instance: the machine's id once it is known; digest: of the request."""

    tag: str
    wish: int
    run: str
    provider: str
    offer: Offer | None
    usd_hour: Decimal
    most_usd_hour: Decimal
    digest: str
    state: str
    made: datetime
    sent: datetime | None = None
    instance: str = ""
    because: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """One machine as the ledger knows it. instance: as it was last seen; run "": nobody's.

    usd_hour: what it is counted at; assumed: because no price was told, not because it was read. missed: clean lists in
    a row without it, since `missed_since`. ending: why it is being ended, not proven yet; ended: proven; why: of that.
    adopted: kept by word or by `reconcile`, not because an attempt is known to have made it.
    """

    instance: Instance
    run: str
    first: datetime
    seen: datetime
    usd_hour: Decimal
    assumed: bool
    missed: int = 0
    missed_since: datetime | None = None
    ending: str = ""
    ended: datetime | None = None
    why: str = ""
    adopted: bool = False

    @property
    def provider(self) -> str:
        return self.instance.provider

    @property
    def id(self) -> str:
        return self.instance.id

    @property
    def tag(self) -> str:
        return self.instance.tag


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in a line. kind: a word for programs; instance: id at its provider, or ""."""

    at: datetime
    run: str
    kind: str
    words: str
    instance: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was verified at the remote."""

    run: str
    step: int
    url: str
    digest: str
    at: datetime


@dataclass(frozen=True, slots=True)
class BadMachine:
    """A machine that is left out until then."""

    provider: str
    machine: str
    why: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of an account's machines as they were listed."""

    provider: str
    at: datetime
    instances: tuple[Instance, ...]
