"""Where a run may go on now: the offers of now, by its needs, its policy and what it may cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from fleet.clock import Clock
from fleet.deploy import traffic, volume
from fleet.deploy.candidates import Priced, cap, shortlist
from fleet.deploy.market import market
from fleet.deploy.needs import Needs, needs_of
from fleet.deploy.wishes import Wishes
from fleet.ledger.ledger import Ledger
from fleet.ledger.values import Run
from fleet.providers.provider import Provider
from fleet.resume.policy import Loss, Policy, Where, allowed, takes_spot
from profiles import gpus
from profiles.errors import CheckFailed, Refused, StokerError, WrongInput


@dataclass(frozen=True, slots=True)
class Places:
    """tried: in their order; usd_hour: the most that one of them may cost; failures: providers that did not answer."""

    tried: tuple[Priced, ...]
    usd_hour: Decimal
    failures: Mapping[str, str]


def places(
    ledger: Ledger,
    run: Run,
    providers: Mapping[str, Provider],
    policy: Policy,
    losses: Sequence[Loss],
    clock: Clock,
    count: int | None = None,
) -> Places:
    """providers: those that may be rented from; losses: the last one is what "the same" means; count: GPUs of one
    machine, None: as before.

    Raises CheckFailed when nothing will do, with the tight constraint; OutsideFailed when no provider answers.
    """
    where = dict(providers)
    if policy.where is Where.SAME and losses:
        where = {name: one for name, one in providers.items() if name == losses[-1].provider}
        if not where:
            raise WrongInput(f"there is no key for {losses[-1].provider}, where it ran", "--any")
    ceiling = policy.usd_hour if policy.usd_hour is not None else run.limits.usd_hour
    wishes = Wishes(tuple(where), usd_hour=ceiling, spot=takes_spot(policy, losses))
    bad = {name: {one.machine for one in ledger.bad_machines(name)} for name in where}
    found = market(where, on_its_volume(run, needs(run, count)), wishes, None, clock, bad)
    found.refuse_empty()
    taken = {id(one) for one in allowed(policy, losses, [one.offer for one in found.ranked])}
    ranked = [one for one in found.ranked if id(one.offer) in taken]
    if not ranked:
        raise CheckFailed(
            f"{len(found.ranked)} offers would do, and the policy `{policy.where}` takes none of them", "--any"
        )
    most = cap(ranked, wishes)
    tried = shortlist(ranked, most)
    return Places(tuple([one for one in tried if pays(ledger, run, one)] or tried), most, found.failures)


def pays(ledger: Ledger, run: Run, one: Priced) -> bool:
    """Whether the budget pays for the bytes there, and for anything besides."""
    try:
        traffic.afterwards(ledger, run, one)
    except Refused:
        return False
    return True


def on_its_volume(run: Run, found: Needs) -> Needs:
    """With the volume that holds the run. One that is bound to a machine is left there when the checkpoints are at a
    remote too, and what would be on it needs room on the next machine's disk."""
    kept = volume.restored(run.plan.get("volume"))
    if kept is None or not (kept.machine and run.remote):
        return replace(found, volume=kept)
    return replace(found, disk_gb=found.disk_gb + int((run.plan.get("needs") or {}).get("volume_gb") or 0))


def needs(run: Run, count: int | None = None) -> Needs:
    """What the run needs of a machine: by its profile when that is still here, else by what the ledger keeps."""
    kept, box = run.plan.get("needs") or {}, run.plan.get("container") or {}
    kinds = tuple(str(one) for one in kept.get("gpus") or ())
    pulled = float(kept.get("pulled_gb") or 0)
    number = count or int(kept.get("count") or 0)
    disk = int(kept.get("disk_gb") or box.get("disk_gb") or 0)
    try:
        from profiles.load import load

        if not run.profile:
            raise WrongInput("no profile is known")
        found = needs_of(load(run.profile), counts=number or None, named=kinds, disk_bytes=disk * 1e9)
        return replace(found, pulled_gb=pulled)
    except StokerError:
        least = min((gpus.gpu(one).memory_mib for one in kinds), default=0)
        cuda = str(box.get("cuda") or "")
        return Needs(kinds, number, vram_mib=least, cuda=cuda, disk_gb=disk, pulled_gb=pulled)
