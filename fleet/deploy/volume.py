"""A volume that exists already, attached to a run's machine: which one is meant, whether it will do, what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet.deploy import everywhere
from fleet.providers.outcomes import Unable
from fleet.providers.provider import Provider
from fleet.providers.values import Volume
from profiles.errors import OutsideFailed, Refused, WrongInput
from profiles.nearest import nearest

if TYPE_CHECKING:
    from fleet.ledger.ledger import Ledger

# Folders of this machine that no run may write its checkpoints, caches and logs into.
SYSTEM = ("/", "/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/run", "/sbin", "/sys", "/usr", "/usr/lib", "/var")
KEPT = ("provider", "id", "name", "gb", "region", "machine", "tier")  # in the ledger's plan of a run


def chosen(text: str, providers: Mapping[str, Provider]) -> Volume:
    """The volume of this id or name at one of the providers.

    Raises WrongInput: none has it (naming the nearest, and those there are), several have it, it is a folder of this
    machine's system, or no asked provider attaches volumes at all, telling what to do instead; OutsideFailed when the
    one that may have it did not answer.
    """
    able = {name: one for name, one in providers.items() if "volume" not in one.lacks}
    if not able:
        name = next(iter(providers))
        raise WrongInput(f"{name} attaches no volume", providers[name].lacks["volume"])
    if text.startswith("/") and str(Path(text).resolve()) in SYSTEM:
        raise WrongInput(f"--volume {text} is this machine's own system", "give a folder of your own")
    heard: everywhere.Heard[str, Sequence[Volume]] = everywhere.ask(able, lambda one: listed(one, text))
    known = [one for found in heard.results.values() for one in found]
    same = [one for one in known if text == one.id] or [one for one in known if text == one.name]
    if len(same) == 1:
        return same[0]
    if same:
        ids = ", ".join(f"{one.provider} {one.id}" for one in same)
        raise WrongInput(f"{len(same)} volumes are called `{text}`: {ids}", "--volume ID, and --provider NAME")
    if heard.failures:
        name, why = next(iter(heard.failures.items()))
        raise OutsideFailed(f"whether {name} has a volume `{text}` is not known: {why}", "ask again in a moment")
    if list(able) == ["local"]:
        raise WrongInput(f"--volume {text}: this machine has no such folder or docker volume", here(known))
    near = nearest(text, [word for one in known for word in (one.name, one.id)])
    there = "; ".join(told(one) for one in known) or f"there is none: make one in the console of {' or '.join(able)}"
    raise WrongInput(
        f"no volume `{text}` at {', '.join(able)}", f"did you mean `{near}`? There are: {there}" if near else there
    )


def here(known: Sequence[Volume]) -> str:
    """What to type instead on this machine."""
    there = f"; docker volumes: {', '.join(one.name or one.id for one in known)}" if known else ""
    return f"give the absolute path of a folder that is there: --volume $PWD/FOLDER{there}"


def listed(provider: Provider, text: str) -> Sequence[Volume]:
    """A provider's volumes; of this machine also the folder `text`, which nothing lists."""
    named: Any = getattr(provider, "named_volume", None)
    if named is not None and (found := named(text)) is not None:
        return [found]
    try:
        return provider.volumes()
    except Unable:
        return ()


def roomy(volume: Volume, needed_gb: int) -> None:
    """Raises Refused for one that is surely too small. A size of 0 was not told, and what is on it neither."""
    if volume.gb and volume.gb < needed_gb:
        raise Refused(
            f"volume {named(volume)} has {volume.gb:,} GB; data, checkpoints and logs of the run need {needed_gb:,} GB",
            "enlarge it in the provider's console, take another (--volume), or leave --volume out",
        )


def why_not(volume: Volume | None, provider: str, region: str, machine: str, tier: str) -> str:
    """Why a machine there cannot have it, "" when it can. A network volume stays in its data centre, a local one on its
    machine (providers.md 1.12, 2.10)."""
    if volume is None:
        return ""
    if provider != volume.provider:
        return f"at {provider}, and volume {named(volume)} is at {volume.provider}"
    if volume.machine and machine != volume.machine:
        return f"machine {machine or '(not told)'}, and volume {named(volume)} stays on {volume.machine}"
    if not volume.machine and volume.region and region.upper() != volume.region.upper():
        return f"in {region or 'a region it does not tell'}, and volume {named(volume)} is in {volume.region}"
    if volume.tier and tier != volume.tier:
        return f"of the {tier or 'untold'} kind, and volumes are attached to {volume.tier} ones"
    return ""


def named(volume: Volume) -> str:
    """'ckpt (2q9m7x4c)'."""
    return volume.name if volume.name in ("", volume.id) else f"{volume.name} ({volume.id})"


def told(volume: Volume) -> str:
    """'ckpt (2q9m7x4c), 100 GB at runpod US-KS-2, 7.00 USD/month'."""
    size = f", {volume.gb:,} GB" if volume.gb else ""
    place = " ".join(filter(None, (volume.provider, volume.region, volume.machine and f"machine {volume.machine}")))
    price = "" if volume.usd_month == 0 else f", {price_of(volume)}"
    return f"{named(volume)}{size} at {place}{price}"


def price_of(volume: Volume) -> str:
    """'7.00 USD/month', or that it is not told."""
    return "a price it does not tell" if volume.usd_month is None else f"{volume.usd_month:.2f} USD/month"


def stored(volume: Volume | None) -> dict[str, Any] | None:
    """As the ledger keeps it beside a run's plan, so that a relaunch looks where it is."""
    if volume is None:
        return None
    price = None if volume.usd_month is None else f"{volume.usd_month:f}"
    return {**{name: getattr(volume, name) for name in KEPT}, "usd_month": price}


def restored(kept: Mapping[str, Any] | None) -> Volume | None:
    """What `stored` kept."""
    if not kept:
        return None
    price = kept.get("usd_month")
    values: dict[str, Any] = {name: kept[name] for name in KEPT if name in kept}
    return Volume(**values, usd_month=None if price is None else Decimal(str(price)))


def left_behind(ledger: Ledger, runs: Sequence[str]) -> list[str]:
    """Volumes of runs that were ended, a line each: no task of ours deletes one, and they bill until somebody does."""
    found = {run: restored(ledger.run(run).plan.get("volume")) for run in runs}
    return [
        f"volume {told(one)}, stays with all that `{run}` wrote, and bills until its console deletes it"
        for run, one in found.items()
        if one is not None and one.usd_month != 0
    ]
