"""Hyperbolic's client: the third generation of its API only (providers.md 3.1), one create sent once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

from fleet.clock import Clock
from fleet.offers import hyperbolic as market
from fleet.offers.offer import Found, Question
from fleet.providers.hosts import keeper, pins, running
from fleet.providers.hosts.host import MEMORY, Host
from fleet.providers.hosts.ssh import NotLetIn, shell
from fleet.providers.hyperbolic import bodies, orders, outcome, rentals, settle
from fleet.providers.hyperbolic.lacks import LACKS
from fleet.providers.outcomes import Because, NotCreated, Unable
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
from fleet.wire.failed import KeyRefused, ProviderFailed
from fleet.wire.line import Line, base
from profiles.errors import OutsideFailed, WrongInput

BETWEEN = timedelta(seconds=1)  # between two requests: its limits are not known (3.2), others ask every 5-30 s
ENDED = ("not found", "already", "no such")

# How long after its first refusal a machine may still get the account's SSH key: guessed, nobody publishes it.
KEY_ARRIVES = timedelta(minutes=3)


class Hyperbolic:
    """See fleet.providers.provider.Provider. environ: STOKER_SSH_KEY, STOKER_HYPERBOLIC_URL, STOKER_LEND_KEY=1."""

    name = market.PROVIDER
    lacks: Mapping[str, str] = LACKS

    def __init__(self, key: str, state: Path, clock: Clock, environ: Mapping[str, str]) -> None:
        self._key, self._state, self._clock, self._environ = key, state, clock, environ
        self._base = base(self.name, environ)
        self._turn, self._last = threading.Lock(), datetime.min
        self.folders = MEMORY  # of a rented machine
        self._shut_out: dict[str, datetime] = {}  # rentals that do not take our SSH key, since when

    def offers(self, question: Question, seen: str) -> Found:
        """Fixed shapes, on demand; no key is needed. Raises ProviderFailed."""
        with self._line() as line:
            return market.offers(line, question, seen)

    def launch(self, order: Order) -> Instance:
        """One POST, once; what was ordered is on disk before it. Raises NotCreated and Unclear, nothing else:
        another provider's offer, and a key to be lent without a limit, are refused before anything is sent."""
        try:
            sent, named = bodies.create(order), bodies.option(order.offer)
            if self._lends():
                keeper.hours(order.container.env, order.offer.count, self._clock.now().timestamp())
        except WrongInput as wrong:
            raise NotCreated(Because.INVALID, wrong.what, wrong.next_step) from None
        try:
            before = tuple(each.id for each in self.instances())
        except KeyRefused as refused:
            raise NotCreated(Because.KEY, refused.what, refused.next_step) from None
        except ProviderFailed as failed:
            raise NotCreated(Because.BUSY, failed.what, "it is asked again", after=outcome.BUSY) from None
        at, offer = self._clock.now().isoformat(), order.offer
        note = orders.Ordered(order.tag, offer.gpu, offer.count, named["gpuType"], named["region"], at, before)
        try:
            orders.keep(self._state, note)
        except OSError as failed:
            why = f"{self.name}: the order cannot be kept in {self._state} ({failed.strerror})"
            raise NotCreated(Because.INVALID, why, "make room on this disk") from None
        with self._line() as line:
            answer = line.create("POST", bodies.RENTALS, sent)
        try:
            one = rentals.instance(outcome.created(answer, order.tag))
        except NotCreated:
            orders.drop(self._state, order.tag)
            raise
        with suppress(OSError):  # it is rented now, and has to be told
            orders.keep(self._state, replace(note, id=one.id))
        return replace(one, tag=order.tag, gpu=offer.gpu, gpus=one.gpus or offer.count)

    def settle_in(self, instance: Instance, container: Container, tag: str) -> None:
        """Docker, NVIDIA's toolkit, the image and the container, over SSH: a rental here is a bare machine (3.8)."""
        note = next((each for each in orders.kept(self._state) if each.tag == tag), None)
        plan = settle.Plan(
            self._host(instance),
            container,
            tag,
            (note.gpu,) if note else ((instance.gpu,) if instance.gpu else ()),
            note.count if note else (instance.gpus or 1),
        )
        now = self._clock.now().timestamp()
        lend = settle.Lend(self._key, self._base + bodies.TERMINATE, instance.id, now) if self._lends() else None
        try:
            settle.settle_in(plan, lend)
        except NotLetIn as refused:
            since = self._shut_out.setdefault(instance.id, self._clock.now())
            if self._clock.now() - since < KEY_ARRIVES:
                raise
            # The key is the account's: the next machine would not take it either, and this one bills.
            raise WrongInput(refused.what, refused.next_step) from None
        self._shut_out.pop(instance.id, None)

    def shown(self, container: Container, order: Order) -> list[Shown]:
        """The create, and what runs on the machine after it."""
        create = Shown(self.name, "POST", bodies.RENTALS, bodies.create(order))
        return [create, *settle.shown(container, order.tag, self._lends())]

    def instances(self) -> list[Instance]:
        """The one list there is, without pages (3.5, 3.8)."""
        with self._line() as line:
            answer = line.get(bodies.RENTALS)
        listed = rentals.instances(answer)
        return orders.named(self._state, listed, rentals.unlabelled(answer), self._clock.now())

    def instance(self, id: str) -> Instance | None:
        """Out of the list: there is no request for one (3.5)."""
        return next((each for each in self.instances() if each.id == id), None)

    def logs(self, id: str, tail: int = 100, follow: bool = False) -> Iterator[str]:
        """The container's output, over SSH. Raises WrongInput for an unknown rental."""
        one = self._there(id)
        return running.logs(self._host(one), one.tag, tail, follow)

    def ssh(self, id: str) -> Ssh | None:
        """The machine's own shell, not the container's: `docker exec -it TAG bash` leads there."""
        return self._there(id).ssh

    def terminate(self, id: str) -> None:
        """By `rentalId`; none there is success: what a second time answers is not known (3.6)."""
        body = bodies.terminate(id, "ended by stoker")
        try:
            with self._line() as line:
                line.change("POST", bodies.TERMINATE, body)
        except ProviderFailed as failed:
            over = failed.status in (404, 410) or (
                400 <= failed.status < 500 and any(word in failed.what.lower() for word in ENDED)
            )
            if isinstance(failed, KeyRefused) or not over:
                raise
        pins.forget(pins.pin(self._state, self.name, id))

    def balance(self) -> Balance:
        """Prepaid money and what may be overdrawn, which can be below zero or not told (3.6)."""
        with self._line() as line:
            answer = line.get(bodies.BALANCE)
        if not isinstance(answer, dict):
            raise ProviderFailed(self.name, "a balance that cannot be read", "ask again; if it stays, report it")
        cents, over = (rentals.exact(answer.get(name)) for name in ("balanceCents", "maxOverdraftCents"))
        if cents is None:
            return Balance(self.name, None, words="the balance is not told")
        return Balance(
            self.name, (cents + (over or Decimal(0))) / 100, words="" if over is not None else "no overdraft told"
        )

    def keys(self) -> Sequence[str]:
        """Not told: see `lacks`."""
        return ()

    def ensure_template(self, container: Container) -> Template:
        self._unable("ensure_template")

    def stop(self, id: str) -> None:
        self._unable("stop")

    def start(self, id: str) -> None:
        self._unable("start")

    def volumes(self) -> list[Volume]:
        self._unable("volumes")

    def registries(self) -> list[Credential]:
        self._unable("registries")

    def ensure_registry(self, login: Login) -> Credential:
        self._unable("ensure_registry")

    def _unable(self, what: str) -> NoReturn:
        raise Unable(f"{self.name} cannot do this: {what.replace('_', ' ')}", LACKS[what])

    def _lends(self) -> bool:
        return self._environ.get("STOKER_LEND_KEY", "").strip() == "1"

    def _there(self, id: str) -> Instance:
        one = self.instance(id)
        if one is None:
            raise WrongInput(f"{self.name}: there is no rental {id}", "`./inv status` shows those there are")
        return one

    def _host(self, one: Instance) -> Host:
        if one.ssh is None:
            raise OutsideFailed(f"{self.name} {one.id}: no address for SSH yet", "it is looked for again")
        pinned = pins.pin(self._state, self.name, one.id)
        return Host(f"{self.name} {one.id}", shell(one.ssh, pinned, self._environ), self.folders)

    def _line(self) -> Line:
        return Line(self.name, self._key, None, self._base, sleep=self._clock.sleep, pace=self._pace)

    def _pace(self, method: str, path: str) -> None:
        """Requests of this client follow each other at least BETWEEN apart."""
        with self._turn:
            now = self._clock.now().replace(tzinfo=None)
            if timedelta(0) <= now - self._last < BETWEEN:
                self._clock.sleep((BETWEEN - (now - self._last)).total_seconds())
                now = self._clock.now().replace(tzinfo=None)
            self._last = now
