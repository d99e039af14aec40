"""The truth of one provider: machines, stock, credit, and what was billed; by virtual time, exactly.

Everything happens in the order of its time: `catch_up` goes from event to event up to the clock, and when the credit
runs out on the way, that is an event too, at its exact moment.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from fleet.simulators.banner import Banner
from fleet.simulators.bodies.body import GRACE, Bodies
from fleet.simulators.clock import HOUR, SECOND, VirtualClock, moment
from fleet.simulators.disembody import disembody
from fleet.simulators.faults import Faults
from fleet.simulators.machine import Machine
from fleet.simulators.meter import NANO, Meter

CREDIT = Decimal(1000)  # USD, when nobody says how much


@dataclass(order=True)
class _Due:
    at: int
    order: int
    act: Callable[[], None] = field(compare=False)
    machine: Machine | None = field(compare=False, default=None)


class World:
    """One provider's truth. All methods take the lock themselves; hold `lock` around several that belong together.

    `now` is the time up to which everything has happened (microseconds since 1970): during an event, the event's.
    """

    def __init__(
        self, name: str, clock: VirtualClock, faults: Faults, bodies: Bodies, seed: int = 0, credit: Decimal = CREDIT
    ) -> None:
        self.name, self.clock, self.faults, self.bodies = name, clock, faults, bodies
        self.lock = threading.RLock()
        self.rng = random.Random(f"{name}/{seed}")
        self.banner = Banner()  # answers for machines without a body that should be reachable by SSH
        self.now = clock.micros()
        self.machines: dict[str, Machine] = {}  # every one ever, in the order of their making
        self.living: dict[str, Machine] = {}
        self.stock: dict[str, int] = {}  # what is free, by the provider's own key; a key that is not there is no limit
        self.on_broke: Callable[[], None] = lambda: None  # called once when the credit reaches 0
        self._listed_too: dict[str, Machine] = {}  # gone, and still in lists
        self._credit = credit * HOUR  # USD x microseconds per hour: exact, where USD / 3600 would not be
        self._rate = Decimal(0)
        self._broke = False
        self._due: list[_Due] = []
        self._order = itertools.count()
        clock.watch(self.catch_up)

    # Time

    def catch_up(self) -> None:
        """Everything that was due until the clock's now happens, in order."""
        with self.lock:
            until = max(self.now, self.clock.micros())
            while (due := self._next(until)) is not None:
                self._pass(due.at)
                if due.machine is None or due.machine.alive:
                    due.act()
            self._pass(until)

    def after(self, seconds: float, act: Callable[[], None], machine: Machine | None = None) -> None:
        """`act()` in `seconds` of virtual time, with the lock held; not when `machine` has ended by then."""
        with self.lock:
            due = self.now + max(0, round(seconds * SECOND))
            heapq.heappush(self._due, _Due(due, next(self._order), act, machine))

    def stamp(self, at: int | None = None) -> datetime:
        """`at` (now without one) as the provider writes it: off by the knob clock.skew `{"seconds": s}`."""
        skew = self.faults.take("clock.skew") or {}
        return moment((self.now if at is None else at) + round(float(skew.get("seconds", 0)) * SECOND))

    # Machines

    def commit(self, machine_id: str, tag: str, env: Mapping[str, str], facts: dict[str, Any], state: str) -> Machine:
        """A machine exists from now on, whatever the client will be told. It costs nothing until `charge`."""
        with self.lock:
            machine = Machine(machine_id, tag, dict(env), self.now, Meter(self.now), facts, state)
            lag = self.faults.take("list.lag")
            if lag is not None:
                machine.quirks["list.lag"] = lag
                machine.hide(lag, self.now)
            self.machines[machine_id] = self.living[machine_id] = machine
            return machine

    def end(self, machine: Machine, why: str, gently: bool = True) -> None:
        """It is gone and costs nothing any more; its body is ended in the background. May be repeated.

        Not `gently`: without SIGTERM, as when a host is lost.
        """
        with self.lock:
            if not machine.alive:
                return
            self.charge(machine.meter, {})
            machine.ended, machine.why = self.now, why
            self.living.pop(machine.id, None)
            self.give_back(machine)
            if "list.lag" in machine.quirks and why != "vanished":
                machine.linger(machine.quirks["list.lag"], self.now)
                self._listed_too[machine.id] = machine
            disembody(machine, GRACE if gently else 0.0, machine.folder, self.bodies)

    def listed(self) -> list[Machine]:
        """The machines as a list call sees them, oldest first: counts as one read for list.lag, and `vanish` strikes.

        `vanish` `{"reads": n}` hides a living machine from n lists; without, the machine is lost with its host.
        """
        with self.lock:
            self._vanish()
            seen = [machine for machine in self.living.values() if not self._hidden(machine)]
            for machine in list(self._listed_too.values()):
                if machine.lingering_reads > 0 or machine.lingering_until > self.now:
                    machine.lingering_reads -= 1
                    seen.append(machine)
                else:
                    del self._listed_too[machine.id]
            return sorted(seen, key=lambda machine: machine.made)

    def found(self, machine_id: str) -> Machine | None:
        """The living machine of that id, as a call about it alone sees it; lags only with list.lag `{"show": true}`."""
        with self.lock:
            machine = self.living.get(machine_id)
            if machine is not None and machine.quirks.get("list.lag", {}).get("show") and self._hidden(machine):
                return None
            return machine

    # Stock

    def take_stock(self, machine: Machine, key: str, count: int) -> bool:
        """Whether `count` of `key` were free; they are the machine's then, until its end or `give_back`."""
        with self.lock:
            left = self.stock.get(key)
            if left is not None:
                if left < count:
                    return False
                self.stock[key] = left - count
            machine.stock = (key, count)
            return True

    def give_back(self, machine: Machine) -> None:
        """What the machine held is free again."""
        with self.lock:
            if machine.stock is not None:
                key, count = machine.stock
                machine.stock = None
                if key in self.stock:
                    self.stock[key] += count

    # Money

    def charge(self, meter: Meter, rates: Mapping[str, Decimal]) -> None:
        """From now on `meter` runs at `rates` (USD per hour, by kind); {} stops it."""
        with self.lock:
            self._rate -= meter.rate
            meter.change(self.now, rates)
            self._rate += meter.rate

    def fee(self, meter: Meter, kind: str, usd: Decimal) -> None:
        """Billed once, now: traffic and the like."""
        with self.lock:
            meter.fees.append((self.now, kind, usd))
            self._credit -= usd * HOUR

    @property
    def credit(self) -> Decimal:
        """USD left, to a billionth; below 0 when something goes on billing without."""
        with self.lock:
            return (self._credit / HOUR).quantize(NANO)

    @credit.setter
    def credit(self, usd: Decimal) -> None:
        with self.lock:
            self._credit = usd * HOUR
            self._broke = False

    @property
    def rate(self) -> Decimal:
        """USD per hour that everything costs now."""
        return Decimal(f"{self._rate.normalize():f}")

    # Inside

    def _next(self, until: int) -> _Due | None:
        """What happens first up to `until`: the next event, or the credit's end."""
        due = self._due[0] if self._due and self._due[0].at <= until else None
        if not self._broke:
            left = max(Decimal(0), self._credit)
            if self._credit <= 0 or self._rate > 0:
                zero = self.now + (math.ceil(left / self._rate) if left else 0)
                if zero <= (due.at if due else until) and (self._rate > 0 or self._credit < 0):
                    return _Due(zero, -1, self._credit_ends)
        if due is not None:
            heapq.heappop(self._due)
        return due

    def _credit_ends(self) -> None:
        self._broke = True
        self.on_broke()

    def _pass(self, at: int) -> None:
        """Time goes on to `at`, and bills."""
        self._credit -= self._rate * (at - self.now)
        self.now = at

    def _hidden(self, machine: Machine) -> bool:
        if machine.hidden_reads > 0:
            machine.hidden_reads -= 1
            return True
        return machine.hidden_until > self.now

    def _vanish(self) -> None:
        if not self.living or (arguments := self.faults.take("vanish")) is None:
            return
        machine = self.rng.choice(list(self.living.values()))
        if "reads" in arguments:
            machine.hidden_reads += int(arguments["reads"])
        else:
            self.end(machine, "vanished", gently=False)
