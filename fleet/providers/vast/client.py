"""Vast.ai behind the one protocol of all providers (fleet/providers/provider.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from fleet.clock import Clock
from fleet.offers import vast as search
from fleet.offers.offer import INTERRUPTIBLE, ON_DEMAND, Found, Question
from fleet.providers.bills import Billed
from fleet.providers.masked import hidden
from fleet.providers.outcomes import Because, NotCreated, Unable
from fleet.providers.stored_secrets import STAY
from fleet.providers.values import (
    Balance,
    Container,
    Credential,
    Instance,
    Login,
    Order,
    Shown,
    Ssh,
    Template,
    Volume,
)
from fleet.providers.vast import (
    account,
    bids,
    billing,
    bodies,
    ending,
    listing,
    logs,
    refusals,
    secret_store,
    template_store,
)
from fleet.providers.vast.answers import PROVIDER, agreed, gone, numbered
from fleet.providers.vast.pace import Pace
from fleet.providers.vast.rows import instance_of, ordered
from fleet.providers.vast.shown import requests_of
from fleet.wire.failed import KeyRefused, ProviderFailed, Throttled, key_step
from fleet.wire.line import Line, base
from profiles.errors import WrongInput

if TYPE_CHECKING:
    from fleet.providers.provider import Provider

LACKS = MappingProxyType(
    {
        "registries": "Vast keeps no registry logins: one goes with each create (providers.md 2.10)",
        "ensure_registry": "give the login with the run: it goes with each create",
        "forget": STAY,
    }
)


YOUNG = timedelta(minutes=2)


class Vast:
    """The client of one account. Threads may share it: each call has a line of its own, all of them one pace.

    Raises KeyRefused at the first request without a key. `stop` is remembered by this object only: to another one an
    interruptible machine that we stopped looks like one that was outbid (2.7).
    """

    name = PROVIDER
    lacks: Mapping[str, str] = LACKS

    def __init__(self, key: str, state: Path, clock: Clock, environ: Mapping[str, str]) -> None:
        self._key, self._clock, self._pace = key, clock, Pace(clock)
        self._base = base(PROVIDER, environ)
        self._stopped: set[str] = set()
        self._kept: set[str] = set()  # names in the account's secret store that were seen there
        self._hidden: frozenset[str] = frozenset()  # of what it rented: a machine's words may repeat it
        self._young: dict[str, tuple[Instance, datetime]] = {}  # rented here, and until when null proves nothing
        self._on_demand: dict[str, Decimal] = {}  # ask -> USD/h of the slice, as listed last

    def offers(self, question: Question, seen: str) -> Found:
        """The search, and a note of what each slice costs on demand: a bid must stay below it."""
        with self._line() as line:
            found = search.offers(line, question, seen)
        for offer in found.offers:
            if offer.kind == ON_DEMAND:
                self._on_demand[offer.id] = Decimal(str(offer.price)) * offer.count
        return found

    def ensure_template(self, container: Container) -> Template:
        """The template of this content; the container's secrets are put into the account's store on the way."""
        self._kept.clear()  # looked at again: somebody may have taken them out
        self._secrets(container)
        with self._line() as line:
            return template_store.ensure(line, bodies.template(container))

    def launch(self, order: Order) -> Instance:
        """Sends one create, once. Raises NotCreated, CreatedAnyway, Unclear, nothing else."""
        price, kept, note = None, {}, ""
        self._hidden |= {*hidden(order.container)}  # a new set: other threads may be reading the old one
        try:
            id = numbered(order.offer.id, "offer")
            bodies.roomy(order)
            if order.offer.kind == INTERRUPTIBLE:
                price = bids.worth(bids.price(order), order, self._price_of(order))
            kept = self._secrets(order.container)
            with self._line() as line:
                body = bodies.create(order, order.template.key if order.template else "", kept, price)
                answer = line.create("PUT", f"/api/v0/asks/{id}/", body)
        except KeyRefused as refused:
            raise NotCreated(Because.KEY, refused.what, refused.next_step) from None
        except ProviderFailed as failed:  # of a read before the create: nothing was ordered
            after = 60.0 if isinstance(failed, Throttled) else 10.0
            raise NotCreated(Because.BUSY, failed.what, failed.next_step, after=after) from None
        except WrongInput as wrong:  # nothing was sent, and no other offer of Vast's would do
            raise NotCreated(Because.INVALID, wrong.what, wrong.next_step) from None
        new = refusals.created(answer, hidden(order.container), bodies.long_entries(body["env"]))
        if len(kept) < len(secret_store.fit(order.container.secrets)):
            note = "the account's store is full: some secrets went with the create"
        made = ordered(order, new, note)
        self._young[new] = made, self._clock.now() + YOUNG
        return made

    def settle_in(self, instance: Instance, container: Container, tag: str) -> None:
        """Nothing: Vast starts the container itself."""

    def shown(self, container: Container, order: Order) -> list[Shown]:
        """The exact requests, secrets masked; asks nothing."""
        return requests_of(container, order)

    def instances(self) -> list[Instance]:
        """All of this account's."""
        return self._listed("")

    def tagged(self, tag: str) -> list[Instance]:
        """Those with this label, asked for by it: one page instead of all."""
        return self._listed(tag)

    def instance(self, id: str) -> Instance | None:
        """One; None only for `{"instances": null}`, or when Vast says in its own words that there is none (2.6).

        Show may be null for a while after the create (2.7): what this object rented just now is PENDING then.
        """
        number = numbered(id, "instance")
        try:
            with self._line() as line:
                answer = agreed(line.get(f"/api/v0/instances/{number}/"), f"instance {number}")
        except ProviderFailed as failed:
            if gone(failed):
                return self._not_yet(number)
            raise
        if "instances" in answer and answer["instances"] is None:
            return self._not_yet(number)
        row = answer.get("instances")
        found = instance_of(row, self._stopped, self._hidden) if isinstance(row, dict) else None
        if found is None or found.id != number:
            raise ProviderFailed(PROVIDER, f"an answer without instance {number}", "ask again in a moment")
        return found

    def logs(self, id: str, tail: int = 100, follow: bool = False) -> Iterator[str]:
        """Lines of the container's output, newest last."""
        number = numbered(id, "instance")
        with self._line() as line:
            if follow:
                yield from logs.followed(line, self._clock, number, tail)
            else:
                yield from logs.lines(line, self._clock, number, tail)

    def ssh(self, id: str) -> Ssh | None:
        """Where its shell is."""
        found = self.instance(id)
        return None if found is None else found.ssh

    def stop(self, id: str) -> None:
        """Stops it; its disk bills on."""
        self._asked_state(id, "stopped")
        self._stopped.add(id)

    def start(self, id: str) -> None:
        """Starts a stopped one; it may wait for a GPU for ever (2.7)."""
        self._asked_state(id, "running")
        self._stopped.discard(id)

    def terminate(self, id: str) -> None:
        """Ends it for good; none there is success."""
        ending.terminate(lambda pause: self._line(pause), self._clock, numbered(id, "instance"))
        self._stopped.discard(id)
        self._young.pop(id, None)

    def balance(self) -> Balance:
        """What is left to spend."""
        with self._line() as line:
            return account.balance(line)

    def billed(self, id: str, since: datetime, until: datetime) -> Billed | None:
        """What Vast's charges say of an instance (fleet/providers/bills.py)."""
        with self._line() as line:
            return billing.billed(line, numbered(id, "instance"), since, until)

    def volumes(self) -> list[Volume]:
        """Storage that bills by itself."""
        with self._line() as line:
            return account.volumes(line)

    def registries(self) -> list[Credential]:
        """None are kept there. Raises Unable."""
        raise Unable("vast keeps no registry logins", LACKS["ensure_registry"])

    def ensure_registry(self, login: Login) -> Credential:
        """None are kept there. Raises Unable."""
        raise Unable("vast keeps no registry logins", LACKS["ensure_registry"])

    def keys(self) -> Sequence[str]:
        """Public SSH keys of the account."""
        with self._line() as line:
            return account.keys(line)

    def _line(self, pause: float = 0.5) -> Line:
        if not self._key:
            raise KeyRefused(PROVIDER, "no key", key_step(PROVIDER))
        sleep = self._clock.sleep
        return Line(PROVIDER, self._key, None, self._base, pause, sleep=sleep, pace=self._pace)

    def _not_yet(self, id: str) -> Instance | None:
        """What was rented just now and is not shown yet; None: there is none."""
        made, until = self._young.get(id, (None, None))
        return made if until is not None and self._clock.now() < until else None

    def _listed(self, label: str) -> list[Instance]:
        with self._line() as line:
            rows = listing.listed(line, label)
        found = [instance_of(row, self._stopped, self._hidden) for row in rows]
        return [each for each in found if each is not None]

    def _secrets(self, container: Container) -> dict[str, str]:
        """Secret -> its name in the store, for those that are there."""
        wanted = secret_store.fit(container.secrets)
        if set(wanted.values()) <= self._kept:
            return wanted
        with self._line() as line:
            kept = secret_store.ensure(line, container.secrets)
        self._kept |= set(kept.values())
        return kept

    def _price_of(self, order: Order) -> Decimal | None:
        """What the bid's slice costs on demand, asked when it was not listed; None when that is not told."""
        known = self._on_demand.get(order.offer.id)
        if known is not None:
            return known
        try:
            with self._line() as line:
                return bids.on_demand(line, order)
        except KeyRefused:
            raise
        except ProviderFailed:  # the daily quota of searches, for one; the order's limit holds for the bid anyway
            return None

    def _asked_state(self, id: str, state: str) -> None:
        with self._line() as line:
            agreed(
                line.change("PUT", f"/api/v0/instances/{numbered(id, 'instance')}/", {"state": state}), f"instance {id}"
            )


if TYPE_CHECKING:
    _KEEPS: type[Provider] = Vast  # the whole protocol
