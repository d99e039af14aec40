"""Starting a machine again that stands still: its disk holds what the run's remote lacks, and only it can send that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from fleet.launch.deadline import deadline_of
from fleet.ledger.ledger import Ledger
from fleet.ledger.money import usd
from fleet.ledger.values import OPEN, Known, Run
from fleet.life.told import STARTED, STOPPED
from fleet.providers.values import Instance, State
from fleet.resume.decide import affordable
from fleet.resume.rent import unchanged
from fleet.resume.saved import Saved, newest
from fleet.watch.ahead import STANDING, ahead
from fleet.watch.watched import Watched
from profiles.errors import CheckFailed, Refused, StokerError

if TYPE_CHECKING:
    from fleet.resume.resume import Comeback, Resumed

WAIT, EVERY = 300.0, 15.0  # seconds until it has to be on its way, and between two looks
SENDING = timedelta(minutes=30)  # that it needs before its own deadline: to come up, and to send a checkpoint
ROUNDED = Decimal("0.005")  # USD per hour, that prices are told to the nearest of
# How a disk is read while its machine stands. Vast.ai copies from stopped instances (docs.vast.ai, stop instance).
COPIED = {
    "vast": "vastai copy C.{id}:{mount}/ local:{run}",
    "local": "docker cp {id}:{mount} {run}",
}


@dataclass(frozen=True, slots=True)
class Price:
    """USD per hour. runs: what the machine costs when it runs; most: above it, it is stopped again."""

    runs: Decimal
    most: Decimal


def started(back: Comeback, now: Watched, found: Sequence[Saved]) -> Resumed:
    """Starts the run's machine, which goes on by itself and sends: its container is as it was, with its deadline.

    Its disk is kept whatever comes. Raises Refused at a limit, without a yes and when its own deadline is too near,
    what the provider raises when it cannot (no GPU is free there any more), CheckFailed when it does not come up, or
    costs more than it may.
    """
    from fleet.resume.resume import Resumed

    known, ledger, name = now.known, back.ledger, now.run.name
    assert known is not None
    provider, place, asks = back.providers[known.provider], f"{known.provider} {known.id}", back.asked(now.run)
    until = outlasts(ledger, now.run, known, back.clock.now())
    price = payable(back, asks, known)
    there = newest(found)
    why = ahead(ledger, now, there.step if there else None, back.clock.now()).words(there.step if there else None)
    if asks.plan != now.run.plan:
        back.say("warning: its container is as it was: --steps and --set are not kept; give them once it has sent")
    back.agree(f"start {place} again for {price.runs:.2f} USD/h, {until} ({why})")
    unchanged(ledger, name, now.run.state)
    ledger.change_run(name, limits=asks.limits, policy=asks.policy)  # what was typed counts from the yes on
    # Said before it is done, as a stop is: whoever watches must not take it for idle, or for stopped by the user.
    ledger.tell(name, STARTED, f"started again: {why}", known.id)
    if now.run.state != OPEN:
        ledger.set_state(name, OPEN, "resumed")
    provider.start(known.id)
    return Resumed(name, f"is started again on {place}, {up(back, name, known.instance, price.most)}: {why}")


def outlasts(ledger: Ledger, run: Run, known: Known, now: datetime) -> str:
    """When its own keeper ends the machine, with its disk. Raises Refused when that is before it can have sent: nobody
    can change the deadline in a container that is there."""
    at = deadline_of(ledger, run, known)
    if at is None:
        return "which no deadline is known of"
    if at - now >= SENDING:
        return f"until {at:%Y-%m-%d %H:%M} UTC at the latest"
    ended = "at once" if at <= now else f"in {(at - now).total_seconds() / 60:.0f} minutes"
    mount = str((run.plan.get("container") or {}).get("mount") or "/workspace")
    how = COPIED.get(known.provider, f"the console of {known.provider}").format(id=known.id, mount=mount, run=run.name)
    raise Refused(
        f"{known.provider} {known.id} is not started: its container's deadline is {at:%Y-%m-%d %H:%M} UTC, so that it"
        f" would end itself {ended}, and its disk with it",
        f"read the disk as it stands ({how}) and put its checkpoints at {run.remote or 'a remote store'}; then"
        f" ./inv resume {run.name} --force ends the machine and goes on from the newest there",
    )


def payable(back: Comeback, asks: Run, known: Known) -> Price:
    """What the machine costs when it runs, by the limits as they are asked for. Raises Refused above one of them."""
    runs, again = running(back.ledger, known), f"./inv resume {asks.name} --same"
    policy = back.terms.policy.usd_hour
    ceiling = policy if policy is not None else asks.limits.usd_hour
    if ceiling is not None and runs > ceiling:
        raise Refused(
            f"{known.provider} {known.id} costs {runs:.2f} USD/h when it runs, above the limit of {ceiling:.2f}",
            f"{again} --max-price USD, more than that",
        )
    try:
        affordable(back.ledger, asks, back.clock.now(), runs)
    except Refused as reached:
        raise Refused(reached.what, f"{again} with a higher --budget or --hours") from None
    order = back.ledger.attempt(known.tag)
    most = ceiling if ceiling is not None else order.most_usd_hour if order else runs
    return Price(runs, max(runs, most) + ROUNDED)


def running(ledger: Ledger, known: Known) -> Decimal:
    """USD per hour of the machine when it runs: what its order said, or the most that was read of it since. A machine
    that stands is told to cost what its disk does."""
    order = ledger.attempt(known.tag)
    read = [
        usd(row["usd_hour"])
        for row in ledger.table("segments")
        if (row["provider"], row["instance"]) == (known.provider, known.id) and not row["assumed"]
    ]
    return max([known.usd_hour, *read, *([order.usd_hour] if order else [])])


def up(back: Comeback, name: str, instance: Instance, most: Decimal) -> str:
    """Its state once it runs, or is on its way after a while. Raises CheckFailed when it still stands then, and when it
    costs more than `most` USD per hour: it is stopped again."""
    provider, end = back.providers[instance.provider], back.clock.now().timestamp() + WAIT
    words = ""
    while True:
        try:
            seen = provider.instance(instance.id)
        except StokerError as failed:  # the next look may succeed
            seen, words = None, failed.what
        if seen is not None and seen.state not in STANDING and seen.usd_hour is not None and seen.usd_hour > most:
            too_dear(back, name, seen, seen.usd_hour, most)
        if seen is not None and seen.state is State.RUNNING:
            return str(seen.state)
        words = seen.words or seen.status or str(seen.state) if seen is not None else words or "it is not listed"
        if back.clock.now().timestamp() >= end:
            if seen is not None and seen.state in (State.PENDING, State.STARTING):
                return str(seen.state)
            raise CheckFailed(
                f"{instance.provider} {instance.id} does not come up: {words}; its disk is kept",
                f"./inv resume {name} --same again; --force ends it and goes on from what is at the remote",
            )
        back.clock.sleep(EVERY)


def too_dear(back: Comeback, name: str, seen: Instance, usd_hour: Decimal, most: Decimal) -> None:
    """Stops it again, and raises CheckFailed."""
    place = f"{seen.provider} {seen.id}"
    told = f"{place} costs {usd_hour:.2f} USD/h, above {most:.2f}"
    back.ledger.tell(name, STOPPED, f"stopped again: {told}", seen.id)
    try:
        back.providers[seen.provider].stop(seen.id)
    except StokerError as failed:
        raise CheckFailed(f"{told}, and was not stopped: {failed.what}", f"./inv stop {name}, at once") from None
    raise CheckFailed(
        f"{told}: it is stopped again, with its disk", f"./inv resume {name} --same --max-price USD, more than that"
    )
